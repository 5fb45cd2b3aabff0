//! A list of ventilation labels: `id,label,split`, for those who hold the published one.
//!
//! The list names the admissions that passed the cohort's filters, the note of the first 48 hours included, so these are not
//! applied again. Texts come from the mortality task, as in the published pipeline.

use crate::error::{Error, Result};
use crate::ids::HadmId;
use crate::prepare::record::irregularities::Irregularities;
use crate::table::{InputFile, Row, Table};
use crate::task::Split;
use std::collections::BTreeMap;
use std::path::Path;

/// Whether ventilation went on for a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum VentilationClass {
    UnderAWeek = 0,
    AWeekOrMore = 1,
}

/// Labels and splits that a list gives, in place of a cohort from raw tables.
pub(in crate::prepare) type Listed = BTreeMap<HadmId, (VentilationClass, Split)>;

const ID: &[&str] = &["id", "hadm_id", "admission_id"];
const LABEL: &[&str] = &["label", "labels", "pmv", "target", "mechanical_ventilation"];
const SPLIT: &[&str] = &["split", "set", "fold", "partition"];
const HINT: &str =
    "the list has one row for each admission: id (HADM_ID), label (0 or 1), split (train, validation, test)";

/// Reads a list; the columns may bear any of the usual names, in any case and order.
pub(in crate::prepare) fn read(path: &Path, irregularities: &mut Irregularities) -> Result<(Listed, InputFile)> {
    let header = Table::header(path)?;
    let columns = [ID, LABEL, SPLIT].map(|names| column(&header, names));
    let mut table = Table::open(path, &columns, &[])?;
    let mut listed = Listed::new();
    while let Some(row) = table.next_row()? {
        let entry = (label(&row)?, split(&row)?);
        match listed.insert(row.admission(0)?, entry) {
            Some(before) if before != entry => {
                return Err(row.wrong(0, "listed before with another label or split", HINT));
            }
            Some(_) => irregularities.note("ventilation list: admission listed twice"),
            None => {}
        }
    }
    if listed.is_empty() {
        return Err(Error::Row { path: path.into(), row: 1, what: "the list is empty".into() });
    }
    Ok((listed, table.finish()?))
}

/// The name under which the header has a column; the first name where it has none, so that the error names it.
fn column<'a>(header: &'a [String], names: &[&'a str]) -> &'a str {
    let known = |h: &&String| names.iter().any(|n| n.eq_ignore_ascii_case(h));
    header.iter().find(known).map_or(names[0], String::as_str)
}

fn label(row: &Row<'_>) -> Result<VentilationClass> {
    match row.required_number(1)? {
        0 => Ok(VentilationClass::UnderAWeek),
        1 => Ok(VentilationClass::AWeekOrMore),
        _ => Err(row.wrong(1, "neither 0 nor 1", HINT)),
    }
}

fn split(row: &Row<'_>) -> Result<Split> {
    match row.text(2)?.trim().to_ascii_lowercase().as_str() {
        "train" | "training" => Ok(Split::Train),
        "val" | "valid" | "validation" | "dev" => Ok(Split::Validation),
        "test" => Ok(Split::Test),
        _ => Err(row.wrong(2, "not the name of a split", HINT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Listed> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pmv.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, &mut Irregularities::default()).map(|(listed, _)| listed)
    }

    #[test]
    fn header_variants_and_names_of_splits_are_known() {
        let listed = list("split,HADM_ID,PMV\ndev,7.0,1.0\nTRAIN,8,0\nval,9,0\nval,9,0\n").unwrap();
        assert_eq!(listed[&HadmId(7)], (VentilationClass::AWeekOrMore, Split::Validation));
        assert_eq!(listed[&HadmId(8)], (VentilationClass::UnderAWeek, Split::Train));
        assert_eq!(listed.len(), 3);
    }

    #[test]
    fn errors_name_row_and_column_and_show_no_value() {
        for (text, parts) in [
            ("id,label\n1,0\n", ["`split`", "no column"]),
            ("id,label,split\n1,0,train\n2,17,train\n", ["row 2", "`label`"]),
            ("id,label,split\n1,0,secret\n", ["row 1", "`split`"]),
            ("id,label,split\n1,0,train\n1,1,train\n", ["row 2", "`id`"]),
            ("id,label,split\n", ["row 1", "empty"]),
        ] {
            let error = list(text).unwrap_err().to_string();
            assert!(parts.iter().all(|p| error.contains(p)) && !error.contains("secret"), "{error}");
            assert!(!error.contains("17"), "{error}");
        }
    }
}
