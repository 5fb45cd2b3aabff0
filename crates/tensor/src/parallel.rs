//! How CPU work is cut: by rows, in pieces that depend on the shape alone.

use rayon::prelude::*;

/// Elements of a piece. Smaller tensors are not worth a second thread.
const PIECE: usize = 1 << 14;

/// Runs `body` with the widest vector instructions of this machine.
#[inline(always)]
pub fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(body)
}

/// Rows of a piece for rows of `width` elements.
pub fn rows_of_a_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Calls `body(first_row, rows)` for every piece of `out`, whose rows have `width` elements.
pub fn for_rows<T: Send>(out: &mut [T], width: usize, body: impl Fn(usize, &mut [T]) + Sync) {
    let width = width.max(1);
    let rows = rows_of_a_piece(width);
    if out.len() <= PIECE || rayon::current_num_threads() == 1 {
        vectorised(|| body(0, out));
    } else {
        out.par_chunks_mut(rows * width).enumerate().for_each(|(i, piece)| vectorised(|| body(i * rows, piece)));
    }
}

/// The same over two outputs with the same number of rows.
pub fn for_rows2<T: Send, U: Send>(
    a: &mut [T],
    width_a: usize,
    b: &mut [U],
    width_b: usize,
    body: impl Fn(usize, &mut [T], &mut [U]) + Sync,
) {
    let (width_a, width_b) = (width_a.max(1), width_b.max(1));
    let rows = rows_of_a_piece(width_a);
    if a.len() <= PIECE || rayon::current_num_threads() == 1 {
        vectorised(|| body(0, a, b));
    } else {
        a.par_chunks_mut(rows * width_a)
            .zip(b.par_chunks_mut(rows * width_b))
            .enumerate()
            .for_each(|(i, (a, b))| vectorised(|| body(i * rows, a, b)));
    }
}
