//! Flow counts as in CONSORT diagrams: what each filter keeps and drops, and samples per class.

use crate::prepare::filters::Filter;
use crate::task::Split;

/// One filter of one task and its effect.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attrition {
    /// The task; `notes` for the filters all tasks share; `adaptation` for the corpus.
    pub task: String,
    /// What is kept by this filter.
    pub filter: String,
    /// Rows, admissions or samples that passed.
    pub kept: u64,
    /// Those that did not.
    pub dropped: u64,
}

/// How many samples one file holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// The task, or `adaptation`.
    pub task: String,
    /// The split.
    pub split: String,
    /// Samples.
    pub samples: u64,
    /// Samples per class, for tasks with classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub per_class: Vec<u64>,
}

/// Counts what each of a fixed list of filters drops.
#[derive(Debug, Clone)]
pub(in crate::prepare) struct FlowCounts {
    task: &'static str,
    filters: Vec<Filter>,
    dropped: Vec<u64>,
    kept: u64,
}

impl FlowCounts {
    pub fn new(task: &'static str, filters: &[Filter]) -> FlowCounts {
        FlowCounts { task, filters: filters.to_vec(), dropped: vec![0; filters.len()], kept: 0 }
    }

    /// One more was dropped by this filter.
    pub fn drop_by(&mut self, filter: Filter) {
        if let Some(place) = self.filters.iter().position(|f| *f == filter) {
            self.dropped[place] += 1;
        }
    }

    /// How many passed so far.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// One more passed all filters.
    pub fn keep(&mut self) {
        self.kept += 1;
    }

    /// The rows of the attrition table.
    pub fn steps(&self) -> Vec<Attrition> {
        let mut left = self.kept + self.dropped.iter().sum::<u64>();
        self.filters
            .iter()
            .zip(&self.dropped)
            .map(|(filter, dropped)| {
                left -= dropped;
                Attrition { task: self.task.into(), filter: filter.name().into(), kept: left, dropped: *dropped }
            })
            .collect()
    }
}

/// Samples per split and class of one task.
#[derive(Debug, Clone)]
pub(in crate::prepare) struct ClassCounts {
    pub samples: [u64; 3],
    pub per_class: [Vec<u64>; 3],
}

impl ClassCounts {
    pub fn new(classes: usize) -> ClassCounts {
        ClassCounts { samples: [0; 3], per_class: std::array::from_fn(|_| vec![0; classes]) }
    }

    pub fn add(&mut self, split: Split, class: Option<usize>) {
        self.samples[split as usize] += 1;
        if let Some(class) = class {
            self.per_class[split as usize][class] += 1;
        }
    }
}
