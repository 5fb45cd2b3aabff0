//! Where the items of TRIPOD+AI (Collins et al. 2024) that apply to this work are answered.

use crate::document::{Audience, Cell, Section};

/// Number and subject of the item, and where it is answered.
const ITEMS: [(&str, &str); 13] = [
    ("5a, 5b. Data: sources and dates", "Attrition; the manifest of the data set names every input file with its hash"),
    ("6b. Eligibility", "Attrition: every filter with what it kept and dropped"),
    ("7. Data preparation", "manifest of the data set: switches; run.toml of each run: tokens and truncation"),
    ("8a. Outcome", "Table 1 (classes and kind)"),
    ("10. Sample size", "Table 1 (examples of each split); no calculation was made"),
    ("12a. Use of data in splits", "Table 1; Leaks"),
    ("12c. Model, parameters, training", "Stacks; Cost; run.toml of each run"),
    ("12e. Performance measures", "Table 3 and 4 (AUROC); tables.csv (AUPRC, F1, weighted AUROC); Calibration"),
    ("12f. Uncertainty", "intervals by patient in every table; Comparisons; ROC bands"),
    ("18d-f. Open science", "Environment (program, commit); every number links to its run folder"),
    ("20a. Participants", "Attrition"),
    ("23a. Performance with intervals", "Tables 3 to 5; Forest plots; ROC and precision-recall curves; Calibration"),
    ("23b. Heterogeneity, subgroups", "not reported: the prediction files hold no patient's attributes"),
];

/// The list.
pub(crate) fn tripod() -> Section {
    Section {
        title: "TRIPOD+AI".into(),
        caption: "Items of the reporting guideline that apply, and where they are answered.".into(),
        columns: ["item", "where"].map(String::from).into(),
        rows: ITEMS.map(|(item, place)| (item.into(), vec![Cell::text(place)])).into(),
        audience: Audience::Curious,
        ..Section::default()
    }
}
