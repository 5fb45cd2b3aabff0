//! The ventilation cohort, from the bedside tables or from a list of labels.

pub(in crate::prepare) mod cohort;
pub(in crate::prepare) mod durations;
mod list;
