//! Whether the tables are those of MIMIC-III v1.4, and whether the filters leave what they left for others.
//!
//! The release is recognised by the numbers of rows of its tables, which the MIMIC Code Repository publishes for its own
//! check. The numbers behind the filters are the published sizes of the datasets (van Aken et al. 2021; Gema et al. 2023,
//! Table 1); they hold for the published rules and lists of patients.

use super::flow::{Attrition, Count};
use crate::prepare::filters::Filter;
use crate::prepare::options::Fidelity;
use crate::table::InputFile;
use std::collections::BTreeMap;

/// What a manifest says about the source.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseCheck {
    /// `MIMIC-III v1.4`, `not the real release`, or `no table of MIMIC-III`.
    pub release: String,
    /// How many numbers were compared.
    pub checked: u64,
    /// The first number that differs: of a table's rows, else behind a filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_deviation: Option<Deviation>,
}

/// A number that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deviation {
    /// The table, or the task and its filter.
    pub place: String,
    /// The number for the real release.
    pub expected: u64,
    /// The number here.
    pub found: u64,
}

/// The numbers of a release.
struct Expectation {
    release: &'static str,
    tables: &'static [(&'static str, u64)],
    lists: &'static [(&'static str, u64)],
    /// What a filter of a task leaves.
    filters: &'static [(&'static str, Filter, u64)],
    /// Training, validation and test samples.
    samples: &'static [(&'static str, [u64; 3])],
    labels: &'static [(&'static str, u64)],
}

const MIMIC3: Expectation = Expectation {
    release: "MIMIC-III v1.4",
    tables: &[
        ("PATIENTS", 46_520),
        ("ADMISSIONS", 58_976),
        ("ICUSTAYS", 61_532),
        ("NOTEEVENTS", 2_083_180),
        ("DIAGNOSES_ICD", 651_047),
        ("PROCEDURES_ICD", 240_095),
        ("D_ICD_DIAGNOSES", 14_567),
        ("PROCEDUREEVENTS_MV", 258_066),
        ("CHARTEVENTS", 330_712_483),
    ],
    lists: &[("MIMIC_TRAIN", 33_997), ("MIMIC_VAL", 4_918), ("MIMIC_TEST", 9_830)],
    filters: &[
        ("notes", Filter::AdmissionUsable, 48_745),
        ("diagnoses", Filter::HasCode, 48_741),
        ("procedures", Filter::HasCode, 43_068),
        ("mortality", Filter::OutcomeKnown, 48_745),
        ("mortality", Filter::NoDeathMention, 48_684),
        ("length_of_stay", Filter::LengthKnown, 43_609),
    ],
    samples: &[
        ("diagnoses", [33_994, 4_918, 9_829]),
        ("procedures", [30_030, 4_357, 8_681]),
        ("mortality", [33_954, 4_908, 9_822]),
        ("length_of_stay", [30_421, 4_391, 8_797]),
    ],
    labels: &[("diagnoses", 1_266), ("procedures", 711)],
};

/// What is compared with a release.
pub(in crate::prepare) struct Found<'a> {
    pub fidelity: Fidelity,
    pub inputs: &'a [InputFile],
    pub attrition: &'a [Attrition],
    pub counts: &'a [Count],
    /// Lines of `labels.txt` by task.
    pub labels: BTreeMap<String, u64>,
}

/// Compares with MIMIC-III v1.4.
pub(in crate::prepare) fn check(found: &Found<'_>) -> ReleaseCheck {
    found.against(&MIMIC3)
}

impl Found<'_> {
    fn against(&self, expectation: &Expectation) -> ReleaseCheck {
        let tables = self.rows_of(expectation.tables);
        if tables.is_empty() {
            return ReleaseCheck { release: "no table of MIMIC-III".into(), checked: 0, first_deviation: None };
        }
        let mut checked = tables.len() as u64;
        let mut first_deviation = first(tables);
        if first_deviation.is_some() {
            return ReleaseCheck { release: "not the real release".into(), checked, first_deviation };
        }
        let lists = self.rows_of(expectation.lists);
        if self.fidelity == Fidelity::Code && !lists.is_empty() {
            let mut numbers = lists;
            numbers.extend(self.behind_filters(expectation));
            checked += numbers.len() as u64;
            first_deviation = first(numbers);
        }
        ReleaseCheck { release: expectation.release.into(), checked, first_deviation }
    }

    fn rows_of(&self, tables: &[(&str, u64)]) -> Vec<Deviation> {
        let rows = |table: &str| self.inputs.iter().find(|i| i.table() == table).map(|i| i.rows);
        tables
            .iter()
            .filter_map(|(table, rows_there)| number(format!("rows of {table}"), *rows_there, rows(table)))
            .collect()
    }

    /// Expected and found, task by task in the order of the filters.
    fn behind_filters(&self, expectation: &Expectation) -> Vec<Deviation> {
        let mut numbers = Vec::new();
        for (task, filter, kept) in expectation.filters {
            let step = self.attrition.iter().find(|s| s.task == *task && s.filter == filter.name());
            numbers.extend(number(format!("{task}: {}", filter.name()), *kept, step.map(|s| s.kept)));
        }
        for (task, samples) in expectation.samples {
            for (count, expected) in self.counts.iter().filter(|c| c.task == *task).zip(samples) {
                numbers.extend(number(format!("{task}: samples in {}", count.split), *expected, Some(count.samples)));
            }
        }
        for (task, labels) in expectation.labels {
            numbers.extend(number(format!("{task}: labels"), *labels, self.labels.get(*task).copied()));
        }
        numbers
    }
}

/// Nothing where nothing was found: the task was not asked for.
fn number(place: String, expected: u64, found: Option<u64>) -> Option<Deviation> {
    found.map(|found| Deviation { place, expected, found })
}

fn first(numbers: Vec<Deviation>) -> Option<Deviation> {
    numbers.into_iter().find(|n| n.expected != n.found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAKE: Expectation = Expectation {
        release: "a small release",
        tables: &[("ADMISSIONS", 10), ("NOTEEVENTS", 20), ("CHARTEVENTS", 30)],
        lists: &[("MIMIC_TRAIN", 7)],
        filters: &[
            ("notes", Filter::AdmissionUsable, 9),
            ("mortality", Filter::OutcomeKnown, 9),
            ("mortality", Filter::NoDeathMention, 8),
        ],
        samples: &[("mortality", [5, 1, 2])],
        labels: &[("diagnoses", 3)],
    };

    fn check(
        change: impl Fn(&mut Vec<InputFile>, &mut Vec<Attrition>, &mut Vec<Count>),
        fidelity: Fidelity,
    ) -> ReleaseCheck {
        let input = |name: &str, rows| InputFile {
            name: name.into(),
            bytes: 1,
            rows,
            blake3: String::new(),
            content_blake3: String::new(),
        };
        let step = |task: &str, filter: Filter, kept| Attrition {
            task: task.into(),
            filter: filter.name().into(),
            kept,
            dropped: 0,
        };
        let count =
            |split: &str, samples| Count { task: "mortality".into(), split: split.into(), samples, per_class: vec![] };
        let mut inputs = vec![input("admissions.csv", 10), input("NOTEEVENTS.csv.gz", 20), input("mimic_train.csv", 7)];
        let mut attrition = vec![
            step("notes", Filter::AdmissionUsable, 9),
            step("mortality", Filter::OutcomeKnown, 9),
            step("mortality", Filter::NoDeathMention, 8),
        ];
        let mut counts = vec![count("train", 5), count("validation", 1), count("test", 2)];
        change(&mut inputs, &mut attrition, &mut counts);
        let labels = [("diagnoses".to_string(), 3)].into();
        Found { fidelity, inputs: &inputs, attrition: &attrition, counts: &counts, labels }.against(&FAKE)
    }

    #[test]
    fn the_real_release_is_recognised_and_passes() {
        let check = check(|_, _, _| (), Fidelity::Code);
        assert_eq!((check.release.as_str(), check.checked, check.first_deviation), ("a small release", 10, None));
    }

    #[test]
    fn another_number_of_rows_is_not_the_real_release() {
        let check = check(|inputs, _, _| inputs[1].rows = 19, Fidelity::Code);
        assert_eq!(check.release, "not the real release");
        let deviation = Deviation { place: "rows of NOTEEVENTS".into(), expected: 20, found: 19 };
        assert_eq!(check.first_deviation, Some(deviation));
    }

    #[test]
    fn the_first_filter_that_deviates_is_named() {
        let deviates = |attrition: &mut Vec<Attrition>, counts: &mut Vec<Count>| {
            attrition[2].kept = 6;
            counts[0].samples = 3;
        };
        let found = check(|_, attrition, counts| deviates(attrition, counts), Fidelity::Code).first_deviation.unwrap();
        assert_eq!((found.expected, found.found), (8, 6));
        assert!(found.place.starts_with("mortality: ") && found.place.ends_with(Filter::NoDeathMention.name()));
        let split = check(|_, _, counts| counts[1].samples = 2, Fidelity::Code).first_deviation.unwrap();
        assert_eq!(split.place, "mortality: samples in validation");
        let paper = check(|_, attrition, counts| deviates(attrition, counts), Fidelity::Paper);
        assert_eq!(paper.first_deviation, None, "no number is known for the corrected rules");
    }
}
