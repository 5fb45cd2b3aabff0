//! Matrix product, all transposes, batched.
//!
//! ```text
//! Normal:  y[m, n] = sum_k a[m, k] b[k, n]       da = g b^T (RightTransposed of g, b)     db = a^T g
//! RightTransposed:  b is [n, k]                  da = g b   (Normal)                      db = g^T a
//! LeftTransposed:   a is [k, m]                  da = b g^T                               db = a g
//! ```
//! A third, leading axis of equal length in both operands is a batch. The sum runs in the dtype of `a`, in
//! f32 where that is stored in 16 bits.

use super::{require, same_device};
use crate::buffer::Buffer;
use crate::gemm::{AlphaBeta, CachedPack, Gemm, GemmFloat, MatrixView, Precision, PrepackedWeight, RhsView, Sizes};
use crate::params::Layout;
use crate::real::Real;
use crate::{DType, Device, Element, Error, Result, Tensor};
use half::{bf16, f16};

impl Layout {
    /// The cached pack that a product of this layout reads: the first fills it, the others read it transposed.
    fn pack(self, packs: &PrepackedWeight) -> CachedPack<'_> {
        match self {
            Layout::RightTransposed => CachedPack::Use(&packs.forward),
            Layout::Normal | Layout::LeftTransposed => CachedPack::Transposed(&packs.forward),
        }
    }
    /// The left operand by rows.
    pub(crate) fn left<T>(self, values: &[T], s: Sizes) -> MatrixView<'_, T> {
        match self {
            Layout::LeftTransposed => MatrixView { values, stride: 1, k_stride: s.m },
            Layout::Normal | Layout::RightTransposed => MatrixView { values, stride: s.k, k_stride: 1 },
        }
    }
    /// The right operand by columns.
    pub(crate) fn right<T>(self, values: &[T], s: Sizes) -> MatrixView<'_, T> {
        match self {
            Layout::RightTransposed => MatrixView { values, stride: s.k, k_stride: 1 },
            Layout::Normal | Layout::LeftTransposed => MatrixView { values, stride: 1, k_stride: s.n },
        }
    }
}

/// `y[.., m, n]` from `a` and `b`. Errors if the inner lengths, batches, dtypes or devices differ.
pub fn matmul(a: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
    let (batch, s) = sizes(a, b, layout)?;
    match same_device("matmul", &[a, b])? {
        Device::Other(backend) => backend.matmul(a, b, layout),
        Device::Cpu => {
            upcast!(a);
            by_float!("matmul", a, T => {
            let mut out = Buffer::<T>::uninit(batch * s.m * s.n);
            for (i, y) in out.chunks_exact_mut((s.m * s.n).max(1)).enumerate() {
                let left = layout.left(&a.as_slice::<T>()?[i * s.m * s.k..(i + 1) * s.m * s.k], s);
                let part = i * s.k * s.n..(i + 1) * s.k * s.n;
                let right = match b.dtype() {
                    d if d == T::DTYPE => RhsView::Same(layout.right(&b.as_slice::<T>()?[part], s)),
                    DType::Bf16 => RhsView::Bf16(layout.right(&b.as_slice::<bf16>()?[part], s)),
                    DType::F16 => RhsView::F16(layout.right(&b.as_slice::<f16>()?[part], s)),
                    got => return Err(Error::DType { op: "matmul", expected: format!("{:?}, Bf16 or F16", T::DTYPE), got }),
                };
                let pack = b.prepacked().filter(|_| batch == 1).map_or(CachedPack::None, |packs| layout.pack(packs));
                let scale = AlphaBeta { alpha: T::ONE, beta: T::ZERO };
                T::gemm(b.precision(), &Gemm { a: left, b: right, pack, sizes: s, scale }, y);
            }
            b.evict_packed();
            let mut dims = a.dims()[..a.dims().len() - 2].to_vec();
            dims.extend([s.m, s.n]);
            Tensor::from_buffer(out, &dims)
            })
        }
    }
}

/// The batch and the sizes of one product, or an error.
fn sizes(a: &Tensor, b: &Tensor, layout: Layout) -> Result<(usize, Sizes)> {
    let (da, db) = (a.dims(), b.dims());
    let ranks = da.len() == db.len() && (da.len() == 2 || da.len() == 3);
    require(ranks, "matmul", "two matrices, or two equal batches of them", &[a, b])?;
    let r = da.len() - 2;
    let (m, k) = if layout == Layout::LeftTransposed { (da[r + 1], da[r]) } else { (da[r], da[r + 1]) };
    let (kb, n) = if layout == Layout::RightTransposed { (db[r + 1], db[r]) } else { (db[r], db[r + 1]) };
    require(k == kb && da[..r] == db[..r], "matmul", "equal inner lengths and batches", &[a, b])?;
    Ok((if r == 1 { da[0] } else { 1 }, Sizes { m, k, n }))
}

/// `y = beta * y + alpha * a b`, every product rounded once.
pub(crate) fn gemm<T: Real>(a: &[T], b: &[T], y: &mut [T], sizes: Sizes, layout: Layout, scale: AlphaBeta<T>) {
    let (a, b) = (layout.left(a, sizes), RhsView::Same(layout.right(b, sizes)));
    T::gemm(Precision::StrictF32, &Gemm { a, b, pack: CachedPack::None, sizes, scale }, y);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::PrepackPolicy;
    use proptest::prelude::*;

    fn fill(n: usize, seed: u64) -> Vec<f64> {
        let mut s = clinpeft_rng::Seed(seed).stream("matmul");
        (0..n).map(|_| clinpeft_rng::normal(&mut s)).collect()
    }

    fn naive(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize), layout: Layout) -> Vec<f64> {
        let s = Sizes { m, k, n };
        let (a, b) = (layout.left(a, s), layout.right(b, s));
        (0..m * n).map(|at| (0..k).map(|p| a.at(at / n, p) * b.at(at % n, p)).sum()).collect()
    }

    fn dims(layout: Layout, m: usize, k: usize, n: usize) -> ([usize; 2], [usize; 2]) {
        (
            if layout == Layout::LeftTransposed { [k, m] } else { [m, k] },
            if layout == Layout::RightTransposed { [n, k] } else { [k, n] },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn equals_the_triple_loop(m in 1usize..40, k in 1usize..40, n in 1usize..40, t in 0usize..3) {
            let layout = [Layout::Normal, Layout::RightTransposed, Layout::LeftTransposed][t];
            let (a, b) = (fill(m * k, 1), fill(k * n, 2));
            let want = naive(&a, &b, (m, k, n), layout);
            let (da, db) = dims(layout, m, k, n);
            let y = matmul(&Tensor::from_vec(a, &da).unwrap(), &Tensor::from_vec(b, &db).unwrap(), layout).unwrap();
            for (x, w) in y.as_slice::<f64>().unwrap().iter().zip(&want) {
                prop_assert!((x - w).abs() < 1e-11);
            }
        }
    }

    #[test]
    fn large_products_in_pieces_are_the_same() {
        for (m, k, n) in [(300, 70, 33), (3, 40, 1100), (600, 1, 1), (1, 1100, 5)] {
            for layout in [Layout::Normal, Layout::RightTransposed, Layout::LeftTransposed] {
                let (a, b) = (fill(m * k, 3), fill(k * n, 4));
                let want = naive(&a, &b, (m, k, n), layout);
                let (da, db) = dims(layout, m, k, n);
                let (ta, tb) = (Tensor::from_vec(a, &da).unwrap(), Tensor::from_vec(b, &db).unwrap());
                let y = matmul(&ta, &tb, layout).unwrap();
                for (x, w) in y.as_slice::<f64>().unwrap().iter().zip(&want) {
                    assert!((x - w).abs() < 1e-10);
                }
                let narrow = tb.cast(DType::Bf16).unwrap();
                let y = matmul(&ta, &narrow, layout).unwrap();
                let same = matmul(&ta, &narrow.cast(DType::F64).unwrap(), layout).unwrap();
                for (x, w) in y.as_slice::<f64>().unwrap().iter().zip(same.as_slice::<f64>().unwrap()) {
                    assert!((x - w).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn cached_packs_follow_the_values_and_the_precision() {
        let float = |n: usize, seed: u64| fill(n, seed).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        let x = Tensor::from_vec(float(70 * 530, 1), &[70, 530]).unwrap();
        let g = Tensor::from_vec(float(70 * 600, 2), &[70, 600]).unwrap();
        let mut plain = Tensor::from_vec(float(600 * 530, 3), &[600, 530]).unwrap();
        let mut cached = plain.clone().with_prepack(PrepackPolicy::Cached);
        let bits = |w: &Tensor| -> Vec<u32> {
            let (y, dx) = (matmul(&x, w, Layout::RightTransposed).unwrap(), matmul(&g, w, Layout::Normal).unwrap());
            [y, dx]
                .iter()
                .flat_map(|t| t.as_slice::<f32>().unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                .collect()
        };
        for precision in [Precision::StrictF32, Precision::Bf16, Precision::F32] {
            plain = plain.with_precision(precision);
            cached = cached.with_precision(precision).with_prepack(PrepackPolicy::Cached);
            for _ in 0..2 {
                assert!(bits(&plain) == bits(&cached), "{precision:?}");
            }
        }
        for w in [&mut plain, &mut cached] {
            w.as_mut_slice::<f32>().unwrap()[7] = 3.0;
        }
        assert!(bits(&plain) == bits(&cached) && cached.prepacked().is_none());
    }

    #[test]
    fn wrong_inner_length_is_an_error() {
        let a = Tensor::zeros(&[2, 3], DType::F32);
        assert!(matmul(&a, &Tensor::zeros(&[4, 2], DType::F32), Layout::Normal).is_err());
        assert!(matmul(&a, &Tensor::zeros(&[3, 2], DType::F64), Layout::Normal).is_err());
    }
}
