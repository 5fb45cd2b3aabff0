//! The adaptation corpus: notes for language modelling, cleaned and split 90/10.

use super::leaks::{CorpusLeaks, Matching, Sketches};
use super::manifest::{Count, Funnel};
use super::rules::{Rules, Switch};
use super::split::{Splitter, nine_of_ten, require_samples};
use super::version::{self, Collection};
use super::{CorpusSource, Ledger, NearDuplicates, PrepareOptions};
use crate::error::{Error, Result};
use crate::ids::SubjectId;
use crate::output::Output;
use crate::progress::Meter;
use crate::table::{InputFile, Row, Table};
use crate::task::Split;
use clinpeft_rng::Key;
use std::collections::HashSet;
use std::path::Path;

const FILTERS: &[&str] = &[
    "note: is not marked as an error",
    "note: has a text",
    "note: is not repeated in the patient's consecutive rows",
    "note: patient is not in a validation or test split of the tasks",
    "note: does not hold the text of a validation or test sample",
];
const HINT_NOTES: &str = "give the folder that holds the tables of MIMIC-IV-Note 2.2, or run `synth` first";
const HINT_EVENTS: &str = super::admissions::HINT;

/// Cleaning as published: mask brackets and line breaks become spaces, runs of the space character become one.
pub fn clean_published(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (put, length) = if rest.starts_with("[**") || rest.starts_with("**]") {
            (' ', 3)
        } else if c == '\n' {
            (' ', 1)
        } else {
            (c, c.len_utf8())
        };
        if put != ' ' || !clean.ends_with(' ') {
            clean.push(put);
        }
        rest = &rest[length..];
    }
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
struct Source<'a> {
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

fn sources(options: &PrepareOptions) -> Result<Vec<Source<'_>>> {
    let mut found = Vec::new();
    if matches!(options.corpus, CorpusSource::Mimic3 | CorpusSource::Combined) {
        let folder = options.mimic3.as_deref().ok_or(Error::Options {
            what: "the adaptation corpus is to hold MIMIC-III notes, but no MIMIC-III folder is given",
            hint: "give the MIMIC-III folder or choose another corpus",
        })?;
        version::check(folder, &["NOTEEVENTS"], Collection::Mimic3)?;
        found.push(Source {
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
            found.push(Source {
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

struct Corpus<'a> {
    rules: Rules,
    near_duplicates: NearDuplicates,
    key: Key,
    splitter: &'a Splitter,
    sketches: &'a Sketches,
    compared: u64,
    matching: u64,
    funnel: Funnel,
    outputs: [Output; 2],
    /// Texts of the patient whose rows are being read; bounded, since tables are ordered by patient.
    seen: HashSet<[u8; 16]>,
    patient: Option<SubjectId>,
}

/// Writes `adaptation/{train,test}.csv`.
pub(super) fn write(
    options: &PrepareOptions,
    out: &Path,
    splitter: &Splitter,
    ledger: &mut Ledger,
    meter: &Meter<'_>,
) -> Result<CorpusLeaks> {
    let rules = Rules::of(options.fidelity);
    let near_duplicates =
        if rules.corrects(Switch::CorpusLeaks) { NearDuplicates::Exclude } else { options.near_duplicates };
    let create = |split: Split| {
        let path = out.join("adaptation").join(format!("{split}.csv"));
        Output::create(&path, &["id", "text"])
    };
    let mut corpus = Corpus {
        rules,
        near_duplicates,
        key: options.seed.key("adaptation-splits"),
        splitter,
        sketches: &ledger.sketches,
        compared: 0,
        matching: 0,
        funnel: Funnel::new("adaptation", FILTERS),
        outputs: [create(Split::Train)?, create(Split::Test)?],
        seen: HashSet::new(),
        patient: None,
    };
    for source in sources(options)? {
        let input = corpus.take_all(&source, meter)?;
        if !ledger.inputs.contains(&input) {
            ledger.inputs.push(input);
        }
    }
    let [train, test] = corpus.outputs;
    let samples = [train.rows(), 1, test.rows()];
    require_samples("adaptation", &samples)?;
    train.finish()?;
    test.finish()?;
    let report = CorpusLeaks {
        held_out_samples: u64::from(ledger.sketches.samples),
        corpus_notes: corpus.compared,
        matching_notes: corpus.matching,
        matching_notes_were: near_duplicates.word().into(),
    };
    ledger.attrition.extend(corpus.funnel.steps());
    for split in [Split::Train, Split::Test] {
        ledger.counts.push(Count {
            task: "adaptation".into(),
            split: split.name().into(),
            samples: samples[split as usize],
            per_class: Vec::new(),
        });
    }
    Ok(report)
}

impl Corpus<'_> {
    fn take_all(&mut self, source: &Source<'_>, meter: &Meter<'_>) -> Result<InputFile> {
        let columns = [source.id, source.subject, source.text];
        let mut table = Table::open_in(source.folder, source.table, &columns, &["ISERROR"], source.hint)?;
        while let Some(row) = table.next_row()? {
            meter.row(source.table, &row);
            self.take(&row, source.patients)?;
        }
        let input = table.finish()?;
        meter.end(&input);
        Ok(input)
    }

    fn take(&mut self, row: &Row<'_>, patients: Patients) -> Result<()> {
        let subject = row.subject(1)?;
        let text = row.text(2)?;
        let id = match patients {
            Patients::OfTheTasks => format!("NOTEEVENTS-{}", row.text(0)?),
            Patients::Others => row.text(0)?.to_string(),
        };
        let cleaner = self.rules.corrects(Switch::CorpusCleaning);
        let clean = if cleaner { clean_corrected(text) } else { clean_published(text) };
        let place = if self.rules.corrects(Switch::CorpusSplit) { subject.0 } else { number_of(&id) };
        if cleaner && row.bytes(3).trim_ascii().starts_with(b"1") {
            self.funnel.drop_at(0);
        } else if text.is_empty() || (cleaner && clean.is_empty()) {
            self.funnel.drop_at(1);
        } else if cleaner && self.is_repeated(subject, &clean) {
            self.funnel.drop_at(2);
        } else if self.rules.corrects(Switch::CorpusLeaks) && self.is_held_out(subject, patients) {
            self.funnel.drop_at(3);
        } else if self.holds_a_sample(text) == Matching::AHeldOutSample
            && self.near_duplicates == NearDuplicates::Exclude
        {
            self.funnel.drop_at(4);
        } else {
            self.funnel.keep();
            let output = match nine_of_ten(self.key, place) {
                Split::Train => &mut self.outputs[0],
                Split::Validation | Split::Test => &mut self.outputs[1],
            };
            output.row([id.as_str(), clean.as_str()])?;
        }
        Ok(())
    }

    fn is_repeated(&mut self, subject: SubjectId, text: &str) -> bool {
        if self.patient != Some(subject) {
            self.patient = Some(subject);
            self.seen.clear();
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
        !self.seen.insert(hash)
    }

    fn holds_a_sample(&mut self, text: &str) -> Matching {
        let matching = self.sketches.match_text(text);
        self.compared += 1;
        if matching == Matching::AHeldOutSample {
            self.matching += 1;
        }
        matching
    }

    fn is_held_out(&self, subject: SubjectId, patients: Patients) -> bool {
        patients == Patients::OfTheTasks && self.splitter.of(subject) != Some(Split::Train)
    }
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
