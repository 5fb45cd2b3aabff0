//! How CPU work is cut: by rows, in pieces that depend on the shape alone.

use rayon::prelude::*;

/// Elements of a piece. Smaller tensors are not worth a second thread.
const PIECE: usize = 1 << 14;

/// Multiplications below which a second thread costs more than it brings.
const SERIAL: usize = 1 << 18;

/// Hands pieces of a product of so many multiplications to the threads, or works on them here where it is small.
pub fn for_pieces<P: Send>(multiplications: usize, pieces: impl Iterator<Item = P>, work: impl Fn(P) + Sync + Send) {
    if multiplications <= SERIAL || rayon::current_num_threads() == 1 {
        pieces.for_each(work);
    } else {
        pieces.collect::<Vec<P>>().into_par_iter().with_max_len(1).for_each(work);
    }
}

/// Runs `body` with the widest vector instructions of this machine.
///
/// Only what is inlined into `body` gets them: closures and the functions they call are marked `#[inline(always)]`.
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
    let piece = |(i, out): (usize, &mut [T])| {
        vectorised(
            #[inline(always)]
            || body(i * rows, out),
        )
    };
    if out.len() <= PIECE || rayon::current_num_threads() == 1 {
        out.chunks_mut(rows * width).enumerate().for_each(piece);
    } else {
        out.par_chunks_mut(rows * width).enumerate().for_each(piece);
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
    let piece = |(i, (a, b)): (usize, (&mut [T], &mut [U]))| {
        vectorised(
            #[inline(always)]
            || body(i * rows, a, b),
        )
    };
    if a.len() <= PIECE || rayon::current_num_threads() == 1 {
        a.chunks_mut(rows * width_a).zip(b.chunks_mut(rows * width_b)).enumerate().for_each(piece);
    } else {
        a.par_chunks_mut(rows * width_a).zip(b.par_chunks_mut(rows * width_b)).enumerate().for_each(piece);
    }
}
