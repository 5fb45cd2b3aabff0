//! The bytes of a table, unpacked and hashed as they are read.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const BUFFER: usize = 1 << 18;

/// What went through a [`Hashing`].
struct Hashed {
    hasher: blake3::Hasher,
    bytes: Arc<AtomicU64>,
}

/// Hashes what passes through.
struct Hashing<'a> {
    file: File,
    seen: &'a mut Hashed,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.seen.hasher.update(&buffer[..n]);
        self.seen.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Bytes of a file, unpacked and hashed by a thread of its own that is a few blocks ahead.
pub(super) struct Unpacked {
    blocks: Receiver<std::io::Result<Vec<u8>>>,
    /// Ends with what the file turned out to be.
    thread: JoinHandle<Whole>,
    block: Vec<u8>,
    place: usize,
    /// Bytes of the file that were read so far.
    bytes: Arc<AtomicU64>,
}

/// A file that was read to its end.
pub(super) struct Whole {
    /// Of the file.
    pub hash: blake3::Hash,
    /// Of what was packed in it.
    pub content: blake3::Hash,
}

const BLOCKS_AHEAD: usize = 4;

impl Unpacked {
    /// Opens a file; one whose name ends in `.gz` is unpacked.
    pub fn open(path: &Path) -> std::io::Result<Unpacked> {
        let file = File::open(path)?;
        let packed = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gz"));
        let (send, blocks) = sync_channel(BLOCKS_AHEAD);
        let bytes = Arc::new(AtomicU64::new(0));
        let mut seen = Hashed { hasher: blake3::Hasher::new(), bytes: Arc::clone(&bytes) };
        let thread = std::thread::Builder::new().spawn(move || {
            let hashing = BufReader::with_capacity(BUFFER, Hashing { file, seen: &mut seen });
            let mut content = blake3::Hasher::new();
            let see = |block: &[u8]| {
                if packed {
                    content.update(block);
                }
            };
            match packed {
                true => forward(flate2::bufread::MultiGzDecoder::new(hashing), &send, see),
                false => forward(hashing, &send, see),
            }
            let hash = seen.hasher.finalize();
            Whole { hash, content: if packed { content.finalize() } else { hash } }
        })?;
        Ok(Unpacked { blocks, thread, block: Vec::new(), place: 0, bytes })
    }

    /// Takes the next block; [`Unpacked::rest`] is then empty only at the end of the file.
    pub fn advance(&mut self) -> std::io::Result<()> {
        (self.block, self.place) = (self.blocks.recv().unwrap_or_else(|_| Ok(Vec::new()))?, 0);
        Ok(())
    }

    /// What is left of the block.
    pub fn rest(&self) -> &[u8] {
        &self.block[self.place..]
    }

    /// The first `n` bytes of the rest were used.
    pub fn consume(&mut self, n: usize) {
        self.place += n;
    }

    /// Bytes of the file that were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What the file turned out to be, and its length; call it at the end of the file.
    pub fn finish(self) -> (Whole, u64) {
        let bytes = self.bytes_read();
        (self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), bytes)
    }
}

/// Shows and sends all blocks, or the error that ends them; stops when nobody receives any more.
fn forward(mut source: impl Read, send: &SyncSender<std::io::Result<Vec<u8>>>, mut see: impl FnMut(&[u8])) {
    loop {
        let mut block = Vec::with_capacity(BUFFER);
        let read = source.by_ref().take(BUFFER as u64).read_to_end(&mut block);
        let last = block.is_empty() || read.is_err();
        see(&block);
        if !block.is_empty() && send.send(Ok(block)).is_err() {
            return;
        }
        if let Err(e) = read {
            // The receiver may be gone, and then nobody wants to know.
            let _ = send.send(Err(e));
        }
        if last {
            return;
        }
    }
}
