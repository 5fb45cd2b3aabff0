//! Readers of the raw tables.

pub(super) mod admissions;
pub(super) mod codes;
pub(super) mod notes;
mod published_order;
pub(super) mod ventilation;
pub(super) mod version;
