//! The product by tiles of y, for any sizes: the kernel of this crate.

use super::sizes::Sizes;
use crate::launch::{Float4, Launch, Operand, grid};
use crate::packed_half::upcast;
use clinpeft_tensor::Result;
use cubecl::prelude::*;

/// Side of the square of y that a cube computes.
pub(super) const TILE: usize = 64;
/// Length of the sums that a cube holds in shared memory at a time.
const DEPTH: usize = 16;
/// Side of the square of y that a unit computes.
const SIDE: usize = 8;
/// Units of a cube.
const CUBE: u32 = ((TILE / SIDE) * (TILE / SIDE)) as u32;

/// The product by tiles of y, for any sizes.
pub(super) fn tiles<R: Runtime>(work: &Launch<'_, R>, [a, b]: [&Operand; 2], y: &Operand, sizes: &Sizes) -> Result<()> {
    let (a, b) = (upcast(work, a)?, upcast(work, b)?);
    let [sa, sb, sy] = sizes.strides();
    let cubes = sizes.batch * sizes.rows.div_ceil(TILE) * sizes.columns.div_ceil(TILE);
    work.run(|compute| {
        tile_product::launch::<R>(
            compute,
            grid(cubes),
            CubeDim::new_1d(CUBE),
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
pub(crate) fn tile_product(
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
        let mut from_a = SharedMemory::<Float4>::new(comptime!(TILE * DEPTH / 4));
        let mut from_b = SharedMemory::<Float4>::new(comptime!(TILE * DEPTH / 4));
        let mut sums = Array::<Float4>::new(comptime!(SIDE * SIDE / 4));
        #[unroll]
        for i in 0..comptime!(SIDE * SIDE / 4) {
            sums[i] = Float4::new(0.0);
        }
        let mut k = 0usize;
        while k < left.columns {
            #[unroll]
            for part in 0..comptime!(TILE * DEPTH / 4 / CUBE as usize) {
                let i = unit + part * comptime!(CUBE as usize);
                let (deep, four) = (i % DEPTH, i / DEPTH);
                let mut rows = Float4::new(0.0);
                #[unroll]
                for n in 0..4usize {
                    rows[n] = left.at(a, z, row + four * 4 + n, k + deep);
                }
                from_a[deep * comptime!(TILE / 4) + four] = rows;
                let (deep, four) = (i / comptime!(TILE / 4), i % comptime!(TILE / 4));
                let mut columns = Float4::new(0.0);
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
fn add_products(from_a: &SharedMemory<Float4>, from_b: &SharedMemory<Float4>, sums: &mut Array<Float4>, unit: usize) {
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
                    sums[(i * 4 + n) * comptime!(SIDE / 4) + j] += Float4::new(rows[n]) * columns;
                }
            }
        }
    }
}

#[cube]
fn store(
    sums: &Array<Float4>,
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
