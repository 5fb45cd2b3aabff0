//! AMX micro-kernels: bf16 products by tiles, and f32 products as three of bf16.
//!
//! A tile register holds sixteen rows of 64 bytes. `tdpbf16ps` adds to sixteen by sixteen f32 the products of sixteen rows of
//! 32 bf16 with sixteen columns of as many. Four sums are kept at once, for 32 rows and 32 columns. All blocking is written
//! over [`TileRegisters`], whose instructions also exist in plain Rust, so that it is tested on any machine.
//!
//! For f32, x = h + l with h = bf16(x) and l = bf16(x - h): h h' + h l' + l h' leaves out l l', about 2^-18 of a product.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod hardware;
pub(super) mod registers;

use super::microkernel::{MicroKernel, NR, Tile};
use super::operand::{CachedPack, Gemm, GemmBackend, RhsView, with_rhs};
use super::pack::{SplitPart, Stored};
use crate::parallel::vectorised;
use half::bf16;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use hardware::{Amx, available};
use rayon::prelude::*;
use registers::{STEP, TILE, TileRegisters};
use std::marker::PhantomData;

/// Rows of a panel: two tiles.
pub(super) const MR: usize = 32;

/// Operands rounded to bf16.
pub(super) struct Bf16<T>(PhantomData<T>);

impl<T> Bf16<T> {
    pub(super) const fn new() -> Self {
        Bf16(PhantomData)
    }
}

/// Operands split into two bf16.
pub(super) struct SplitF32<T> {
    registers: PhantomData<T>,
    /// Computes what does not split.
    strict: fn() -> &'static dyn GemmBackend,
}

impl<T> SplitF32<T> {
    pub(super) const fn new(strict: fn() -> &'static dyn GemmBackend) -> Self {
        SplitF32 { registers: PhantomData, strict }
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

impl<T: TileRegisters> MicroKernel<MR> for Bf16<T> {
    const ISA: &'static str = "amx_bf16";
    const PARTS: &'static [SplitPart] = &[SplitPart::High];
    const STEP: usize = STEP;
    const LHS_BY_ROWS: bool = true;

    // A panel of columns fills two thirds of the first cache.
    const KC: usize = 256;
    const ACCUMULATED_BLOCKS: usize = 4;
    const READS_TRANSPOSED: bool = true;
    type Registers = T::Registers;

    fn begin(&self) -> T::Registers {
        T::begin()
    }

    #[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
    unsafe fn tile(&self, registers: &mut T::Registers, lhs: &[u32], rhs: &[u32], len: usize, tile: Tile) {
        // SAFETY: as promised by the caller.
        unsafe { start::<T>(registers, tile) };
        for (left, right) in lhs.chunks_exact(2 * TILE).zip(rhs.chunks_exact(STEP * NR)).take(len / STEP) {
            let (first, second) = left.split_at(TILE);
            T::load::<4>(registers, first, STEP);
            T::load::<6>(registers, right, NR);
            T::dot::<0, 4, 6>(registers);
            T::load::<7>(registers, &right[16..], NR);
            T::dot::<1, 4, 7>(registers);
            T::load::<5>(registers, second, STEP);
            T::dot::<2, 5, 6>(registers);
            T::dot::<3, 5, 7>(registers);
        }
        // SAFETY: as promised by the caller.
        unsafe { finish::<T>(registers, tile) }
    }
}

impl<T: TileRegisters> MicroKernel<MR> for SplitF32<T> {
    const ISA: &'static str = "amx_bf16_split";
    const PARTS: &'static [SplitPart] = &[SplitPart::High, SplitPart::Low];
    const STEP: usize = STEP;
    const LHS_BY_ROWS: bool = true;

    // A panel of columns fills two thirds of the first cache.
    const KC: usize = 128;
    const ACCUMULATED_BLOCKS: usize = 4;
    const READS_TRANSPOSED: bool = true;
    type Registers = T::Registers;

    /// Infinities and NaN do not survive the split, so a product that holds one is computed in f32.
    fn bypass(&self, product: &Gemm<'_, f32>, y: &mut [f32]) -> bool {
        // Only what splits is ever packed.
        let packed = match product.pack {
            CachedPack::None => false,
            CachedPack::Use(slot) | CachedPack::Transposed(slot) => slot.elements().is_some(),
        };
        let right = packed || with_rhs!(product.b, b => splits(b.values));
        let bypassed = !(right && splits(product.a.values));
        if bypassed {
            (self.strict)().gemm(&Gemm { pack: CachedPack::None, ..*product }, y);
        }
        bypassed
    }

    fn begin(&self) -> T::Registers {
        T::begin()
    }

    #[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
    unsafe fn tile(&self, registers: &mut T::Registers, lhs: &[u32], rhs: &[u32], len: usize, tile: Tile) {
        // SAFETY: as promised by the caller.
        unsafe { start::<T>(registers, tile) };
        let (left, left_rest) = lhs.split_at(len * MR);
        let (right, right_rest) = rhs.split_at(len * NR);
        let lefts = left.chunks_exact(2 * TILE).zip(left_rest.chunks_exact(2 * TILE));
        let rights = right.chunks_exact(STEP * NR).zip(right_rest.chunks_exact(STEP * NR));
        for ((a, a_rest), (b, b_rest)) in lefts.zip(rights) {
            T::load::<4>(registers, a, STEP);
            T::load::<5>(registers, &a[TILE..], STEP);
            T::load::<6>(registers, b_rest, NR);
            T::dot::<0, 4, 6>(registers);
            T::dot::<2, 5, 6>(registers);
            T::load::<7>(registers, &b_rest[16..], NR);
            T::dot::<1, 4, 7>(registers);
            T::dot::<3, 5, 7>(registers);
            T::load::<6>(registers, b, NR);
            T::dot::<0, 4, 6>(registers);
            T::dot::<2, 5, 6>(registers);
            T::load::<7>(registers, &b[16..], NR);
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
#[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
unsafe fn square<'a>(tile: Tile) -> Option<&'a mut [f32]> {
    let plain = tile.scale.alpha == 1.0 && [0.0, 1.0].contains(&tile.scale.beta);
    let whole = tile.rows == MR && tile.columns == NR && tile.stride == NR;
    // SAFETY: as promised by the caller.
    (plain && whole).then(|| unsafe { std::slice::from_raw_parts_mut(tile.y, MR * NR) })
}

/// The four sums begin with y where beta is one, or with zero.
///
/// # Safety
/// As [`square`].
#[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
unsafe fn start<T: TileRegisters>(registers: &mut T::Registers, tile: Tile) {
    // SAFETY: as promised by the caller.
    match unsafe { square(tile) } {
        Some(y) if tile.scale.beta == 1.0 => {
            let y: &[u32] = bytemuck::cast_slice(y);
            T::load::<0>(registers, y, NR);
            T::load::<1>(registers, &y[16..], NR);
            T::load::<2>(registers, &y[16 * NR..], NR);
            T::load::<3>(registers, &y[16 * NR + 16..], NR);
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
#[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
unsafe fn finish<T: TileRegisters>(registers: &mut T::Registers, tile: Tile) {
    // SAFETY: as promised by the caller.
    if let Some(y) = unsafe { square(tile) } {
        return store_all::<T>(registers, y);
    }
    let mut sums = [0f32; MR * NR];
    store_all::<T>(registers, &mut sums);
    // SAFETY: as promised by the caller.
    unsafe { tile.update(&sums) };
}

fn store_all<T: TileRegisters>(registers: &mut T::Registers, to: &mut [f32]) {
    T::store::<0>(registers, to, NR);
    T::store::<1>(registers, &mut to[16..], NR);
    T::store::<2>(registers, &mut to[16 * NR..], NR);
    T::store::<3>(registers, &mut to[16 * NR + 16..], NR);
}
