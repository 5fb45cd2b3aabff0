//! How a product is cut for a micro-kernel, which reads packed panels.
//!
//! The left operand is packed whole (at most [`MC`] rows of it); then blocks of columns, and of rows where the columns are few,
//! are independent tasks. Each packs its columns, [`MicroKernel::KC`] elements of K at a time so that they stay in a cache, and
//! multiplies them with every panel of rows. How long the blocks of K are comes from the shape alone, and with it every bit of
//! the result.
//!
//! Columns of a cached pack are read from there: panel after panel, each with its blocks of K one after another, so that every
//! task of every product finds its own. A kernel that reads packs transposed makes them from the pack of the transposed operand,
//! a square of [`NR`] by [`NR`] values at a time.

use super::microkernel::{MicroKernel, NR, Tile};
use super::operand::{AlphaBeta, CachedPack, Gemm, GemmBackend, MatrixView, RhsView, Sizes, with_rhs};
use super::pack::{Place, Stored, TRANSPOSE_BLOCK, pack, pack_rows, transpose_block};
use super::prepack::PackedElements;
use crate::buffer::Buffer;
use crate::parallel::for_pieces;
use std::ops::Range;

/// Rows that are packed at once.
const MC: usize = 1024;

/// The backend of a micro-kernel.
pub(super) struct Blocked<K, const MR: usize>(pub(super) K);

impl<K: MicroKernel<MR>, const MR: usize> GemmBackend for Blocked<K, MR> {
    fn isa(&self) -> &'static str {
        K::ISA
    }

    fn gemm(&self, product: &Gemm<'_, f32>, y: &mut [f32]) {
        if !self.0.bypass(product, y) {
            with_rhs!(product.b, b => self.blocked(product, b, y));
        }
    }

    fn packed_len(&self, k: usize, n: usize) -> usize {
        n.next_multiple_of(NR) * packed_k::<K, MR>(k) * K::PARTS.len()
    }

    fn reads_transposed_packs(&self) -> bool {
        K::READS_TRANSPOSED
    }
}

impl<K: MicroKernel<MR>, const MR: usize> Blocked<K, MR> {
    fn blocked<S: Stored>(&self, product: &Gemm<'_, f32>, b: MatrixView<'_, S>, y: &mut [f32]) {
        let Gemm { a, sizes, scale, .. } = *product;
        let mut rhs = Rhs { stored: b, packed: None, transposed: None };
        match product.pack {
            CachedPack::Use(slot) => rhs.packed = slot.filled(|| self.pack_all(rhs, sizes)),
            CachedPack::Transposed(slot) if K::READS_TRANSPOSED => rhs.transposed = slot.elements(),
            CachedPack::Transposed(_) | CachedPack::None => {}
        }
        for first in (0..sizes.m).step_by(MC) {
            let m = MC.min(sizes.m - first);
            let y = SharedOutput(y[first * sizes.n..(first + m) * sizes.n].as_mut_ptr());
            let blocking = Blocking::new::<K, MR>(Sizes { m, ..sizes });
            let work = Work { kernel: &self.0, rhs, y, blocking, scale };
            if sizes.n <= NR { work.one_panel(a.skip(first)) } else { work.panels(a.skip(first)) }
        }
    }

    /// All columns in packed order; `None` if there is no memory for them.
    fn pack_all<S: Stored>(&self, rhs: Rhs<'_, S>, sizes: Sizes) -> Option<PackedElements> {
        let blocking = Blocking::new::<K, MR>(sizes);
        let mut all = PackedElements::zeros(self.packed_len(sizes.k, sizes.n))?;
        let panels = all.elements_mut().chunks_exact_mut(NR * blocking.packed_k * K::PARTS.len());
        for_pieces(sizes.m * sizes.k * sizes.n, panels.enumerate(), |(i, panel)| {
            for block in blocking.blocks() {
                let place = blocking.place(0, &block);
                rhs.pack::<K, MR>(i * NR, &block, &blocking, &mut panel[place]);
            }
        });
        Some(all)
    }
}

/// Packed elements of `k` values, padded.
fn packed_k<K: MicroKernel<MR>, const MR: usize>(k: usize) -> usize {
    k.div_ceil(K::PARTS[0].values()).next_multiple_of(K::STEP)
}

/// The right operand: its columns as they are stored, and packed where that is cached.
#[derive(Clone, Copy)]
struct Rhs<'a, S> {
    stored: MatrixView<'a, S>,
    packed: Option<&'a [u32]>,
    /// The pack of the transposed operand.
    transposed: Option<&'a [u32]>,
}

impl<S: Stored> Rhs<'_, S> {
    /// Elements that a buffer for packed columns needs; none where they are cached.
    fn buffer(&self, len: usize) -> Buffer<u32> {
        Buffer::uninit(if self.packed.is_some() { 0 } else { len })
    }

    /// Packs one block of K of the panel of columns that begins with `first`, each part.
    fn pack<K: MicroKernel<MR>, const MR: usize>(
        &self,
        first: usize,
        block: &Range<usize>,
        blocking: &Blocking,
        out: &mut [u32],
    ) {
        let Sizes { k, n, .. } = blocking.sizes;
        if let Some(pack) = self.transposed {
            return transpose::<K, MR>(pack, first, block, blocking, out);
        }
        for (part, out) in K::PARTS.iter().zip(out.chunks_exact_mut(block.len() * NR)) {
            let place = Place { first, count: NR.min(n - first), elements: block.clone(), length: k };
            pack::<S, NR>(self.stored, place, *part, out);
        }
    }
}

/// The same from the pack of the transposed operand: its sums run over our columns, and its columns are the terms of our sums.
fn transpose<K: MicroKernel<MR>, const MR: usize>(
    pack: &[u32],
    first: usize,
    block: &Range<usize>,
    blocking: &Blocking,
    out: &mut [u32],
) {
    // Where our columns lie among the elements of its rows, and which block of them that is.
    let (all, element) = (packed_k::<K, MR>(blocking.sizes.n), first / 2);
    let start = element / K::KC * K::KC;
    let length = K::KC.min(all - start);
    for (p, out) in out.chunks_exact_mut(block.len() * NR).enumerate() {
        for (elements, out) in block.clone().step_by(NR / 2).zip(out.as_chunks_mut().0) {
            let panel = elements / (NR / 2);
            let at = (panel * all + start) * K::PARTS.len() + p * length + element - start;
            let square: Option<&[u32; TRANSPOSE_BLOCK]> = pack[at * NR..].first_chunk();
            transpose_block(square.expect("elements come in whole squares"), out);
        }
    }
}

/// y for several threads, each of which writes tiles of its own.
#[derive(Clone, Copy)]
struct SharedOutput(*mut f32);
#[expect(unsafe_code, reason = "tiles of y are written by several threads")]
// SAFETY: tasks have disjoint tiles.
unsafe impl Send for SharedOutput {}
#[expect(unsafe_code, reason = "tiles of y are written by several threads")]
// SAFETY: tasks have disjoint tiles.
unsafe impl Sync for SharedOutput {}

/// The blocks of a product of at most [`MC`] rows.
struct Blocking {
    sizes: Sizes,
    packed_k: usize,
    kc: usize,
    parts: usize,
    row_panels: usize,
    /// Row panels and columns of a task.
    task: (usize, usize),
}

impl Blocking {
    fn new<K: MicroKernel<MR>, const MR: usize>(sizes: Sizes) -> Blocking {
        let row_panels = sizes.m.div_ceil(MR);
        // Wide blocks pack and read less, but eight tasks keep several threads busy.
        let columns = sizes.n.div_ceil(8 * NR).clamp(1, 4) * NR;
        let blocks = sizes.n.div_ceil(columns);
        let panels = row_panels.div_ceil(8usize.div_ceil(blocks)).max(1);
        // Row panels that are read again for each panel of columns have to stay in the second cache.
        let panels = if K::ACCUMULATED_BLOCKS > 1 { panels.min(256 / MR) } else { panels };
        let packed_k = packed_k::<K, MR>(sizes.k);
        Blocking { sizes, packed_k, kc: K::KC, parts: K::PARTS.len(), row_panels, task: (panels, columns) }
    }

    /// Blocks of K that are multiplied at once.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (all, kc) = (self.packed_k, self.kc);
        (0..all).step_by(kc).map(move |first| first..(first + kc).min(all))
    }

    /// Where a block of the panel that begins with column `first` lies among all packed columns.
    fn place(&self, first: usize, block: &Range<usize>) -> Range<usize> {
        let (size, before) = (NR * self.parts, first / NR * self.packed_k);
        (before + block.start) * size..(before + block.end) * size
    }
}

/// A product of at most [`MC`] rows.
struct Work<'a, K, S, const MR: usize> {
    kernel: &'a K,
    rhs: Rhs<'a, S>,
    y: SharedOutput,
    blocking: Blocking,
    scale: AlphaBeta<f32>,
}

impl<K: MicroKernel<MR>, S: Stored, const MR: usize> Work<'_, K, S, MR> {
    /// The tile of y of a row panel and the columns `first..`, as far as `end`, for the block of K that begins at `start`.
    fn tile(&self, panel: usize, (first, end): (usize, usize), start: usize) -> Tile {
        let Sizes { m, n, .. } = self.blocking.sizes;
        Tile {
            y: self.y.0.wrapping_add(panel * MR * n + first),
            stride: n,
            rows: MR.min(m - panel * MR),
            columns: NR.min(end - first),
            scale: if start == 0 { self.scale } else { AlphaBeta { beta: 1.0, ..self.scale } },
        }
    }

    fn for_tasks(&self, tasks: Range<usize>, task: impl Fn(usize) + Sync + Send) {
        let Sizes { m, k, n } = self.blocking.sizes;
        for_pieces(m * k * n, tasks, task);
    }

    /// One block of K of one row panel, each part.
    fn pack_row_panel(&self, a: MatrixView<'_, f32>, panel: usize, block: &Range<usize>, out: &mut [u32]) {
        let Sizes { m, k, .. } = self.blocking.sizes;
        let (first, count) = (panel * MR, MR.min(m - panel * MR));
        for (part, out) in K::PARTS.iter().zip(out.chunks_exact_mut(block.len() * MR)) {
            let place = Place { first, count, elements: block.clone(), length: k };
            if K::LHS_BY_ROWS {
                pack_rows::<MR>(a, place, *part, K::STEP, out);
            } else {
                pack::<f32, MR>(a, place, *part, out);
            }
        }
    }

    /// One panel of columns: it is packed first, and each row panel is multiplied as soon as it is packed, for packing costs as
    /// much as multiplying.
    fn one_panel(&self, a: MatrixView<'_, f32>) {
        let Blocking { packed_k, kc, parts, row_panels, task: (some, _), sizes } = self.blocking;
        let mut packed = self.rhs.buffer(NR * packed_k * parts);
        if self.rhs.packed.is_none() {
            for block in self.blocking.blocks() {
                let place = self.blocking.place(0, &block);
                self.rhs.pack::<K, MR>(0, &block, &self.blocking, &mut packed[place]);
            }
        }
        let right = self.rhs.packed.unwrap_or(&packed);
        self.for_tasks(0..row_panels.div_ceil(some), |task| {
            let mut left = Buffer::<u32>::uninit(MR * packed_k.min(kc) * parts);
            let mut registers = self.kernel.begin();
            for panel in task * some..((task + 1) * some).min(row_panels) {
                for block in self.blocking.blocks() {
                    let left = &mut left[..block.len() * MR * parts];
                    self.pack_row_panel(a, panel, &block, left);
                    let right = &right[self.blocking.place(0, &block)];
                    let tile = self.tile(panel, (0, sizes.n), block.start);
                    // SAFETY: both panels hold this block; the tile lies inside y by its bounds, and no other task has its rows.
                    #[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
                    unsafe {
                        self.kernel.tile(&mut registers, left, right, block.len(), tile);
                    }
                }
            }
        });
    }

    /// Several panels of columns.
    fn panels(&self, a: MatrixView<'_, f32>) {
        let left = self.pack_rows(a);
        let Blocking { row_panels, task: (panels, columns), sizes, .. } = self.blocking;
        let across = sizes.n.div_ceil(columns);
        self.for_tasks(0..across * row_panels.div_ceil(panels), |task| {
            let rows = task / across * panels..((task / across + 1) * panels).min(row_panels);
            let first = task % across * columns;
            let columns = first..(first + columns).min(sizes.n);
            if K::ACCUMULATED_BLOCKS > 1 {
                self.accumulating_task(&left, rows, columns);
            } else {
                self.task(&left, rows, columns);
            }
        });
    }

    /// All rows: for each block of K, each panel, each part.
    fn pack_rows(&self, a: MatrixView<'_, f32>) -> Buffer<u32> {
        let Blocking { packed_k, parts, row_panels, sizes: Sizes { m, k, n }, .. } = self.blocking;
        let mut left = Buffer::<u32>::uninit(row_panels * MR * packed_k * parts);
        let mut rest = &mut left[..];
        let mut panels = Vec::new();
        for block in self.blocking.blocks() {
            let size = block.len() * MR * parts;
            let (now, later) = rest.split_at_mut(size * row_panels);
            panels.extend(now.chunks_exact_mut(size).enumerate().map(|(i, panel)| (i, block.clone(), panel)));
            rest = later;
        }
        for_pieces(m * k * n, panels.into_iter(), |(i, block, panel): (usize, Range<usize>, &mut [u32])| {
            self.pack_row_panel(a, i, &block, panel);
        });
        left
    }

    /// One task: some row panels with some columns.
    fn task(&self, left: &[u32], rows: Range<usize>, columns: Range<usize>) {
        let Blocking { packed_k, kc, parts, row_panels, .. } = self.blocking;
        let mut packed = self.rhs.buffer(columns.len().next_multiple_of(NR) * packed_k.min(kc) * parts);
        let mut registers = self.kernel.begin();
        let starts = || columns.clone().step_by(NR);
        for block in self.blocking.blocks() {
            let (per_left, per_right) = (block.len() * MR * parts, block.len() * NR * parts);
            for (first, panel) in starts().zip(packed.chunks_exact_mut(per_right)) {
                self.rhs.pack::<K, MR>(first, &block, &self.blocking, panel);
            }
            let before = block.start * MR * parts * row_panels;
            for panel in rows.clone() {
                let left = &left[before + panel * per_left..][..per_left];
                for (i, first) in starts().enumerate() {
                    let right = match self.rhs.packed {
                        Some(all) => &all[self.blocking.place(first, &block)],
                        None => &packed[i * per_right..][..per_right],
                    };
                    let tile = self.tile(panel, (first, columns.end), block.start);
                    // SAFETY: the panels were cut to size above; the tile lies inside y by its bounds, and no other task has its
                    // rows and columns.
                    #[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
                    unsafe {
                        self.kernel.tile(&mut registers, left, right, block.len(), tile);
                    }
                }
            }
        }
    }

    /// The same for a kernel that accumulates blocks of K: a panel of columns stays in the first cache while all row panels pass
    /// by, and these stay in the second one while all panels of columns do.
    fn accumulating_task(&self, left: &[u32], rows: Range<usize>, columns: Range<usize>) {
        let Blocking { packed_k, kc, parts, row_panels, .. } = self.blocking;
        let mut sums = Buffer::<f32>::uninit(rows.len() * MR * NR);
        let mut packed = self.rhs.buffer(NR * packed_k.min(kc) * parts);
        let mut registers = self.kernel.begin();
        let blocks: Vec<Range<usize>> = self.blocking.blocks().collect();
        for group in blocks.chunks(K::ACCUMULATED_BLOCKS) {
            for first in columns.clone().step_by(NR) {
                for block in group {
                    let (per_left, per_right) = (block.len() * MR * parts, block.len() * NR * parts);
                    let right = match self.rhs.packed {
                        Some(all) => &all[self.blocking.place(first, block)],
                        None => {
                            self.rhs.pack::<K, MR>(first, block, &self.blocking, &mut packed[..per_right]);
                            &packed[..per_right]
                        }
                    };
                    let left = &left[block.start * MR * parts * row_panels..];
                    let scale = AlphaBeta { alpha: 1.0, beta: if block.start == group[0].start { 0.0 } else { 1.0 } };
                    for (panel, sums) in rows.clone().zip(sums.chunks_exact_mut(MR * NR)) {
                        let tile = Tile { y: sums.as_mut_ptr(), stride: NR, rows: MR, columns: NR, scale };
                        // SAFETY: the panels were cut to size above; the tile is these sums.
                        #[expect(unsafe_code, reason = "the interface of a micro-kernel takes pointers")]
                        unsafe {
                            let left = &left[panel * per_left..][..per_left];
                            self.kernel.tile(&mut registers, left, right, block.len(), tile);
                        }
                    }
                }
                for (panel, sums) in rows.clone().zip(sums.chunks_exact(MR * NR)) {
                    let tile = self.tile(panel, (first, columns.end), group[0].start);
                    // SAFETY: the tile lies inside y by its bounds, and no other task has its rows and columns.
                    #[expect(unsafe_code, reason = "tiles of y are written by several threads")]
                    unsafe {
                        tile.update(sums);
                    }
                }
            }
        }
    }
}
