//! Arguments that several commands share.

use clap::Args;
use clinpeft_experiment::{Error, Result, Store};
use clinpeft_tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The device that a command runs on.
#[derive(Debug, Args)]
pub struct DeviceArg {
    /// Device: `cpu`, `vulkan` or `cuda`; `cuda:1` is the second GPU
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl DeviceArg {
    /// Opens and tries the device.
    pub fn open(&self) -> Result<Device> {
        clinpeft_kernels::open(&self.device).map_err(|e| Error::Model(e.into()))
    }

    /// Opens and tries the device with the kernels and the autotune results that this store has cached.
    pub fn open_for(&self, store: &Store) -> Result<Device> {
        clinpeft_kernels::open_cached(&self.device, &store.devices()).map_err(|e| Error::Model(e.into()))
    }
}

/// Set by a signal.
pub static STOP: AtomicBool = AtomicBool::new(false);

/// The number of threads asked for, or that of the machine's cores.
pub fn threads(wanted: Option<usize>) -> usize {
    wanted.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// A number of threads from the command line.
pub fn count(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1024).contains(n)).ok_or_else(|| "a number of threads is from 1 to 1024".into())
}

/// This program, to start runs with.
pub fn program() -> Result<PathBuf> {
    Ok(std::env::current_exe().map_err(clinpeft_files::at("find", Path::new("clinpeft")))?)
}

/// A key of `run.toml` and a TOML value. Strings need no quotes.
pub fn setting(text: &str) -> std::result::Result<(String, toml::Value), String> {
    let (place, value) = text.split_once('=').ok_or("a setting is KEY=VALUE, for example training.epochs=3")?;
    let read = |value: &str| -> Option<toml::Value> { format!("v = {value}").parse::<toml::Table>().ok()?.remove("v") };
    let value = read(value).or_else(|| read(&format!("{value:?}")));
    Ok((place.to_string(), value.ok_or("the value is not TOML")?))
}
