//! Which rows and tasks of the matrix are run.

use crate::profiles::{Adaptations, Part, Row};
use clinpeft_clinical::Task;

/// Rows and tasks that are wanted; everything where empty.
#[derive(Debug, Clone, Default)]
pub struct RowFilter {
    /// Parts of row names, or names of tasks.
    pub words: Vec<String>,
    /// Tables by number.
    pub tables: Vec<u8>,
}

/// True if a row's name contains one of `parts`, or if there are none.
fn named(row: &Row, mut parts: impl ExactSizeIterator<Item = impl AsRef<str>>) -> bool {
    let name = row.name.to_lowercase();
    parts.len() == 0 || parts.any(|part| name.contains(&part.as_ref().to_lowercase()))
}

impl Part {
    pub(super) fn row(&self, row: &Row) -> bool {
        if row.table == 2 {
            return self.adaptations == Adaptations::All;
        }
        (self.bases.is_empty() || self.bases.contains(&row.base)) && named(row, self.rows.iter())
    }
}

impl RowFilter {
    pub(super) fn row(&self, row: &Row) -> bool {
        let shown = self.tables.is_empty() || self.tables.iter().any(|t| row.is_in(*t));
        let rows: Vec<&String> = self.words.iter().filter(|w| w.parse::<Task>().is_err()).collect();
        shown && named(row, rows.into_iter())
    }

    pub(super) fn task(&self, task: Task) -> bool {
        let tasks: Vec<Task> = self.words.iter().filter_map(|w| w.parse().ok()).collect();
        tasks.is_empty() || tasks.contains(&task)
    }
}
