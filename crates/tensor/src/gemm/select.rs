//! Which backend computes products of a precision on this machine.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::amx;
#[cfg(target_arch = "x86_64")]
use super::avx512;
#[cfg(target_arch = "x86_64")]
use super::blocking::Blocked;
use super::gemm_crate::GemmCrate;
use super::operand::{AlphaBeta, CachedPack, Gemm, GemmBackend, MatrixView, Precision, RhsView, Sizes};
use super::prepack::PrepackPolicy;
use std::sync::OnceLock;

/// The best backend of this machine for a precision.
pub(crate) fn backend(precision: Precision) -> &'static dyn GemmBackend {
    CHOSEN.get_or_init(|| PRECISIONS.map(choose))[precision as usize]
}

/// By precision.
static CHOSEN: OnceLock<[&'static dyn GemmBackend; 3]> = OnceLock::new();

const PRECISIONS: [Precision; 3] = [Precision::StrictF32, Precision::F32, Precision::Bf16];

/// Lets one backend compute all products of this process that are exact enough with it; for comparisons, before the first
/// product. False if this machine lacks it, or a product came first.
pub fn force_isa(isa: &str) -> bool {
    let find = |precision| backends(precision).into_iter().find(|b| b.isa() == isa);
    let there = PRECISIONS.iter().any(|precision| find(*precision).is_some());
    there && CHOSEN.set(PRECISIONS.map(|precision| find(precision).unwrap_or_else(|| choose(precision)))).is_ok()
}

/// The backend for [`Precision::StrictF32`].
pub(super) fn strict() -> &'static dyn GemmBackend {
    backend(Precision::StrictF32)
}

/// Instruction set of the backend that computes products of this precision here.
pub fn isa(precision: Precision) -> &'static str {
    backend(precision).isa()
}

impl PrepackPolicy {
    /// Bytes of the packs of a weight `[n, k]` for a precision on this machine.
    pub fn bytes(self, precision: Precision, n: usize, k: usize) -> usize {
        match self {
            PrepackPolicy::PerCall => 0,
            PrepackPolicy::Cached => size_of::<u32>() * backend(precision).packed_len(k, n),
        }
    }
}

/// The first of the backends, fastest first, that the machine has and that gives the right results on it.
fn choose(precision: Precision) -> &'static dyn GemmBackend {
    let all = backends(precision);
    let trusted = all.iter().find(|b| reproduces_a_reference(**b, precision));
    *trusted.unwrap_or(&all[all.len() - 1])
}

/// All backends of this machine that may compute products of this precision, fastest first; the last is [`GemmCrate`].
pub(super) fn backends(precision: Precision) -> Vec<&'static dyn GemmBackend> {
    let mut all: Vec<&'static dyn GemmBackend> = Vec::new();
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    if precision != Precision::StrictF32 && amx::available() {
        static BF16: Blocked<amx::Bf16<amx::Amx>, { amx::MR }> = Blocked(amx::Bf16::new());
        static SPLIT: Blocked<amx::SplitF32<amx::Amx>, { amx::MR }> = Blocked(amx::SplitF32::new(strict));
        all.push(if precision == Precision::Bf16 { &BF16 } else { &SPLIT });
    }
    #[cfg(target_arch = "x86_64")]
    {
        if precision == Precision::Bf16 && super::cpu::has_fast_avx512_bf16() {
            all.push(&Blocked(avx512::DotBf16));
        }
        if super::cpu::has_avx512() {
            all.push(&Blocked(avx512::Fma));
        }
    }
    all.push(&GemmCrate);
    all
}

/// Largest error of a sum of `k` products relative to the sum of the sizes of its terms: what operands lose, and one
/// rounding to f32 for each addition and a few besides.
pub(super) fn tolerance(precision: Precision, k: usize) -> f64 {
    let operands = match precision {
        Precision::StrictF32 => 0.0,
        // Two bf16 hold 16 bits of each operand, and the product of both remainders, as large again, is left out.
        Precision::F32 => 3.0 / 65536.0,
        // Each operand keeps 8 bits.
        Precision::Bf16 => 2.0 / 256.0 + 2e-5,
    };
    operands + (k + 4) as f64 * f64::from(f32::EPSILON) / 2.0
}

/// A processor may promise instructions that the hypervisor or the system does not give: a small product tells.
pub(super) fn reproduces_a_reference(backend: &dyn GemmBackend, precision: Precision) -> bool {
    let sizes = Sizes { m: 37, k: 83, n: 45 };
    let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
    let a: Vec<f32> = (0..sizes.m * sizes.k).map(value).collect();
    let b: Vec<f32> = (0..sizes.n * sizes.k).map(|i| value(i + 5)).collect();
    let left = MatrixView { values: &a[..], stride: sizes.k, k_stride: 1 };
    let right = MatrixView { values: &b[..], stride: sizes.k, k_stride: 1 };
    let mut y = vec![f32::NAN; sizes.m * sizes.n];
    let scale = AlphaBeta { alpha: 1.0, beta: 0.0 };
    backend.gemm(&Gemm { a: left, b: RhsView::Same(right), pack: CachedPack::None, sizes, scale }, &mut y);
    (0..sizes.m * sizes.n).all(|at| {
        let (i, j) = (at / sizes.n, at % sizes.n);
        let terms = (0..sizes.k).map(|k| f64::from(left.at(i, k)) * f64::from(right.at(j, k)));
        let (sum, size) = terms.fold((0.0, 0.0), |(s, t), x| (s + x, t + x.abs()));
        (f64::from(y[at]) - sum).abs() <= tolerance(precision, sizes.k) * size
    })
}
