//! The two float types that CPU code computes in, and the few functions it needs of them.

use crate::Element;
use crate::gemm::GemmFloat;
use crate::special::{erf32, erf64, exp32};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

/// `f32` or `f64`. Kernels are written once over this trait.
pub(crate) trait Real:
    Element
    + GemmFloat
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + Sum
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Minus infinity.
    const NEG_INFINITY: Self;
    /// e to the power of self, written so that a loop over it vectorises.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + self).
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// The larger of both; NaN wins.
    fn larger(self, other: Self) -> Self;
}

macro_rules! real {
    ($t:ident, $exp:path, $erf:path) => {
        impl Real for $t {
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            const NEG_INFINITY: $t = $t::NEG_INFINITY;
            #[inline(always)]
            fn exp(self) -> $t {
                $exp(self)
            }
            #[inline(always)]
            fn ln(self) -> $t {
                $t::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> $t {
                $t::ln_1p(self)
            }
            #[inline(always)]
            fn sqrt(self) -> $t {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn erf(self) -> $t {
                $erf(self)
            }
            #[inline(always)]
            fn larger(self, other: $t) -> $t {
                if self > other || self.is_nan() { self } else { other }
            }
        }
    };
}
real!(f32, exp32, erf32);
real!(f64, f64::exp, erf64);

/// Sum of products in 16 partial sums, so that the order is fixed and the loop vectorises.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    let mut lanes = [T::ZERO; 16];
    let (ca, cb) = (a.chunks_exact(16), b.chunks_exact(16));
    let (ra, rb) = (ca.remainder(), cb.remainder());
    for (x, y) in ca.zip(cb) {
        for i in 0..16 {
            lanes[i] += x[i] * y[i];
        }
    }
    let mut total: T = lanes.iter().copied().sum();
    for (x, y) in ra.iter().zip(rb) {
        total += *x * *y;
    }
    total
}

/// All elements by `f`, in 16 lanes that are combined at the end, whatever the width of the machine's vectors.
#[inline(always)]
fn fold<T: Real>(a: &[T], start: T, f: impl Fn(T, T) -> T) -> T {
    let mut lanes = [start; 16];
    let chunks = a.chunks_exact(16);
    let rest = chunks.remainder();
    for x in chunks {
        for i in 0..16 {
            lanes[i] = f(lanes[i], x[i]);
        }
    }
    lanes.iter().chain(rest).fold(start, |all, x| f(all, *x))
}

/// Sum of the elements.
#[inline(always)]
pub fn sum<T: Real>(a: &[T]) -> T {
    fold(
        a,
        T::ZERO,
        #[inline(always)]
        |sum, x| sum + x,
    )
}

/// Largest element; minus infinity for none; NaN if any is.
#[inline(always)]
pub fn largest<T: Real>(a: &[T]) -> T {
    fold(
        a,
        T::NEG_INFINITY,
        #[inline(always)]
        |most, x| x.larger(most),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_exp_is_close_to_the_library() {
        let mut worst = 0f64;
        for i in -8600..=8700 {
            let x = i as f32 * 0.01;
            let want = f64::from(x).exp();
            worst = worst.max((f64::from(Real::exp(x)) - want).abs() / want);
        }
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(Real::exp(0f32), 1.0);
        assert_eq!(Real::exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp(f32::INFINITY), f32::INFINITY);
        assert!(Real::exp(f32::NAN).is_nan());
    }

    #[test]
    fn dot_takes_odd_lengths() {
        for n in [0, 1, 15, 16, 17, 33] {
            let a: Vec<f64> = (0..n).map(f64::from).collect();
            let want: f64 = a.iter().map(|x| x * x).sum();
            assert_eq!(dot(&a, &a), want);
        }
    }
}
