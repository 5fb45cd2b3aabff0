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

mod choice;

pub(crate) use choice::Choices;

use crate::client::Client;
use crate::narrow::{narrowed, widened};
use crate::work::{Four, Operand, Work, grid};
use choice::Way;
use clinpeft_tensor::ops::Layout;
use clinpeft_tensor::{DType, Precision, Result, Tensor};
use cubecl::prelude::*;
use cubek_matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek_matmul::launch::{Strategy, launch_ref};
use cubek_std::InputBinding;

/// Side of the square of y that a cube computes.
const TILE: usize = 64;
/// Length of the sums that a cube holds in shared memory at a time.
const DEPTH: usize = 16;
/// Side of the square of y that a unit computes.
const SIDE: usize = 8;
/// Units of a cube.
const SQUARES: u32 = ((TILE / SIDE) * (TILE / SIDE)) as u32;

/// Returns y.
pub(crate) fn matmul<R: Runtime>(device: &Client<R>, a: &Tensor, b: &Tensor, layout: Layout) -> Result<Tensor> {
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
pub(crate) fn product<R: Runtime>(work: &Work<'_, R>, [a, b]: [&Operand; 2], y: &Operand, sizes: &Sizes) -> Result<()> {
    work.can_sum(sizes.depth)?;
    if sizes.batch * sizes.rows * sizes.columns == 0 {
        return Ok(());
    }
    let on_cores = b.precision() == Precision::Bf16 && work.client.tensor_cores();
    let (a, b) = if on_cores {
        (narrowed(work, a, DType::Bf16)?, narrowed(work, b, DType::Bf16)?)
    } else {
        (widened(work, a)?, widened(work, b)?)
    };
    let way = choice::way(work, [&a, &b], y, sizes)?;
    if ready_made(work, [&a, &b], y, sizes, way)? {
        return Ok(());
    }
    tiles(work, [&a, &b], y, sizes)
}

/// Lengths, and how the operands are stored.
pub(crate) struct Sizes {
    batch: usize,
    rows: usize,
    depth: usize,
    columns: usize,
    layout: Layout,
    /// Distances of the rows of a, b and y as they are stored.
    row: [usize; 3],
}

impl Sizes {
    /// From operands that the contract has checked.
    fn new(a: &Tensor, b: &Tensor, layout: Layout) -> Sizes {
        let last_two = |t: &Tensor| match t.dims() {
            [.., r, c] => (*r, *c),
            _ => (1, t.count()),
        };
        let (left, right) = (last_two(a), last_two(b));
        let (rows, depth) = if layout == Layout::LeftTransposed { (left.1, left.0) } else { left };
        let columns = if layout == Layout::RightTransposed { right.0 } else { right.1 };
        let batch = if a.dims().len() == 3 { a.dims()[0] } else { 1 };
        Sizes { batch, ..Sizes::plain(layout, rows, depth, columns) }
    }

    /// One product: y `[rows, columns]`, sums of `depth` terms.
    pub(crate) fn plain(layout: Layout, rows: usize, depth: usize, columns: usize) -> Sizes {
        let a = if layout == Layout::LeftTransposed { rows } else { depth };
        let b = if layout == Layout::RightTransposed { depth } else { columns };
        Sizes { batch: 1, rows, depth, columns, layout, row: [a, b, columns] }
    }

    /// The same with rows of an operand (a, b or y) that lie `distance` apart, as those of a part of the columns do.
    pub(crate) fn with_row(mut self, operand: usize, distance: usize) -> Sizes {
        self.row[operand] = distance;
        self
    }

    /// Shape of y.
    fn dims(&self, a: &Tensor) -> Vec<usize> {
        if a.dims().len() == 3 { vec![self.batch, self.rows, self.columns] } else { vec![self.rows, self.columns] }
    }

    /// Strides (batch, row, column) of a, b and y, whatever is transposed.
    fn strides(&self) -> [[usize; 3]; 3] {
        let (m, k, n) = (self.rows, self.depth, self.columns);
        let [a, b, y] = self.row;
        let left = if self.layout == Layout::LeftTransposed { [m * k, 1, a] } else { [m * k, a, 1] };
        let right = if self.layout == Layout::RightTransposed { [k * n, 1, b] } else { [k * n, b, 1] };
        [left, right, [m * n, y, 1]]
    }
}

/// The product in one of the ways, of operands in f32 or both in bf16. False if `cubek-matmul` refuses these sizes.
fn ready_made<R: Runtime>(
    work: &Work<'_, R>,
    operands: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
    way: Way,
) -> Result<bool> {
    match way.strategy() {
        None => tiles(work, operands, y, sizes).map(|()| true),
        Some(strategy) => work.run(|compute| launched(compute, &strategy, operands, y, sizes)),
    }
}

/// Whether `cubek-matmul` takes the product.
fn launched<R: Runtime>(
    compute: &ComputeClient<R>,
    strategy: &Strategy,
    [a, b]: [&Operand; 2],
    y: &Operand,
    sizes: &Sizes,
) -> bool {
    let (z, m, k, n) = (sizes.batch, sizes.rows, sizes.depth, sizes.columns);
    let [sa, sb, sy] = sizes.strides();
    let views = (a.matrices([z, m, k], sa), b.matrices([z, k, n], sb), y.matrices([z, m, n], sy));
    let (Some(left), Some(right), Some(out)) = views else {
        return false;
    };
    let float = f32::cube_type();
    // It has no instruction for operands of two types, and takes none but those of the values themselves.
    let stored = if a.dtype() == DType::Bf16 { half::bf16::cube_type() } else { float };
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs: stored, rhs: stored, out: float });
    let (left, right) = (InputBinding::Normal(left, stored), InputBinding::Normal(right, stored));
    launch_ref(strategy, compute, left, right, out, &mut types).is_ok()
}

/// The product by squares of y, for any sizes.
fn tiles<R: Runtime>(work: &Work<'_, R>, [a, b]: [&Operand; 2], y: &Operand, sizes: &Sizes) -> Result<()> {
    let (a, b) = (widened(work, a)?, widened(work, b)?);
    let [sa, sb, sy] = sizes.strides();
    let cubes = sizes.batch * sizes.rows.div_ceil(TILE) * sizes.columns.div_ceil(TILE);
    work.run(|compute| {
        squares::launch::<R>(
            compute,
            grid(cubes),
            CubeDim::new_1d(SQUARES),
            a.array(),
            b.array(),
            y.array(),
            MatricesLaunch::new(sizes.rows, sizes.depth, sa[1], sa[2]),
            MatricesLaunch::new(sizes.depth, sizes.columns, sb[1], sb[2]),
            sizes.batch,
            sy[1],
        );
    })
}

/// How a batch of matrices is stored.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Matrices {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

#[cube]
impl Matrices {
    /// An element, or zero outside of the matrix.
    fn at(&self, values: &Array<f32>, batch: usize, row: usize, column: usize) -> f32 {
        let mut value = 0.0f32;
        if row < self.rows && column < self.columns {
            let first = batch * self.rows * self.columns;
            value = values[first + row * self.row_stride + column * self.column_stride];
        }
        value
    }
}

/// A cube computes one square of y: `TILE` rows of a and columns of b, `DEPTH` deep, go through shared memory, where four rows
/// or columns lie side by side. All loops but the one over the depth are unrolled, which keeps `LONGEST_SUM`.
#[cube(launch)]
pub(crate) fn squares(
    a: &Array<f32>,
    b: &Array<f32>,
    y: &mut Array<f32>,
    left: Matrices,
    right: Matrices,
    batch: usize,
    y_stride: usize,
) {
    let across = right.columns.div_ceil(TILE);
    let of_one = left.rows.div_ceil(TILE) * across;
    let z = CUBE_POS / of_one;
    let row = CUBE_POS % of_one / across * TILE;
    let column = CUBE_POS % across * TILE;
    // The same for all units of a cube.
    if z < batch {
        let unit = UNIT_POS as usize;
        let own_row = row + unit / comptime!(TILE / SIDE) * SIDE;
        let own_column = column + unit % comptime!(TILE / SIDE) * SIDE;
        let mut from_a = SharedMemory::<Four>::new(comptime!(TILE * DEPTH / 4));
        let mut from_b = SharedMemory::<Four>::new(comptime!(TILE * DEPTH / 4));
        let mut sums = Array::<Four>::new(comptime!(SIDE * SIDE / 4));
        #[unroll]
        for i in 0..comptime!(SIDE * SIDE / 4) {
            sums[i] = Four::new(0.0);
        }
        let mut k = 0usize;
        while k < left.columns {
            #[unroll]
            for part in 0..comptime!(TILE * DEPTH / 4 / SQUARES as usize) {
                let i = unit + part * comptime!(SQUARES as usize);
                let (deep, four) = (i % DEPTH, i / DEPTH);
                let mut rows = Four::new(0.0);
                #[unroll]
                for n in 0..4usize {
                    rows[n] = left.at(a, z, row + four * 4 + n, k + deep);
                }
                from_a[deep * comptime!(TILE / 4) + four] = rows;
                let (deep, four) = (i / comptime!(TILE / 4), i % comptime!(TILE / 4));
                let mut columns = Four::new(0.0);
                #[unroll]
                for n in 0..4usize {
                    columns[n] = right.at(b, z, k + deep, column + four * 4 + n);
                }
                from_b[i] = columns;
            }
            sync_cube();
            if own_row < left.rows && own_column < right.columns {
                add_products(&from_a, &from_b, &mut sums, unit);
            }
            sync_cube();
            k += DEPTH;
        }
        store(&sums, y, z * left.rows, row, column, left.rows, right.columns, y_stride);
    }
}

/// Adds what the parts in shared memory give to the square of this unit.
#[cube]
fn add_products(from_a: &SharedMemory<Four>, from_b: &SharedMemory<Four>, sums: &mut Array<Four>, unit: usize) {
    let across = comptime!(TILE / SIDE);
    let (row, column) = (unit / across * comptime!(SIDE / 4), unit % across * comptime!(SIDE / 4));
    #[unroll]
    for k in 0..DEPTH {
        let first = k * comptime!(TILE / 4);
        #[unroll]
        for i in 0..SIDE / 4 {
            let rows = from_a[first + row + i];
            #[unroll]
            for j in 0..SIDE / 4 {
                let columns = from_b[first + column + j];
                #[unroll]
                for n in 0..4usize {
                    sums[(i * 4 + n) * comptime!(SIDE / 4) + j] += Four::new(rows[n]) * columns;
                }
            }
        }
    }
}

#[cube]
fn store(
    sums: &Array<Four>,
    y: &mut Array<f32>,
    before: usize,
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
    stride: usize,
) {
    let across = comptime!(TILE / SIDE);
    let unit = UNIT_POS as usize;
    let (r, c) = (row + unit / across * SIDE, column + unit % across * SIDE);
    #[unroll]
    for i in 0..SIDE {
        #[unroll]
        for j in 0..SIDE {
            if r + i < rows && c + j < columns {
                y[(before + r + i) * stride + c + j] = sums[i * comptime!(SIDE / 4) + j / 4][j % 4];
            }
        }
    }
}

#[cfg(test)]
#[cfg(feature = "vulkan")]
mod tests {
    use super::*;
    use crate::vulkan::tests::alone;
    use crate::work::{LONGEST_SUM, Loops, TURNS};
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
        for (m, n, k) in [(1, 1, TURNS), (1, 70, TURNS), (70, 2, TURNS), (1, 2, TURNS + 1), (2, 1, LONGEST_SUM)] {
            let y = matmul(&device, &ones(m, k), &ones(n, k), Layout::RightTransposed).unwrap();
            let y = device.download(&y).unwrap();
            assert!(y.as_slice::<f32>().unwrap().iter().all(|v| *v == k as f32), "{m}x{k}x{n}");
        }
        let a = ones(1, LONGEST_SUM + 1);
        match matmul(&device, &a, &a, Layout::RightTransposed) {
            Ok(_) => assert_eq!(device.loops, Loops::Free),
            Err(e) => assert!(e.to_string().contains("sums of") && e.to_string().contains("\nhint: "), "{e}"),
        }
    }

    /// The conformance suite goes through the one that is chosen, this through all.
    #[test]
    fn every_way_agrees_with_the_cpu_in_f64() {
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
            for way in Way::candidates(DType::F32) {
                let (y, out) = work.output(&sizes.dims(&a)).unwrap();
                assert!(ready_made(&work, operands, &out, &sizes, *way).unwrap(), "{way:?}");
                assert_close(&device.download(&y).unwrap(), &want);
            }
        }
    }
}
