//! ICD-9 codes in groups.

use super::admissions::HINT;
use super::manifest::Oddities;
use super::rules::{Rules, Switch};
use crate::error::Result;
use crate::ids::HadmId;
use crate::table::{InputFile, Table, is_missing};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// Which of the two code tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CodeTable {
    Diagnoses,
    Procedures,
}

/// Groups per admission, in the order of the file, each once.
#[derive(Debug, Default)]
pub(super) struct Codes {
    /// All groups of the table, newborns' included.
    pub labels: Vec<String>,
    groups: BTreeMap<HadmId, Vec<u32>>,
    /// Admissions with a code that excludes them from the ventilation task.
    pub excluded: BTreeSet<HadmId>,
}

impl Codes {
    /// The groups of an admission, joined by commas; `None` if it has no code.
    pub fn joined(&self, admission: HadmId) -> Option<String> {
        let groups = self.groups.get(&admission)?;
        let names: Vec<&str> = groups.iter().map(|g| self.labels[*g as usize].as_str()).collect();
        Some(names.join(","))
    }

    fn add(&mut self, admission: HadmId, group: String, known: &mut HashMap<String, u32>) {
        let labels = &mut self.labels;
        let index = *known.entry(group).or_insert_with_key(|group| {
            labels.push(group.clone());
            labels.len() as u32 - 1
        });
        let groups = self.groups.entry(admission).or_default();
        if !groups.contains(&index) {
            groups.push(index);
        }
    }

    /// With one code missing, the published rules read all of them as decimals, so that `14` becomes `14.0`, then `14.`.
    fn cut_as_decimals(&mut self) {
        for label in &mut self.labels {
            label.push_str(".0");
            label.truncate(3);
        }
    }

    /// Puts the labels into an order that does not depend on the order of the file's rows.
    fn sort_labels(&mut self) {
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        order.sort_by(|a, b| self.labels[*a].cmp(&self.labels[*b]));
        let mut place = vec![0u32; order.len()];
        for (new, old) in order.iter().enumerate() {
            place[*old] = new as u32;
        }
        for groups in self.groups.values_mut() {
            for group in groups.iter_mut() {
                *group = place[*group as usize];
            }
            groups.sort_unstable();
        }
        self.labels.sort();
    }
}

/// Reads a code table. `donors` are the codes whose title names a donor.
pub(super) fn read(
    folder: &Path,
    which: CodeTable,
    rules: Rules,
    donors: &BTreeSet<String>,
    oddities: &mut Oddities,
) -> Result<(Codes, InputFile)> {
    let (name, empty) = match which {
        CodeTable::Diagnoses => ("DIAGNOSES_ICD", "DIAGNOSES_ICD: empty code"),
        CodeTable::Procedures => ("PROCEDURES_ICD", "PROCEDURES_ICD: empty code"),
    };
    let mut table = Table::open_in(folder, name, &["HADM_ID", "ICD9_CODE"], &[], HINT)?;
    let mut codes = Codes::default();
    let mut known = HashMap::new();
    let mut empty_codes = false;
    while let Some(row) = table.next_row()? {
        let code = row.text(1)?.trim();
        if is_missing(code.as_bytes()) {
            oddities.note(empty);
            empty_codes = true;
            continue;
        }
        let admission = row.admission(0)?;
        if which == CodeTable::Diagnoses && (excludes_ventilation(code) || donors.contains(code)) {
            codes.excluded.insert(admission);
        }
        match group(code, which, rules) {
            Some(group) => codes.add(admission, group, &mut known),
            None => {
                return Err(row.wrong(
                    1,
                    "a procedure code that is not a number",
                    "the published rules read procedure codes as numbers; use the corrected rules",
                ));
            }
        }
    }
    if empty_codes && which == CodeTable::Procedures && !rules.corrects(Switch::ProcedureCodes) {
        codes.cut_as_decimals();
    }
    if rules.corrects(Switch::LabelOrder) {
        codes.sort_labels();
    }
    Ok((codes, table.finish_some()?))
}

/// The three-digit group: four characters for V and E codes. Published procedures are numbers, so leading zeros are lost.
fn group(code: &str, which: CodeTable, rules: Rules) -> Option<String> {
    let length = match which {
        CodeTable::Diagnoses if code.starts_with(['V', 'E']) => 4,
        _ => 3,
    };
    if which == CodeTable::Procedures && !rules.corrects(Switch::ProcedureCodes) {
        let number: u64 = code.parse().ok()?;
        return Some(number.to_string().chars().take(length).collect());
    }
    Some(code.chars().take(length).collect())
}

/// Head and neck cancer, neuromuscular disease, burns of the head and of 30 % or more of the body.
fn excludes_ventilation(code: &str) -> bool {
    let large_burn = code.starts_with("948") && code[3..].starts_with(|c: char| ('3'..='9').contains(&c));
    code.starts_with("14")
        || matches!(code, "3589" | "3590" | "3591" | "35801")
        || code.starts_with("941")
        || large_burn
}

/// The codes of D_ICD_DIAGNOSES whose title names a donor.
pub(super) fn donor_codes(folder: &Path) -> Result<(BTreeSet<String>, InputFile)> {
    let columns = ["ICD9_CODE", "LONG_TITLE"];
    let mut table = Table::open_in(folder, "D_ICD_DIAGNOSES", &columns, &[], HINT)?;
    let mut donors = BTreeSet::new();
    while let Some(row) = table.next_row()? {
        if row.text(1)?.to_lowercase().contains("donor") {
            donors.insert(row.text(0)?.trim().to_string());
        }
    }
    Ok((donors, table.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prepare::Fidelity;

    fn check(code: &str, which: CodeTable, fidelity: Fidelity, expected: Option<&str>) {
        assert_eq!(group(code, which, Rules::of(fidelity)).as_deref(), expected);
    }

    #[test]
    fn groups_keep_leading_zeros_of_diagnoses() {
        check("0389", CodeTable::Diagnoses, Fidelity::Code, Some("038"));
        check("V4581", CodeTable::Diagnoses, Fidelity::Paper, Some("V458"));
        check("E8889", CodeTable::Diagnoses, Fidelity::Code, Some("E888"));
    }

    #[test]
    fn published_procedures_lose_leading_zeros() {
        check("0066", CodeTable::Procedures, Fidelity::Code, Some("66"));
        check("0066", CodeTable::Procedures, Fidelity::Paper, Some("006"));
        check("0331", CodeTable::Procedures, Fidelity::Code, Some("331"));
        check("x", CodeTable::Procedures, Fidelity::Code, None);
    }

    #[test]
    fn one_empty_code_makes_published_procedures_decimals() {
        let dir = tempfile::tempdir().unwrap();
        let labels = |rows: &str| {
            let path = dir.path().join("PROCEDURES_ICD.csv");
            std::fs::write(path, format!("HADM_ID,ICD9_CODE\n{rows}")).unwrap();
            let rules = Rules::of(Fidelity::Code);
            let (which, donors) = (CodeTable::Procedures, BTreeSet::new());
            read(dir.path(), which, rules, &donors, &mut Oddities::default()).unwrap().0.labels
        };
        assert_eq!(labels("1,0014\n1,3995\n2,\"07\"\n"), ["14", "399", "7"]);
        assert_eq!(labels("1,0014\n1,3995\n2,07\n2,\n"), ["14.", "399", "7.0"]);
    }

    #[test]
    fn exclusions_follow_the_codes() {
        assert!(["1420", "35801", "9413", "94830"].into_iter().all(excludes_ventilation));
        assert!(!["9481", "3580", "948", "414"].into_iter().any(excludes_ventilation));
    }
}
