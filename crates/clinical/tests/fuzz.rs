//! Arbitrary tables are prepared or refused: no panic, no folder that is left behind, no cell in an error.
//!
//! `PROPTEST_CASES=20000 cargo test -p clinpeft-clinical --test fuzz` tries more than usual.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail the test")]

mod support;

use clinpeft_clinical::prepare::{Fidelity, clean_corrected, clean_published, prepare};
use clinpeft_clinical::sections::{corrected, published};
use clinpeft_clinical::{Dataset, Task};
use proptest::prelude::*;
use std::path::Path;
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

/// A cell in quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// Nine admissions, three for each split list, whose tables are well-formed but hold what no real one does.
fn odd_but_whole(dir: &Path, texts: &[String], codes: &[(u8, String)], ids: u64) {
    let id = |i: u64| ids.saturating_sub(10) + i;
    let rows = |row: &dyn Fn(u64) -> String| (1..10).map(row).collect::<String>();
    let write = |name: &str, header: &str, rows: String| {
        std::fs::write(dir.join(name), format!("{header}\n{rows}")).unwrap();
    };
    let times = "HADM_ID,SUBJECT_ID,ADMITTIME,DISCHTIME,ADMISSION_TYPE,HOSPITAL_EXPIRE_FLAG";
    write("ADMISSIONS.csv", times, rows(&|i| format!("{},{},2151-07-16,2151-07-1{},X,0\n", id(i), id(i), 6 + i % 4)));
    write(
        "NOTEEVENTS.csv",
        "HADM_ID,SUBJECT_ID,CHARTDATE,CATEGORY,DESCRIPTION,TEXT,ISERROR",
        rows(&|i| {
            let text =
                format!("Chief Complaint:\npain {i}{}\n\nAllergies:\n{}", texts[i as usize - 1], texts[9 - i as usize]);
            format!("{},{},2151-07-19,Discharge summary,Report,{},\n", id(i), id(i), quoted(&text))
        }),
    );
    let code_rows = |odd: usize| -> String {
        let plain = (1..10).map(|i| format!("{},4{}\n", id(i), i % 3));
        let odd =
            codes.iter().skip(odd).step_by(2).map(|(i, code)| format!("{},{}\n", id(u64::from(*i)), quoted(code)));
        plain.chain(odd).collect()
    };
    write("DIAGNOSES_ICD.csv", "HADM_ID,ICD9_CODE", code_rows(0));
    write("PROCEDURES_ICD.csv", "HADM_ID,ICD9_CODE", code_rows(1));
    for (name, first) in [("mimic_train", 1), ("mimic_val", 4), ("mimic_test", 7)] {
        let subjects: String = (first..first + 3).map(|i| format!("{}\n", id(i))).collect();
        write(&format!("{name}.csv"), "SUBJECT_ID", subjects);
    }
}

proptest! {
    // Two whole folders are flushed to disk for each case.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_prepared_is_read_again(
        texts in prop::collection::vec("([\"\n\r,a \0\u{feff}\u{2028}]|\\PC){0,12}", 9),
        codes in prop::collection::vec((1..10u8, "([VE0-9]{1,5}|[VE0-9 .a,\"\n\r\u{2028}]{0,4})"), 0..4),
        ids in prop_oneof![Just(10), Just(u64::MAX - 10), any::<u64>()],
    ) {
        let dir = tempfile::tempdir().unwrap();
        odd_but_whole(dir.path(), &texts, &codes, ids);
        for fidelity in [Fidelity::Code, Fidelity::Paper] {
            let mut options = options(dir.path(), &dir.path().join(fidelity.name()), fidelity);
            options.splits = Some(dir.path().into());
            options.tasks = vec![Task::Diagnoses, Task::Procedures, Task::LengthOfStay];
            match prepare(&options, &|_| {}) {
                Ok(_) => {
                    for task in &options.tasks {
                        let read = Dataset::load(&options.out, *task);
                        prop_assert!(read.is_ok(), "{task}: {:?}", read.err());
                    }
                }
                Err(error) => {
                    let said = error.to_string();
                    let odd = codes.iter().any(|(_, code)| code.contains([',', '"', '\n', '\r']));
                    prop_assert!(odd && said.contains("_ICD.csv`: row") && said.contains("column `ICD9_CODE`"), "{said}");
                }
            }
        }
    }
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
