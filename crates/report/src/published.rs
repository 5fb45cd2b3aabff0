//! The paper's numbers, embedded from `datasets/published`.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::cohort::{Splits, TaskCounts};
use crate::error::{Error, Result};

const TABLE1: &str = include_str!("../../../datasets/published/table1.csv");
const TABLE2: &str = include_str!("../../../datasets/published/table2.csv");
const TABLE3: &str = include_str!("../../../datasets/published/table3.csv");
const TABLE4: &str = include_str!("../../../datasets/published/table4.csv");

/// All published tables.
#[derive(Debug)]
pub(crate) struct Published {
    /// In the paper's order.
    pub(crate) table1: Vec<(String, TaskCounts)>,
    pub(crate) table2: BTreeMap<String, Adaptation>,
    table3: BTreeMap<String, Scores>,
    table4: BTreeMap<String, Scores>,
}

/// A row of Table 2.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Adaptation {
    row: String,
    pub(crate) trainable_parameters: f64,
    /// As printed, for example `0.12`.
    pub(crate) trainable_percent: String,
    pub(crate) train_perplexity: f64,
    pub(crate) test_perplexity: f64,
    #[serde(rename = "time", deserialize_with = "seconds")]
    pub(crate) seconds: f64,
}

/// A row of Table 3 or 4; AUROC in 0..=1.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scores {
    /// README numbers by task.
    pub(crate) tasks: BTreeMap<String, f64>,
    pub(crate) macro_printed: f64,
    pub(crate) macro_recomputed: f64,
    /// The same row in versions 1 and 2, where it differs: number by column, as printed.
    pub(crate) first_edition: Vec<(String, String)>,
}

impl Published {
    /// Parses the embedded files.
    pub(crate) fn embedded() -> Result<Self> {
        let table2 = rows::<Adaptation>("table2.csv", TABLE2)?;
        Ok(Self {
            table1: rows("table1.csv", TABLE1)?.into_iter().map(size).collect(),
            table2: table2.into_iter().map(|row| (row.row.clone(), row)).collect(),
            table3: downstream("table3.csv", TABLE3)?,
            table4: downstream("table4.csv", TABLE4)?,
        })
    }

    /// The published row as `table` (3 or 4) has it, or else the other one; a star behind the name is ignored.
    pub(crate) fn scores(&self, table: &str, row: &str) -> Option<&Scores> {
        let name = row.trim_end_matches('*');
        let (first, second) = match table {
            "4" => (&self.table4, &self.table3),
            _ => (&self.table3, &self.table4),
        };
        first.get(name).or_else(|| second.get(name))
    }
}

fn rows<T: DeserializeOwned>(file: &'static str, text: &str) -> Result<Vec<T>> {
    let rows = csv::Reader::from_reader(text.as_bytes()).into_deserialize().collect::<Result<_, csv::Error>>();
    rows.map_err(|e| Error::Published { file, what: e.to_string() })
}

/// `h:m:s` as seconds.
fn seconds<'de, D: Deserializer<'de>>(time: D) -> Result<f64, D::Error> {
    let text = String::deserialize(time)?;
    let parts: Result<Vec<f64>, _> = text.split(':').map(str::parse).collect();
    let parts = parts.map_err(|_| serde::de::Error::custom(format!("`{text}` is not h:m:s")))?;
    Ok(parts.into_iter().fold(0.0, |seconds, part| seconds * 60.0 + part))
}

#[derive(Deserialize)]
struct Size {
    task: String,
    classes: u64,
    kind: String,
    train: u64,
    validation: u64,
    test: u64,
}

fn size(row: Size) -> (String, TaskCounts) {
    let splits = Splits { train: row.train, validation: row.validation, test: row.test };
    (row.task, TaskCounts { classes: row.classes, kind: row.kind, splits })
}

/// A row of Table 3 or 4 as printed.
#[derive(Deserialize)]
struct Printed {
    row: String,
    edition: String,
    ventilation: String,
    mortality: String,
    length_of_stay: String,
    diagnoses: String,
    procedures: String,
    macro_printed: String,
    macro_recomputed: String,
}

impl Printed {
    fn tasks(&self) -> [(&str, &str); 5] {
        [
            ("ventilation", &self.ventilation),
            ("mortality", &self.mortality),
            ("length_of_stay", &self.length_of_stay),
            ("diagnoses", &self.diagnoses),
            ("procedures", &self.procedures),
        ]
    }
}

fn downstream(file: &'static str, text: &str) -> Result<BTreeMap<String, Scores>> {
    let mut found = BTreeMap::new();
    for row in rows::<Printed>(file, text)? {
        let wrong = |what: &str| Error::Published { file, what: format!("row `{}`: {what}", row.row) };
        let hundredth =
            |n: &str| n.parse::<f64>().map(|n| n / 100.0).map_err(|_| wrong(&format!("`{n}` is no number")));
        let tasks = row.tasks().map(|(task, n)| Ok((task.to_owned(), hundredth(n)?)));
        let tasks: BTreeMap<String, f64> = tasks.into_iter().collect::<Result<_>>()?;
        if row.edition == "readme" {
            let (printed, recomputed) = (hundredth(&row.macro_printed)?, hundredth(&row.macro_recomputed)?);
            let scores =
                Scores { tasks, macro_printed: printed, macro_recomputed: recomputed, first_edition: Vec::new() };
            found.insert(row.row, scores);
            continue;
        }
        let readme: &mut Scores = found.get_mut(&row.row).ok_or_else(|| wrong("the readme edition must come first"))?;
        let differing = row.tasks().into_iter().filter(|(task, _)| tasks[*task] != readme.tasks[*task]);
        let averages = [("macro printed", row.macro_printed.as_str()), ("macro recomputed", &row.macro_recomputed)];
        readme.first_edition = differing.chain(averages).map(|(name, n)| (name.to_owned(), n.to_owned())).collect();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recomputed_macro_is_the_mean_of_its_row() {
        let published = Published::embedded().unwrap();
        let mut wrong = Vec::new();
        for (name, row) in published.table3.iter().chain(&published.table4) {
            let mean = row.tasks.values().sum::<f64>() / 5.0;
            assert!((mean - row.macro_recomputed).abs() < 5.1e-5, "{name}");
            if row.macro_printed != row.macro_recomputed {
                wrong.push(name.as_str());
            }
        }
        assert_eq!(wrong, ["LLaMA", "PMC-LLaMA + Clinical LLaMA-LoRA (Frozen)", "BlueBERT + LoRA"]);
    }

    #[test]
    fn tables_have_the_papers_sizes() {
        let published = Published::embedded().unwrap();
        assert_eq!(published.table1.len(), 5);
        assert_eq!(published.table2.len(), 10);
        assert_eq!(published.table3.len(), 16);
        assert_eq!(published.table4.len(), 5);
        let lora = &published.table2["LLaMA + LoRA"];
        assert_eq!((lora.seconds, lora.test_perplexity), (77_862.0, 2.244));
        assert_eq!(published.scores("3", "LLaMA*").unwrap().macro_printed, 0.5861);
    }

    #[test]
    fn a_bad_file_names_line_and_value() {
        let columns = "row,trainable_parameters,trainable_percent,train_perplexity,test_perplexity,time\n";
        for (line, what) in [("A,1,1,1,1,1:x:2", "`1:x:2` is not h:m:s"), ("A,1", "line: 2")] {
            let error = rows::<Adaptation>("table2.csv", &format!("{columns}{line}\n")).unwrap_err().to_string();
            assert!(error.contains("table2.csv") && error.contains(what), "{error}");
        }
    }
}
