//! Blocks of patients, drawn side by side and written in order.
//!
//! What is drawn for a patient depends on the patient's number alone and what is compressed together on the size of a block
//! alone, so the bytes do not depend on the number of threads.

use super::raw::Part;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Patients of a block. Cohorts up to this size are files of one gzip member.
pub const PATIENTS: u64 = 2048;
const TICK: Duration = Duration::from_millis(200);

/// Draws all blocks of `patients` patients with `draw(block, numbers, drawn)`, where `drawn` counts them as they are drawn, and
/// gives them to `write` in order. No more than one block beyond the number of threads is held at a time.
pub fn in_order<T: Send>(
    threads: u64,
    patients: u64,
    draw: impl Fn(u64, Range<u64>, &AtomicU64) -> Result<T> + Sync,
    mut write: impl FnMut(T) -> Result<()>,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let blocks = patients.div_ceil(PATIENTS);
    let mut numbers = 0..blocks;
    let (hand_out, handed) = mpsc::channel();
    let (handed, drawn) = (Mutex::new(handed), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        for _ in 0..threads.min(blocks) {
            let (send, draw, handed, drawn) = (send.clone(), &draw, &handed, &drawn);
            scope.spawn(move || {
                // A poisoned lock means that another thread panicked, which the scope passes on.
                while let Some(block) = handed.lock().ok().and_then(|numbers| numbers.recv().ok()) {
                    let first = block * PATIENTS;
                    let made = draw(block, first..patients.min(first + PATIENTS), drawn);
                    // Nobody receives after an error: then there is nothing left to do.
                    if send.send((block, made)).is_err() {
                        return;
                    }
                }
            });
        }
        // Moved in, so that the threads end with this closure, on an error too.
        let hand_out = hand_out;
        let mut hand_out_next = || numbers.next().is_none_or(|block| hand_out.send(block).is_ok());
        (0..=threads).for_each(|_| _ = hand_out_next());
        let mut waiting = BTreeMap::new();
        let mut written = 0;
        while written < blocks {
            progress(drawn.load(Ordering::Relaxed));
            match receive.recv_timeout(TICK) {
                Ok((block, made)) => {
                    waiting.insert(block, made?);
                }
                Err(RecvTimeoutError::Timeout) => continue,
                // All threads panicked; the scope passes that on.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            while let Some(made) = waiting.remove(&written) {
                write(made)?;
                written += 1;
                hand_out_next();
            }
        }
        progress(patients);
        Ok(())
    })
}

/// Adds finished rows to the files of a folder.
pub fn append(folder: &Path, parts: Vec<Part>) -> Result<()> {
    for part in parts {
        let path = folder.join(&part.name);
        let file: std::io::Result<File> = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(&part.bytes)).map_err(Error::at("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u64 = 20 * PATIENTS + 1;

    #[test]
    fn blocks_are_written_in_order_at_any_number_of_threads() {
        for threads in [1, 2, 7, 40] {
            let mut written = Vec::new();
            let draw = |block: u64, numbers: Range<u64>, drawn: &AtomicU64| {
                // Early blocks take longer, so that later ones must wait.
                std::thread::sleep(Duration::from_millis(20 - block.min(20)));
                drawn.fetch_add(numbers.end - numbers.start, Ordering::Relaxed);
                Ok(numbers)
            };
            let write = |numbers: Range<u64>| {
                written.extend(numbers);
                Ok(())
            };
            in_order(threads, MANY, draw, write, &|_| {}).unwrap();
            assert!(written.into_iter().eq(0..MANY));
        }
    }

    #[test]
    fn an_error_ends_all_threads() {
        let wrong = || Error::Spec { key: "patients", what: "too many" };
        let draw = |block: u64, _: Range<u64>, _: &AtomicU64| if block == 3 { Err(wrong()) } else { Ok(()) };
        assert!(in_order(2, MANY, draw, |()| Ok(()), &|_| {}).is_err());
        assert!(in_order(2, MANY, |_, _, _| Ok(()), |()| Err(wrong()), &|_| {}).is_err());
    }
}
