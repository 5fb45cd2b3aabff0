//! Readers in a process of their own.
use super::Options;
use super::record::{Failure, Record};
use std::io;

/// Calls readers.
pub fn work(_: &Options, _: u64) -> io::Result<()> {
    Ok(())
}

/// Attacks readers.
pub fn attack(_: &Options, _: &mut Record, _: &mut dyn FnMut(&Failure)) -> io::Result<()> {
    Ok(())
}
