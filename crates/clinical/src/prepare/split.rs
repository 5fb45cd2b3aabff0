//! Which patient belongs to which split.

use crate::error::{Error, Result};
use crate::ids::{HadmId, SubjectId};
use crate::table::{InputFile, Table};
use crate::task::Split;
use clinpeft_rng::{Key, Seed, philox};
use std::collections::BTreeMap;
use std::path::Path;

/// Assigns splits.
#[derive(Debug)]
pub(super) enum Splitter {
    /// By lists of patients.
    Listed(BTreeMap<SubjectId, Split>),
    /// By a seeded hash: 70 % training, 10 % validation, 20 % test.
    Hashed(Key),
}

const HINT: &str = "a splits folder holds mimic_train.csv, mimic_val.csv and mimic_test.csv";

impl Splitter {
    /// By the lists in `folder` where one is given, else by the seed.
    pub fn new(folder: Option<&Path>, seed: Seed) -> Result<(Splitter, Vec<InputFile>)> {
        let Some(folder) = folder else {
            return Ok((Splitter::Hashed(seed.key("splits")), Vec::new()));
        };
        let mut lists = BTreeMap::new();
        let mut inputs = Vec::new();
        for (name, split) in
            [("mimic_train", Split::Train), ("mimic_val", Split::Validation), ("mimic_test", Split::Test)]
        {
            let mut table = Table::open_in(folder, name, &["SUBJECT_ID"], &[], HINT)?;
            while let Some(row) = table.next_row()? {
                let subject = row.subject(0)?;
                if lists.insert(subject, split).is_some_and(|s| s != split) {
                    return Err(row.wrong(0, "this patient is in two splits", "a patient may be in one list only"));
                }
            }
            inputs.push(table.finish()?);
        }
        Ok((Splitter::Listed(lists), inputs))
    }

    /// The split of a patient; `None` if lists are used and none has the patient.
    pub fn of(&self, subject: SubjectId) -> Option<Split> {
        match self {
            Splitter::Listed(lists) => lists.get(&subject).copied(),
            Splitter::Hashed(key) => Some(share(*key, subject.0, [0.7, 0.1])),
        }
    }
}

/// The published split of the ventilation task: by admission, 80/10/10, whoever the patient is.
pub(super) fn by_admission(seed: Seed, admission: HadmId) -> Split {
    share(seed.key("ventilation-splits"), admission.0, [0.8, 0.1])
}

/// Nine of ten go to training; the hash is of the patient or of the note.
pub(super) fn nine_of_ten(key: Key, number: u64) -> Split {
    share(key, number, [0.9, 0.0])
}

fn share(key: Key, number: u64, [train, validation]: [f64; 2]) -> Split {
    let words = philox(key, number);
    let place = f64::from(words[0]) / (f64::from(u32::MAX) + 1.0);
    if place < train {
        Split::Train
    } else if place < train + validation {
        Split::Validation
    } else {
        Split::Test
    }
}

/// Errors unless every split has a sample.
pub(super) fn require_samples(task: &'static str, samples: &[u64; 3]) -> Result<()> {
    for split in Split::ALL {
        if samples[split as usize] == 0 {
            return Err(Error::EmptySplit {
                task,
                split: split.name(),
                hint: "use more patients or another seed; the attrition counts of a larger cohort show which filter drops them",
            });
        }
    }
    Ok(())
}
