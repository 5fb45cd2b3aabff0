//! What a run needs of a machine, and what machines have.

pub mod device_specs;
pub mod machine;
pub mod memory;
pub mod sizes;
