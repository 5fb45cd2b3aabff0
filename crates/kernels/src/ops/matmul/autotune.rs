//! Autotuning: the fastest kernel for a shape, measured once and cached.
//!
//! A kernel is a candidate only if the first tile of its result agrees with that of [`tiles`].

use super::kernel::{MatmulKernel, launch_cubek};
use super::sizes::Sizes;
use super::tiles::{TILE, tiles};
use crate::launch::{LAVAPIPE_LOOP_LIMIT, Launch, LoopBudget, Operand};
use crate::ops::concat::copy;
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{DType, Result};
use cubecl::Runtime;
use std::time::{Duration, Instant};

/// Products that are smaller in some direction are computed by [`tiles`] on a software driver.
const LARGE: usize = 128;

/// The kernel for these operands.
pub(super) fn kernel_for<R: Runtime>(
    work: &Launch<'_, R>,
    operands: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
) -> Result<MatmulKernel> {
    if work.device.loops == LoopBudget::Limited {
        // Times of a software driver say nothing. `cubek-matmul` wastes most of its large tiles on narrow products, compiles for
        // many shapes, and its number of terms per iteration is unknown.
        let large = [sizes.rows, sizes.columns, sizes.depth].iter().all(|n| *n >= LARGE);
        return Ok(if large && sizes.depth <= LAVAPIPE_LOOP_LIMIT { MatmulKernel::Units } else { MatmulKernel::Tiles });
    }
    let key = key(sizes, operands[0].dtype());
    if let Some(name) = work.device.autotune.get(&key) {
        let candidates = MatmulKernel::candidates(operands[0].dtype());
        if let Some(kernel) = candidates.iter().find(|kernel| format!("{kernel:?}") == name) {
            return Ok(*kernel);
        }
    }
    let kernel = autotune(work, operands, y, sizes)?;
    work.device.autotune.set(key, format!("{kernel:?}"))?;
    Ok(kernel)
}

/// Rows differ from batch to batch, so they count by powers of two.
fn key(s: &Sizes, operands: DType) -> String {
    let layout = match s.layout {
        Layout::Normal => "normal",
        Layout::RightTransposed => "right",
        Layout::LeftTransposed => "left",
    };
    // In a weight's gradient the rows are the terms.
    let [rows, depth] = match s.layout {
        Layout::LeftTransposed => [s.rows, s.depth.next_power_of_two()],
        _ => [s.rows.next_power_of_two(), s.depth],
    };
    format!("{} x {rows} x {depth} x {} {layout} {operands:?}", s.batch.next_power_of_two(), s.columns)
}

/// Tries every kernel that the device and `cubek-matmul` allow.
pub(super) fn autotune<R: Runtime>(
    work: &Launch<'_, R>,
    operands: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
) -> Result<MatmulKernel> {
    let first = FirstTile::new(work, operands, sizes)?;
    let mut best: Option<(Duration, MatmulKernel)> = None;
    for kernel in MatmulKernel::candidates(operands[0].dtype()) {
        // The first run compiles. A kernel that is refused, or fails, on this device is none.
        let ran = match kernel.strategy() {
            None => tiles(work, operands, y, sizes).map(|()| true)?,
            Some(strategy) => work.attempt(|compute| launch_cubek(compute, &strategy, operands, y, sizes))?,
        };
        if !ran || !first.is_in(work, y, sizes)? {
            continue;
        }
        let begun = Instant::now();
        for _ in 0..3 {
            kernel.run(work, operands, y, sizes)?;
        }
        work.finish()?;
        let took = begun.elapsed();
        if best.is_none_or(|(shortest, _)| took < shortest) {
            best = Some((took, *kernel));
        }
    }
    Ok(best.map_or(MatmulKernel::Tiles, |(_, kernel)| kernel))
}

/// The first tile of a product as [`tiles`] computes it.
struct FirstTile {
    on_cores: bool,
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

impl FirstTile {
    fn new<R: Runtime>(work: &Launch<'_, R>, [a, b]: [&Operand; 2], sizes: &Sizes) -> Result<FirstTile> {
        let (rows, columns) = (sizes.rows.min(TILE), sizes.columns.min(TILE));
        let part = Sizes { batch: 1, rows, columns, depth: sizes.depth, layout: sizes.layout, row: sizes.row };
        let part = part.with_row(2, columns);
        let y = work.scratch(&[rows, columns])?;
        tiles(work, [a, b], &y, &part)?;
        Ok(FirstTile { on_cores: a.dtype() == DType::Bf16, rows, columns, values: work.read(&y)? })
    }

    /// Whether `y` begins with these numbers, to the order of the sums.
    fn is_in<R: Runtime>(&self, work: &Launch<'_, R>, y: &Operand, sizes: &Sizes) -> Result<bool> {
        let own = work.scratch(&[self.rows, self.columns])?;
        for row in 0..self.rows {
            copy(work, (y, row * sizes.row[2]), (&own, row * self.columns), self.columns)?;
        }
        let scale = self.values.iter().fold(0f32, |m, v| m.max(v.abs()));
        // Tensor cores cut what they add.
        let tolerance = scale * if self.on_cores { 1e-3 } else { 1e-4 };
        let mut pairs = work.read(&own)?.into_iter().zip(&self.values);
        // Not `>`: a NaN must fail.
        Ok(pairs.all(|(got, want)| (got - want).abs() <= tolerance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "vulkan")]
    #[test]
    fn the_chosen_kernel_computes_the_product() {
        use clinpeft_tensor::Tensor;
        let (_alone, device) = crate::vulkan::tests::alone();
        let ones = Tensor::from_vec(vec![1.0f32; 70 * 33], &[70, 33]).unwrap();
        let ones = device.upload(&ones).unwrap();
        let work = device.begin("test").unwrap();
        let sizes = Sizes::plain(Layout::RightTransposed, 70, 33, 70);
        let (a, y) = (work.input(&ones).unwrap(), work.scratch(&[70, 70]).unwrap());
        let kernel = autotune(&work, [&a, &a], &y, &sizes).unwrap();
        assert!(MatmulKernel::candidates(DType::F32).contains(&kernel));
        assert!(kernel.run(&work, [&a, &a], &y, &sizes).unwrap());
        assert!(work.read(&y).unwrap().iter().all(|v| *v == 33.0));
        // A kernel with other numbers is not trusted.
        let first = FirstTile::new(&work, [&a, &a], &sizes).unwrap();
        assert!(first.is_in(&work, &y, &sizes).unwrap());
        let wrong = work.zeros(70 * 70).unwrap();
        assert!(!first.is_in(&work, &wrong, &sizes).unwrap());
    }
}
