//! The registers of the processor.
#![expect(unsafe_code, reason = "tile instructions have no safe form")]
use super::registers::{STEP, TileRegisters};
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

/// The registers of the processor.
pub(in super::super) struct Amx;

/// Configured registers of this thread. Dropping gives them back, so that the system need not save them.
pub(in super::super) struct Configured(());

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: the instruction only resets the registers, and `begin` made sure that they are there.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

/// True if the processor has bf16 tiles and the system lets this process use them (threads inherit the permission).
pub(in super::super) fn available() -> bool {
    const TILE: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    const OSXSAVE: u32 = 1 << 27;
    let there =
        __cpuid(0).eax >= 7 && __cpuid(1).ecx & OSXSAVE != 0 && __cpuid_count(7, 0).edx & (TILE | BF16) == TILE | BF16;
    there && super::super::cpu::has_avx512_bf16() && permitted()
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

impl TileRegisters for Amx {
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
            by_number!(T, 0 => load!("tmm0", from, stride), 1 => load!("tmm1", from, stride),
                2 => load!("tmm2", from, stride), 3 => load!("tmm3", from, stride),
                4 => load!("tmm4", from, stride), 5 => load!("tmm5", from, stride),
                6 => load!("tmm6", from, stride), 7 => load!("tmm7", from, stride));
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
