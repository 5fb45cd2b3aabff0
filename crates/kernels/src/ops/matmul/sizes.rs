//! Lengths and strides of a batched product.

use clinpeft_tensor::Tensor;
use clinpeft_tensor::ops::Layout;

/// Lengths, and how the operands are stored.
pub(crate) struct Sizes {
    pub(super) batch: usize,
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) layout: Layout,
    /// Distances of the rows of a, b and y as they are stored.
    pub(super) row: [usize; 3],
}

impl Sizes {
    /// From operands that the contract has checked.
    pub(super) fn new(a: &Tensor, b: &Tensor, layout: Layout) -> Sizes {
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
    pub(super) fn dims(&self, a: &Tensor) -> Vec<usize> {
        if a.dims().len() == 3 { vec![self.batch, self.rows, self.columns] } else { vec![self.rows, self.columns] }
    }

    /// Strides (batch, row, column) of a, b and y, whatever is transposed.
    pub(super) fn strides(&self) -> [[usize; 3]; 3] {
        let (m, k, n) = (self.rows, self.depth, self.columns);
        let [a, b, y] = self.row;
        let left = if self.layout == Layout::LeftTransposed { [m * k, 1, a] } else { [m * k, a, 1] };
        let right = if self.layout == Layout::RightTransposed { [k * n, 1, b] } else { [k * n, b, 1] };
        [left, right, [m * n, y, 1]]
    }
}
