//! The sections of the report, one file each.

pub(crate) mod adaptation;
pub(crate) mod attrition;
pub(crate) mod calibration;
pub(crate) mod cost;
pub(crate) mod curves;
pub(crate) mod differences;
pub(crate) mod downstream;
pub(crate) mod environment;
pub(crate) mod fidelities;
pub(crate) mod forest;
pub(crate) mod learning;
pub(crate) mod others;
pub(crate) mod stacks;
pub(crate) mod task_sizes;
pub(crate) mod tripod;
