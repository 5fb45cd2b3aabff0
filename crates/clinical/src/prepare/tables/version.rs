//! Tables of another collection or version, told by their headers before a row is read.
//!
//! Names of columns are alike across versions: ADMISSIONS of MIMIC-IV has every column that the rules ask for.

use crate::error::{Error, Result};
use crate::table::{Table, find_table};
use std::path::Path;

/// What a folder is said to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum Collection {
    Mimic3,
    Mimic4Note,
}

const OF_MIMIC4: &[&str] = &[
    "icd_code",
    "icd_version",
    "anchor_age",
    "stay_id",
    "admit_provider_id",
    "caregiver_id",
    "race",
    "note_id",
    "note_seq",
];
const OF_MIMIC3: &[&str] = &["row_id", "iserror", "cgid", "icd9_code", "icustay_id", "category"];
const OF_NOTE_2_2: &[&str] =
    &["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"];

/// Refuses those of `tables` that are there but of another collection; absent ones are for others to miss.
pub(in crate::prepare) fn check(folder: &Path, tables: &[&str], collection: Collection) -> Result<()> {
    for table in tables {
        let Some(path) = find_table(folder, table)? else {
            continue;
        };
        let header: Vec<String> = Table::header(&path)?.iter().map(|name| name.to_ascii_lowercase()).collect();
        let has = |name: &&str| header.iter().any(|h| h == name);
        let (expected, found) = match collection {
            Collection::Mimic3 if OF_MIMIC4.iter().any(has) => ("MIMIC-III v1.4", "a table of MIMIC-IV"),
            Collection::Mimic4Note if OF_MIMIC3.iter().any(has) => ("MIMIC-IV-Note 2.2", "a table of MIMIC-III"),
            Collection::Mimic4Note if has(&"note_id") && !OF_NOTE_2_2.iter().all(has) => {
                ("MIMIC-IV-Note 2.2", "another version")
            }
            _ => continue,
        };
        return Err(Error::Version { path, expected, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(table: &str, header: &str, collection: Collection) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(format!("{table}.csv")), format!("{header}\n")).unwrap();
        check(dir.path(), &[table, "ABSENT"], collection).err().map(|e| e.to_string())
    }

    #[test]
    fn tables_of_another_collection_or_version_are_named() {
        let iv =
            "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,hospital_expire_flag";
        let error = refused("admissions", iv, Collection::Mimic3).unwrap();
        assert!(error.contains("admissions.csv") && error.contains("MIMIC-IV") && error.contains("hint:"), "{error}");
        let iii = "ROW_ID,SUBJECT_ID,HADM_ID,CATEGORY,TEXT";
        assert!(refused("discharge", iii, Collection::Mimic4Note).unwrap().contains("a table of MIMIC-III"));
        let short = "note_id,subject_id,hadm_id,text";
        assert!(refused("discharge", short, Collection::Mimic4Note).unwrap().contains("another version"));
    }

    #[test]
    fn the_right_tables_pass() {
        let iii = "\"ROW_ID\",\"SUBJECT_ID\",\"HADM_ID\",\"SEQ_NUM\",\"ICD9_CODE\"";
        assert_eq!(refused("DIAGNOSES_ICD", iii, Collection::Mimic3), None);
        assert_eq!(refused("radiology", &OF_NOTE_2_2.join(","), Collection::Mimic4Note), None);
    }
}
