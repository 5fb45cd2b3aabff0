//! The prediction tasks and their splits.

use crate::error::Error;
use std::fmt;
use std::str::FromStr;

/// The tasks: variant, name, class names. No classes: the labels are codes found in the data.
macro_rules! tasks {
    ($($(#[$doc:meta])* $task:ident = $name:literal, [$($class:literal),*];)*) => {
        /// What is predicted from an admission note.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Task {
            $($(#[$doc])* $task,)*
        }

        impl Task {
            /// All tasks.
            pub const ALL: [Task; [$($name),*].len()] = [$(Task::$task),*];

            const KNOWN: &str = {
                let names = concat!($($name, ", "),*);
                names.split_at(names.len() - 2).0
            };

            /// Name and class names.
            const fn described(self) -> (&'static str, &'static [&'static str]) {
                match self {
                    $(Task::$task => ($name, &[$($class),*]),)*
                }
            }
        }
    };
}

tasks! {
    /// Three-digit groups of ICD-9 diagnoses.
    Diagnoses = "diagnoses", [];
    /// Three-digit groups of ICD-9 procedures.
    Procedures = "procedures", [];
    /// Death in hospital.
    Mortality = "mortality", ["NOT_DIE", "DIE"];
    /// Length of stay of those who survive, in four classes.
    LengthOfStay = "length_of_stay", ["LT3D", "3DTO7D", "1WTO2W", "GT2W"];
    /// Ventilation of a week or more among those ventilated for two days or more.
    Ventilation = "ventilation", ["LT1W", "GT1W"];
    /// Another admission of the same patient within 30 days of the discharge. Not in the paper.
    Readmission = "readmission", ["NOT_READMITTED", "READMITTED"];
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

impl Task {
    /// The five tasks of the paper.
    pub const PUBLISHED: [Task; 5] =
        [Task::Diagnoses, Task::Procedures, Task::Mortality, Task::LengthOfStay, Task::Ventilation];

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
            known: Task::KNOWN,
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
