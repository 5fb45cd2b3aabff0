//! Machines that a plan is made for, with the speed that is assumed of them.

use std::fmt;
use std::str::FromStr;

/// A machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// One A100 with 80 GB: the published adaptation of LLaMA-7B.
    A100,
    /// One H100 with 80 GB.
    H100,
    /// Two cores of a server with 512-bit vectors.
    Cpu2,
}

/// Operations per second of the published adaptation: 4 x 6.74e9 x 2,387,834 notes x 128 tokens in 77,862 s on an A100.
const PUBLISHED: f64 = 4.0 * 6_738_415_616.0 * 2_387_834.0 * 128.0 / 77_862.0;

impl Device {
    const ALL: [Device; 3] = [Device::A100, Device::H100, Device::Cpu2];

    /// As on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Device::A100 => "a100-80gb",
            Device::H100 => "h100",
            Device::Cpu2 => "cpu-2",
        }
    }

    /// Operations per second that are sustained.
    pub fn speed(self) -> f64 {
        match self {
            Device::A100 => PUBLISHED,
            Device::H100 => PUBLISHED * 989.0 / 312.0,
            Device::Cpu2 => 0.25e12,
        }
    }

    /// Where the speed comes from.
    pub const fn assumption(self) -> &'static str {
        match self {
            Device::A100 => "the speed of the published adaptation, a third of the card's half-precision peak",
            Device::H100 => "the same share of its peak as the published adaptation had of an A100's",
            Device::Cpu2 => "half of the single-precision peak of two cores with AVX-512",
        }
    }

    /// Memory for weights, states and activations in bytes; `None` where it is the machine's own.
    pub const fn memory(self) -> Option<u64> {
        match self {
            Device::A100 | Device::H100 => Some(80_000_000_000),
            Device::Cpu2 => None,
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(name: &str) -> Result<Device, String> {
        Device::ALL.into_iter().find(|d| d.name() == name).ok_or_else(|| {
            let known: Vec<&str> = Device::ALL.iter().map(|d| d.name()).collect();
            format!("known are {}", known.join(", "))
        })
    }
}
