//! Which differences are more than chance: each row against the row above it, the best baseline and the bag of words.

use clinpeft_metrics::{Difference, Resampled, auroc_delong_difference, holm};

use crate::analysis::{Analysis, Measured};
use crate::plan::Plan;

/// Adjusted p-values below this are marked.
const LEVEL: f64 = 0.05;

/// The clinical models that the paper compares with.
const BASELINES: [&str; 4] = ["BlueBERT", "UmlsBERT", "Bio+ClinicalBERT", "CORe"];

/// The row of TF-IDF and logistic regression, which the paper does not have: the floor that a model must beat.
pub const BAG_OF_WORDS: &str = "Bag of words + logistic regression";

/// A difference of two rows of a table.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    pub(crate) row: String,
    pub(crate) against: String,
    pub(crate) role: Role,
    /// `None`: the macro average.
    pub(crate) task: Option<String>,
    pub(crate) difference: Difference,
    /// `DeLong` or `bootstrap`.
    pub(crate) test: &'static str,
    pub(crate) p_value: f64,
    /// After Holm's correction over the table.
    pub(crate) adjusted: f64,
}

/// Whom a row is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Above,
    Baseline,
    /// The row above is the best baseline.
    Both,
    BagOfWords,
}

impl Role {
    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Above => "row above",
            Self::Baseline => "best baseline",
            Self::Both => "row above, best baseline",
            Self::BagOfWords => "bag of words",
        }
    }
}

impl Comparison {
    /// Arrows for what is significant: up or down, simple against the row above, double against the baseline, filled against the
    /// bag of words.
    pub(crate) fn mark(&self) -> &'static str {
        if self.adjusted >= LEVEL {
            return "";
        }
        match (self.role, self.difference.value > 0.0) {
            (Role::Above, true) => "↑",
            (Role::Above, false) => "↓",
            (Role::Baseline, true) => "⇑",
            (Role::Baseline, false) => "⇓",
            (Role::Both, true) => "↑⇑",
            (Role::Both, false) => "↓⇓",
            (Role::BagOfWords, true) => "▲",
            (Role::BagOfWords, false) => "▼",
        }
    }
}

/// The cells of one fidelity.
pub(crate) struct Cells<'a> {
    pub(crate) analysis: &'a Analysis,
    pub(crate) plan: &'a Plan,
}

impl<'a> Cells<'a> {
    fn measured(&self, row: &str, task: &str, seed: u64) -> Option<&'a Measured> {
        self.analysis.get(&self.plan.key(row, Some(task), seed))
    }

    /// Mean AUROC over all planned seeds; `None` if one is missing.
    pub(crate) fn mean(&self, row: &str, task: &str) -> Option<Resampled> {
        let seeds = self.plan.seeds.iter();
        let all: Option<Vec<&Resampled>> = seeds.map(|seed| Some(&self.measured(row, task, *seed)?.auroc)).collect();
        Resampled::mean(&all?)
    }

    /// Mean over the tasks of [`Cells::mean`]: the macro average with patients drawn jointly.
    pub(crate) fn macro_mean(&self, row: &str) -> Option<Resampled> {
        let all: Option<Vec<Resampled>> = self.plan.tasks.iter().map(|task| self.mean(row, task)).collect();
        Resampled::mean(&all?.iter().collect::<Vec<_>>())
    }

    /// The macro average of one seed.
    pub(crate) fn macro_of_seed(&self, row: &str, seed: u64) -> Option<Resampled> {
        let tasks = self.plan.tasks.iter();
        let all: Option<Vec<&Resampled>> = tasks.map(|task| Some(&self.measured(row, task, seed)?.auroc)).collect();
        Resampled::mean(&all?)
    }

    /// Difference of two rows on a task (`None`: macro average) and the test that gives its error: DeLong's where the task
    /// is binary, otherwise the paired bootstrap. `None` if a seed is missing or the rows are not of the same patients.
    pub(crate) fn difference(&self, row: &str, other: &str, task: Option<&str>) -> Option<(Difference, &'static str)> {
        let tasks = self.plan.tasks.iter().filter(|t| task.is_none_or(|task| task == t.as_str()));
        let mut pairs = Vec::new();
        for task in tasks {
            for seed in &self.plan.seeds {
                let pair = (self.measured(row, task, *seed)?, self.measured(other, task, *seed)?);
                if pair.0.ids != pair.1.ids {
                    return None;
                }
                pairs.push(pair);
            }
        }
        if task.is_some()
            && let Some(difference) = delong(&pairs)
        {
            return Some((difference, "DeLong"));
        }
        let difference = match task {
            Some(task) => self.mean(row, task)?.minus(&self.mean(other, task)?),
            None => self.macro_mean(row)?.minus(&self.macro_mean(other)?),
        };
        Some((difference, "bootstrap"))
    }

    /// The best row of the clinical baselines by macro average (else by what tasks there are), or `LLaMA`.
    pub(crate) fn best_baseline(&self) -> Option<&'a str> {
        let rows = self.plan.downstream_rows();
        let score = |row: &str| self.macro_mean(row).map(|m| m.value);
        let known = rows.iter().filter(|row| BASELINES.contains(row));
        let best = known.filter_map(|row| Some((*row, score(row)?))).max_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(row, _)| row).or_else(|| rows.into_iter().find(|row| *row == "LLaMA"))
    }

    /// All comparisons of a table, corrected together.
    pub(crate) fn compare(&self, rows: &[String]) -> Vec<Comparison> {
        let baseline = self.best_baseline();
        let words = self.plan.table3.iter().map(String::as_str).find(|row| *row == BAG_OF_WORDS);
        let mut found = Vec::new();
        // It is compared with by all others.
        for (i, row) in rows.iter().enumerate().filter(|(_, row)| *row != BAG_OF_WORDS) {
            let above = self.above(rows, i);
            let mut rivals: Vec<(&str, Role)> = Vec::new();
            match (above, baseline.filter(|b| b != row)) {
                (Some(a), Some(b)) if a == b => rivals.push((a, Role::Both)),
                (a, b) => {
                    rivals.extend(a.map(|a| (a, Role::Above)));
                    rivals.extend(b.map(|b| (b, Role::Baseline)));
                }
            }
            rivals.extend(words.map(|row| (row, Role::BagOfWords)));
            let tasks = self.plan.tasks.iter().map(Some).chain([None]);
            for task in tasks {
                for (against, role) in &rivals {
                    let task = task.map(String::as_str);
                    let Some((difference, test)) = self.difference(row, against, task) else { continue };
                    found.push(Comparison {
                        row: row.clone(),
                        against: (*against).into(),
                        role: *role,
                        task: task.map(String::from),
                        difference,
                        test,
                        p_value: difference.p_value(),
                        adjusted: 1.0,
                    });
                }
            }
        }
        let adjusted = holm(&found.iter().map(|c| c.p_value).collect::<Vec<_>>());
        found.iter_mut().zip(adjusted).for_each(|(c, p)| c.adjusted = p);
        found
    }

    /// The row above; LoRA on a baseline stands below the same model fully fine-tuned, as in the paper.
    fn above<'r>(&self, rows: &'r [String], i: usize) -> Option<&'r str>
    where
        'a: 'r,
    {
        let plain = rows[i].strip_suffix(" + LoRA").filter(|plain| BASELINES.contains(plain));
        match plain {
            Some(plain) => self.plan.table3.iter().map(String::as_str).find(|row| *row == plain),
            None => rows.get(i.checked_sub(1)?).map(String::as_str).filter(|row| *row != BAG_OF_WORDS),
        }
    }
}

/// DeLong's test where all pairs are of one binary task.
fn delong(pairs: &[(&Measured, &Measured)]) -> Option<Difference> {
    let rows = pairs.first()?.0.binary.as_ref()?;
    let first: Option<Vec<&[f32]>> = pairs.iter().map(|p| Some(p.0.binary.as_ref()?.scores.as_slice())).collect();
    let second: Option<Vec<&[f32]>> = pairs.iter().map(|p| Some(p.1.binary.as_ref()?.scores.as_slice())).collect();
    auroc_delong_difference(&rows.labels, &first?, &second?, &rows.subjects).ok()
}
