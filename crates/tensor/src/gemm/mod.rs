//! Matrix products on the CPU: one interface, one file for each unit of a machine that can compute them.
//!
//! | file | unit | operands |
//! |---|---|---|
//! | `tiles` | AMX tiles | bf16, or f32 as two bf16 |
//! | `bf16` | AVX512_BF16 `vdpbf16ps` | bf16 |
//! | `avx512` | AVX-512 FMA | f32 |
//! | `portable` | whatever the `gemm` crate finds | f32, f64 |
//!
//! [`Precision`] says how exact a product must be; [`unit`] picks the best unit of this machine that is. `words` orders
//! operands for a unit, `panels` cuts a product into pieces that depend on its shape alone, so that the number of threads
//! changes no bit; `packs` keeps frozen weights in that order. `direct` has the small products of attention, on one thread.

mod avx512;
mod bf16;
mod direct;
mod packs;
mod panels;
mod portable;
#[cfg(test)]
mod tests;
mod tiles;
mod words;

use crate::Element;
pub(crate) use direct::{Columns, Direct};
use half::{bf16 as Bf16, f16 as F16};
pub use packs::PrepackPolicy;
pub(crate) use packs::{Pack, Packs};
pub(crate) use portable::{Kernel, Portable};
use rayon::prelude::*;
use std::sync::OnceLock;

/// How exact products with a frozen weight must be. Sums run in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Precision {
    /// Every product of two f32 is rounded once, as the fused multiply-add of IEEE 754.
    #[default]
    StrictF32,
    /// Errors of the size of f32 (a few millionths of the largest result); f32 may be computed as two bf16.
    F32,
    /// Both operands are rounded to bf16 once.
    Bf16,
}

/// Values of a matrix in a slice: element `(i, k)` is `values[i * across + k * along]`, where the sum runs over `k`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub values: &'a [T],
    pub across: usize,
    pub along: usize,
}

impl<T: Copy> View<'_, T> {
    /// True if rows or columns `..across`, each of `along` values, lie inside.
    pub fn holds(&self, across: usize, along: usize) -> bool {
        across == 0 || along == 0 || (across - 1) * self.across + (along - 1) * self.along < self.values.len()
    }
    pub fn at(&self, i: usize, k: usize) -> T {
        self.values[i * self.across + k * self.along]
    }
    /// Rows as columns.
    pub fn transposed(self) -> Self {
        View { across: self.along, along: self.across, ..self }
    }
    /// The view without its first `i` rows or columns.
    pub fn skip(self, i: usize) -> Self {
        View { values: &self.values[(i * self.across).min(self.values.len())..], ..self }
    }
}

/// The right operand, by columns, as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Right<'a, T> {
    /// In the type of the left operand.
    Same(View<'a, T>),
    /// In bf16.
    Bf16(View<'a, Bf16>),
    /// In IEEE half.
    F16(View<'a, F16>),
}

impl<T: Element> Right<'_, T> {
    fn holds(&self, columns: usize, k: usize) -> bool {
        match self {
            Right::Same(v) => v.holds(columns, k),
            Right::Bf16(v) => v.holds(columns, k),
            Right::F16(v) => v.holds(columns, k),
        }
    }
}

/// Rows, length of the sums, columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub m: usize,
    pub k: usize,
    pub n: usize,
}

/// `y = keep * y + factor * a b`; with `keep` zero, y is not read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Update<T> {
    pub keep: T,
    pub factor: T,
}

/// Where columns of a right operand are kept in the order of a unit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept<'a> {
    /// Nowhere.
    Nowhere,
    /// In this pack, which the product fills if nothing is there yet.
    Here(&'a Pack),
    /// In this pack of the transposed operand, if something is there.
    Turned(&'a Pack),
}

impl Kept<'_> {
    /// Whether something is there.
    fn is_filled(self) -> bool {
        match self {
            Kept::Nowhere => false,
            Kept::Here(pack) | Kept::Turned(pack) => pack.words().is_some(),
        }
    }
}

/// What can compute products of f32.
pub(crate) trait Unit: Sync {
    /// Its name in manifests.
    fn name(&self) -> &'static str;
    /// Updates y `[m, n]` by rows. The caller has checked that the operands are large enough. What is kept is of this `b` and unit.
    fn product(
        &self,
        a: View<'_, f32>,
        b: Right<'_, f32>,
        kept: Kept<'_>,
        y: &mut [f32],
        sizes: Sizes,
        update: Update<f32>,
    );
    /// Words of a pack of `n` columns of `k` values; none for a unit that reads operands where they lie.
    fn words_of_pack(&self, _k: usize, _n: usize) -> usize {
        0
    }
    /// Whether a product with the transposed operand reads its pack.
    fn turns(&self) -> bool {
        false
    }
}

/// Multiplications below which a second thread costs more than it brings.
const SERIAL: usize = 1 << 18;

/// Hands the pieces of a product to the threads, or works on them here where it is small.
fn each<P: Send>(sizes: Sizes, pieces: impl Iterator<Item = P>, work: impl Fn(P) + Sync + Send) {
    if sizes.m * sizes.k * sizes.n <= SERIAL || rayon::current_num_threads() == 1 {
        pieces.for_each(work);
    } else {
        pieces.collect::<Vec<P>>().into_par_iter().with_max_len(1).for_each(work);
    }
}

/// The best unit of this machine for a precision.
pub(crate) fn unit(precision: Precision) -> &'static dyn Unit {
    static CHOSEN: OnceLock<[&'static dyn Unit; 3]> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| [Precision::StrictF32, Precision::F32, Precision::Bf16].map(choose));
    chosen[precision as usize]
}

/// Name of the unit that computes products of this precision here.
pub fn isa(precision: Precision) -> &'static str {
    unit(precision).name()
}

/// The first of the units, fastest first, that the machine has and that gives the right results on it.
fn choose(precision: Precision) -> &'static dyn Unit {
    let all = units(precision);
    let trusted = all.iter().find(|u| reproduces_a_reference(**u, precision));
    *trusted.unwrap_or(&all[all.len() - 1])
}

/// All units of this machine that may compute products of this precision, fastest first; the last is [`Portable`].
fn units(precision: Precision) -> Vec<&'static dyn Unit> {
    let mut all: Vec<&'static dyn Unit> = Vec::new();
    if precision != Precision::StrictF32 {
        all.extend(tiles::unit(precision));
    }
    if precision == Precision::Bf16 {
        all.extend(bf16::unit());
    }
    all.extend(avx512::unit());
    all.push(&Portable);
    all
}

/// Largest error of a sum of `k` products relative to the sum of the sizes of its terms: what operands lose, and one
/// rounding to f32 for each addition and a few besides.
fn tolerance(precision: Precision, k: usize) -> f64 {
    let operands = match precision {
        Precision::StrictF32 => 0.0,
        // Two bf16 hold 16 bits of each operand, and the product of both remainders, as large again, is left out.
        Precision::F32 => 3.0 / 65536.0,
        // Each operand keeps 8 bits.
        Precision::Bf16 => 2.0 / 256.0 + 2e-5,
    };
    operands + (k + 4) as f64 * f64::from(f32::EPSILON) / 2.0
}

/// A machine may promise a unit that its hypervisor or system does not give: a small product tells.
fn reproduces_a_reference(unit: &dyn Unit, precision: Precision) -> bool {
    let sizes = Sizes { m: 37, k: 83, n: 45 };
    let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5;
    let a: Vec<f32> = (0..sizes.m * sizes.k).map(value).collect();
    let b: Vec<f32> = (0..sizes.n * sizes.k).map(|i| value(i + 5)).collect();
    let left = View { values: &a, across: sizes.k, along: 1 };
    let right = View { values: &b, across: sizes.k, along: 1 };
    let mut y = vec![f32::NAN; sizes.m * sizes.n];
    unit.product(left, Right::Same(right), Kept::Nowhere, &mut y, sizes, Update { keep: 0.0, factor: 1.0 });
    (0..sizes.m * sizes.n).all(|at| {
        let (i, j) = (at / sizes.n, at % sizes.n);
        let terms = (0..sizes.k).map(|k| f64::from(left.at(i, k)) * f64::from(right.at(j, k)));
        let (sum, size) = terms.fold((0.0, 0.0), |(s, t), x| (s + x, t + x.abs()));
        (f64::from(y[at]) - sum).abs() <= tolerance(precision, sizes.k) * size
    })
}

/// Two floats that products are computed in.
pub(crate) trait Multiply: Element {
    /// See [`Update`]. Panics if an operand or `y` is too small for `sizes`.
    fn multiply(
        precision: Precision,
        a: View<'_, Self>,
        b: Right<'_, Self>,
        kept: Kept<'_>,
        y: &mut [Self],
        sizes: Sizes,
        update: Update<Self>,
    );
}

impl Multiply for f32 {
    fn multiply(
        precision: Precision,
        a: View<'_, f32>,
        b: Right<'_, f32>,
        kept: Kept<'_>,
        y: &mut [f32],
        sizes: Sizes,
        update: Update<f32>,
    ) {
        check(&a, &b, y, sizes);
        if !without_a_sum(y, sizes, update) {
            unit(precision).product(a, b, kept, y, sizes, update);
        }
    }
}

impl Multiply for f64 {
    fn multiply(
        _: Precision,
        a: View<'_, f64>,
        b: Right<'_, f64>,
        _: Kept<'_>,
        y: &mut [f64],
        sizes: Sizes,
        update: Update<f64>,
    ) {
        check(&a, &b, y, sizes);
        if !without_a_sum(y, sizes, update) {
            portable::product(a, b, y, sizes, update);
        }
    }
}

fn check<T: Element>(a: &View<'_, T>, b: &Right<'_, T>, y: &[T], s: Sizes) {
    assert!(a.holds(s.m, s.k) && b.holds(s.n, s.k), "operands are large enough");
    assert!(s.m * s.n <= y.len(), "output is large enough");
}

/// Handles products without any element or term.
fn without_a_sum<T: Element>(y: &mut [T], s: Sizes, update: Update<T>) -> bool {
    if s.k == 0 {
        for v in &mut y[..s.m * s.n] {
            let kept = if update.keep.to_f64() == 0.0 { 0.0 } else { update.keep.to_f64() * v.to_f64() };
            *v = T::from_f64(kept);
        }
    }
    s.m == 0 || s.n == 0 || s.k == 0
}
