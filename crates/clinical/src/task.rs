//! The prediction tasks and their splits.

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// What is predicted from an admission note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Three-digit groups of ICD-9 diagnoses.
    Diagnoses,
    /// Three-digit groups of ICD-9 procedures.
    Procedures,
    /// Death in hospital.
    Mortality,
    /// Length of stay of those who survive, in four classes.
    LengthOfStay,
    /// Ventilation of a week or more among those ventilated for two days or more.
    Ventilation,
    /// Another admission of the same patient within 30 days of the discharge. Not in the paper.
    Readmission,
}

/// The form of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskKind {
    /// One of two classes.
    Binary,
    /// One of several classes.
    Multiclass,
    /// Any subset of the labels.
    Multilabel,
}

const KNOWN: &str = "diagnoses, procedures, mortality, length_of_stay, ventilation, readmission";

impl Task {
    /// All tasks.
    pub const ALL: [Task; 6] =
        [Task::Diagnoses, Task::Procedures, Task::Mortality, Task::LengthOfStay, Task::Ventilation, Task::Readmission];

    /// The five tasks of the paper.
    pub const PUBLISHED: [Task; 5] =
        [Task::Diagnoses, Task::Procedures, Task::Mortality, Task::LengthOfStay, Task::Ventilation];

    /// Name and class names; no classes where the labels are codes found in the data.
    const fn described(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Task::Diagnoses => ("diagnoses", &[]),
            Task::Procedures => ("procedures", &[]),
            Task::Mortality => ("mortality", &["NOT_DIE", "DIE"]),
            Task::LengthOfStay => ("length_of_stay", &["LT3D", "3DTO7D", "1WTO2W", "GT2W"]),
            Task::Ventilation => ("ventilation", &["LT1W", "GT1W"]),
            Task::Readmission => ("readmission", &["NOT_READMITTED", "READMITTED"]),
        }
    }

    /// The name: also that of the task's folder.
    pub const fn name(self) -> &'static str {
        self.described().0
    }

    /// The form of its labels.
    pub const fn kind(self) -> TaskKind {
        match self.described().1.len() {
            0 => TaskKind::Multilabel,
            2 => TaskKind::Binary,
            _ => TaskKind::Multiclass,
        }
    }

    /// The names of its classes; `None` where the labels are codes found in the data.
    pub const fn classes(self) -> Option<&'static [&'static str]> {
        match self.described().1 {
            [] => None,
            classes => Some(classes),
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Task {
    type Err = Error;

    fn from_str(name: &str) -> Result<Task, Error> {
        Task::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| Error::UnknownName {
            kind: "task",
            name: name.into(),
            known: KNOWN,
        })
    }
}

/// One part of a task's samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose by.
    Validation,
    /// To report on.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The name: also that of the split's file.
    pub const fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
