//! What every output renders: sections of tables and pictures, records, comparisons.

use maud::Markup;

use crate::compare::Comparison;

/// Everything that is shown.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) banner: &'static str,
    /// Said under every table of models.
    pub(crate) models: &'static str,
    pub(crate) sections: Vec<Section>,
    pub(crate) records: Vec<Record>,
    /// Table, fidelity, comparison.
    pub(crate) comparisons: Vec<(String, String, Comparison)>,
    pub(crate) counts: Counts,
    /// Folders whose predictions could not be used, and why.
    pub(crate) problems: Vec<(String, String)>,
}

/// How many planned runs are in which state.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    pub(crate) unfinished: usize,
    pub(crate) missing: usize,
}

/// A table, or pictures, or both.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) caption: String,
    /// Empty if there is no table.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<Cell>)>,
    pub(crate) notes: Vec<String>,
    /// In HTML only.
    pub(crate) pictures: Vec<Markup>,
    pub(crate) audience: Audience,
}

/// Who reads a table.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Everyone: every output has it.
    #[default]
    All,
    /// Who asks for details: in HTML only, folded.
    Curious,
}

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cell {
    /// The number, or why there is none.
    pub(crate) main: String,
    /// Interval or spread.
    pub(crate) detail: String,
    /// Seeds without a number, when others have one.
    pub(crate) problems: Vec<String>,
    /// The mean over labels that counts each as often as it occurs.
    pub(crate) by_frequency: Option<String>,
    /// What is significant, as arrows.
    pub(crate) marks: String,
    pub(crate) published: Option<String>,
    pub(crate) ceiling: Option<String>,
    /// Text of the link and run folder.
    pub(crate) links: Vec<(String, String)>,
    /// `done`, `failed`, `unfinished` or `missing`.
    pub(crate) state: &'static str,
}

impl Cell {
    /// A cell that is only text.
    pub(crate) fn text(main: impl Into<String>) -> Self {
        Self { main: main.into(), state: "done", ..Self::default() }
    }

    /// With the published number.
    pub(crate) fn published(mut self, published: Option<String>) -> Self {
        self.published = Some(published.unwrap_or_else(|| "–".into()));
        self
    }

    /// With the published number, and whether it lies in our interval.
    pub(crate) fn against(self, published: Option<f64>, ours: Option<(f64, f64)>, show: fn(f64) -> String) -> Self {
        let mark = |published: f64| match ours {
            Some((lo, hi)) if (lo..=hi).contains(&published) => " inside",
            Some(_) => " outside",
            None => "",
        };
        self.published(published.map(|p| format!("{}{}", show(p), mark(p))))
    }

    /// With the best number that is possible on this data.
    pub(crate) fn ceiling(mut self, ceiling: Option<String>) -> Self {
        self.ceiling = Some(ceiling.unwrap_or_else(|| "–".into()));
        self
    }
}

/// One line. Numbers are as `result.json` has them: AUROC in 0..=1, the published one too.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) table: String,
    pub(crate) row: String,
    pub(crate) column: String,
    pub(crate) seed: Option<u64>,
    pub(crate) value: Option<f64>,
    pub(crate) lo: Option<f64>,
    pub(crate) hi: Option<f64>,
    pub(crate) published: Option<f64>,
    pub(crate) ceiling: Option<f64>,
    pub(crate) trainable_parameters: Option<f64>,
    pub(crate) seconds: Option<f64>,
    pub(crate) peak_memory_mib: Option<f64>,
    pub(crate) run_folder: Option<String>,
    pub(crate) state: &'static str,
    pub(crate) fidelity: String,
}
