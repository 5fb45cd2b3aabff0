//! The samples of the five tasks, written as the admission notes pass by.

use super::admissions::{self, Admission, Admissions};
use super::codes::{self, CodeTable, Codes};
use super::manifest::{Count, Funnel, Tally};
use super::notes::{self, Notes};
use super::rules::{Rules, Switch};
use super::split::{self, Splitter};
use super::ventilation::{Candidates, Sources, Unfit};
use super::version::{self, Collection};
use super::{CorpusSource, Ledger, NearDuplicates, PrepareOptions, death};
use crate::error::{Error, Result};
use crate::ids::{HadmId, SubjectId};
use crate::ordered::in_order;
use crate::output::Output;
use crate::progress::Meter;
use crate::sections::AdmissionNote;
use crate::task::{Split, Task};
use std::collections::BTreeSet;
use std::path::Path;

pub(super) const OUTCOME: &str = "sample: outcome is known";
pub(super) const NO_MENTION: &str = "sample: no mention of the patient's death is left";
const IN_A_SPLIT: &str = "sample: patient is in a split list";
const NO_DOUBLE: &str = "sample: is not in training with its like held out";
pub(super) const A_CODE: &str = "sample: admission has a code";
const SURVIVED: &str = "sample: patient survived";
pub(super) const STAY_KNOWN: &str = "sample: length of stay is known";
const A_STAY: &str = "sample: admission has a stay of the cohort";
const LISTED: &str = "sample: admission is in the list of labels";
const EARLY_NOTE: &str = "sample: nursing or respiratory note in the first 48 hours";

/// Bytes of text that one thread works on at a time.
const BATCH: usize = 1 << 18;

const TABLES: &[&str] = &["ADMISSIONS", "NOTEEVENTS", "DIAGNOSES_ICD", "PROCEDURES_ICD", "PATIENTS", "ICUSTAYS"];

const CODE_FILTERS: &[&str] = &[A_CODE, IN_A_SPLIT, NO_DOUBLE];
const MORTALITY_FILTERS: &[&str] = &[OUTCOME, NO_MENTION, IN_A_SPLIT, NO_DOUBLE];
const STAY_FILTERS: &[&str] = &[SURVIVED, STAY_KNOWN, IN_A_SPLIT, NO_DOUBLE];
const VENTILATION_FILTERS: &[&str] = &[A_STAY, EARLY_NOTE, NO_MENTION, IN_A_SPLIT, NO_DOUBLE];
const LISTED_FILTERS: &[&str] = &[LISTED, OUTCOME, NO_MENTION, IN_A_SPLIT, NO_DOUBLE];

/// The files and counts of one task.
struct Writer {
    task: Task,
    outputs: [Output; 3],
    funnel: Funnel,
    tally: Tally,
}

/// What the labels come from.
struct Facts {
    admissions: Admissions,
    /// Whether the flag of a death is missing anywhere.
    flag_has_gaps: bool,
    donors: BTreeSet<String>,
    diagnoses: Codes,
    procedures: Codes,
    candidates: Candidates,
}

/// Everything that was read for the tasks; samples can be made from it again under other rules.
pub(super) struct Material {
    facts: Facts,
    notes: Notes,
    rules: Rules,
}

/// A note on its way to the tasks.
pub(super) struct Sample<'a> {
    pub id: HadmId,
    pub subject: SubjectId,
    pub text: String,
    /// The text without mentions of death; `None` if it cannot be freed of them.
    silent: Option<String>,
    admission: Option<&'a Admission>,
    split: Option<Split>,
    split_by_admission: Split,
    rules: Rules,
    facts: &'a Facts,
}

/// What becomes of a note in one task.
pub(super) struct Labelled<'a> {
    pub split: Split,
    pub text: &'a str,
    pub label: String,
    class: Option<usize>,
}

/// The filter that drops a sample.
type Filter = &'static str;

impl Facts {
    /// The lines of a task's `labels.txt`.
    fn labels(&self, task: Task) -> Vec<&str> {
        match task {
            Task::Diagnoses => self.diagnoses.labels.iter().map(String::as_str).collect(),
            Task::Procedures => self.procedures.labels.iter().map(String::as_str).collect(),
            _ => task.classes().unwrap_or_default().to_vec(),
        }
    }
}

impl Material {
    /// Reads all tables that the tasks need.
    pub fn read(
        options: &PrepareOptions,
        folder: &Path,
        out: &Path,
        ledger: &mut Ledger,
        meter: &Meter<'_>,
    ) -> Result<Material> {
        version::check(folder, TABLES, Collection::Mimic3)?;
        let rules = Rules::of(options.fidelity);
        let mut facts = read_facts(options, rules, folder, ledger, meter)?;
        let (notes, input) =
            Notes::read(folder, out, rules, &facts.admissions, &mut facts.candidates, &mut ledger.oddities, meter)?;
        ledger.inputs.push(input);
        Ok(Material { facts, notes, rules })
    }

    /// Goes over to other rules; only the small tables of codes are read again.
    pub fn apply(&mut self, rules: Rules, options: &PrepareOptions, folder: &Path) -> Result<()> {
        let mut ledger = Ledger::default();
        let facts = &mut self.facts;
        (facts.diagnoses, facts.procedures) = read_codes(options, rules, folder, &facts.donors, &mut ledger)?;
        self.notes.apply(rules);
        self.rules = rules;
        Ok(())
    }

    /// Calls `each` with every admission note that is left, in the order of admissions.
    pub fn each(
        &mut self,
        options: &PrepareOptions,
        splitter: &Splitter,
        meter: &Meter<'_>,
        mut each: impl FnMut(&Sample<'_>, &AdmissionNote) -> Result<()>,
    ) -> Result<()> {
        let (notes, facts, rules) = (&self.notes, &self.facts, self.rules);
        let mut ids = notes.ids().into_iter().enumerate();
        let next = || {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while bytes < BATCH
                && let Some((place, id)) = ids.next()
            {
                meter.step("admission notes", place as u64)?;
                let joined = notes.joined(id)?;
                bytes += joined.as_ref().map_or(0, |(_, text)| text.len());
                batch.push((id, joined));
            }
            Ok((!batch.is_empty()).then_some(batch))
        };
        let work = |batch: Vec<(HadmId, Option<(SubjectId, String)>)>| {
            let cut = |(id, joined)| (id, Cut::of(rules, joined));
            Ok(batch.into_iter().map(cut).collect::<Vec<_>>())
        };
        let mut funnel = notes::admission_funnel();
        let take = |batch: Vec<(HadmId, Result<Cut, Filter>)>| {
            for (id, cut) in batch {
                let cut = match cut {
                    Ok(cut) => cut,
                    Err(filter) => {
                        funnel.drop_by(filter);
                        continue;
                    }
                };
                funnel.keep();
                let sample = Sample {
                    id,
                    subject: cut.subject,
                    text: cut.text,
                    silent: cut.silent,
                    admission: facts.admissions.get(&id),
                    split: splitter.of(cut.subject),
                    split_by_admission: split::by_admission(options.seed, id),
                    rules,
                    facts,
                };
                each(&sample, &cut.note)?;
            }
            Ok(())
        };
        in_order(options.threads, next, work, take, || ())?;
        self.notes.admissions = funnel;
        Ok(())
    }
}

/// An admission note after everything that needs no other note.
struct Cut {
    subject: SubjectId,
    note: AdmissionNote,
    text: String,
    silent: Option<String>,
}

impl Cut {
    fn of(rules: Rules, joined: Option<(SubjectId, String)>) -> Result<Cut, Filter> {
        let (subject, joined) = joined.ok_or(notes::REPORT)?;
        let note = notes::cut(rules, &joined).ok_or(notes::USABLE)?;
        let text = note.assemble();
        let silent = if rules.corrects(Switch::DeathMentions) {
            death::corrected(note.clone()).map(|n| n.assemble())
        } else {
            death::published(&text).map(|t| t.into_owned())
        };
        Ok(Cut { subject, note, text, silent })
    }
}

/// Writes the files of all tasks that are asked for, and `subjects.csv`.
pub(super) fn write(
    options: &PrepareOptions,
    material: &mut Material,
    out: &Path,
    splitter: &Splitter,
    ledger: &mut Ledger,
    meter: &Meter<'_>,
) -> Result<()> {
    let excluded = match options.near_duplicates {
        NearDuplicates::Keep => BTreeSet::new(),
        NearDuplicates::Exclude => leaking(options, material, splitter, ledger, meter)?,
    };
    let mut writers = Vec::new();
    for task in options.tasks() {
        writers.push(Writer::create(task, out, &material.facts)?);
        ledger.labels.insert(task.name().into(), material.facts.labels(task).len() as u64);
    }
    let mut subjects = Output::create(&out.join("subjects.csv"), &["id", "subject"])?;
    material.each(options, splitter, meter, |sample, note| {
        let entry = match options.near_duplicates {
            NearDuplicates::Keep => Some(ledger.register.add(sample.subject, note.bodies())),
            NearDuplicates::Exclude => None,
        };
        let mut splits = BTreeSet::new();
        for writer in &mut writers {
            let Some(split) = writer.take(sample, &excluded)? else {
                continue;
            };
            splits.insert(split);
            if let Some(entry) = entry {
                ledger.register.join(entry, writer.task, split);
            }
        }
        if splits.iter().any(|split| *split != Split::Train) && options.corpus != CorpusSource::None {
            ledger.sketches.add(note.bodies());
        }
        if !splits.is_empty() {
            subjects.row([sample.id.to_string(), sample.subject.to_string()])?;
        }
        Ok(())
    })?;
    ledger.written.extend([subjects.finish()?]);
    ledger.attrition.extend(material.notes.rows.steps());
    ledger.attrition.extend(material.notes.admissions.steps());
    for writer in writers {
        if writer.task == Task::Ventilation {
            let candidates = &mut material.facts.candidates;
            ledger.attrition.append(&mut candidates.attrition);
            let unused = candidates.listed().saturating_sub(writer.funnel.kept());
            ledger.oddities.note_many("ventilation list: admission without a sample", unused);
        }
        writer.finish(ledger)?;
    }
    Ok(())
}

/// Samples of training whose like is held out; a pass of its own, since they are to be left out before they are written.
fn leaking(
    options: &PrepareOptions,
    material: &mut Material,
    splitter: &Splitter,
    ledger: &mut Ledger,
    meter: &Meter<'_>,
) -> Result<BTreeSet<(Task, HadmId)>> {
    let mut ids = Vec::new();
    material.each(options, splitter, meter, |sample, note| {
        let entry = ledger.register.add(sample.subject, note.bodies());
        ids.push(sample.id);
        for task in options.tasks() {
            if let Ok(labelled) = sample.labelled(task) {
                ledger.register.join(entry, task, labelled.split);
            }
        }
        Ok(())
    })?;
    material.notes.apply(material.rules);
    Ok(ledger.register.leaking().into_iter().map(|(task, entry)| (task, ids[entry])).collect())
}

fn read_facts(
    options: &PrepareOptions,
    rules: Rules,
    folder: &Path,
    ledger: &mut Ledger,
    meter: &Meter<'_>,
) -> Result<Facts> {
    let (admissions, input) = admissions::read(folder, &mut ledger.oddities)?;
    ledger.inputs.push(input);
    let flag_has_gaps = admissions.values().any(|admission| admission.died.is_none());
    let mut donors = BTreeSet::new();
    if options.needs_bedside_tables() {
        let (codes, input) = codes::donor_codes(folder)?;
        ledger.inputs.push(input);
        donors = codes;
    }
    let (diagnoses, procedures) = read_codes(options, rules, folder, &donors, ledger)?;
    let mut candidates = Candidates::default();
    if let Some(list) = options.pmv_labels.as_deref().filter(|_| options.tasks.contains(&Task::Ventilation)) {
        let (listed, input) = Candidates::listed_in(list, &mut ledger.oddities)?;
        ledger.inputs.push(input);
        candidates = listed;
    } else if options.needs_bedside_tables() {
        let (birthdays, input) = admissions::birthdays(folder)?;
        ledger.inputs.push(input);
        let sources = Sources { folder, admissions: &admissions, birthdays: &birthdays, excluded: &diagnoses.excluded };
        candidates = Candidates::read(&sources, &mut ledger.inputs, meter)?;
    }
    Ok(Facts { admissions, flag_has_gaps, donors, diagnoses, procedures, candidates })
}

fn read_codes(
    options: &PrepareOptions,
    rules: Rules,
    folder: &Path,
    donors: &BTreeSet<String>,
    ledger: &mut Ledger,
) -> Result<(Codes, Codes)> {
    let mut read = |which: CodeTable| -> Result<Codes> {
        let (codes, input) = codes::read(folder, which, rules, donors, &mut ledger.oddities)?;
        ledger.inputs.push(input);
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

impl Sample<'_> {
    /// The sample of a task, or the filter that drops it.
    pub fn labelled(&self, task: Task) -> Result<Labelled<'_>, Filter> {
        let (label, class) = match task {
            Task::Diagnoses => (self.facts.diagnoses.joined(self.id).ok_or(A_CODE)?, None),
            Task::Procedures => (self.facts.procedures.joined(self.id).ok_or(A_CODE)?, None),
            Task::Mortality => self.flag()?,
            Task::LengthOfStay => numbered(self.stay_class()?),
            Task::Ventilation => numbered(self.ventilated()?),
        };
        let text = match task {
            Task::Mortality | Task::Ventilation => self.silent.as_deref().ok_or(NO_MENTION)?,
            Task::Diagnoses | Task::Procedures | Task::LengthOfStay => self.text.as_str(),
        };
        let split = match task {
            Task::Ventilation if !self.rules.corrects(Switch::VentilationSplit) => self.ventilation_split(),
            _ => self.split,
        };
        Ok(Labelled { split: split.ok_or(IN_A_SPLIT)?, text, label, class })
    }

    fn died(&self) -> Result<usize, Filter> {
        Ok(self.admission.and_then(|a| a.died).ok_or(OUTCOME)? as usize)
    }

    /// The flag of a death as a label. With one flag missing, the published rules hold all of them as decimals.
    fn flag(&self) -> Result<(String, Option<usize>), Filter> {
        let (flag, class) = numbered(self.died()?);
        match self.facts.flag_has_gaps && !self.rules.corrects(Switch::ColumnTypes) {
            true => Ok((flag + ".0", class)),
            false => Ok((flag, class)),
        }
    }

    fn stay_class(&self) -> Result<usize, Filter> {
        let admission = self.admission.filter(|a| a.died == Some(0)).ok_or(SURVIVED)?;
        admissions::stay_class(admission).ok_or(STAY_KNOWN)
    }

    fn ventilated(&self) -> Result<usize, Filter> {
        let candidates = &self.facts.candidates;
        let duration = candidates.label(self.id).map_err(|unfit| match unfit {
            Unfit::NoStay => A_STAY,
            Unfit::NotListed => LISTED,
            Unfit::NoEarlyNote => EARLY_NOTE,
        })?;
        if candidates.listed() > 0 {
            // The published list takes its notes from the mortality task.
            self.died()?;
        }
        Ok(duration as usize)
    }

    /// As the list says, for patients of the mortality task; without a list by admission, whoever the patient is.
    fn ventilation_split(&self) -> Option<Split> {
        match self.facts.candidates.listed_split(self.id) {
            Some(listed) => self.split.map(|_| listed),
            None => Some(self.split_by_admission),
        }
    }
}

fn numbered(class: usize) -> (String, Option<usize>) {
    (class.to_string(), Some(class))
}

impl Writer {
    fn create(task: Task, out: &Path, facts: &Facts) -> Result<Writer> {
        let folder = out.join(task.name());
        let file = |split: Split| Output::create(&folder.join(format!("{split}.csv")), &["id", "text", "label"]);
        let outputs = [file(Split::Train)?, file(Split::Validation)?, file(Split::Test)?];
        let filters = match task {
            Task::Diagnoses | Task::Procedures => CODE_FILTERS,
            Task::Mortality => MORTALITY_FILTERS,
            Task::LengthOfStay => STAY_FILTERS,
            Task::Ventilation if facts.candidates.listed() > 0 => LISTED_FILTERS,
            Task::Ventilation => VENTILATION_FILTERS,
        };
        let path = folder.join("labels.txt");
        std::fs::write(&path, facts.labels(task).join("\n") + "\n").map_err(Error::at("write", &path))?;
        Ok(Writer {
            task,
            outputs,
            funnel: Funnel::new(task.name(), filters),
            tally: Tally::new(task.classes().map_or(0, <[_]>::len)),
        })
    }

    /// Writes the sample, if it is one of this task; returns its split.
    fn take(&mut self, sample: &Sample<'_>, excluded: &BTreeSet<(Task, HadmId)>) -> Result<Option<Split>> {
        let labelled = match sample.labelled(self.task) {
            Ok(l) if l.split == Split::Train && excluded.contains(&(self.task, sample.id)) => Err(NO_DOUBLE),
            other => other,
        };
        let labelled = match labelled {
            Ok(labelled) => labelled,
            Err(filter) => {
                self.funnel.drop_by(filter);
                return Ok(None);
            }
        };
        self.funnel.keep();
        self.tally.add(labelled.split, labelled.class);
        let cells = [&sample.id.to_string(), labelled.text, &labelled.label];
        self.outputs[labelled.split as usize].row(cells)?;
        Ok(Some(labelled.split))
    }

    fn finish(self, ledger: &mut Ledger) -> Result<()> {
        ledger.attrition.extend(self.funnel.steps());
        split::require_samples(self.task.name(), &self.tally.samples)?;
        for (split, per_class) in Split::ALL.into_iter().zip(self.tally.per_class) {
            ledger.counts.push(Count {
                task: self.task.name().into(),
                split: split.name().into(),
                samples: self.tally.samples[split as usize],
                per_class,
            });
        }
        for output in self.outputs {
            ledger.written.extend([output.finish()?]);
        }
        Ok(())
    }
}
