//! A run of a plan.

use crate::spec::RunSpec;

/// One run and what it waits for.
#[derive(Debug, Clone)]
pub struct PlannedRun {
    /// Name of its folder.
    pub name: String,
    /// Its switches.
    pub spec: RunSpec,
    /// Runs that must be done before.
    pub needs: Vec<String>,
}
