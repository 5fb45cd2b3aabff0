//! Where a verb runs the model.

use clap::Args;
use clinpeft_experiment::{Error, Result, Store};
use clinpeft_tensor::Device;

/// Where the model runs.
#[derive(Debug, Args)]
pub struct Where {
    /// Device: cpu, vulkan or cuda; with a number where there are several, as in cuda:1
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl Where {
    /// Opens and tries the device.
    pub fn open(&self) -> Result<Device> {
        clinpeft_kernels::open(&self.device).map_err(|e| Error::Model(e.into()))
    }

    /// The same, with what runs of this store compiled and measured before.
    pub fn open_for(&self, store: &Store) -> Result<Device> {
        clinpeft_kernels::open_and_keep(&self.device, &store.devices()).map_err(|e| Error::Model(e.into()))
    }
}
