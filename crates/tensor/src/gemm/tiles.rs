//! bf16 products by AMX tiles, and f32 products as three of bf16.
//!
//! A tile register holds sixteen rows of 64 bytes. `tdpbf16ps` adds to sixteen by sixteen f32 the products of sixteen rows of
//! 32 bf16 with sixteen columns of as many. Four sums are kept at once, for 32 rows and 32 columns. All blocking is written
//! over [`Tiles`], whose four instructions also exist in plain Rust, so that it is tested on any machine.
//!
//! For f32, x = h + l with h = bf16(x) and l = bf16(x - h): h h' + h l' + l h' leaves out l l', about 2^-18 of a product.
//! Infinities and NaN do not survive the split (inf - inf, inf * 0), so a product that holds one goes to the unit of f32.

use super::panels::{self, COLUMNS, Panels, Tile};
use super::words::{Part, Stored};
use super::{Kept, Precision, Right, Sizes, Unit, Update, View};
use crate::parallel::vectorised;
use half::bf16;
use rayon::prelude::*;

/// Rows of a panel: two tiles.
const ROWS: usize = 32;
/// Words of a row of a tile.
const STEP: usize = 16;
/// Words of a tile.
const TILE: usize = 16 * STEP;

/// Eight tile registers.
pub(super) trait Tiles: Send + Sync + 'static {
    /// What a thread holds while it uses the registers; where it begins and ends they are configured and given back.
    type Registers;
    /// Configures the registers of this thread: sixteen rows of 64 bytes each.
    fn begin() -> Self::Registers;
    /// Sets register `T` to zero.
    fn zero<const T: usize>(registers: &mut Self::Registers);
    /// Loads register `T` from sixteen rows of sixteen words, `stride` words apart.
    fn load<const T: usize>(registers: &mut Self::Registers, from: &[u32], stride: usize);
    /// Loads register `T` from sixteen rows of sixteen f32, `stride` apart.
    fn load_sums<const T: usize>(registers: &mut Self::Registers, from: &[f32], stride: usize);
    /// Adds the products of pairs of bf16: `C += A B`.
    fn dot<const C: usize, const A: usize, const B: usize>(registers: &mut Self::Registers);
    /// Stores register `T` as sixteen rows of sixteen f32, `stride` apart.
    fn store<const T: usize>(registers: &mut Self::Registers, to: &mut [f32], stride: usize);
}

/// Operands rounded to bf16.
struct Rounded<T>(std::marker::PhantomData<T>);
/// Operands split into two bf16.
struct Split<T>(std::marker::PhantomData<T>);

/// The unit for a precision, where machine and system have it.
pub(super) fn unit(precision: Precision) -> Option<&'static dyn Unit> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if amx::available() {
        return Some(match precision {
            Precision::Bf16 => &Rounded::<amx::Amx>(std::marker::PhantomData),
            _ => &Split::<amx::Amx>(std::marker::PhantomData),
        });
    }
    let _ = precision;
    None
}

impl<T: Tiles> Unit for Rounded<T> {
    fn name(&self) -> &'static str {
        "amx_bf16"
    }
    fn product(
        &self,
        a: View<'_, f32>,
        b: Right<'_, f32>,
        kept: Kept<'_>,
        y: &mut [f32],
        sizes: Sizes,
        update: Update<f32>,
    ) {
        panels::product::<Self, ROWS>(self, a, b, kept, y, sizes, update);
    }
    fn words_of_pack(&self, k: usize, n: usize) -> usize {
        panels::words_of_pack::<Self, ROWS>(k, n)
    }
    fn turns(&self) -> bool {
        true
    }
}

impl<T: Tiles> Unit for Split<T> {
    fn name(&self) -> &'static str {
        "amx_bf16_split"
    }
    fn product(
        &self,
        a: View<'_, f32>,
        b: Right<'_, f32>,
        kept: Kept<'_>,
        y: &mut [f32],
        sizes: Sizes,
        update: Update<f32>,
    ) {
        // Only what splits is ever packed.
        let right = kept.is_filled()
            || match b {
                Right::Same(b) => splits(b.values),
                Right::Bf16(b) => splits(b.values),
                Right::F16(b) => splits(b.values),
            };
        if right && splits(a.values) {
            panels::product::<Self, ROWS>(self, a, b, kept, y, sizes, update);
        } else {
            super::unit(Precision::StrictF32).product(a, b, Kept::Nowhere, y, sizes, update);
        }
    }
    fn words_of_pack(&self, k: usize, n: usize) -> usize {
        panels::words_of_pack::<Self, ROWS>(k, n)
    }
    fn turns(&self) -> bool {
        true
    }
}

/// True if every value is finite and stays so when rounded to bf16.
fn splits<S: Stored>(values: &[S]) -> bool {
    // As bits, sizes have the order of numbers, and what is no number is the largest.
    let largest = |values: &[S]| {
        vectorised(
            #[inline(always)]
            || values.iter().fold(0, |most: u32, x| most.max(x.wide().abs().to_bits())),
        )
    };
    let limit = bf16::MAX.to_f32().to_bits();
    values.par_chunks(1 << 15).all(|values| largest(values) <= limit)
}

impl<T: Tiles> Panels<ROWS> for Rounded<T> {
    const PARTS: &'static [Part] = &[Part::Rounded];
    const STEP: usize = STEP;
    const LEFT_BY_ROWS: bool = true;

    // A panel of columns fills two thirds of the first cache.
    const WORDS: usize = 256;
    const GATHERED: usize = 4;
    const TURNS: bool = true;
    type Registers = T::Registers;

    fn begin(&self) -> T::Registers {
        T::begin()
    }

    #[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
    unsafe fn tile(&self, registers: &mut T::Registers, left: &[u32], right: &[u32], words: usize, tile: Tile) {
        // SAFETY: as promised by the caller.
        unsafe { start::<T>(registers, tile) };
        for (left, right) in left.chunks_exact(2 * TILE).zip(right.chunks_exact(STEP * COLUMNS)).take(words / STEP) {
            let (first, second) = left.split_at(TILE);
            T::load::<4>(registers, first, STEP);
            T::load::<6>(registers, right, COLUMNS);
            T::dot::<0, 4, 6>(registers);
            T::load::<7>(registers, &right[16..], COLUMNS);
            T::dot::<1, 4, 7>(registers);
            T::load::<5>(registers, second, STEP);
            T::dot::<2, 5, 6>(registers);
            T::dot::<3, 5, 7>(registers);
        }
        // SAFETY: as promised by the caller.
        unsafe { finish::<T>(registers, tile) }
    }
}

impl<T: Tiles> Panels<ROWS> for Split<T> {
    const PARTS: &'static [Part] = &[Part::Rounded, Part::Rest];
    const STEP: usize = STEP;
    const LEFT_BY_ROWS: bool = true;

    // A panel of columns fills two thirds of the first cache.
    const WORDS: usize = 128;
    const GATHERED: usize = 4;
    const TURNS: bool = true;
    type Registers = T::Registers;

    fn begin(&self) -> T::Registers {
        T::begin()
    }

    #[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
    unsafe fn tile(&self, registers: &mut T::Registers, left: &[u32], right: &[u32], words: usize, tile: Tile) {
        // SAFETY: as promised by the caller.
        unsafe { start::<T>(registers, tile) };
        let (left, left_rest) = left.split_at(words * ROWS);
        let (right, right_rest) = right.split_at(words * COLUMNS);
        let lefts = left.chunks_exact(2 * TILE).zip(left_rest.chunks_exact(2 * TILE));
        let rights = right.chunks_exact(STEP * COLUMNS).zip(right_rest.chunks_exact(STEP * COLUMNS));
        for ((a, a_rest), (b, b_rest)) in lefts.zip(rights) {
            T::load::<4>(registers, a, STEP);
            T::load::<5>(registers, &a[TILE..], STEP);
            T::load::<6>(registers, b_rest, COLUMNS);
            T::dot::<0, 4, 6>(registers);
            T::dot::<2, 5, 6>(registers);
            T::load::<7>(registers, &b_rest[16..], COLUMNS);
            T::dot::<1, 4, 7>(registers);
            T::dot::<3, 5, 7>(registers);
            T::load::<6>(registers, b, COLUMNS);
            T::dot::<0, 4, 6>(registers);
            T::dot::<2, 5, 6>(registers);
            T::load::<7>(registers, &b[16..], COLUMNS);
            T::dot::<1, 4, 7>(registers);
            T::dot::<3, 5, 7>(registers);
            T::load::<4>(registers, a_rest, STEP);
            T::dot::<0, 4, 6>(registers);
            T::dot::<1, 4, 7>(registers);
            T::load::<5>(registers, &a_rest[TILE..], STEP);
            T::dot::<2, 5, 6>(registers);
            T::dot::<3, 5, 7>(registers);
        }
        // SAFETY: as promised by the caller.
        unsafe { finish::<T>(registers, tile) }
    }
}

/// Values of y of a tile that the registers load and store themselves: it is whole, its rows lie together, and its sums are not
/// scaled.
///
/// # Safety
/// The tile lies inside y and nobody else uses it while the values live.
#[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
unsafe fn square<'a>(tile: Tile) -> Option<&'a mut [f32]> {
    let plain = tile.update.factor == 1.0 && [0.0, 1.0].contains(&tile.update.keep);
    let whole = tile.rows == ROWS && tile.columns == COLUMNS && tile.stride == COLUMNS;
    // SAFETY: as promised by the caller.
    (plain && whole).then(|| unsafe { std::slice::from_raw_parts_mut(tile.y, ROWS * COLUMNS) })
}

/// The four sums begin with y where it is kept, or with zero.
///
/// # Safety
/// As [`square`].
#[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
unsafe fn start<T: Tiles>(registers: &mut T::Registers, tile: Tile) {
    // SAFETY: as promised by the caller.
    match unsafe { square(tile) } {
        Some(y) if tile.update.keep == 1.0 => {
            T::load_sums::<0>(registers, y, COLUMNS);
            T::load_sums::<1>(registers, &y[16..], COLUMNS);
            T::load_sums::<2>(registers, &y[16 * COLUMNS..], COLUMNS);
            T::load_sums::<3>(registers, &y[16 * COLUMNS + 16..], COLUMNS);
        }
        _ => {
            T::zero::<0>(registers);
            T::zero::<1>(registers);
            T::zero::<2>(registers);
            T::zero::<3>(registers);
        }
    }
}

/// Updates y by the four sums.
///
/// # Safety
/// As [`square`].
#[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
unsafe fn finish<T: Tiles>(registers: &mut T::Registers, tile: Tile) {
    // SAFETY: as promised by the caller.
    if let Some(y) = unsafe { square(tile) } {
        return store_all::<T>(registers, y);
    }
    let mut sums = [0f32; ROWS * COLUMNS];
    store_all::<T>(registers, &mut sums);
    // SAFETY: as promised by the caller.
    unsafe { tile.take(&sums) };
}

fn store_all<T: Tiles>(registers: &mut T::Registers, to: &mut [f32]) {
    T::store::<0>(registers, to, COLUMNS);
    T::store::<1>(registers, &mut to[16..], COLUMNS);
    T::store::<2>(registers, &mut to[16 * COLUMNS..], COLUMNS);
    T::store::<3>(registers, &mut to[16 * COLUMNS + 16..], COLUMNS);
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    #![expect(unsafe_code, reason = "tile instructions have no safe form")]
    use super::{STEP, Tiles};
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    /// The registers of the processor.
    pub(super) struct Amx;

    /// Configured registers of this thread. Dropping gives them back, so that the system need not save them.
    pub(super) struct Configured(());

    impl Drop for Configured {
        fn drop(&mut self) {
            // SAFETY: the instruction only resets the registers, and `begin` made sure that they are there.
            unsafe { asm!("tilerelease", options(nostack, nomem)) }
        }
    }

    /// True if the processor has bf16 tiles and the system lets this process use them (threads inherit the permission).
    pub(super) fn available() -> bool {
        const TILE: u32 = 1 << 24;
        const BF16: u32 = 1 << 22;
        const OSXSAVE: u32 = 1 << 27;
        let there = __cpuid(0).eax >= 7
            && __cpuid(1).ecx & OSXSAVE != 0
            && __cpuid_count(7, 0).edx & (TILE | BF16) == TILE | BF16;
        there && super::super::bf16::available() && permitted()
    }

    /// Asks the system for the state of the tiles: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
    fn permitted() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result: i64;
        // SAFETY: the call takes two numbers and changes nothing but this permission; the kernel spoils rcx and r11.
        unsafe {
            asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result == 0
    }

    /// What `ldtilecfg` reads: palette 1, then bytes and rows of each register.
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    const CONFIGURATION: Configuration = {
        let mut c = [0; 64];
        c[0] = 1;
        let mut i = 0;
        while i < 8 {
            c[16 + 2 * i] = (4 * STEP) as u8;
            c[48 + i] = 16;
            i += 1;
        }
        Configuration(c)
    };

    /// One instruction for the register whose number is a constant.
    macro_rules! by_number {
        ($number:expr, $($n:literal => $body:expr),+) => {
            match $number { $($n => $body,)+ _ => unreachable!("there are eight tile registers") }
        };
    }

    macro_rules! zero {
        ($t:tt) => {
            asm!(concat!("tilezero ", $t), out($t) _, options(nostack, nomem))
        };
    }
    macro_rules! load {
        ($t:tt, $from:expr, $stride:expr) => {
            asm!(concat!("tileloadd ", $t, ", [{at} + {step}*1]"), at = in(reg) $from.as_ptr(), step = in(reg) $stride * 4,
                out($t) _, options(nostack, readonly))
        };
    }
    macro_rules! dot {
        ($c:tt, $a:tt, $b:tt) => {
            asm!(concat!("tdpbf16ps ", $c, ", ", $a, ", ", $b), out($c) _, options(nostack, nomem))
        };
    }
    macro_rules! store {
        ($t:tt, $to:expr, $stride:expr) => {
            asm!(concat!("tilestored [{at} + {step}*1], ", $t), at = in(reg) $to.as_mut_ptr(), step = in(reg) $stride * 4,
                options(nostack))
        };
    }

    impl Tiles for Amx {
        type Registers = Configured;

        #[inline(always)]
        fn begin() -> Configured {
            // SAFETY: `available` has said that the instruction and its permission are there; it reads 64 bytes.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly)) }
            Configured(())
        }

        #[inline(always)]
        fn zero<const T: usize>(_: &mut Configured) {
            // SAFETY: the registers are configured while `Configured` lives; the compiler itself never uses them.
            unsafe { by_number!(T, 0 => zero!("tmm0"), 1 => zero!("tmm1"), 2 => zero!("tmm2"), 3 => zero!("tmm3")) }
        }

        #[inline(always)]
        fn load<const T: usize>(_: &mut Configured, from: &[u32], stride: usize) {
            assert!(from.len() >= 15 * stride + STEP, "sixteen rows");
            // SAFETY: as `zero`; the assertion keeps the sixteen rows inside the slice.
            unsafe {
                by_number!(T, 4 => load!("tmm4", from, stride), 5 => load!("tmm5", from, stride),
                    6 => load!("tmm6", from, stride), 7 => load!("tmm7", from, stride));
            }
        }

        #[inline(always)]
        fn load_sums<const T: usize>(_: &mut Configured, from: &[f32], stride: usize) {
            assert!(from.len() >= 15 * stride + STEP, "sixteen rows");
            // SAFETY: as `zero`; the assertion keeps the sixteen rows inside the slice.
            unsafe {
                by_number!(T, 0 => load!("tmm0", from, stride), 1 => load!("tmm1", from, stride),
                    2 => load!("tmm2", from, stride), 3 => load!("tmm3", from, stride));
            }
        }

        #[inline(always)]
        fn dot<const C: usize, const A: usize, const B: usize>(_: &mut Configured) {
            // SAFETY: as `zero`.
            unsafe {
                by_number!(C * 100 + A * 10 + B,
                    46 => dot!("tmm0", "tmm4", "tmm6"), 147 => dot!("tmm1", "tmm4", "tmm7"),
                    256 => dot!("tmm2", "tmm5", "tmm6"), 357 => dot!("tmm3", "tmm5", "tmm7"));
            }
        }

        #[inline(always)]
        fn store<const T: usize>(_: &mut Configured, to: &mut [f32], stride: usize) {
            assert!(to.len() >= 15 * stride + STEP, "sixteen rows");
            // SAFETY: as `zero`; the assertion keeps the sixteen rows inside the slice.
            unsafe {
                by_number!(T, 0 => store!("tmm0", to, stride), 1 => store!("tmm1", to, stride),
                    2 => store!("tmm2", to, stride), 3 => store!("tmm3", to, stride));
            }
        }
    }
}

/// The same registers in plain Rust, for tests of the blocking on machines without them.
#[cfg(test)]
pub(super) mod emulated {
    use super::*;

    pub(super) struct Emulated;

    impl Tiles for Emulated {
        type Registers = Vec<[u32; TILE]>;

        fn begin() -> Self::Registers {
            vec![[0x7fc0_7fc0; TILE]; 8]
        }
        fn zero<const T: usize>(registers: &mut Self::Registers) {
            registers[T] = [0; TILE];
        }
        fn load<const T: usize>(registers: &mut Self::Registers, from: &[u32], stride: usize) {
            for (to, from) in registers[T].chunks_exact_mut(STEP).zip(from.chunks(stride)) {
                to.copy_from_slice(&from[..STEP]);
            }
        }
        fn load_sums<const T: usize>(registers: &mut Self::Registers, from: &[f32], stride: usize) {
            Self::load::<T>(registers, bytemuck::cast_slice(from), stride);
        }
        fn dot<const C: usize, const A: usize, const B: usize>(registers: &mut Self::Registers) {
            let halves = |x: u32| [bf16::from_bits(x as u16).to_f32(), bf16::from_bits((x >> 16) as u16).to_f32()];
            for at in 0..TILE {
                let (row, column) = (at / STEP, at % STEP);
                let mut sum = f32::from_bits(registers[C][at]);
                for p in 0..STEP {
                    let (a, b) = (halves(registers[A][row * STEP + p]), halves(registers[B][p * STEP + column]));
                    sum += a[0] * b[0];
                    sum += a[1] * b[1];
                }
                registers[C][at] = sum.to_bits();
            }
        }
        fn store<const T: usize>(registers: &mut Self::Registers, to: &mut [f32], stride: usize) {
            for (from, to) in registers[T].chunks_exact(STEP).zip(to.chunks_mut(stride)) {
                for (from, to) in from.iter().zip(to) {
                    *to = f32::from_bits(*from);
                }
            }
        }
    }

    /// Both units over the emulated registers.
    pub(in super::super) fn units() -> [(&'static dyn Unit, Precision); 2] {
        [
            (&Rounded::<Emulated>(std::marker::PhantomData), Precision::Bf16),
            (&Split::<Emulated>(std::marker::PhantomData), Precision::F32),
        ]
    }
}
