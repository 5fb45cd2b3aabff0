//! Matrix product, all transposes, batched.
//!
//! ```text
//! Normal:           y[m, n] = sum_k a[m, k] b[k, n]
//! RightTransposed:  b is stored [n, k]
//! LeftTransposed:   a is stored [k, m]
//! ```
//! A transposed operand is read through its strides, never copied. The product is that of `cubek-matmul`: in f32 on the plain
//! units, since its strategies for tensor cores would round f32 to TF32. Where products with the right operand may be rounded
//! (`Precision::Bf16`) and the device has tensor cores, both operands are rounded to bf16 once and multiplied there, with sums
//! in f32. Where it refuses, [`tiles`] computes.

mod autotune;
mod kernel;
mod sizes;
mod tiles;

use crate::context::DeviceContext;
use crate::launch::{Launch, Operand};
use crate::packed_half::{to_half, upcast};
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{DType, Precision, Result, Tensor};
use cubecl::prelude::*;
pub(crate) use sizes::Sizes;
use tiles::tiles;

/// Returns y.
pub(crate) fn matmul<R: Runtime>(device: &DeviceContext<R>, a: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
    let sizes = Sizes::new(a, b, layout);
    if sizes.depth == 0 {
        return device.upload(&Tensor::zeros(&sizes.dims(a), DType::F32));
    }
    let work = device.begin("matmul")?;
    let operands = [&work.stored(a)?, &work.stored(b)?];
    let (y, out) = work.output(&sizes.dims(a))?;
    product(&work, operands, &out, &sizes)?;
    Ok(y)
}

/// Writes `a b` to `y`; both may be stored in 16 bits.
pub(crate) fn product<R: Runtime>(
    work: &Launch<'_, R>,
    [a, b]: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
) -> Result<()> {
    work.can_sum(sizes.depth)?;
    if sizes.batch * sizes.rows * sizes.columns == 0 {
        return Ok(());
    }
    let on_cores = b.precision() == Precision::Bf16 && work.device.tensor_cores();
    let (a, b) = if on_cores {
        (to_half(work, a, DType::Bf16)?, to_half(work, b, DType::Bf16)?)
    } else {
        (upcast(work, a)?, upcast(work, b)?)
    };
    if autotune::kernel_for(work, [&a, &b], y, sizes)?.run(work, [&a, &b], y, sizes)? {
        return Ok(());
    }
    tiles(work, [&a, &b], y, sizes)
}

#[cfg(test)]
#[cfg(feature = "vulkan")]
mod tests {
    use super::kernel::MatmulKernel;
    use super::*;
    use crate::launch::{LAVAPIPE_LOOP_LIMIT, LONGEST_SUM, LoopBudget};
    use crate::vulkan::tests::alone;
    use clinpeft_tensor::ops;
    use clinpeft_tensor::rng::{Seed, normal};

    fn random(name: &str, dims: &[usize]) -> Tensor {
        let mut stream = Seed(3).stream(name);
        let values: Vec<f32> = (0..dims.iter().product()).map(|_| normal(&mut stream) as f32).collect();
        Tensor::from_vec(values, dims).unwrap()
    }

    fn operands([z, m, k, n]: [usize; 4], layout: Layout) -> (Tensor, Tensor) {
        let a = if layout == Layout::LeftTransposed { [z, k, m] } else { [z, m, k] };
        let b = if layout == Layout::RightTransposed { [z, n, k] } else { [z, k, n] };
        (random("a", &a), random("b", &b))
    }

    fn assert_close(got: &Tensor, want: &Tensor) {
        assert_eq!(got.dims(), want.dims());
        let (got, want) = (got.to_f64_vec().unwrap(), want.to_f64_vec().unwrap());
        let scale = want.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
        for (g, w) in got.iter().zip(&want) {
            assert!((g - w).abs() <= 2e-5 * scale, "{g} in place of {w}");
        }
    }

    /// Mesa's software driver would leave terms out of longer sums.
    #[test]
    fn long_sums_are_whole_and_longer_ones_an_error() {
        let (_alone, device) = alone();
        let ones = |rows: usize, k: usize| {
            let ones = Tensor::from_vec(vec![1.0f32; rows * k], &[rows, k]).unwrap();
            device.upload(&ones).unwrap()
        };
        for (m, n, k) in [
            (1, 1, LAVAPIPE_LOOP_LIMIT),
            (1, 70, LAVAPIPE_LOOP_LIMIT),
            (70, 2, LAVAPIPE_LOOP_LIMIT),
            (1, 2, LAVAPIPE_LOOP_LIMIT + 1),
            (2, 1, LONGEST_SUM),
        ] {
            let y = matmul(&device, &ones(m, k), &ones(n, k), Layout::RightTransposed).unwrap();
            let y = device.download(&y).unwrap();
            assert!(y.as_slice::<f32>().unwrap().iter().all(|v| *v == k as f32), "{m}x{k}x{n}");
        }
        let a = ones(1, LONGEST_SUM + 1);
        match matmul(&device, &a, &a, Layout::RightTransposed) {
            Ok(_) => assert_eq!(device.loops, LoopBudget::Unlimited),
            Err(e) => assert!(e.to_string().contains("sums of") && e.to_string().contains("\nhint: "), "{e}"),
        }
    }

    /// The conformance suite goes through the one that is chosen, this through all.
    #[test]
    fn every_kernel_agrees_with_the_cpu_in_f64() {
        let (_alone, device) = alone();
        let all = [Layout::Normal, Layout::RightTransposed, Layout::LeftTransposed];
        let sizes = [[1, 1, 1, 1], [2, 37, 101, 53], [3, 64, 16, 64], [1, 130, 5, 70], [2, 1, 200, 3]];
        for (sizes, layout) in sizes.into_iter().flat_map(|s| all.map(|l| (s, l))) {
            let (a, b) = operands(sizes, layout);
            let wide = |t: &Tensor| t.cast(DType::F64).unwrap();
            let want = ops::matmul(&wide(&a), &wide(&b), layout).unwrap();
            let (a, b) = (device.upload(&a).unwrap(), device.upload(&b).unwrap());
            let sizes = Sizes::new(&a, &b, layout);
            let work = device.begin("test").unwrap();
            let operands = [&work.input(&a).unwrap(), &work.input(&b).unwrap()];
            for kernel in MatmulKernel::candidates(DType::F32) {
                let (y, out) = work.output(&sizes.dims(&a)).unwrap();
                assert!(kernel.run(&work, operands, &out, &sizes).unwrap(), "{kernel:?}");
                assert_close(&device.download(&y).unwrap(), &want);
            }
        }
    }
}
