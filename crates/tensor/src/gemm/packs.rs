//! Frozen weights in the order in which a unit reads them, kept from one product to the next.
//!
//! A weight `[N, K]` is the right operand of two products: of `y = x W^T`, whose columns are its rows, and of `dX = g W`. What is
//! kept is the order of the first; a unit that [turns](super::Unit::turns) it a block at a time reads it in the second one too, so
//! that nobody needs the weight itself any more. A pack is what [`super::panels`] would order anew, to the bit, so whether it is
//! kept changes no result.

use super::{Kept, Precision, unit};
use crate::params::Layout;
use memmap2::MmapMut;
use std::sync::OnceLock;

/// Whether the order of a frozen weight is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PrepackPolicy {
    /// Every product orders the weight anew.
    #[default]
    PerCall,
    /// The order of the forward product is kept. Where the unit reads it backward too and the weight lies in a mapped file, its
    /// pages there are given back.
    Cached,
}

impl PrepackPolicy {
    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            PrepackPolicy::PerCall => "none",
            PrepackPolicy::Cached => "kept",
        }
    }

    /// Bytes of the pack of a weight `[n, k]` for the unit of a precision on this machine.
    pub fn bytes(self, precision: Precision, n: usize, k: usize) -> usize {
        match self {
            PrepackPolicy::PerCall => 0,
            PrepackPolicy::Cached => size_of::<u32>() * unit(precision).words_of_pack(k, n),
        }
    }
}

/// The pack of one weight for one precision, filled by the first forward product.
#[derive(Debug, Default)]
pub(crate) struct Packs {
    forward: Pack,
    complete: OnceLock<()>,
}

impl Packs {
    /// What a product of this layout reads.
    pub fn of(&self, layout: Layout) -> Kept<'_> {
        match layout {
            Layout::RightTransposed => Kept::Here(&self.forward),
            Layout::Normal | Layout::LeftTransposed => Kept::Turned(&self.forward),
        }
    }

    /// Calls `then` once, when no product of this precision reads the weight itself any more.
    pub fn when_complete(&self, precision: Precision, then: impl FnOnce()) {
        if unit(precision).turns() && self.forward.words().is_some() {
            self.complete.get_or_init(then);
        }
    }
}

/// All columns of a right operand in order, or the place for them.
#[derive(Debug, Default)]
pub(crate) struct Pack(OnceLock<Packed>);

impl Pack {
    /// The words, if they are there.
    pub fn words(&self) -> Option<&[u32]> {
        self.0.get().map(|packed| bytemuck::cast_slice(&packed.0))
    }

    /// The words, made by `order` if they are not there yet; `None` if it has no room for them.
    pub fn filled(&self, order: impl FnOnce() -> Option<Packed>) -> Option<&[u32]> {
        // Made outside of the lock: the threads that help may take up another product with the same weight.
        if self.0.get().is_none()
            && let Some(packed) = order()
        {
            let _ = self.0.set(packed);
        }
        self.words()
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
