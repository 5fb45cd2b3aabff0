//! What no file of weights has, however large the model.

use crate::{Error, Result};
use std::path::Path;

/// More axes than any weight has.
pub(crate) const MOST_AXES: usize = 8;
/// More characters than the name of any tensor or file has.
const LONGEST_NAME: usize = 1000;

/// Errors if a name from a file is too long or holds characters that no terminal should get, so that every later message may
/// show it as it is.
pub(crate) fn need_plain(path: &Path, name: &str) -> Result<()> {
    if name.chars().nth(LONGEST_NAME).is_none() && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    let what = format!("holds the name `{}`, which no model has\nhint: do not trust this file", shown.escape_debug());
    Err(Error::Format { path: path.into(), what })
}
