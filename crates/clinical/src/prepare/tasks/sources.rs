//! The tables from which labels come.

use crate::error::Result;
use crate::ids::{HadmId, Moment, SubjectId};
use crate::prepare::manifest_builder::ManifestBuilder;
use crate::prepare::options::PrepareOptions;
use crate::prepare::rules::Rules;
use crate::prepare::tables::admissions::{self, Admissions};
use crate::prepare::tables::codes::{self, CodeTable, Codes};
use crate::prepare::tables::ventilation::cohort::{Candidates, Sources};
use crate::progress::ProgressMeter;
use crate::task::Task;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What the labels come from.
pub(in crate::prepare) struct LabelSources {
    pub admissions: Admissions,
    /// The beginnings of each patient's admissions.
    pub stays: BTreeMap<SubjectId, Vec<(Moment, HadmId)>>,
    /// Whether the flag of a death is missing anywhere.
    pub flag_has_gaps: bool,
    pub donors: BTreeSet<String>,
    pub diagnoses: Codes,
    pub procedures: Codes,
    pub candidates: Candidates,
}

pub(super) fn read(
    options: &PrepareOptions,
    rules: Rules,
    folder: &Path,
    builder: &mut ManifestBuilder,
    meter: &ProgressMeter<'_>,
) -> Result<LabelSources> {
    let (admissions, input) = admissions::read(folder, &mut builder.irregularities)?;
    builder.inputs.push(input);
    let mut stays: BTreeMap<SubjectId, Vec<(Moment, HadmId)>> = BTreeMap::new();
    for (id, admission) in &admissions {
        stays.entry(admission.subject).or_default().push((admission.admitted, *id));
    }
    let flag_has_gaps = admissions.values().any(|admission| admission.died.is_none());
    let mut donors = BTreeSet::new();
    if options.needs_bedside_tables() {
        let (codes, input) = codes::donor_codes(folder)?;
        builder.inputs.push(input);
        donors = codes;
    }
    let (diagnoses, procedures) = read_codes(options, rules, folder, &donors, builder)?;
    let mut candidates = Candidates::default();
    if let Some(list) = options.pmv_labels.as_deref().filter(|_| options.tasks.contains(&Task::Ventilation)) {
        let (listed, input) = Candidates::listed_in(list, &mut builder.irregularities)?;
        builder.inputs.push(input);
        candidates = listed;
    } else if options.needs_bedside_tables() {
        let (birthdays, input) = admissions::birthdays(folder)?;
        builder.inputs.push(input);
        let sources = Sources { folder, admissions: &admissions, birthdays: &birthdays, excluded: &diagnoses.excluded };
        candidates = Candidates::read(&sources, &mut builder.inputs, meter)?;
    }
    Ok(LabelSources { admissions, stays, flag_has_gaps, donors, diagnoses, procedures, candidates })
}

/// Reads the small tables of codes.
pub(super) fn read_codes(
    options: &PrepareOptions,
    rules: Rules,
    folder: &Path,
    donors: &BTreeSet<String>,
    builder: &mut ManifestBuilder,
) -> Result<(Codes, Codes)> {
    let mut read = |which: CodeTable| -> Result<Codes> {
        let (codes, input) = codes::read(folder, which, rules, donors, &mut builder.irregularities)?;
        builder.inputs.push(input);
        Ok(codes)
    };
    let mut both = (Codes::default(), Codes::default());
    if options.tasks.contains(&Task::Diagnoses) || options.needs_bedside_tables() {
        both.0 = read(CodeTable::Diagnoses)?;
    }
    if options.tasks.contains(&Task::Procedures) {
        both.1 = read(CodeTable::Procedures)?;
    }
    Ok(both)
}
