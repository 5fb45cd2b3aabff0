//! ICD-9 codes in groups.

use super::admissions::HINT;
use crate::error::Result;
use crate::ids::HadmId;
use crate::prepare::record::irregularities::Irregularities;
use crate::prepare::rules::{Rules, Switch};
use crate::table::{InputFile, Table, is_missing};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// What no code holds: labels are written in lines, and joined by commas.
const SEPARATORS: fn(char) -> bool = |c| c == ',' || c == '"' || c.is_control();
const HINT_CODE: &str = "codes are letters and digits, for example 4280; an editor may have changed the file";

/// Which of the two code tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum CodeTable {
    Diagnoses,
    Procedures,
}

/// Groups per admission, in the order of the file, each once.
#[derive(Debug, Default)]
pub(in crate::prepare) struct Codes {
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

    fn add(&mut self, admission: HadmId, code: &str, known: &mut HashMap<String, u32>) {
        let index = place_of(code, &mut self.labels, known);
        let groups = self.groups.entry(admission).or_default();
        if !groups.contains(&index) {
            groups.push(index);
        }
    }

    /// Groups in place of codes, both in the order of the file.
    fn grouped(mut self, group: impl Fn(&str) -> String) -> Codes {
        let (mut labels, mut known) = (Vec::new(), HashMap::new());
        let group_of: Vec<u32> =
            self.labels.iter().map(|code| place_of(&group(code), &mut labels, &mut known)).collect();
        for codes in self.groups.values_mut() {
            let mut groups = Vec::new();
            for group in codes.iter().map(|code| group_of[*code as usize]) {
                if !groups.contains(&group) {
                    groups.push(group);
                }
            }
            *codes = groups;
        }
        Codes { labels, ..self }
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
pub(in crate::prepare) fn read(
    folder: &Path,
    which: CodeTable,
    rules: Rules,
    donors: &BTreeSet<String>,
    irregularities: &mut Irregularities,
) -> Result<(Codes, InputFile)> {
    let (name, empty) = match which {
        CodeTable::Diagnoses => ("DIAGNOSES_ICD", "DIAGNOSES_ICD: empty code"),
        CodeTable::Procedures => ("PROCEDURES_ICD", "PROCEDURES_ICD: empty code"),
    };
    let mut table = Table::open_in(folder, name, &["HADM_ID", "ICD9_CODE"], &[], HINT)?;
    let mut codes = Codes::default();
    let mut known = HashMap::new();
    let mut gaps = Gaps::None;
    while let Some(row) = table.next_row()? {
        let cell = row.text(1)?;
        let cell = if rules.corrects(Switch::ColumnTypes) { cell.trim() } else { cell };
        if is_missing(cell.as_bytes()) {
            irregularities.note(empty);
            gaps = Gaps::Some;
            continue;
        }
        if cell.contains(SEPARATORS) {
            return Err(row.wrong(1, "a comma, quote or control character in a code", HINT_CODE));
        }
        let admission = row.admission(0)?;
        if which == CodeTable::Diagnoses && (excludes_ventilation(cell.trim()) || donors.contains(cell.trim())) {
            codes.excluded.insert(admission);
        }
        codes.add(admission, cell, &mut known);
    }
    let column = if rules.corrects(Switch::ColumnTypes) { Column::Text } else { Column::inferred(&codes.labels, gaps) };
    let mut codes = codes.grouped(|code| group(code, which, column));
    if rules.corrects(Switch::LabelOrder) {
        codes.sort_labels();
    }
    Ok((codes, table.finish_some()?))
}

/// The place of a name in a list that grows with every new one.
fn place_of(name: &str, names: &mut Vec<String>, known: &mut HashMap<String, u32>) -> u32 {
    if let Some(place) = known.get(name) {
        return *place;
    }
    let place = names.len() as u32;
    names.push(name.into());
    known.insert(name.into(), place);
    place
}

/// Whether a column has empty cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    None,
    Some,
}

/// What the codes of a table are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Text,
    Whole,
    Decimal,
}

impl Column {
    /// As pandas infers it, on which the published rules rely: codes that are all made of digits are numbers, and decimals if one
    /// is missing. Such are the procedures of MIMIC-III; its diagnoses hold letters.
    fn inferred(codes: &[String], gaps: Gaps) -> Column {
        let is_number = |code: &String| {
            let code = code.trim();
            !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_digit())
        };
        match gaps {
            _ if !codes.iter().all(is_number) => Column::Text,
            Gaps::None => Column::Whole,
            Gaps::Some => Column::Decimal,
        }
    }
}

/// The three-digit group: four characters for V and E codes. Numbers have no leading zeros, and `14` is `14.` as a decimal.
fn group(code: &str, which: CodeTable, column: Column) -> String {
    let length = match which {
        CodeTable::Diagnoses if code.starts_with(['V', 'E']) => 4,
        _ => 3,
    };
    let number = code.trim().trim_start_matches('0');
    let number = if number.is_empty() { "0" } else { number };
    let written = match column {
        Column::Text => code.into(),
        Column::Whole => number.into(),
        Column::Decimal => format!("{number}.0"),
    };
    written.chars().take(length).collect()
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
pub(in crate::prepare) fn donor_codes(folder: &Path) -> Result<(BTreeSet<String>, InputFile)> {
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
    use proptest::prelude::*;

    fn check(code: &str, which: CodeTable, column: Column, expected: &str) {
        assert_eq!(group(code, which, column), expected);
    }

    #[test]
    fn groups_keep_leading_zeros_of_text_and_lose_those_of_numbers() {
        check("0389", CodeTable::Diagnoses, Column::Text, "038");
        check("V4581", CodeTable::Diagnoses, Column::Text, "V458");
        check("E8889", CodeTable::Diagnoses, Column::Text, "E888");
        check("v3000", CodeTable::Diagnoses, Column::Text, "v30");
        check("0066", CodeTable::Procedures, Column::Text, "006");
        check("0066", CodeTable::Procedures, Column::Whole, "66");
        check("0331", CodeTable::Procedures, Column::Whole, "331");
        check("000", CodeTable::Procedures, Column::Whole, "0");
    }

    fn labels(which: CodeTable, fidelity: Fidelity, rows: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["DIAGNOSES_ICD.csv", "PROCEDURES_ICD.csv"] {
            std::fs::write(dir.path().join(name), format!("HADM_ID,ICD9_CODE\n{rows}")).unwrap();
        }
        let mut irregularities = Irregularities::default();
        read(dir.path(), which, Rules::of(fidelity), &BTreeSet::new(), &mut irregularities).unwrap().0.labels
    }

    #[test]
    fn published_rules_take_a_column_for_what_its_cells_look_like() {
        let code = |which, rows| labels(which, Fidelity::Code, rows);
        for which in [CodeTable::Diagnoses, CodeTable::Procedures] {
            assert_eq!(code(which, "1,0014\n1,3995\n2,\"07\"\n"), ["14", "399", "7"]);
            assert_eq!(code(which, "1,0014\n1,3995\n2,07\n2,\n"), ["14.", "399", "7.0"], "one is missing");
            assert_eq!(code(which, "1,0014\n1,x\n2,07\n2,\n"), ["001", "x", "07"], "one is no number");
            assert_eq!(code(which, "1, 401\n1,401 \n2,x\n"), [" 40", "401", "x"], "spaces count in text");
        }
        let rows = "1,0014\n1, 3995 \n2,07\n2,\n";
        assert_eq!(labels(CodeTable::Procedures, Fidelity::Paper, rows), ["001", "07", "399"]);
    }

    proptest! {
        #[test]
        fn labels_are_the_groups_in_order_of_first_appearance(codes in proptest::collection::vec("[VE]?[0-3]{1,4}", 1..40)) {
            let rows: String = codes.iter().enumerate().map(|(i, code)| format!("{},{code}\n", i % 3)).collect();
            let group = |code: &String| code.chars().take(if code.starts_with(['V', 'E']) { 4 } else { 3 }).collect();
            let mut expected: Vec<String> = Vec::new();
            for group in ["Vx".to_string()].iter().chain(&codes).map(group) {
                if !expected.contains(&group) {
                    expected.push(group);
                }
            }
            prop_assert_eq!(labels(CodeTable::Diagnoses, Fidelity::Code, &format!("9,Vx\n{rows}")), expected);
        }
    }

    #[test]
    fn exclusions_follow_the_codes() {
        assert!(["1420", "35801", "9413", "94830"].into_iter().all(excludes_ventilation));
        assert!(!["9481", "3580", "948", "414"].into_iter().any(excludes_ventilation));
    }
}
