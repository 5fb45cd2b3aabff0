//! The tensor contract in CubeCL, for CUDA and Vulkan.
//!
//! - [`open`] gives a [`Device`] by name; from there on everything is [`clinpeft_tensor::ops`]. No type of CubeCL shows.
//! - One file per operation in `ops`, named as in `clinpeft_tensor::ops`, where the contract is stated. Values are
//!   computed with in f32, and stored in f32, bf16 or f16.
//! - A device works asynchronously, so its failures arrive late. They surface as an error at the next operation or
//!   download, and everything that was on the device by then is poisoned: using it is an error as well. A failure never
//!   becomes numbers.
//! - Features: `vulkan` and `cuda`. Without them the crate compiles no device library, and [`devices`] says so.
//!
//! ```
//! for listing in clinpeft_kernels::devices() {
//!     println!("{}: {}", listing.name, listing.state);
//! }
//! assert!(clinpeft_kernels::open("abacus").is_err());
//! ```

mod device;
mod limits;
mod name;

#[cfg(feature = "cubecl")]
mod autotune;
#[cfg(feature = "cubecl")]
mod backend;
#[cfg(feature = "cubecl")]
mod context;
#[cfg(feature = "cubecl")]
mod kernel_cache;
#[cfg(feature = "cubecl")]
mod launch;
#[cfg(feature = "cubecl")]
mod map;
#[cfg(feature = "cubecl")]
mod ops;
#[cfg(feature = "cubecl")]
mod packed_half;
#[cfg(feature = "cubecl")]
mod panics;
#[cfg(feature = "cubecl")]
mod reduce;
#[cfg(feature = "cubecl")]
mod selftest;
#[cfg(feature = "cubecl")]
mod transfer;

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "vulkan")]
mod vulkan;

pub use limits::Limits;

use clinpeft_tensor::{Backend, Device, Error, Result};
use device::{DeviceBackend, Driver, Library};
use name::Name;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The driver of a library, where this build has its feature.
macro_rules! driver {
    ($feature:tt, $module:ident) => {{
        #[cfg(feature = $feature)]
        const DRIVER: Option<Driver> =
            Some(Driver { adapters: $module::adapters, open: $module::open, cache_kernels: kernel_cache::enable });
        #[cfg(not(feature = $feature))]
        const DRIVER: Option<Driver> = None;
        DRIVER
    }};
}

/// The device libraries, best first.
static LIBRARIES: [Library; 2] = [
    Library { word: "cuda", title: "CUDA", driver: driver!("cuda", cuda) },
    Library { word: "vulkan", title: "Vulkan", driver: driver!("vulkan", vulkan) },
];

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
/// tested.
pub fn devices() -> Vec<Listing> {
    let mut all = Vec::new();
    for Library { word, .. } in &LIBRARIES {
        match driver(word).and_then(|driver| (driver.adapters)()) {
            Ok(found) => {
                let names = (0..).map(|index| Name { library: word, index });
                all.extend(names.zip(found).map(|(name, what)| listing(name, what)));
            }
            Err(why) => all.push(Listing { name: (*word).into(), state: State::Missing(why), limits: None }),
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

/// The device called `name`: `vulkan` or `cuda`, with `:0`, `:1` ... where there are several; `cpu` is main memory.
///
/// A self-test runs before the device is handed out. Opening the same device again gives the same one.
pub fn open(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let (name, _) = found(name)?;
    let backend: Arc<dyn Backend> = opened(name)?;
    Ok(Device::Other(backend))
}

/// Opens a device as [`open`] does, and caches in `folder` what the next process would have to find out again: the compiled
/// kernels, and the autotuned choices of GEMM kernels, so that they are measured once and the next process computes the same
/// bits. Nothing is cached for the CPU, and a software driver is not autotuned.
pub fn open_cached(name: &str, folder: &Path) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let wanted = parsed(name)?;
    let missing = |what| Error::Backend { device: wanted.to_string(), what };
    (driver(wanted.library).map_err(missing)?.cache_kernels)(folder);
    let (wanted, what) = found(name)?;
    // Vulkan names its driver; CUDA's is named here on Linux.
    let version = std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    let version = version.lines().next().unwrap_or_default();
    let what = format!("{what}; {version}; clinpeft {}", env!("CARGO_PKG_VERSION"));
    let file = folder.join(format!("{}.txt", wanted.to_string().replace(':', "-")));
    let backend = opened(wanted)?;
    backend.use_file(&file, &what)?;
    Ok(Device::Other(backend))
}

fn parsed(name: &str) -> Result<Name> {
    Name::parse(name, LIBRARIES.iter().map(|library| library.word))
}

/// The device called `name` and what its adapter is called. Errors if the machine has no such device.
fn found(name: &str) -> Result<(Name, String)> {
    let wanted = parsed(name)?;
    let missing = |what| Error::Backend { device: wanted.to_string(), what };
    let mut adapters = driver(wanted.library).and_then(|driver| (driver.adapters)()).map_err(missing)?;
    if wanted.index >= adapters.len() {
        let (word, last) = (wanted.library, adapters.len() - 1);
        return Err(missing(format!(
            "there is no such device; the last one is `{word}:{last}`\nhint: leave the number out, or see `clinpeft doctor`"
        )));
    }
    Ok((wanted, adapters.swap_remove(wanted.index)))
}

/// The driver of a library, or what to do about its absence from this build.
fn driver(word: &str) -> Result<&'static Driver, String> {
    let library = LIBRARIES.iter().find(|library| library.word == word);
    library.and_then(|library| library.driver.as_ref()).ok_or_else(|| {
        let title = library.map_or(word, |library| library.title);
        format!(
            "this program was built without {title}\nhint: `cargo xtask COMMAND --device {word}` builds what the device needs"
        )
    })
}

fn opened(wanted: Name) -> Result<Arc<dyn DeviceBackend>> {
    static OPEN: Mutex<BTreeMap<Name, Arc<dyn DeviceBackend>>> = Mutex::new(BTreeMap::new());
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(backend) = open.get(&wanted) {
        return Ok(backend.clone());
    }
    let driver = driver(wanted.library).map_err(|what| Error::Backend { device: wanted.to_string(), what })?;
    let backend = (driver.open)(wanted)?;
    open.insert(wanted, backend.clone());
    Ok(backend)
}

#[cfg(test)]
mod tests;
