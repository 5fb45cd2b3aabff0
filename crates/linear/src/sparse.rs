//! Sparse matrices by rows, and products with sixteen dense columns at once.

use crate::weights::{LANES, Lane};
use rayon::prelude::*;

/// Rows of one task of a product; the split depends on the shape alone.
const ROWS: usize = 256;

/// A sparse matrix in compressed sparse rows (CSR), as scikit-learn's `csr_matrix`.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseMatrix {
    columns: usize,
    /// Where each row begins in `indices` and `values`, then their length.
    starts: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl SparseMatrix {
    /// A matrix of rows of (column, value); columns rise within a row and are below `columns`.
    pub(crate) fn from_rows(columns: usize, rows: &[Vec<(u32, f32)>]) -> SparseMatrix {
        let count = rows.iter().map(Vec::len).sum();
        let mut starts = Vec::with_capacity(rows.len() + 1);
        let (mut indices, mut values) = (Vec::with_capacity(count), Vec::with_capacity(count));
        starts.push(0);
        for row in rows {
            indices.extend(row.iter().map(|cell| cell.0));
            values.extend(row.iter().map(|cell| cell.1));
            starts.push(indices.len());
        }
        SparseMatrix { columns, starts, indices, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Values that are stored.
    pub fn stored(&self) -> usize {
        self.values.len()
    }

    /// Column and value of what a row holds, in the order of the columns.
    pub fn row(&self, row: usize) -> impl Iterator<Item = (usize, f32)> {
        let cells = self.starts[row]..self.starts[row + 1];
        self.indices[cells.clone()].iter().map(|i| *i as usize).zip(self.values[cells].iter().copied())
    }

    /// Rows as columns, and columns as rows.
    pub(crate) fn transposed(&self) -> SparseMatrix {
        let mut starts = vec![0; self.columns + 1];
        for column in &self.indices {
            starts[*column as usize + 1] += 1;
        }
        for i in 0..self.columns {
            starts[i + 1] += starts[i];
        }
        let (mut indices, mut values) = (vec![0; self.stored()], vec![0.0; self.stored()]);
        let mut next = starts.clone();
        for row in 0..self.rows() {
            for (column, value) in self.row(row) {
                indices[next[column]] = row as u32;
                values[next[column]] = value;
                next[column] += 1;
            }
        }
        SparseMatrix { columns: self.rows(), starts, indices, values }
    }

    /// `X W + b`, a lane for each row; `weights` holds those of the features first.
    pub(crate) fn times(&self, weights: &[Lane], b: Lane) -> Vec<Lane> {
        let row = |row| {
            let mut out = b;
            self.accumulate(row, weights, &mut out);
            out
        };
        (0..self.rows()).into_par_iter().with_min_len(ROWS).map(row).collect()
    }

    /// The mean of each column of the matrix that this one is the transpose of.
    pub(crate) fn means_of_rows(&self) -> Vec<f32> {
        let mean = |row| self.row(row).map(|cell| f64::from(cell.1)).sum::<f64>() / self.columns as f64;
        (0..self.rows()).into_par_iter().with_min_len(ROWS).map(|row| mean(row) as f32).collect()
    }

    /// Adds the product of a row with `dense` to `out`.
    pub(crate) fn accumulate(&self, row: usize, dense: &[Lane], out: &mut Lane) {
        let mut sum = out.0;
        for (column, value) in self.row(row) {
            let lane = &dense[column].0;
            for i in 0..LANES {
                sum[i] += value * lane[i];
            }
        }
        out.0 = sum;
    }
}
