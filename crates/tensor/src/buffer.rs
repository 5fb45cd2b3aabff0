//! Memory of tensors: a vector, pages that are used again, or a part of a mapped file.
//!
//! A training step needs buffers of the same sizes over and over. Large ones come from a caching allocator: pages that are
//! dropped are used again, so that after the first step no fresh page is touched (a fresh one costs a fault and is zeroed
//! first). Large ones ask for 2 MiB pages. Live and cached bytes together exceed the peak of live bytes by a thirty-second or
//! [`SPARE`] at most, whichever is more.

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use memmap2::{Mmap, MmapMut};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes from which a buffer is made of pages.
const PAGES: usize = 1 << 16;

/// Bytes that may always be cached beyond the peak of live bytes: small models come by batches of many sizes.
const SPARE: usize = 1 << 25;

/// Values of one type. Cloning copies them.
#[derive(Debug)]
pub struct Buffer<T>(Memory<T>);

#[derive(Debug)]
enum Memory<T> {
    Vector(Vec<T>),
    Pages {
        pages: Pages,
        bytes: usize,
    },
    /// Read only.
    File {
        map: Arc<Mmap>,
        bytes: Range<usize>,
    },
}

impl<T: Pod> Buffer<T> {
    /// `n` values that are valid but may be anything: for a writer that fills all of them.
    pub fn uninit(n: usize) -> Buffer<T> {
        Buffer::allocated(n).0
    }

    /// `n` zeros.
    pub fn zeros(n: usize) -> Buffer<T> {
        let (mut buffer, used) = Buffer::allocated(n);
        if used {
            buffer.fill(T::zeroed());
        }
        buffer
    }

    /// `n` values, and whether the memory was used before; else they are zero.
    fn allocated(n: usize) -> (Buffer<T>, bool) {
        let bytes = n * size_of::<T>();
        match (bytes >= PAGES).then(|| Pages::take(bytes)).flatten() {
            Some((pages, used)) => (Buffer(Memory::Pages { pages, bytes }), used),
            None => (Buffer(Memory::Vector(vec![T::zeroed(); n])), false),
        }
    }

    /// The values at `bytes` of a mapped file, without a copy; `None` if they do not lie there as this machine reads them.
    pub fn from_map(map: Arc<Mmap>, bytes: Range<usize>) -> Option<Buffer<T>> {
        let values = map.get(bytes.clone())?;
        let fits = cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, T>(values).is_ok();
        fits.then(|| Buffer(Memory::File { map, bytes }))
    }

    /// Takes the pages of a mapped file out of memory until they are read again; other values stay.
    pub fn evict(&self) {
        #[cfg(unix)]
        if let Memory::File { map, bytes } = &self.0 {
            #[expect(unsafe_code, reason = "advice on a memory map")]
            // SAFETY: the map is of a file and read only, so what is read later is the same again; the range lies inside.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, bytes.start, bytes.len()) };
        }
    }
}

impl<T> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Buffer<T> {
        Buffer(Memory::Vector(values))
    }
}

impl<T: Pod> Clone for Buffer<T> {
    fn clone(&self) -> Buffer<T> {
        let mut copy = Buffer::uninit(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &self.0 {
            Memory::Vector(v) => v,
            Memory::Pages { pages, bytes } => cast_slice(&pages.bytes()[..*bytes]),
            Memory::File { map, bytes } => cast_slice(&map[bytes.clone()]),
        }
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    /// Values of a file are copied first.
    fn deref_mut(&mut self) -> &mut [T] {
        if let Memory::File { .. } = self.0 {
            *self = self.clone();
        }
        match &mut self.0 {
            Memory::Vector(v) => v,
            Memory::Pages { pages, bytes } => cast_slice_mut(&mut pages.bytes_mut()[..*bytes]),
            Memory::File { .. } => unreachable!("it was replaced by a copy"),
        }
    }
}

/// Anonymous pages that go back to the allocator.
#[derive(Debug)]
struct Pages(Option<MmapMut>);

impl Pages {
    /// Pages for `bytes` bytes, and whether they were used before; `None` if the system has none.
    fn take(bytes: usize) -> Option<(Pages, bool)> {
        let size = class(bytes);
        let (found, freed) = allocator(|a| a.take(size));
        drop(freed);
        if let Some(map) = found {
            return Some((Pages(Some(map)), true));
        }
        let Ok(map) = MmapMut::map_anon(size) else {
            allocator(|a| a.in_use -= size);
            return None;
        };
        #[cfg(target_os = "linux")]
        if size >= 1 << 21 {
            // A system without such pages gives small ones; nothing else changes.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Some((Pages(Some(map)), false))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_deref_mut().unwrap_or_default()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if let Some(map) = self.0.take() {
            // What does not fit is given back to the system outside of the lock.
            let rest = allocator(|a| a.put(map));
            drop(rest);
        }
    }
}

/// Sizes of pages: eight steps for each power of two, so that batches of nearby lengths share them.
fn class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).max(4096);
    bytes.next_multiple_of(step)
}

/// Bytes of pages, which no allocator sees. They are those of the whole process.
pub mod memory {
    use super::allocator;

    /// Bytes of pages that hold values now.
    pub fn in_use() -> usize {
        allocator(|a| a.in_use)
    }

    /// The most that was in use at once since [`reset_peak`].
    pub fn peak() -> usize {
        allocator(|a| a.peak)
    }

    /// Begins a new measurement.
    pub fn reset_peak() {
        allocator(|a| a.peak = a.in_use);
    }
}

/// Free pages by size.
struct CachingAllocator {
    free: BTreeMap<usize, Vec<MmapMut>>,
    cached: usize,
    in_use: usize,
    /// The most that was ever in use.
    peak_ever: usize,
    /// The most since somebody asked.
    peak: usize,
    /// See [`SPARE`].
    spare: usize,
}

static ALLOCATOR: Mutex<CachingAllocator> =
    Mutex::new(CachingAllocator { free: BTreeMap::new(), cached: 0, in_use: 0, peak_ever: 0, peak: 0, spare: SPARE });

fn allocator<R>(body: impl FnOnce(&mut CachingAllocator) -> R) -> R {
    body(&mut ALLOCATOR.lock().unwrap_or_else(PoisonError::into_inner))
}

impl CachingAllocator {
    /// Live and cached bytes together, at most.
    fn limit(&self) -> usize {
        self.peak_ever + (self.peak_ever / 32).max(self.spare)
    }

    /// Pages of `size` bytes or a little more, counted as in use in any case; and pages to give back.
    fn take(&mut self, size: usize) -> (Option<MmapMut>, Vec<MmapMut>) {
        let fits = self.free.range(size..=size + size / 2).next().map(|(size, _)| *size);
        if let Some(map) = fits.and_then(|size| self.remove(size)) {
            self.count(map.len());
            return (Some(map), Vec::new());
        }
        self.count(size);
        let mut freed = Vec::new();
        while self.in_use + self.cached > self.limit()
            && let Some(largest) = self.free.keys().next_back().copied()
        {
            freed.extend(self.remove(largest));
        }
        (None, freed)
    }

    fn count(&mut self, bytes: usize) {
        self.in_use += bytes;
        self.peak_ever = self.peak_ever.max(self.in_use);
        self.peak = self.peak.max(self.in_use);
    }

    fn put(&mut self, map: MmapMut) -> Option<MmapMut> {
        self.in_use -= map.len();
        if self.in_use + self.cached + map.len() > self.limit() {
            return Some(map);
        }
        self.cached += map.len();
        self.free.entry(map.len()).or_default().push(map);
        None
    }

    fn remove(&mut self, size: usize) -> Option<MmapMut> {
        let list = self.free.get_mut(&size)?;
        let map = list.pop();
        if list.is_empty() {
            self.free.remove(&size);
        }
        self.cached -= map.as_ref().map_or(0, |m| m.len());
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_zero_whatever_the_pages_held() {
        for _ in 0..4 {
            let mut a = Buffer::<f32>::zeros(100_000);
            assert!(a.iter().all(|x| *x == 0.0));
            a.fill(3.0);
        }
    }

    #[test]
    fn cached_bytes_exceed_the_peak_by_little() {
        let mut s = CachingAllocator { free: BTreeMap::new(), cached: 0, in_use: 0, peak_ever: 0, peak: 0, spare: 0 };
        let new = |n: usize| MmapMut::map_anon(n).unwrap();
        assert!(s.take(8192).0.is_none() && s.take(4096).0.is_none());
        assert!(s.put(new(8192)).is_none() && s.put(new(4096)).is_none());
        // A size that nothing fits frees memory first.
        let (found, given_back) = s.take(131072);
        assert!(found.is_none() && s.in_use + s.cached <= s.limit() && given_back.len() == 1);
        assert!(s.put(new(131072)).is_none());
        assert_eq!(s.take(131072).0.map(|m| m.len()), Some(131072));
        let (found, given_back) = s.take(40960);
        assert!(found.is_none() && s.in_use + s.cached <= s.limit(), "{given_back:?}");
    }

    #[test]
    fn writing_to_a_file_writes_to_a_copy() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
        #[expect(unsafe_code, reason = "memory map")]
        // SAFETY: nobody else knows the file.
        let map = Arc::new(unsafe { Mmap::map(&file) }.unwrap());
        let mut b = Buffer::<f32>::from_map(map.clone(), 0..8).unwrap();
        b.evict();
        assert_eq!(b[..], [1.0, 2.0]);
        b[0] = 5.0;
        assert_eq!(b[..], [5.0, 2.0]);
        assert_eq!(Buffer::<f32>::from_map(map.clone(), 0..8).unwrap()[0], 1.0);
        assert!(Buffer::<f32>::from_map(map.clone(), 2..8).is_none() && Buffer::<f32>::from_map(map, 0..12).is_none());
    }
}
