//! How a product is cut for a unit that reads packed panels.
//!
//! The left operand is packed whole (at most [`MAX_ROWS`] rows of it); then blocks of columns, and of rows where the columns
//! are few, are independent pieces of work. Each packs its columns, [`MAX_WORDS`] of the sum at a time so that they stay in
//! the second cache, and multiplies them with every panel of rows. All bounds come from the shape.

use super::words::{Part, Stored, pack, pack_rows};
use super::{Right, Sizes, Update, View};
use crate::buffer::Buffer;
use rayon::prelude::*;
use std::ops::Range;

/// Columns of a panel of the right operand.
pub(super) const COLUMNS: usize = 32;
const MAX_ROWS: usize = 1024;
const MAX_WORDS: usize = 1024;
/// Multiplications below which a second thread costs more than it brings.
const SERIAL: usize = 1 << 18;

/// A unit that multiplies a panel of rows with a panel of [`COLUMNS`] columns.
pub(super) trait Panels<const ROWS: usize>: Sync {
    /// What words are made of: one part, or two that follow each other in a panel.
    const PARTS: &'static [Part];
    /// The number of words of a panel is a multiple of this.
    const STEP: usize;
    /// Whether panels of the left operand hold word `p` of row `i` at `i * STEP` of block `p / STEP`, instead of
    /// `p * ROWS + i`.
    const LEFT_BY_ROWS: bool = false;

    /// Updates one tile of y from `words` words of each part of a left and a right panel.
    ///
    /// # Safety
    /// `left` holds `words * ROWS` words for each part and `right` `words * COLUMNS`; the tile lies inside y and nobody
    /// else uses it.
    #[expect(unsafe_code, reason = "vector instructions on packed operands")]
    unsafe fn tile(&self, left: &[u32], right: &[u32], words: usize, tile: Tile);
}

/// A piece of y.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Its first element.
    pub(super) y: *mut f32,
    /// From one row to the next.
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) update: Update<f32>,
}

/// y for several threads, each of which writes tiles of its own.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
#[expect(unsafe_code, reason = "tiles of y are written by several threads")]
// SAFETY: pieces of work have disjoint tiles.
unsafe impl Send for Shared {}
#[expect(unsafe_code, reason = "tiles of y are written by several threads")]
// SAFETY: pieces of work have disjoint tiles.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// Updates y; the caller has checked the sizes.
pub(super) fn product<U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    a: View<'_, f32>,
    b: Right<'_, f32>,
    y: &mut [f32],
    sizes: Sizes,
    update: Update<f32>,
) {
    for first in (0..sizes.m).step_by(MAX_ROWS) {
        let m = MAX_ROWS.min(sizes.m - first);
        let y = &mut y[first * sizes.n..(first + m) * sizes.n];
        let some = Cut::new::<U, ROWS>(Sizes { m, ..sizes });
        let left = pack_left::<U, ROWS>(a.skip(first), &some);
        match b {
            Right::Same(b) => run(unit, &left, b, y, &some, update),
            Right::Bf16(b) => run(unit, &left, b, y, &some, update),
            Right::F16(b) => run(unit, &left, b, y, &some, update),
        }
    }
}

/// The pieces of a product.
struct Cut {
    sizes: Sizes,
    /// Words of a row, padded.
    words: usize,
    row_panels: usize,
    /// Rows panels and columns of a piece.
    piece: (usize, usize),
    serial: bool,
}

impl Cut {
    fn new<U: Panels<ROWS>, const ROWS: usize>(sizes: Sizes) -> Cut {
        let words = sizes.k.div_ceil(U::PARTS[0].values()).next_multiple_of(U::STEP);
        let row_panels = sizes.m.div_ceil(ROWS);
        // Wide blocks pack and read less, but eight pieces of work keep several threads busy.
        let columns = sizes.n.div_ceil(8 * COLUMNS).clamp(1, 4) * COLUMNS;
        let blocks = sizes.n.div_ceil(columns);
        let panels = row_panels.div_ceil(8usize.div_ceil(blocks)).max(1);
        let serial = sizes.m * sizes.k * sizes.n <= SERIAL || rayon::current_num_threads() == 1;
        Cut { sizes, words, row_panels, piece: (panels, columns), serial }
    }

    fn each(&self, count: usize, work: impl Fn(usize) + Sync + Send) {
        if self.serial {
            (0..count).for_each(work);
        } else {
            (0..count).into_par_iter().with_max_len(1).for_each(work);
        }
    }

    /// Blocks of the sum that are in work at once.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let words = self.words;
        (0..words).step_by(MAX_WORDS).map(move |first| first..(first + MAX_WORDS).min(words))
    }
}

/// All rows: for each block of the sum, each panel, each part.
fn pack_left<U: Panels<ROWS>, const ROWS: usize>(a: View<'_, f32>, cut: &Cut) -> Buffer<u32> {
    let parts = U::PARTS.len();
    let mut left = Buffer::<u32>::stale(cut.row_panels * ROWS * cut.words * parts);
    let mut rest = &mut left[..];
    let mut panels = Vec::new();
    for block in cut.blocks() {
        let size = block.len() * ROWS * parts;
        let (now, later) = rest.split_at_mut(size * cut.row_panels);
        panels.extend(now.chunks_exact_mut(size).enumerate().map(|(i, panel)| (i, block.clone(), panel)));
        rest = later;
    }
    let fill = |(i, block, panel): (usize, Range<usize>, &mut [u32])| {
        let rows = (i * ROWS, ROWS.min(cut.sizes.m - i * ROWS));
        for (part, panel) in U::PARTS.iter().zip(panel.chunks_exact_mut(block.len() * ROWS)) {
            if U::LEFT_BY_ROWS {
                pack_rows::<ROWS>(a, rows, block.clone(), cut.sizes.k, *part, U::STEP, panel);
            } else {
                pack::<f32, ROWS>(a, rows, block.clone(), cut.sizes.k, *part, panel);
            }
        }
    };
    if cut.serial {
        panels.into_iter().for_each(fill);
    } else {
        panels.into_par_iter().for_each(fill);
    }
    left
}

fn run<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    left: &[u32],
    b: View<'_, S>,
    y: &mut [f32],
    cut: &Cut,
    update: Update<f32>,
) {
    let shared = Shared(y.as_mut_ptr());
    let (panels, columns) = cut.piece;
    let across = cut.sizes.n.div_ceil(columns);
    cut.each(across * cut.row_panels.div_ceil(panels), |piece| {
        let rows = piece / across * panels..((piece / across + 1) * panels).min(cut.row_panels);
        let first = piece % across * columns;
        let columns = first..(first + columns).min(cut.sizes.n);
        one_piece(unit, left, b, shared, cut, (rows, columns), update);
    });
}

/// One piece of work: some panels of rows with some columns.
fn one_piece<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    left: &[u32],
    b: View<'_, S>,
    y: Shared,
    cut: &Cut,
    (rows, columns): (Range<usize>, Range<usize>),
    update: Update<f32>,
) {
    let (parts, n) = (U::PARTS.len(), cut.sizes.n);
    let longest = cut.words.min(MAX_WORDS);
    let mut packed = Buffer::<u32>::stale(columns.len().next_multiple_of(COLUMNS) * longest * parts);
    for block in cut.blocks() {
        let (per_left, per_right) = (block.len() * ROWS * parts, block.len() * COLUMNS * parts);
        let starts = columns.clone().step_by(COLUMNS);
        for (first, panel) in starts.clone().zip(packed.chunks_exact_mut(per_right)) {
            let some = (first, COLUMNS.min(columns.end - first));
            for (part, panel) in U::PARTS.iter().zip(panel.chunks_exact_mut(block.len() * COLUMNS)) {
                pack::<S, COLUMNS>(b, some, block.clone(), cut.sizes.k, *part, panel);
            }
        }
        let update = if block.start == 0 { update } else { Update { keep: 1.0, ..update } };
        let before = block.start * ROWS * parts * cut.row_panels;
        for panel in rows.clone() {
            let left = &left[before + panel * per_left..][..per_left];
            for (first, right) in starts.clone().zip(packed.chunks_exact(per_right)) {
                let tile = Tile {
                    y: y.at(panel * ROWS * n + first),
                    stride: n,
                    rows: ROWS.min(cut.sizes.m - panel * ROWS),
                    columns: COLUMNS.min(columns.end - first),
                    update,
                };
                // SAFETY: the panels were cut to size above; the tile lies inside y by its bounds, and no other piece of
                // work has its rows and columns.
                #[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
                unsafe {
                    unit.tile(left, right, block.len(), tile);
                }
            }
        }
    }
}
