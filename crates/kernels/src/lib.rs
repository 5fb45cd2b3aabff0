//! The tensor contract in CubeCL, for CUDA and Vulkan.
//!
//! - [`open`] gives a [`Device`] by name; from there on everything is [`clinpeft_tensor::ops`]. No type of CubeCL shows.
//! - One file per operation in `ops`, named as in `clinpeft_tensor::ops`, where the contract is stated. Values are
//!   computed with in f32, and stored in f32, bf16 or f16.
//! - A device works asynchronously, so its failures arrive late. They surface as an error at the next operation or
//!   download, and everything that was on the device by then is void: using it is an error as well. A failure never
//!   turns into numbers.
//! - Features: `vulkan` and `cuda`. Without them the crate compiles no device library, and [`devices`] says so.
//!
//! ```
//! for listing in clinpeft_kernels::devices() {
//!     println!("{}: {}", listing.name, listing.state);
//! }
//! assert!(clinpeft_kernels::open("abacus").is_err());
//! ```

mod limits;
mod name;

#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod backend;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod client;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod compiled;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
#[cfg(feature = "cuda")]
mod cuda_text;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod map;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod narrow;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod ops;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod panics;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod reduce;
#[cfg(feature = "vulkan")]
mod vulkan;
#[cfg(any(feature = "vulkan", feature = "cuda"))]
mod work;

pub use limits::Limits;

use clinpeft_tensor::{Backend, Device, Error, Result};
use name::{Kind, Name};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A device, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// What [`open`] takes, for example `vulkan:0`; without a number where no device was found.
    pub name: String,
    /// Whether it can be opened.
    pub state: State,
    /// What it can do; `None` if it cannot be opened.
    pub limits: Option<Limits>,
}

/// Whether a device can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Found; the text names adapter and driver. Opening it may still fail.
    Found(String),
    /// Missing; the text says what, with a hint.
    Missing(String),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Found(what) | State::Missing(what) => f.write_str(what),
        }
    }
}

/// All devices of this machine that this build can use, best first, and what is missing for the others. Each is opened and
/// tried.
pub fn devices() -> Vec<Listing> {
    let mut all = Vec::new();
    for kind in [Kind::Cuda, Kind::Vulkan] {
        match adapters(kind) {
            Ok(found) => {
                all.extend(found.into_iter().enumerate().map(|(index, what)| listing(Name { kind, index }, what)));
            }
            Err(why) => {
                all.push(Listing { name: kind.word().into(), state: State::Missing(why), limits: None });
            }
        }
    }
    all
}

fn listing(name: Name, what: String) -> Listing {
    let (state, limits) = match opened(name) {
        Ok(device) => (State::Found(what), Some(device.limits())),
        Err(why) => (State::Missing(format!("{what}: {why}")), None),
    };
    Listing { name: name.to_string(), state, limits }
}

/// An open device.
trait Opened: Backend {
    fn limits(&self) -> Limits;
    /// Keeps the choices of this device, which is `what`, in a file.
    fn remember(&self, file: &Path, what: &str) -> Result<()>;
}

/// The device called `name`: `vulkan` or `cuda`, with `:0`, `:1` ... where there are several; `cpu` is main memory.
///
/// A small trial runs before the device is handed out. Opening the same device again gives the same one.
pub fn open(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let wanted = Name::parse(name)?;
    let missing = |what| Error::Backend { device: wanted.to_string(), what };
    let found = adapters(wanted.kind).map_err(missing)?;
    if wanted.index >= found.len() {
        let last = found.len() - 1;
        return Err(missing(format!(
            "there is no such device; the last one is `{}:{last}`\nhint: leave the number out, or see `clinpeft doctor`",
            wanted.kind.word()
        )));
    }
    let backend: Arc<dyn Backend> = opened(wanted)?;
    Ok(Device::Other(backend))
}

/// Opens a device as [`open`] does, and keeps in `folder` what the next process would have to find out again: the compiled
/// kernels, and which ways of computing products were the fastest, so that they are measured once and the next process computes
/// the same bits. On the CPU nothing is kept, and a device of software is not measured.
pub fn open_and_keep(name: &str, folder: &Path) -> Result<Device> {
    #[cfg(any(feature = "vulkan", feature = "cuda"))]
    compiled::keep(folder);
    let device = open(name)?;
    if device == Device::Cpu {
        return Ok(device);
    }
    let wanted = Name::parse(name)?;
    let missing = |what| Error::Backend { device: wanted.to_string(), what };
    let adapters = adapters(wanted.kind).map_err(missing)?;
    let what = adapters.get(wanted.index).cloned().unwrap_or_default();
    // Vulkan names its driver; CUDA's is named here on Linux.
    let driver = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let driver = driver.lines().next().unwrap_or_default();
    let what = format!("{what}; {driver}; clinpeft {}", env!("CARGO_PKG_VERSION"));
    let file = folder.join(format!("{}.txt", wanted.to_string().replace(':', "-")));
    opened(wanted)?.remember(&file, &what)?;
    Ok(device)
}

/// What the adapters of a kind are called; at least one, or what is missing.
fn adapters(kind: Kind) -> Result<Vec<String>, String> {
    match kind {
        #[cfg(feature = "vulkan")]
        Kind::Vulkan => vulkan::adapters(),
        #[cfg(feature = "cuda")]
        Kind::Cuda => cuda::adapters(),
        #[cfg(not(all(feature = "vulkan", feature = "cuda")))]
        kind => Err(not_built(kind)),
    }
}

#[cfg(not(all(feature = "vulkan", feature = "cuda")))]
fn not_built(kind: Kind) -> String {
    let word = kind.word();
    format!(
        "this program was built without {kind:?}\nhint: `cargo xtask COMMAND --device {word}` builds what the device needs"
    )
}

#[cfg(any(feature = "vulkan", feature = "cuda"))]
fn opened(wanted: Name) -> Result<Arc<dyn Opened>> {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    static OPEN: Mutex<BTreeMap<Name, Arc<dyn Opened>>> = Mutex::new(BTreeMap::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(backend) = open.get(&wanted) {
        return Ok(backend.clone());
    }
    let backend: Arc<dyn Opened> = match wanted.kind {
        #[cfg(feature = "vulkan")]
        Kind::Vulkan => vulkan::open(wanted)?,
        #[cfg(feature = "cuda")]
        Kind::Cuda => cuda::open(wanted)?,
        #[cfg(not(all(feature = "vulkan", feature = "cuda")))]
        kind => {
            return Err(Error::Backend { device: wanted.to_string(), what: not_built(kind) });
        }
    };
    open.insert(wanted, backend.clone());
    Ok(backend)
}

#[cfg(not(any(feature = "vulkan", feature = "cuda")))]
fn opened(wanted: Name) -> Result<Arc<dyn Opened>> {
    Err(Error::Backend { device: wanted.to_string(), what: not_built(wanted.kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_found_or_with_a_hint() {
        let all = devices();
        for word in ["cuda", "vulkan"] {
            let of_kind: Vec<_> = all.iter().filter(|l| l.name.starts_with(word)).collect();
            assert!(!of_kind.is_empty());
            for listing in of_kind {
                let hinted = listing.state.to_string().contains("\nhint: ");
                assert_eq!(matches!(listing.state, State::Missing(_)), hinted, "{listing:?}");
            }
        }
    }

    #[test]
    fn cpu_needs_no_feature() {
        assert_eq!(open("cpu").unwrap(), Device::Cpu);
    }

    #[cfg(not(feature = "vulkan"))]
    #[test]
    fn a_build_without_vulkan_says_so() {
        let said = open("vulkan").unwrap_err().to_string();
        assert!(said.contains("without Vulkan") && said.contains("\nhint: "), "{said}");
    }
}
