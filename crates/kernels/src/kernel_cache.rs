//! Compiled kernels, kept in a folder for the next process.
//!
//! CubeCL knows a kernel by its name and its constants, not by what it computes: each build of the program has a folder of its
//! own, or a kernel that was changed would be taken for the one before.

use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig as _};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Keeps in `folder` what is compiled from now on. The first folder counts, and only before the first device is opened.
pub(crate) fn enable(folder: &Path) {
    let Some(build) = build() else {
        return;
    };
    let mut settings = CubeClRuntimeConfig::default();
    settings.compilation.cache = Some(CacheConfig::File(folder.join(build)));
    let mut slot = CubeClRuntimeConfig::storage().lock();
    if slot.is_none() {
        *slot = Some(Arc::new(settings));
    }
}

/// Names the build of the running program.
fn build() -> Option<String> {
    let program = std::env::current_exe().ok()?.metadata().ok()?;
    let made = program.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("kernels-{}-{}", program.len(), made.as_nanos()))
}
