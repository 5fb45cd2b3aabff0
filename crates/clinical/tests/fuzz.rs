//! Arbitrary tables are prepared or refused: no panic, no folder that is left behind, no cell in an error.
//!
//! `PROPTEST_CASES=20000 cargo test -p clinpeft-clinical --test fuzz` tries more than usual.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::{Fidelity, clean_corrected, clean_published, prepare};
use clinpeft_clinical::sections::{corrected, published};
use proptest::prelude::*;
use support::options;

const SECRET: &str = "zqxsecret";

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[0-9]{1,3}(\\.0)?",
        2 => Just("2151-07-16 13:45:00".to_string()),
        1 => Just("Discharge summary".to_string()),
        1 => Just("Report".to_string()),
        1 => Just(format!("\"Chief Complaint:\n{SECRET}\n\nAllergies:\nx\"")),
        1 => Just(SECRET.to_string()),
        1 => "[\"\\n\\r,a-z0-9]{0,6}",
        1 => "\\PC{0,4}",
        1 => Just(String::new()),
    ]
}

fn table(columns: usize) -> impl Strategy<Value = Vec<u8>> {
    let row = proptest::collection::vec(cell(), columns).prop_map(|cells| cells.join(",") + "\n");
    let rows = proptest::collection::vec(row, 0..8).prop_map(|rows| rows.concat().into_bytes());
    let damage = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (rows, damage).prop_map(|(mut bytes, damage)| {
        for (place, byte) in damage {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn arbitrary_tables_are_prepared_or_refused(admissions in table(6), notes in table(7), list in table(3)) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, header: &str, rows: &[u8]| {
            std::fs::write(dir.path().join(name), [header.as_bytes(), b"\n", rows].concat()).unwrap();
        };
        let times = "HADM_ID,SUBJECT_ID,ADMITTIME,DISCHTIME,ADMISSION_TYPE,HOSPITAL_EXPIRE_FLAG";
        write("ADMISSIONS.csv", times, &admissions);
        write("NOTEEVENTS.csv", "HADM_ID,SUBJECT_ID,CHARTDATE,CATEGORY,DESCRIPTION,TEXT,ISERROR", &notes);
        write("pmv.csv", "id,label,split", &list);
        for fidelity in [Fidelity::Code, Fidelity::Paper] {
            let mut options = options(dir.path(), &dir.path().join("data"), fidelity);
            options.tasks = vec![Task::Mortality, Task::LengthOfStay, Task::Ventilation];
            options.pmv_labels = Some(dir.path().join("pmv.csv"));
            if let Err(error) = prepare(&options, &|_| {}) {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains(SECRET));
                prop_assert!(!options.out.exists());
            }
        }
    }

    #[test]
    fn arbitrary_notes_are_cut_and_cleaned(
        parts in proptest::collection::vec(prop_oneof![
            Just("\n\n".to_string()), Just("Physical Exam:".to_string()), Just("\\n".to_string()), Just("pt expired".to_string()),
            Just("[**".to_string()), Just("**]".to_string()), "[A-Za-z :.()|0-9]{0,8}", "\\PC{0,4}", "[\\x00-\\x1f]{0,3}",
        ], 0..20)
    ) {
        let note = parts.concat();
        for cut in [published(&note), corrected(&note)] {
            prop_assert!(cut.assemble().len() <= note.len() * 9 + 200);
        }
        prop_assert!(clean_published(&note).len() <= note.len());
        prop_assert!(clean_corrected(&note).len() <= note.len());
    }
}
