//! The adaptation corpus: notes for language modelling, cleaned and split 90/10.
//!
//! Notes are judged side by side; what depends on the notes before, and the writing, goes in order.

use super::dedup::corpus::{HeldOutIndex, Matching};
use super::diff::{CorpusChanges, Fingerprint};
use super::filters::{self, Filter};
use super::manifest_builder::ManifestBuilder;
use super::options::{CorpusSource, NearDuplicates, PrepareOptions};
use super::record::flow::{Count, FlowCounts};
use super::record::leaks::CorpusLeaks;
use super::rules::{Rules, Switch};
use super::split::{Splitter, nine_of_ten, require_samples};
use super::tables::version::{self, Collection};
use crate::error::{Error, Result};
use crate::ids::SubjectId;
use crate::ordered::in_order;
use crate::output::Output;
use crate::progress::{ProgressMeter, Work};
use crate::table::{InputFile, Row, Table};
use crate::task::Split;
use clinpeft_rng::Key;
use std::collections::HashSet;
use std::path::Path;

/// Bytes of text, and notes, that one thread works on at a time.
const BATCH: usize = 1 << 18;
const BATCH_NOTES: usize = 512;
const HINT_NOTES: &str = "give the folder that holds the tables of MIMIC-IV-Note 2.2, or run `synth` first";
const HINT_EVENTS: &str = super::tables::admissions::HINT;

/// Cleaning as published: mask brackets and line breaks become spaces, runs of the space character become one.
pub fn clean_published(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let space = |clean: &mut String| {
        if !clean.ends_with(' ') {
            clean.push(' ');
        }
    };
    let mut rest = text;
    while let Some(place) = rest.find([' ', '\n', '[', '*']) {
        clean.push_str(&rest[..place]);
        rest = &rest[place..];
        if rest.starts_with("[**") || rest.starts_with("**]") {
            space(&mut clean);
            rest = &rest[3..];
        } else if rest.starts_with(['[', '*']) {
            clean.push_str(&rest[..1]);
            rest = &rest[1..];
        } else {
            space(&mut clean);
            rest = &rest[1..];
        }
    }
    clean.push_str(rest);
    clean
}

/// The same, but every run of white space (tabs and carriage returns too) becomes one space and none is left at the ends.
pub fn clean_corrected(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let unmasked = text.replace("[**", " ").replace("**]", " ");
    for word in unmasked.split_whitespace() {
        if !clean.is_empty() {
            clean.push(' ');
        }
        clean.push_str(word);
    }
    clean
}

/// The columns of one table of notes.
struct NoteTable<'a> {
    folder: &'a Path,
    table: &'static str,
    subject: &'static str,
    id: &'static str,
    text: &'static str,
    hint: &'static str,
    patients: Patients,
}

/// Whose identifiers a table holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patients {
    /// Those of the tasks.
    OfTheTasks,
    /// Others, that cannot be linked by number.
    Others,
}

fn sources(options: &PrepareOptions) -> Result<Vec<NoteTable<'_>>> {
    let mut found = Vec::new();
    if matches!(options.corpus, CorpusSource::Mimic3 | CorpusSource::Combined) {
        let folder = options.mimic3.as_deref().ok_or(Error::Options {
            what: "the adaptation corpus is to hold MIMIC-III notes, but no MIMIC-III folder is given",
            hint: "give the MIMIC-III folder or choose another corpus",
        })?;
        version::check(folder, &["NOTEEVENTS"], Collection::Mimic3)?;
        found.push(NoteTable {
            folder,
            table: "NOTEEVENTS",
            subject: "SUBJECT_ID",
            id: "ROW_ID",
            text: "TEXT",
            hint: HINT_EVENTS,
            patients: Patients::OfTheTasks,
        });
    }
    if matches!(options.corpus, CorpusSource::Mimic4 | CorpusSource::Combined) {
        let folder = options.mimic4_note.as_deref().ok_or(Error::Options {
            what: "the adaptation corpus is to hold MIMIC-IV notes, but no MIMIC-IV-Note folder is given",
            hint: "give the MIMIC-IV-Note folder or choose another corpus",
        })?;
        version::check(folder, &["discharge", "radiology"], Collection::Mimic4Note)?;
        for table in ["discharge", "radiology"] {
            found.push(NoteTable {
                folder,
                table,
                subject: "subject_id",
                id: "note_id",
                text: "text",
                hint: HINT_NOTES,
                patients: Patients::Others,
            });
        }
    }
    Ok(found)
}

/// A row of a table of notes.
struct RawNote {
    id: String,
    subject: SubjectId,
    patients: Patients,
    mark: ErrorFlag,
    text: String,
}

/// What the table says of a note.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ErrorFlag {
    None,
    Error,
}

impl RawNote {
    fn of(row: &Row<'_>, patients: Patients) -> Result<RawNote> {
        let subject = row.subject(1)?;
        let text = row.text(2)?.to_string();
        let id = match patients {
            Patients::OfTheTasks => format!("NOTEEVENTS-{}", row.text(0)?),
            Patients::Others => row.text(0)?.to_string(),
        };
        let mark = if row.bytes(3).trim_ascii().starts_with(b"1") { ErrorFlag::Error } else { ErrorFlag::None };
        Ok(RawNote { id, subject, patients, mark, text })
    }
}

/// A note after everything that needs no other note.
struct FilteredNote {
    id: String,
    subject: SubjectId,
    clean: String,
    matching: Matching,
    decision: Decision,
    /// The text by which repeats are told; `None` if the corrected cleaning drops the note, or is not asked for.
    print: Option<u128>,
    /// Under the rules of each step from `code` to `paper`: its decision and its text.
    steps: Vec<(Decision, u128)>,
}

/// What becomes of a note.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Decision {
    DroppedBy(Filter),
    Kept(Split),
}

/// Judges notes one by one; threads share it.
struct NoteFilter<'a> {
    rules: Rules,
    /// The rules of each step from `code` to `paper`; empty if nobody asks.
    steps: Vec<Rules>,
    near_duplicates: NearDuplicates,
    key: Key,
    splitter: &'a Splitter,
    held_out: &'a HeldOutIndex,
}

/// The place of a cleaning in [`NoteFilter::clean`].
fn cleaning(rules: Rules) -> usize {
    usize::from(rules.corrects(Switch::CorpusCleaning))
}

impl NoteFilter<'_> {
    fn judge(&self, note: RawNote) -> FilteredNote {
        let mut clean = self.clean(&note.text);
        let compared = !self.steps.is_empty() || self.dropped_by(self.rules, &note, &clean).is_none();
        let matching = if compared { self.held_out.match_text(&note.text) } else { Matching::Nothing };
        let prints = [if self.steps.is_empty() { 0 } else { print(&clean[0]) }, print(&clean[1])];
        let decision = |rules: Rules| match self.dropped_by(rules, &note, &clean) {
            Some(filter) => Decision::DroppedBy(filter),
            None if matching == Matching::AHeldOutSample && self.excludes(rules) => {
                Decision::DroppedBy(Filter::NoteNoHeldOutText)
            }
            None if rules.corrects(Switch::CorpusSplit) => Decision::Kept(nine_of_ten(self.key, note.subject.0)),
            None => Decision::Kept(nine_of_ten(self.key, number_of(&note.id))),
        };
        FilteredNote {
            decision: decision(self.rules),
            steps: self.steps.iter().map(|rules| (decision(*rules), prints[cleaning(*rules)])).collect(),
            print: (note.mark == ErrorFlag::None && !clean[1].is_empty()).then_some(prints[1]),
            clean: std::mem::take(&mut clean[cleaning(self.rules)]),
            matching,
            id: note.id,
            subject: note.subject,
        }
    }

    /// As published and corrected, as far as one of the rules asks for it.
    fn clean(&self, text: &str) -> [String; 2] {
        let asked = |which: usize| cleaning(self.rules) == which || self.steps.iter().any(|r| cleaning(*r) == which);
        [
            if asked(0) { clean_published(text) } else { String::new() },
            if asked(1) { clean_corrected(text) } else { String::new() },
        ]
    }

    /// The filter that drops a note before it is compared with held-out samples. Repeats are told in order, later.
    fn dropped_by(&self, rules: Rules, note: &RawNote, clean: &[String; 2]) -> Option<Filter> {
        if rules.corrects(Switch::CorpusCleaning) && note.mark == ErrorFlag::Error {
            Some(Filter::NoteNoError)
        } else if clean[cleaning(rules)].is_empty() {
            Some(Filter::NoteText)
        } else if rules.corrects(Switch::CorpusLeaks) && self.is_held_out(note) {
            Some(Filter::NotePatient)
        } else {
            None
        }
    }

    fn excludes(&self, rules: Rules) -> bool {
        rules.corrects(Switch::CorpusLeaks) || self.near_duplicates == NearDuplicates::Exclude
    }

    fn is_held_out(&self, note: &RawNote) -> bool {
        note.patients == Patients::OfTheTasks && self.splitter.of(note.subject) != Some(Split::Train)
    }
}

/// The books of the corpus, kept in the order of the notes.
struct Corpus<'a> {
    rules: Rules,
    compared: u64,
    matching: u64,
    funnel: FlowCounts,
    outputs: [Output; 2],
    changes: Option<&'a mut CorpusChanges>,
    /// Texts of the patient whose rows are being read; bounded, since tables are ordered by patient.
    seen: HashSet<u128>,
    patient: Option<SubjectId>,
}

/// Writes `adaptation/{train,test}.csv`.
pub(super) fn write(
    options: &PrepareOptions,
    out: &Path,
    splitter: &Splitter,
    builder: &mut ManifestBuilder,
    changes: Option<&mut CorpusChanges>,
    meter: &ProgressMeter<'_>,
) -> Result<CorpusLeaks> {
    let rules = Rules::of(options.fidelity);
    let judge = NoteFilter {
        rules,
        steps: changes.as_ref().map_or(Vec::new(), |changes| changes.rules().to_vec()),
        near_duplicates: options.near_duplicates,
        key: options.seed.key("adaptation-splits"),
        splitter,
        held_out: &builder.held_out,
    };
    let create = |split: Split| {
        let path = out.join("adaptation").join(format!("{split}.csv"));
        Output::create(&path, &["id", "text"])
    };
    let mut corpus = Corpus {
        rules,
        compared: 0,
        matching: 0,
        funnel: FlowCounts::new("adaptation", filters::CORPUS),
        outputs: [create(Split::Train)?, create(Split::Test)?],
        changes,
        seen: HashSet::new(),
        patient: None,
    };
    for source in sources(options)? {
        let input = corpus.take_all(&source, &judge, options.threads, meter)?;
        if !builder.inputs.contains(&input) {
            builder.inputs.push(input);
        }
    }
    let [train, test] = corpus.outputs;
    let samples = [train.rows(), 1, test.rows()];
    require_samples("adaptation", &samples)?;
    builder.written.extend([train.finish()?, test.finish()?]);
    let excluded = if judge.excludes(rules) { NearDuplicates::Exclude } else { NearDuplicates::Keep };
    let report = CorpusLeaks {
        held_out_samples: builder.held_out.samples(),
        held_out_samples_not_compared: builder.held_out.not_compared(),
        corpus_notes: corpus.compared,
        matching_notes: corpus.matching,
        matching_notes_were: excluded.word().into(),
    };
    builder.attrition.extend(corpus.funnel.steps());
    for split in [Split::Train, Split::Test] {
        builder.counts.push(Count {
            task: "adaptation".into(),
            split: split.name().into(),
            samples: samples[split as usize],
            per_class: Vec::new(),
        });
    }
    Ok(report)
}

impl Corpus<'_> {
    fn take_all(
        &mut self,
        source: &NoteTable<'_>,
        judge: &NoteFilter<'_>,
        threads: usize,
        meter: &ProgressMeter<'_>,
    ) -> Result<InputFile> {
        let columns = [source.id, source.subject, source.text];
        let mut table = Table::open_in(source.folder, source.table, &columns, &["ISERROR"], source.hint)?;
        let next = || {
            let mut batch = Vec::new();
            let mut bytes = 0;
            while bytes < BATCH && batch.len() < BATCH_NOTES {
                let Some(row) = table.next_row()? else {
                    break;
                };
                meter.row(source.table, &row, Work::Rewrite)?;
                let note = RawNote::of(&row, source.patients)?;
                bytes += note.text.len();
                batch.push(note);
            }
            Ok((!batch.is_empty()).then_some(batch))
        };
        let work = |batch: Vec<RawNote>| Ok(batch.into_iter().map(|note| judge.judge(note)).collect::<Vec<_>>());
        let take = |batch: Vec<FilteredNote>| batch.into_iter().try_for_each(|note| self.take(note));
        in_order(threads, next, work, take, || ())?;
        let input = table.finish()?;
        meter.end(&input, Work::Rewrite);
        Ok(input)
    }

    fn take(&mut self, note: FilteredNote) -> Result<()> {
        let repeated = note.print.is_some_and(|print| self.is_repeated(note.subject, print));
        let with_repeats = |rules: Rules, decision: Decision| match repeated && rules.corrects(Switch::CorpusCleaning) {
            true => Decision::DroppedBy(Filter::NoteNotRepeated),
            false => decision,
        };
        if let Some(changes) = &mut self.changes {
            let decisions =
                changes.rules().iter().zip(note.steps).map(|(rules, (decision, text))| {
                    match with_repeats(*rules, decision) {
                        Decision::Kept(split) => Some(Fingerprint { text: text as u64, label: 0, split: Some(split) }),
                        Decision::DroppedBy(_) => None,
                    }
                });
            let prints: Vec<Option<Fingerprint>> = decisions.collect();
            changes.see(&prints);
        }
        let decision = with_repeats(self.rules, note.decision);
        if matches!(decision, Decision::Kept(_) | Decision::DroppedBy(Filter::NoteNoHeldOutText)) {
            self.compared += 1;
            self.matching += u64::from(note.matching == Matching::AHeldOutSample);
        }
        match decision {
            Decision::DroppedBy(filter) => self.funnel.drop_by(filter),
            Decision::Kept(split) => {
                self.funnel.keep();
                let output = &mut self.outputs[usize::from(split != Split::Train)];
                output.row([note.id.as_str(), note.clean.as_str()])?;
            }
        }
        Ok(())
    }

    fn is_repeated(&mut self, subject: SubjectId, print: u128) -> bool {
        if self.patient != Some(subject) {
            self.patient = Some(subject);
            self.seen.clear();
        }
        !self.seen.insert(print)
    }
}

/// Half a hash of a text: enough to tell texts of one patient apart.
fn print(text: &str) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    u128::from_le_bytes(bytes)
}

/// A number for the split by note, from the note's name alone.
fn number_of(id: &str) -> u64 {
    let hash = blake3::hash(id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn published_cleaning_keeps_tabs_marks_and_end_spaces() {
        assert_eq!(clean_published("\n[**Name**]  ___\t\r\n x\n"), " Name ___\t\r x ");
    }

    #[test]
    fn corrected_cleaning_leaves_single_spaces() {
        assert_eq!(clean_corrected("\n[**Name**]  ___\t\r\n x\n"), "Name ___ x");
    }

    proptest! {
        #[test]
        fn published_cleaning_equals_four_replacements(text in "([a\\[\\]* \n\t]|\\[\\*\\*|\\*\\*\\]){0,30}") {
            let slow = text.replace("[**", " ").replace("**]", " ").replace('\n', " ");
            let mut slow_runs = slow.clone();
            while slow_runs.contains("  ") {
                slow_runs = slow_runs.replace("  ", " ");
            }
            prop_assert_eq!(clean_published(&text), slow_runs);
        }
    }
}
