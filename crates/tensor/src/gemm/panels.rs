//! How a product is cut for a unit that reads packed panels.
//!
//! The left operand is packed whole (at most [`MAX_ROWS`] rows of it); then blocks of columns, and of rows where the columns
//! are few, are independent pieces of work. Each packs its columns, [`Panels::WORDS`] of the sum at a time so that they stay in
//! a cache, and multiplies them with every panel of rows. How long the blocks of a sum are comes from the shape alone, and with
//! it every bit of the result.
//!
//! Columns that a pack keeps are read from there: panel after panel, each with its blocks of the sum one after another, so
//! that every piece of every product finds its own. A unit that turns makes them from the pack of the transposed operand, a square
//! of [`COLUMNS`] by [`COLUMNS`] values at a time.

use super::packs::Packed;
use super::words::{Part, SQUARE, Stored, pack, pack_rows, turn};
use super::{Kept, Right, Sizes, Update, View, each};
use crate::buffer::Buffer;
use crate::parallel::vectorised;
use std::ops::Range;

/// Columns of a panel of the right operand.
pub(super) const COLUMNS: usize = 32;
const MAX_ROWS: usize = 1024;

/// A unit that multiplies a panel of rows with a panel of [`COLUMNS`] columns.
pub(super) trait Panels<const ROWS: usize>: Sync {
    /// What words are made of: one part, or two that follow each other in a panel.
    const PARTS: &'static [Part];
    /// The number of words of a panel is a multiple of this.
    const STEP: usize;
    /// Whether panels of the left operand hold word `p` of row `i` at `i * STEP` of block `p / STEP`, instead of
    /// `p * ROWS + i`.
    const LEFT_BY_ROWS: bool = false;
    /// Words of the sum that are in work at once.
    const WORDS: usize = 1024;
    /// Blocks of the sum after which sums go to y. A unit that is so fast that it waits for rows of y gathers several: meanwhile
    /// the tiles of a panel of columns lie together.
    const GATHERED: usize = 1;
    /// Whether columns are also made from the pack of the transposed operand: blocks of words of two values, cut at [`COLUMNS`].
    const TURNS: bool = false;
    /// What a thread holds while it multiplies.
    type Registers;

    /// Makes a thread ready to multiply.
    fn begin(&self) -> Self::Registers;

    /// Updates one tile of y from `words` words of each part of a left and a right panel.
    ///
    /// # Safety
    /// `left` holds `words * ROWS` words for each part and `right` `words * COLUMNS`; the tile lies inside y and nobody
    /// else uses it.
    #[expect(unsafe_code, reason = "vector instructions on packed operands")]
    unsafe fn tile(&self, registers: &mut Self::Registers, left: &[u32], right: &[u32], words: usize, tile: Tile);
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

impl Tile {
    /// Updates y by sums that lie together, [`COLUMNS`] in a row.
    ///
    /// # Safety
    /// The tile lies inside y and nobody else uses it.
    #[expect(unsafe_code, reason = "tiles of y are written by several threads")]
    pub(super) unsafe fn take(self, sums: &[f32]) {
        let Update { keep, factor } = self.update;
        vectorised(
            #[inline(always)]
            || {
                for (i, sums) in sums.chunks_exact(COLUMNS).take(self.rows).enumerate() {
                    // SAFETY: row `i` of the tile lies inside y and is ours.
                    let y = unsafe { std::slice::from_raw_parts_mut(self.y.add(i * self.stride), self.columns) };
                    if keep == 0.0 {
                        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = factor * sum);
                    } else {
                        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = keep * *y + factor * sum);
                    }
                }
            },
        );
    }
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

/// The right operand: its columns as they are stored, and in order where they are kept.
#[derive(Clone, Copy)]
struct Columns<'a, S> {
    stored: View<'a, S>,
    /// In a pack.
    kept: Option<&'a [u32]>,
    /// In the pack of the transposed operand.
    turned: Option<&'a [u32]>,
}

/// Updates y; the caller has checked the sizes.
pub(super) fn product<U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    a: View<'_, f32>,
    b: Right<'_, f32>,
    kept: Kept<'_>,
    y: &mut [f32],
    sizes: Sizes,
    update: Update<f32>,
) {
    match b {
        Right::Same(b) => stored(unit, a, b, kept, y, sizes, update),
        Right::Bf16(b) => stored(unit, a, b, kept, y, sizes, update),
        Right::F16(b) => stored(unit, a, b, kept, y, sizes, update),
    }
}

fn stored<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    a: View<'_, f32>,
    b: View<'_, S>,
    kept: Kept<'_>,
    y: &mut [f32],
    sizes: Sizes,
    update: Update<f32>,
) {
    let (kept, turned) = match kept {
        Kept::Here(pack) => (pack.filled(|| pack_right::<S, U, ROWS>(b, sizes)), None),
        Kept::Turned(pack) if U::TURNS => (None, pack.words()),
        Kept::Turned(_) | Kept::Nowhere => (None, None),
    };
    let b = Columns { stored: b, kept, turned };
    for first in (0..sizes.m).step_by(MAX_ROWS) {
        let m = MAX_ROWS.min(sizes.m - first);
        let y = &mut y[first * sizes.n..(first + m) * sizes.n];
        run(unit, a.skip(first), b, y, &Cut::new::<U, ROWS>(Sizes { m, ..sizes }), update);
    }
}

/// Words of all panels of `n` columns of `k` values.
pub(super) fn words_of_pack<U: Panels<ROWS>, const ROWS: usize>(k: usize, n: usize) -> usize {
    n.next_multiple_of(COLUMNS) * words_of_row::<U, ROWS>(k) * U::PARTS.len()
}

fn words_of_row<U: Panels<ROWS>, const ROWS: usize>(k: usize) -> usize {
    k.div_ceil(U::PARTS[0].values()).next_multiple_of(U::STEP)
}

/// All columns in order; `None` if there is no memory for them.
fn pack_right<S: Stored, U: Panels<ROWS>, const ROWS: usize>(b: View<'_, S>, sizes: Sizes) -> Option<Packed> {
    let cut = Cut::new::<U, ROWS>(sizes);
    let b = Columns { stored: b, kept: None, turned: None };
    let mut all = Packed::room(words_of_pack::<U, ROWS>(sizes.k, sizes.n))?;
    let size = COLUMNS * cut.words * U::PARTS.len();
    each(sizes, all.words_mut().chunks_exact_mut(size).enumerate(), |(i, panel)| {
        for block in cut.blocks() {
            let place = cut.place::<U, ROWS>(0, &block);
            pack_columns::<S, U, ROWS>(b, i * COLUMNS, &block, &cut, &mut panel[place]);
        }
    });
    Some(all)
}

/// Updates at most [`MAX_ROWS`] rows of y.
fn run<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    a: View<'_, f32>,
    b: Columns<'_, S>,
    y: &mut [f32],
    cut: &Cut,
    update: Update<f32>,
) {
    if cut.sizes.n <= COLUMNS {
        return skinny(unit, a, b, y, cut, update);
    }
    let left = pack_left::<U, ROWS>(a, cut);
    wide(unit, &left, b, y, cut, update);
}

/// The pieces of a product.
struct Cut {
    sizes: Sizes,
    /// Words of a row, padded.
    words: usize,
    /// Words of a block of the sum.
    block: usize,
    row_panels: usize,
    /// Rows panels and columns of a piece.
    piece: (usize, usize),
}

impl Cut {
    fn new<U: Panels<ROWS>, const ROWS: usize>(sizes: Sizes) -> Cut {
        let words = words_of_row::<U, ROWS>(sizes.k);
        let row_panels = sizes.m.div_ceil(ROWS);
        // Wide blocks pack and read less, but eight pieces of work keep several threads busy.
        let columns = sizes.n.div_ceil(8 * COLUMNS).clamp(1, 4) * COLUMNS;
        let blocks = sizes.n.div_ceil(columns);
        let panels = row_panels.div_ceil(8usize.div_ceil(blocks)).max(1);
        // Panels of rows that are read again for each panel of columns have to stay in the second cache.
        let panels = if U::GATHERED > 1 { panels.min(256 / ROWS) } else { panels };
        Cut { sizes, words, block: U::WORDS, row_panels, piece: (panels, columns) }
    }

    /// Blocks of the sum that are in work at once.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (words, block) = (self.words, self.block);
        (0..words).step_by(block).map(move |first| first..(first + block).min(words))
    }

    /// Where a block of the panel that begins with column `first` lies among all columns in order.
    fn place<U: Panels<ROWS>, const ROWS: usize>(&self, first: usize, block: &Range<usize>) -> Range<usize> {
        let size = COLUMNS * U::PARTS.len();
        let before = first / COLUMNS * self.words;
        (before + block.start) * size..(before + block.end) * size
    }
}

/// The tile of y of a panel of rows and of columns `first..`, as far as `end`.
fn tile_of_y<const ROWS: usize>(
    y: Shared,
    cut: &Cut,
    panel: usize,
    (first, end): (usize, usize),
    update: Update<f32>,
) -> Tile {
    let n = cut.sizes.n;
    Tile {
        y: y.at(panel * ROWS * n + first),
        stride: n,
        rows: ROWS.min(cut.sizes.m - panel * ROWS),
        columns: COLUMNS.min(end - first),
        update,
    }
}

/// All rows: for each block of the sum, each panel, each part.
fn pack_left<U: Panels<ROWS>, const ROWS: usize>(a: View<'_, f32>, cut: &Cut) -> Buffer<u32> {
    let parts = U::PARTS.len();
    let mut left = Buffer::<u32>::uninit(cut.row_panels * ROWS * cut.words * parts);
    let mut rest = &mut left[..];
    let mut panels = Vec::new();
    for block in cut.blocks() {
        let size = block.len() * ROWS * parts;
        let (now, later) = rest.split_at_mut(size * cut.row_panels);
        panels.extend(now.chunks_exact_mut(size).enumerate().map(|(i, panel)| (i, block.clone(), panel)));
        rest = later;
    }
    let fill = |(i, block, panel): (usize, Range<usize>, &mut [u32])| {
        pack_panel::<U, ROWS>(a, i, block, cut, panel);
    };
    each(cut.sizes, panels.into_iter(), fill);
    left
}

/// One block of the sum of the panel of columns that begins with `first`, each part.
fn pack_columns<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    b: Columns<'_, S>,
    first: usize,
    block: &Range<usize>,
    cut: &Cut,
    out: &mut [u32],
) {
    if let Some(turned) = b.turned {
        return turn_columns::<U, ROWS>(turned, first, block, cut, out);
    }
    let columns = (first, COLUMNS.min(cut.sizes.n - first));
    for (part, out) in U::PARTS.iter().zip(out.chunks_exact_mut(block.len() * COLUMNS)) {
        pack::<S, COLUMNS>(b.stored, columns, block.clone(), cut.sizes.k, *part, out);
    }
}

/// The same from the pack of the transposed operand: its sums run over our columns, and its columns are the terms of our sums.
fn turn_columns<U: Panels<ROWS>, const ROWS: usize>(
    pack: &[u32],
    first: usize,
    block: &Range<usize>,
    cut: &Cut,
    out: &mut [u32],
) {
    // Where our columns lie among the words of its rows, and which block of them that is.
    let (all, word) = (words_of_row::<U, ROWS>(cut.sizes.n), first / 2);
    let start = word / cut.block * cut.block;
    let length = cut.block.min(all - start);
    for (p, out) in out.chunks_exact_mut(block.len() * COLUMNS).enumerate() {
        for (words, out) in block.clone().step_by(COLUMNS / 2).zip(out.as_chunks_mut().0) {
            let panel = words / (COLUMNS / 2);
            let at = (panel * all + start) * U::PARTS.len() + p * length + word - start;
            let square: Option<&[u32; SQUARE]> = pack[at * COLUMNS..].first_chunk();
            turn(square.expect("words come in whole squares"), out);
        }
    }
}

/// One block of the sum of one panel of rows, each part.
fn pack_panel<U: Panels<ROWS>, const ROWS: usize>(
    a: View<'_, f32>,
    panel: usize,
    block: Range<usize>,
    cut: &Cut,
    out: &mut [u32],
) {
    let rows = (panel * ROWS, ROWS.min(cut.sizes.m - panel * ROWS));
    for (part, out) in U::PARTS.iter().zip(out.chunks_exact_mut(block.len() * ROWS)) {
        if U::LEFT_BY_ROWS {
            pack_rows::<ROWS>(a, rows, block.clone(), cut.sizes.k, *part, U::STEP, out);
        } else {
            pack::<f32, ROWS>(a, rows, block.clone(), cut.sizes.k, *part, out);
        }
    }
}

/// One panel of columns: it is packed first, and each panel of rows is multiplied as soon as it is packed, for packing
/// costs as much as multiplying.
fn skinny<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    a: View<'_, f32>,
    b: Columns<'_, S>,
    y: &mut [f32],
    cut: &Cut,
    update: Update<f32>,
) {
    let parts = U::PARTS.len();
    let mut packed = Buffer::<u32>::uninit(if b.kept.is_some() { 0 } else { COLUMNS * cut.words * parts });
    if b.kept.is_none() {
        for block in cut.blocks() {
            let place = cut.place::<U, ROWS>(0, &block);
            pack_columns::<S, U, ROWS>(b, 0, &block, cut, &mut packed[place]);
        }
    }
    let right = b.kept.unwrap_or(&packed);
    let shared = Shared(y.as_mut_ptr());
    let some = cut.piece.0;
    each(cut.sizes, 0..cut.row_panels.div_ceil(some), |piece| {
        let mut left = Buffer::<u32>::uninit(ROWS * cut.words.min(cut.block) * parts);
        let mut registers = unit.begin();
        for panel in piece * some..((piece + 1) * some).min(cut.row_panels) {
            for block in cut.blocks() {
                let left = &mut left[..block.len() * ROWS * parts];
                pack_panel::<U, ROWS>(a, panel, block.clone(), cut, left);
                let right = &right[cut.place::<U, ROWS>(0, &block)];
                let update = if block.start == 0 { update } else { Update { keep: 1.0, ..update } };
                let tile = tile_of_y::<ROWS>(shared, cut, panel, (0, cut.sizes.n), update);
                // SAFETY: both panels hold this block; the tile lies inside y by its bounds, and no other piece of work
                // has its rows.
                #[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
                unsafe {
                    unit.tile(&mut registers, left, right, block.len(), tile);
                }
            }
        }
    });
}

fn wide<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    left: &[u32],
    b: Columns<'_, S>,
    y: &mut [f32],
    cut: &Cut,
    update: Update<f32>,
) {
    let shared = Shared(y.as_mut_ptr());
    let (panels, columns) = cut.piece;
    let across = cut.sizes.n.div_ceil(columns);
    each(cut.sizes, 0..across * cut.row_panels.div_ceil(panels), |piece| {
        let rows = piece / across * panels..((piece / across + 1) * panels).min(cut.row_panels);
        let first = piece % across * columns;
        let columns = first..(first + columns).min(cut.sizes.n);
        if U::GATHERED > 1 {
            gathered_piece(unit, left, b, shared, cut, (rows, columns), update);
        } else {
            one_piece(unit, left, b, shared, cut, (rows, columns), update);
        }
    });
}

/// One piece of work: some panels of rows with some columns.
fn one_piece<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    left: &[u32],
    b: Columns<'_, S>,
    y: Shared,
    cut: &Cut,
    (rows, columns): (Range<usize>, Range<usize>),
    update: Update<f32>,
) {
    let parts = U::PARTS.len();
    let room =
        if b.kept.is_some() { 0 } else { columns.len().next_multiple_of(COLUMNS) * cut.words.min(cut.block) * parts };
    let mut packed = Buffer::<u32>::uninit(room);
    let mut registers = unit.begin();
    let starts = || columns.clone().step_by(COLUMNS);
    for block in cut.blocks() {
        let (per_left, per_right) = (block.len() * ROWS * parts, block.len() * COLUMNS * parts);
        for (first, panel) in starts().zip(packed.chunks_exact_mut(per_right)) {
            pack_columns::<S, U, ROWS>(b, first, &block, cut, panel);
        }
        let update = if block.start == 0 { update } else { Update { keep: 1.0, ..update } };
        let before = block.start * ROWS * parts * cut.row_panels;
        for panel in rows.clone() {
            let left = &left[before + panel * per_left..][..per_left];
            for (i, first) in starts().enumerate() {
                let right = match b.kept {
                    Some(all) => &all[cut.place::<U, ROWS>(first, &block)],
                    None => &packed[i * per_right..][..per_right],
                };
                let tile = tile_of_y::<ROWS>(y, cut, panel, (first, columns.end), update);
                // SAFETY: the panels were cut to size above; the tile lies inside y by its bounds, and no other piece of
                // work has its rows and columns.
                #[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
                unsafe {
                    unit.tile(&mut registers, left, right, block.len(), tile);
                }
            }
        }
    }
}

/// The same for a unit that gathers sums: a panel of columns stays in the first cache while all panels of rows pass by, and
/// these stay in the second one while all panels of columns do.
fn gathered_piece<S: Stored, U: Panels<ROWS>, const ROWS: usize>(
    unit: &U,
    left: &[u32],
    b: Columns<'_, S>,
    y: Shared,
    cut: &Cut,
    (rows, columns): (Range<usize>, Range<usize>),
    update: Update<f32>,
) {
    let parts = U::PARTS.len();
    let mut sums = Buffer::<f32>::uninit(rows.len() * ROWS * COLUMNS);
    let mut packed =
        Buffer::<u32>::uninit(if b.kept.is_some() { 0 } else { COLUMNS * cut.words.min(cut.block) * parts });
    let mut registers = unit.begin();
    let blocks: Vec<Range<usize>> = cut.blocks().collect();
    for group in blocks.chunks(U::GATHERED) {
        for first in columns.clone().step_by(COLUMNS) {
            for block in group {
                let (per_left, per_right) = (block.len() * ROWS * parts, block.len() * COLUMNS * parts);
                let right = match b.kept {
                    Some(all) => &all[cut.place::<U, ROWS>(first, block)],
                    None => {
                        pack_columns::<S, U, ROWS>(b, first, block, cut, &mut packed[..per_right]);
                        &packed[..per_right]
                    }
                };
                let left = &left[block.start * ROWS * parts * cut.row_panels..];
                let keep = if block.start == group[0].start { 0.0 } else { 1.0 };
                for (panel, sums) in rows.clone().zip(sums.chunks_exact_mut(ROWS * COLUMNS)) {
                    let update = Update { keep, factor: 1.0 };
                    let tile = Tile { y: sums.as_mut_ptr(), stride: COLUMNS, rows: ROWS, columns: COLUMNS, update };
                    // SAFETY: the panels were cut to size above; the tile is these sums.
                    #[expect(unsafe_code, reason = "the interface of a unit takes pointers")]
                    unsafe {
                        unit.tile(&mut registers, &left[panel * per_left..][..per_left], right, block.len(), tile);
                    }
                }
            }
            let update = if group[0].start == 0 { update } else { Update { keep: 1.0, ..update } };
            for (panel, sums) in rows.clone().zip(sums.chunks_exact(ROWS * COLUMNS)) {
                let tile = tile_of_y::<ROWS>(y, cut, panel, (first, columns.end), update);
                // SAFETY: the tile lies inside y by its bounds, and no other piece of work has its rows and columns.
                #[expect(unsafe_code, reason = "tiles of y are written by several threads")]
                unsafe {
                    tile.take(sums);
                }
            }
        }
    }
}
