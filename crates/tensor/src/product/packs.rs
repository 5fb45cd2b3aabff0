//! Frozen weights in the order in which a unit reads them, kept from one product to the next.
//!
//! A weight `[N, K]` is the right operand of two products: of `y = x W^T`, whose columns are its rows, and of `dX = g W`. Each has
//! an order of its own, so a weight may hold two packs. A pack is what [`super::panels`] would order anew, to the bit, so whether
//! it is kept changes no result.

use super::{Precision, unit};
use crate::ops::Layout;
use memmap2::MmapMut;
use std::sync::{Once, OnceLock};

/// Which packs of a frozen weight are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Packing {
    /// None: every product orders the weight anew.
    #[default]
    Anew,
    /// That of the forward product; the backward one reads the weight where it lies.
    Forward,
    /// Both, and where a weight lies in a mapped file, its pages there are given back.
    Both,
}

impl Packing {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Packing::Anew => "none",
            Packing::Forward => "forward",
            Packing::Both => "both",
        }
    }

    /// Bytes of the packs of a weight `[n, k]` for the unit of a precision on this machine.
    pub fn bytes(self, precision: Precision, n: usize, k: usize) -> usize {
        let words = |k, n| unit(precision).words_of_pack(k, n);
        size_of::<u32>()
            * match self {
                Packing::Anew => 0,
                Packing::Forward => words(k, n),
                Packing::Both => words(k, n) + words(n, k),
            }
    }
}

/// The packs of one weight and one precision, each filled by the first product that reads it.
#[derive(Debug)]
pub(crate) struct Packs {
    packing: Packing,
    forward: Pack,
    backward: Pack,
    complete: Once,
}

impl Packs {
    pub fn new(packing: Packing) -> Packs {
        Packs { packing, forward: Pack::default(), backward: Pack::default(), complete: Once::new() }
    }

    /// The pack for products of this layout, if it is kept.
    pub fn of(&self, layout: Layout) -> Option<&Pack> {
        match layout {
            Layout::RightTransposed => (self.packing != Packing::Anew).then_some(&self.forward),
            Layout::Normal | Layout::LeftTransposed => (self.packing == Packing::Both).then_some(&self.backward),
        }
    }

    /// Calls `then` once, when no product reads the weight itself any more.
    pub fn when_complete(&self, then: impl FnOnce()) {
        if self.forward.is_filled() && self.backward.is_filled() {
            self.complete.call_once(then);
        }
    }
}

/// All columns of a right operand in order, or the place for them.
#[derive(Debug, Default)]
pub(crate) struct Pack(OnceLock<Packed>);

impl Pack {
    pub fn is_filled(&self) -> bool {
        self.0.get().is_some()
    }

    /// The words, made by `order` if they are not there yet; `None` if it has no room for them.
    pub fn filled(&self, order: impl FnOnce() -> Option<Packed>) -> Option<&[u32]> {
        // Made outside of the lock: the threads that help may take up another product with the same weight.
        if self.0.get().is_none()
            && let Some(packed) = order()
        {
            let _ = self.0.set(packed);
        }
        self.0.get().map(|packed| bytemuck::cast_slice(&packed.0))
    }
}

/// Words on pages of their own: they stay as long as the weight, so they come from no shelf and go to none.
#[derive(Debug)]
pub(crate) struct Packed(MmapMut);

impl Packed {
    /// Zeros for `words` words; `None` if the system has no memory.
    pub fn room(words: usize) -> Option<Packed> {
        let map = MmapMut::map_anon(words * size_of::<u32>()).ok()?;
        #[cfg(target_os = "linux")]
        // A system without large pages gives small ones; nothing else changes.
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(Packed(map))
    }

    pub fn words_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
