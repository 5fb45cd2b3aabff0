//! The paper's numbers, embedded from `datasets/published`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::cohort::{Splits, TaskCounts};
use crate::error::{Error, Result};

/// A CSV file of the paper: simple cells, no quotes.
struct File {
    name: &'static str,
    text: &'static str,
}

const TABLE1: File = File { name: "table1.csv", text: include_str!("../../../datasets/published/table1.csv") };
const TABLE2: File = File { name: "table2.csv", text: include_str!("../../../datasets/published/table2.csv") };
const TABLE3: File = File { name: "table3.csv", text: include_str!("../../../datasets/published/table3.csv") };
const TABLE4: File = File { name: "table4.csv", text: include_str!("../../../datasets/published/table4.csv") };

/// All published tables.
#[derive(Debug)]
pub(crate) struct Published {
    /// In the paper's order.
    pub(crate) table1: Vec<(String, TaskCounts)>,
    pub(crate) table2: BTreeMap<String, Adaptation>,
    pub(crate) table3: Downstream,
    pub(crate) table4: Downstream,
}

/// A row of Table 2.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Adaptation {
    pub(crate) trainable_parameters: f64,
    /// As printed, for example `0.12`.
    pub(crate) trainable_percent: String,
    pub(crate) train_perplexity: f64,
    pub(crate) test_perplexity: f64,
    pub(crate) seconds: f64,
}

/// Rows of Table 3 or 4 by name.
pub(crate) type Downstream = BTreeMap<String, Scores>;

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

/// One line of a [`File`] with the names of its columns.
struct Line {
    file: &'static str,
    number: usize,
    cells: BTreeMap<&'static str, &'static str>,
}

impl File {
    fn lines(&self) -> Result<Vec<Line>> {
        let mut rows = self.text.lines();
        let names: Vec<&str> = rows.next().unwrap_or("").split(',').collect();
        rows.enumerate()
            .map(|(i, row)| {
                let cells: Vec<&str> = row.split(',').collect();
                let line = Line {
                    file: self.name,
                    number: i + 2,
                    cells: names.iter().copied().zip(cells.iter().copied()).collect(),
                };
                if cells.len() == names.len() {
                    return Ok(line);
                }
                Err(line.error(format!("{} cells, not {}", cells.len(), names.len())))
            })
            .collect()
    }
}

impl Line {
    fn error(&self, what: String) -> Error {
        Error::Published { file: self.file, line: self.number, what }
    }

    fn text(&self, column: &str) -> Result<&'static str> {
        let found = self.cells.get(column).copied();
        found.ok_or_else(|| self.error(format!("no column `{column}`")))
    }

    fn number<T: FromStr>(&self, column: &str) -> Result<T> {
        let text = self.text(column)?;
        text.parse().map_err(|_| self.error(format!("`{text}` in column `{column}` is not a number")))
    }

    fn seconds(&self, column: &str) -> Result<f64> {
        let text = self.text(column)?;
        let mut seconds = 0.0;
        for part in text.split(':') {
            let part: f64 = part.parse().map_err(|_| self.error(format!("`{text}` is not h:m:s")))?;
            seconds = seconds * 60.0 + part;
        }
        Ok(seconds)
    }
}

impl Published {
    /// Parses the embedded files.
    pub(crate) fn embedded() -> Result<Self> {
        Ok(Self {
            table1: TABLE1.lines()?.iter().map(size).collect::<Result<_>>()?,
            table2: TABLE2.lines()?.iter().map(adaptation).collect::<Result<_>>()?,
            table3: downstream(&TABLE3)?,
            table4: downstream(&TABLE4)?,
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

fn size(line: &Line) -> Result<(String, TaskCounts)> {
    let counts = TaskCounts {
        classes: line.number("classes")?,
        kind: line.text("kind")?.into(),
        splits: Splits {
            train: line.number("train")?,
            validation: line.number("validation")?,
            test: line.number("test")?,
        },
    };
    Ok((line.text("task")?.into(), counts))
}

fn adaptation(line: &Line) -> Result<(String, Adaptation)> {
    let row = Adaptation {
        trainable_parameters: line.number("trainable_parameters")?,
        trainable_percent: line.text("trainable_percent")?.into(),
        train_perplexity: line.number("train_perplexity")?,
        test_perplexity: line.number("test_perplexity")?,
        seconds: line.seconds("time")?,
    };
    Ok((line.text("row")?.into(), row))
}

const TASKS: [&str; 5] = ["ventilation", "mortality", "length_of_stay", "diagnoses", "procedures"];

fn downstream(file: &File) -> Result<Downstream> {
    let mut rows = Downstream::new();
    for line in file.lines()? {
        let name = line.text("row")?.to_owned();
        match line.text("edition")? {
            "readme" => {
                rows.insert(name, scores(&line)?);
            }
            "v1" => {
                let Some(readme) = rows.get_mut(&name) else {
                    return Err(line.error("the readme row must come first".into()));
                };
                readme.first_edition = first_edition(&line, readme)?;
            }
            other => return Err(line.error(format!("`{other}` is not an edition"))),
        }
    }
    Ok(rows)
}

fn scores(line: &Line) -> Result<Scores> {
    let hundredth = |column: &str| line.number::<f64>(column).map(|n| n / 100.0);
    Ok(Scores {
        tasks: TASKS.iter().map(|task| Ok(((*task).to_owned(), hundredth(task)?))).collect::<Result<_>>()?,
        macro_printed: hundredth("macro_printed")?,
        macro_recomputed: hundredth("macro_recomputed")?,
        first_edition: Vec::new(),
    })
}

fn first_edition(line: &Line, readme: &Scores) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for task in TASKS {
        if line.number::<f64>(task)? / 100.0 != readme.tasks[task] {
            found.push((task.into(), line.text(task)?.into()));
        }
    }
    for column in ["macro_printed", "macro_recomputed"] {
        found.push((column.replace('_', " "), line.text(column)?.into()));
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
    fn a_bad_file_names_line_and_column() {
        let file = File { name: "table2.csv", text: "row,time\nA,1:x:2\n" };
        let error = file.lines().unwrap()[0].seconds("time").unwrap_err();
        assert!(error.to_string().contains("table2.csv, line 2: `1:x:2`"));
        let ragged = File { name: "table1.csv", text: "a,b\n1,2\n1\n" };
        assert!(ragged.lines().is_err());
    }
}
