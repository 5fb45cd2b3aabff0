//! Frozen weights in the order in which a backend reads them, cached from one product to the next.
//!
//! A weight `[N, K]` is the right operand of two products: of `y = x W^T`, whose columns are its rows, and of `dX = g W`. The
//! pack of the first is cached; a backend that reads packs transposed, a block at a time, takes it for the second one too, so
//! that nobody needs the weight itself any more. A cached pack is what [`super::blocking`] would pack anew, to the bit, so it
//! changes no result.

use memmap2::MmapMut;
use std::sync::OnceLock;

/// Whether packs of a frozen weight are cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum PrepackPolicy {
    /// Every product packs the weight again.
    #[default]
    PerCall,
    /// The pack of the forward product is cached. Where the backend reads it transposed too and the weight lies in a mapped
    /// file, the pages of the file are evicted.
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
}

/// The packs of one weight for one precision, filled by the first forward product.
#[derive(Debug, Default)]
pub(crate) struct PrepackedWeight {
    pub forward: PackSlot,
    /// Set once no product reads the weight itself any more.
    pub complete: OnceLock<()>,
}

/// All columns of a right operand in packed order, or the place for them.
#[derive(Debug, Default)]
pub(crate) struct PackSlot(OnceLock<PackedElements>);

impl PackSlot {
    /// The elements, if they are there.
    pub fn elements(&self) -> Option<&[u32]> {
        self.0.get().map(|packed| bytemuck::cast_slice(&packed.0))
    }

    /// The elements, made by `pack` if they are not there yet; `None` if it has no memory for them.
    pub fn filled(&self, pack: impl FnOnce() -> Option<PackedElements>) -> Option<&[u32]> {
        // Made outside of the lock: the threads that help may take up another product with the same weight.
        if self.0.get().is_none()
            && let Some(packed) = pack()
        {
            let _ = self.0.set(packed);
        }
        self.elements()
    }
}

/// Packed elements on pages of their own: they stay as long as the weight, so the caching allocator is not asked.
#[derive(Debug)]
pub(crate) struct PackedElements(MmapMut);

impl PackedElements {
    /// `len` zeros; `None` if the system has no memory.
    pub fn zeros(len: usize) -> Option<PackedElements> {
        let map = MmapMut::map_anon(len * size_of::<u32>()).ok()?;
        #[cfg(target_os = "linux")]
        // A system without large pages gives small ones; nothing else changes.
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(PackedElements(map))
    }

    pub fn elements_mut(&mut self) -> &mut [u32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}
