//! Blocks of patients, drawn side by side and written in order.
//!
//! What is drawn for a patient depends on the patient's number alone and what is compressed together on the size of a block
//! alone, so the bytes do not depend on the number of threads.

use super::raw::Part;
use crate::error::{Error, Result};
use crate::ordered;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Patients of a block. Cohorts up to this size are files of one gzip member.
pub const PATIENTS: u64 = 2048;

/// Draws all blocks of `patients` patients with `draw(block, numbers, drawn)`, where `drawn` counts them as they are drawn, and
/// gives them to `write` in order.
pub fn in_order<T: Send>(
    threads: usize,
    patients: u64,
    draw: impl Fn(u64, Range<u64>, &AtomicU64) -> Result<T> + Sync,
    write: impl FnMut(T) -> Result<()>,
    progress: &dyn Fn(u64),
) -> Result<()> {
    let mut blocks = 0..patients.div_ceil(PATIENTS);
    let drawn = AtomicU64::new(0);
    let draw = |block: u64| {
        let first = block * PATIENTS;
        draw(block, first..patients.min(first + PATIENTS), &drawn)
    };
    ordered::in_order(threads, || Ok(blocks.next()), draw, write, || progress(drawn.load(Ordering::Relaxed)))?;
    progress(patients);
    Ok(())
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
