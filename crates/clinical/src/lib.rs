//! MIMIC readers, cohorts, labels, splits, attrition and the synthetic cohort.
