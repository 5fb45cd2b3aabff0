//! Counts behind F1, as lists of rows so that a resample only sums weights.

use crate::ranking::{Lanes, add_rows};

/// Rows of one class or label where prediction and truth agree or differ; rows that are neither are not kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confusion {
    both: Vec<u32>,
    predicted_only: Vec<u32>,
    actual_only: Vec<u32>,
}

/// Weights of the cells of a [`Confusion`], per lane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cells<const L: usize> {
    pub(crate) both: [u32; L],
    pub(crate) predicted_only: [u32; L],
    pub(crate) actual_only: [u32; L],
}

impl Confusion {
    /// Adds row `row`.
    pub(crate) fn push(&mut self, row: u32, predicted: bool, actual: bool) {
        match (predicted, actual) {
            (true, true) => self.both.push(row),
            (true, false) => self.predicted_only.push(row),
            (false, true) => self.actual_only.push(row),
            (false, false) => {}
        }
    }

    /// Sums the weights of each cell.
    pub(crate) fn cells<const L: usize>(&self, weights: &[Lanes<L>]) -> Cells<L> {
        Cells {
            both: add_rows([0; L], &self.both, weights),
            predicted_only: add_rows([0; L], &self.predicted_only, weights),
            actual_only: add_rows([0; L], &self.actual_only, weights),
        }
    }
}

/// `2 both / (2 both + predicted only + actual only)`, and 0 where nothing is predicted and nothing is there.
pub(crate) fn f1_of(both: u64, wrong: u64) -> f64 {
    match 2 * both + wrong {
        0 => 0.0,
        all => (2 * both) as f64 / all as f64,
    }
}
