//! The samples of the five tasks, written as the admission notes pass by.

use super::admissions::{self, Admission, Admissions};
use super::codes::{self, CodeTable, Codes};
use super::manifest::{Count, Funnel, Tally};
use super::notes::Notes;
use super::split::{self, Splitter};
use super::ventilation::{Candidates, Sources, Unfit};
use super::{CorpusSource, Fidelity, Ledger, PrepareOptions, death};
use crate::error::{Error, Result};
use crate::ids::{HadmId, SubjectId};
use crate::output::Output;
use crate::progress::Meter;
use crate::sections::AdmissionNote;
use crate::task::{Split, Task};
use std::collections::BTreeSet;
use std::path::Path;

const NO_MENTION: &str = "sample: no mention of the patient's death is left";
const IN_A_SPLIT: &str = "sample: patient is in a split list";
const CODE_FILTERS: &[&str] = &["sample: admission has a code", IN_A_SPLIT];
const MORTALITY_FILTERS: &[&str] = &["sample: outcome is known", NO_MENTION, IN_A_SPLIT];
const STAY_FILTERS: &[&str] = &["sample: patient survived", "sample: length of stay is known", IN_A_SPLIT];
const VENTILATION_FILTERS: &[&str] = &[
    "sample: admission has a stay of the cohort",
    "sample: nursing or respiratory note in the first 48 hours",
    NO_MENTION,
    IN_A_SPLIT,
];

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
    diagnoses: Codes,
    procedures: Codes,
    candidates: Candidates,
}

/// A note on its way to the tasks.
struct Sample<'a> {
    id: HadmId,
    text: String,
    /// The text without mentions of death; `None` if it cannot be freed of them.
    silent: Option<String>,
    admission: Option<&'a Admission>,
    split: Option<Split>,
    split_by_admission: Split,
}

/// A label and the class to count it under, or the filter that drops the sample.
type Labelled = Result<(String, Option<usize>), usize>;

/// Writes the files of all tasks that are asked for, and `subjects.csv`.
pub(super) fn write(
    options: &PrepareOptions,
    folder: &Path,
    out: &Path,
    splitter: &Splitter,
    ledger: &mut Ledger,
    meter: &Meter<'_>,
) -> Result<()> {
    let mut facts = read_facts(options, folder, ledger, meter)?;
    let (mut notes, input) = Notes::read(
        folder,
        out,
        options.fidelity,
        &facts.admissions,
        &mut facts.candidates,
        &mut ledger.oddities,
        meter,
    )?;
    ledger.inputs.push(input);
    let mut writers = Vec::new();
    for task in Task::ALL.into_iter().filter(|t| options.tasks.contains(t)) {
        writers.push(Writer::create(task, out, &facts)?);
    }
    let mut subjects = Output::create(&out.join("subjects.csv"), &["id", "subject"])?;
    for (place, id) in notes.ids().into_iter().enumerate() {
        meter.step("admission notes", place as u64);
        let Some((subject, note)) = notes.admission_note(id)? else {
            continue;
        };
        let sample = Sample::new(id, subject, &note, options, splitter, &facts);
        let mut used = Used::ByNone;
        for writer in &mut writers {
            used = used.max(writer.take(&sample, &facts, options)?);
        }
        if used == Used::HeldOut && options.corpus != CorpusSource::None {
            ledger.sketches.add(note.bodies());
        }
        if used != Used::ByNone {
            subjects.row([id.to_string(), subject.to_string()])?;
        }
    }
    subjects.finish()?;
    ledger.attrition.extend(notes.rows.steps());
    ledger.attrition.extend(notes.admissions.steps());
    for writer in writers {
        if writer.task == Task::Ventilation {
            ledger.attrition.append(&mut facts.candidates.attrition);
        }
        writer.finish(ledger)?;
    }
    Ok(())
}

fn read_facts(options: &PrepareOptions, folder: &Path, ledger: &mut Ledger, meter: &Meter<'_>) -> Result<Facts> {
    let wants = |task: Task| options.tasks.contains(&task);
    let (admissions, input) = admissions::read(folder, &mut ledger.oddities)?;
    ledger.inputs.push(input);
    let mut donors = BTreeSet::new();
    if wants(Task::Ventilation) {
        let (codes, input) = codes::donor_codes(folder)?;
        ledger.inputs.push(input);
        donors = codes;
    }
    let mut read = |which: CodeTable, needed: Needed| -> Result<Codes> {
        if needed == Needed::No {
            return Ok(Codes::default());
        }
        let fidelity = options.fidelity;
        let (codes, input) = codes::read(folder, which, fidelity, &donors, &mut ledger.oddities)?;
        ledger.inputs.push(input);
        Ok(codes)
    };
    let diagnoses = read(CodeTable::Diagnoses, needed_by(options, &[Task::Diagnoses, Task::Ventilation]))?;
    let procedures = read(CodeTable::Procedures, needed_by(options, &[Task::Procedures]))?;
    let mut candidates = Candidates::default();
    if wants(Task::Ventilation) {
        let (birthdays, input) = admissions::birthdays(folder)?;
        ledger.inputs.push(input);
        let sources = Sources { folder, admissions: &admissions, birthdays: &birthdays, excluded: &diagnoses.excluded };
        candidates = Candidates::read(&sources, &mut ledger.inputs, meter)?;
    }
    Ok(Facts { admissions, diagnoses, procedures, candidates })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needed {
    Yes,
    No,
}

fn needed_by(options: &PrepareOptions, tasks: &[Task]) -> Needed {
    if tasks.iter().any(|t| options.tasks.contains(t)) { Needed::Yes } else { Needed::No }
}

/// How the tasks use a sample.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Used {
    ByNone,
    ToLearn,
    HeldOut,
}

impl<'a> Sample<'a> {
    fn new(
        id: HadmId,
        subject: SubjectId,
        note: &AdmissionNote,
        options: &PrepareOptions,
        splitter: &Splitter,
        facts: &'a Facts,
    ) -> Sample<'a> {
        let text = note.assemble();
        let silent = match options.fidelity {
            Fidelity::Code => death::published(&text).map(|t| t.into_owned()),
            Fidelity::Paper => death::corrected(note.clone()).map(|n| n.assemble()),
        };
        Sample {
            id,
            text,
            silent,
            admission: facts.admissions.get(&id),
            split: splitter.of(subject),
            split_by_admission: split::by_admission(options.seed, id),
        }
    }
}

impl Writer {
    fn create(task: Task, out: &Path, facts: &Facts) -> Result<Writer> {
        let folder = out.join(task.name());
        let file = |split: Split| Output::create(&folder.join(format!("{split}.csv")), &["id", "text", "label"]);
        let outputs = [file(Split::Train)?, file(Split::Validation)?, file(Split::Test)?];
        let (labels, filters) = match task {
            Task::Diagnoses => (facts.diagnoses.labels.join("\n"), CODE_FILTERS),
            Task::Procedures => (facts.procedures.labels.join("\n"), CODE_FILTERS),
            Task::Mortality => (class_names(task), MORTALITY_FILTERS),
            Task::LengthOfStay => (class_names(task), STAY_FILTERS),
            Task::Ventilation => (class_names(task), VENTILATION_FILTERS),
        };
        let path = folder.join("labels.txt");
        std::fs::write(&path, labels + "\n").map_err(Error::at("write", &path))?;
        Ok(Writer {
            task,
            outputs,
            funnel: Funnel::new(task.name(), filters),
            tally: Tally::new(task.classes().map_or(0, <[_]>::len)),
        })
    }

    fn take(&mut self, sample: &Sample<'_>, facts: &Facts, options: &PrepareOptions) -> Result<Used> {
        let labelled = match self.task {
            Task::Diagnoses => facts.diagnoses.joined(sample.id).map(|l| (l, None)).ok_or(0),
            Task::Procedures => facts.procedures.joined(sample.id).map(|l| (l, None)).ok_or(0),
            Task::Mortality => mortality(sample),
            Task::LengthOfStay => length_of_stay(sample),
            Task::Ventilation => ventilation(sample, &facts.candidates),
        };
        let (split, text) = match (self.task, options.fidelity) {
            (Task::Ventilation, Fidelity::Code) => (Some(sample.split_by_admission), sample.silent.as_deref()),
            (Task::Ventilation | Task::Mortality, _) => (sample.split, sample.silent.as_deref()),
            _ => (sample.split, Some(sample.text.as_str())),
        };
        let (label, class, split, text) = match (labelled, split, text) {
            (Err(filter), _, _) => {
                self.funnel.drop_at(filter);
                return Ok(Used::ByNone);
            }
            (Ok((label, class)), Some(split), Some(text)) => (label, class, split, text),
            _ => {
                self.funnel.drop_last();
                return Ok(Used::ByNone);
            }
        };
        self.funnel.keep();
        self.tally.add(split, class);
        self.outputs[split as usize].row([&sample.id.to_string(), text, &label])?;
        Ok(match split {
            Split::Train => Used::ToLearn,
            Split::Validation | Split::Test => Used::HeldOut,
        })
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
            output.finish()?;
        }
        Ok(())
    }
}

fn class_names(task: Task) -> String {
    task.classes().unwrap_or_default().join("\n")
}

fn mortality(sample: &Sample<'_>) -> Labelled {
    let died = sample.admission.and_then(|a| a.died).ok_or(0usize)?;
    sample.silent.as_ref().ok_or(1usize)?;
    Ok((died.to_string(), Some(died as usize)))
}

fn length_of_stay(sample: &Sample<'_>) -> Labelled {
    let admission = sample.admission.ok_or(1usize)?;
    if admission.died == Some(1) {
        return Err(0);
    }
    let class = admissions::stay_class(admission).ok_or(1usize)?;
    Ok((class.to_string(), Some(class)))
}

fn ventilation(sample: &Sample<'_>, candidates: &Candidates) -> Labelled {
    let class = candidates.label(sample.id).map_err(|unfit| match unfit {
        Unfit::NoStay => 0usize,
        Unfit::NoEarlyNote => 1,
    })? as usize;
    sample.silent.as_ref().ok_or(2usize)?;
    Ok((class.to_string(), Some(class)))
}
