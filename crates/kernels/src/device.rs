//! Device libraries, and what this crate asks of an open device beside the op contract.

use crate::limits::Limits;
use crate::name::Name;
use clinpeft_tensor::{Backend, Result};
use std::path::Path;
use std::sync::Arc;

/// An open device.
pub(crate) trait DeviceBackend: Backend {
    fn limits(&self) -> Limits;
    /// Caches the autotuned kernels of this device, described by `what`, in a file.
    fn use_file(&self, file: &Path, what: &str) -> Result<()>;
}

/// A device library.
pub(crate) struct Library {
    /// How it is written in names of devices, and the cargo feature that builds it.
    pub(crate) word: &'static str,
    /// Its own name.
    pub(crate) title: &'static str,
    /// `None` in a build without it.
    pub(crate) driver: Option<Driver>,
}

/// How a library lists and opens its devices.
pub(crate) struct Driver {
    /// What the adapters are called, by number; at least one, or what is missing, with a hint.
    pub(crate) adapters: fn() -> Result<Vec<String>, String>,
    /// Opens and tests a device.
    pub(crate) open: fn(Name) -> Result<Arc<dyn DeviceBackend>>,
    /// Caches compiled kernels in a folder from now on.
    pub(crate) cache_kernels: fn(&Path),
}
