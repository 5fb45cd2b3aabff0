//! The admission notes of all tasks, one after the other.

use super::sources::{self, LabelSources};
use super::task_recipe::{Sample, SampleText};
use super::{death, recipe};
use crate::error::Result;
use crate::ids::{HadmId, SubjectId};
use crate::ordered::in_order;
use crate::prepare::filters::Filter;
use crate::prepare::manifest_builder::ManifestBuilder;
use crate::prepare::options::PrepareOptions;
use crate::prepare::rules::{Rules, Switch};
use crate::prepare::split::{self, Splitter};
use crate::prepare::tables::notes::{self, Notes};
use crate::prepare::tables::version::{self, Collection};
use crate::progress::ProgressMeter;
use crate::sections::AdmissionNote;
use crate::table::Row;
use std::path::Path;

/// Bytes of text that one thread works on at a time.
const BATCH: usize = 1 << 18;

const TABLES: &[&str] = &["ADMISSIONS", "NOTEEVENTS", "DIAGNOSES_ICD", "PROCEDURES_ICD", "PATIENTS", "ICUSTAYS"];

/// Everything that was read for the tasks; samples can be made from it again under other rules.
pub(in crate::prepare) struct TaskInputs {
    pub(super) sources: LabelSources,
    pub(super) notes: Notes,
    pub(super) rules: Rules,
}

impl TaskInputs {
    /// Reads all tables that the tasks need.
    pub fn read(
        options: &PrepareOptions,
        folder: &Path,
        out: &Path,
        builder: &mut ManifestBuilder,
        meter: &ProgressMeter<'_>,
    ) -> Result<TaskInputs> {
        version::check(folder, TABLES, Collection::Mimic3)?;
        let rules = Rules::of(options.fidelity);
        let mut sources = sources::read(options, rules, folder, builder, meter)?;
        let mut on_note = |row: &Row<'_>, columns| sources.candidates.see_note(row, columns);
        let (notes, input) =
            Notes::read(folder, out, rules, &sources.admissions, &mut on_note, &mut builder.irregularities, meter)?;
        builder.inputs.push(input);
        Ok(TaskInputs { sources, notes, rules })
    }

    /// Goes over to other rules; only the small tables of codes are read again.
    pub fn apply(&mut self, rules: Rules, options: &PrepareOptions, folder: &Path) -> Result<()> {
        let mut builder = ManifestBuilder::default();
        let sources = &mut self.sources;
        (sources.diagnoses, sources.procedures) =
            sources::read_codes(options, rules, folder, &sources.donors, &mut builder)?;
        self.notes.apply(rules);
        self.rules = rules;
        Ok(())
    }

    /// Calls `each` with every admission note that is left, in the order of admissions.
    pub fn each(
        &mut self,
        options: &PrepareOptions,
        splitter: &Splitter,
        meter: &ProgressMeter<'_>,
        mut each: impl FnMut(&Sample<'_>, &AdmissionNote) -> Result<()>,
    ) -> Result<()> {
        let whole = options.tasks().any(|task| recipe(task).text == SampleText::DischargeSummary);
        let summaries = if whole { Summaries::Kept } else { Summaries::Dropped };
        let (notes, sources, rules) = (&self.notes, &self.sources, self.rules);
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
            let cut = |(id, joined)| (id, SectionedNote::of(rules, summaries, joined));
            Ok(batch.into_iter().map(cut).collect::<Vec<_>>())
        };
        let mut flow = notes::admission_flow();
        let take = |batch: Vec<(HadmId, Result<SectionedNote, Filter>)>| {
            for (id, cut) in batch {
                let cut = match cut {
                    Ok(cut) => cut,
                    Err(filter) => {
                        flow.drop_by(filter);
                        continue;
                    }
                };
                flow.keep();
                let sample = Sample {
                    id,
                    subject: cut.subject,
                    text: cut.text,
                    without_death: cut.without_death,
                    summary: cut.summary,
                    admission: sources.admissions.get(&id),
                    split: splitter.of(cut.subject),
                    split_by_admission: split::by_admission(options.seed, id),
                    rules,
                    sources,
                };
                each(&sample, &cut.note)?;
            }
            Ok(())
        };
        in_order(options.threads, next, work, take, || ())?;
        self.notes.admissions = flow;
        Ok(())
    }
}

/// Whether a task reads whole discharge summaries.
#[derive(Debug, Clone, Copy)]
enum Summaries {
    Kept,
    Dropped,
}

/// An admission note after everything that needs no other note.
struct SectionedNote {
    subject: SubjectId,
    note: AdmissionNote,
    text: String,
    without_death: Option<String>,
    summary: String,
}

impl SectionedNote {
    fn of(rules: Rules, summaries: Summaries, joined: Option<(SubjectId, String)>) -> Result<SectionedNote, Filter> {
        let (subject, joined) = joined.ok_or(Filter::AdmissionReport)?;
        let note = notes::cut(rules, &joined).ok_or(Filter::AdmissionUsable)?;
        let text = note.assemble();
        let without_death = if rules.corrects(Switch::DeathMentions) {
            death::corrected(note.clone()).map(|n| n.assemble())
        } else {
            death::published(&text).map(|t| t.into_owned())
        };
        let summary = match summaries {
            Summaries::Kept => joined,
            Summaries::Dropped => String::new(),
        };
        Ok(SectionedNote { subject, note, text, without_death, summary })
    }
}
