//! Tables against the published ones, from run folders alone.
