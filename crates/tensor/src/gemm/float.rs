//! Products of the two floats that CPU code computes in.

use super::gemm_crate;
use super::operand::{Gemm, Precision};
use super::select::backend;
use super::unpacked::UnpackedGemm;

/// A float that products are computed in.
pub(crate) trait GemmFloat: UnpackedGemm {
    /// Updates y. Panics if an operand or `y` is too small for the sizes.
    fn gemm(precision: Precision, product: &Gemm<'_, Self>, y: &mut [Self]) {
        assert!(product.fits(y), "operands and output are large enough");
        let (s, beta) = (product.sizes, product.scale.beta.to_f64());
        if s.k == 0 {
            for v in &mut y[..s.m * s.n] {
                *v = Self::from_f64(if beta == 0.0 { 0.0 } else { beta * v.to_f64() });
            }
        } else if s.m > 0 && s.n > 0 {
            Self::compute(precision, product, y);
        }
    }

    /// The same, where everything fits and there is something to sum.
    fn compute(precision: Precision, product: &Gemm<'_, Self>, y: &mut [Self]);
}

impl GemmFloat for f32 {
    fn compute(precision: Precision, product: &Gemm<'_, f32>, y: &mut [f32]) {
        backend(precision).gemm(product, y);
    }
}

impl GemmFloat for f64 {
    fn compute(_: Precision, product: &Gemm<'_, f64>, y: &mut [f64]) {
        gemm_crate::gemm(product, y);
    }
}
