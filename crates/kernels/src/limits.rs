//! What a device can do.

use std::fmt;

/// What a device can do, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// All of its memory, in bytes; `None` where the driver does not tell.
    pub memory: Option<u64>,
    /// Largest buffer, in bytes. Larger tables and heads are cut into several, larger activations are an error.
    pub buffer: u64,
    /// Shared memory of a cube, in bytes.
    pub shared_memory: u64,
    /// Units of a cube.
    pub units: u32,
    /// Whether products that may be rounded to bf16 run on tensor cores, with sums in f32; else they run on plain units in f32.
    pub tensor_cores: bool,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
        let memory = self.memory.map_or("memory unknown".into(), |m| format!("memory {}", mib(m)));
        let cores = if self.tensor_cores { "bf16" } else { "none" };
        write!(
            f,
            "{memory}, largest buffer {}, shared memory {} KiB, {} units a cube, tensor cores: {cores}",
            mib(self.buffer),
            self.shared_memory >> 10,
            self.units
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_said_with_its_unit() {
        let limits = Limits {
            memory: Some(80 << 30),
            buffer: 20 << 30,
            shared_memory: 227 << 10,
            units: 1024,
            tensor_cores: true,
        };
        let said =
            "memory 81920 MiB, largest buffer 20480 MiB, shared memory 227 KiB, 1024 units a cube, tensor cores: bf16";
        assert_eq!(limits.to_string(), said);
        let none = Limits { memory: None, tensor_cores: false, ..limits }.to_string();
        assert!(none.starts_with("memory unknown") && none.ends_with("tensor cores: none"), "{none}");
    }
}
