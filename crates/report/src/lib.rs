//! Tables against the published ones, from run folders alone.
//!
//! - Reads `<out>/runs/*` and the manifests of their data sets: any program that leaves run folders can be reported on.
//! - Nothing is dropped: what failed, is missing, was not asked for or cannot be read is shown as such.
//! - Every number stands beside the published one and links to the folder that made it.
//! - The first line of every output says when the cohort is synthetic and the models are stand-ins.
//!
//! ```text
//! <out>/runs/<name>-<hash>/   result.json     numbers                 -> <out>/report/index.html  everything
//!                             status.json     done or failed             <out>/report/tables.md   the tables
//!                             run.toml        what was asked for         <out>/report/tables.csv
//!                             manifest.json   made with what             <out>/report/tables.tex
//!                             events.jsonl    losses, scores, norms      <out>/report/comparisons.csv
//!                             *.safetensors   predictions
//! <out>/data/<name>/          manifest.json   attrition, leaks
//! ```
//!
//! | module | content |
//! |---|---|
//! | `store`, `events` | run folders -> runs |
//! | `published` | the paper's numbers, embedded from `datasets/published` |
//! | `series` | one number over seeds and tasks: means, spreads, intervals |
//! | [`predictions`] | the file of predictions: its form, writer and reader |
//! | `analysis`, `compare` | resamples of the predictions, tests between rows |
//! | `document` | what every output renders: tables, cells, pictures, records |
//! | `view` | the runs of one fidelity, as the sections see them |
//! | `sections` | one file for each section; `assemble` puts them in order |
//! | `svg` | plots |
//! | `output` | the document as Markdown, HTML, LaTeX and CSV |
//!
//! ```
//! use clinpeft_report::{Cohort, CohortCounts, Plan, write};
//!
//! let out = tempfile::tempdir()?;
//! let plan = Plan {
//!     fidelity: "paper".into(),
//!     table2: vec!["LLaMA + LoRA".into()],
//!     table3: vec!["LLaMA".into(), "LLaMA + LoRA".into()],
//!     table4: vec![],
//!     tasks: vec!["ventilation".into(), "mortality".into()],
//!     seeds: vec![1234],
//!     folders: None,
//! };
//! let summary = write(out.path(), &[plan], Cohort::Synthetic, &CohortCounts::default())?;
//! assert_eq!((summary.done, summary.missing), (0, 5));
//! assert!(summary.terminal().starts_with("Synthetic cohort"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

mod analysis;
mod assemble;
mod cohort;
mod compare;
mod document;
mod error;
mod events;
mod format;
mod output;
mod plan;
pub mod predictions;
mod published;
mod sections;
mod series;
mod store;
mod svg;
mod view;

pub use cohort::{Cohort, CohortCounts, Splits, TaskCounts};
pub use compare::BAG_OF_WORDS;
pub use error::{Error, Result};
pub use output::csv::plain_cell;
pub use plan::Plan;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// `<out>/report`.
    pub folder: PathBuf,
    /// Planned runs that have a result.
    pub done: usize,
    /// Planned runs that failed.
    pub failed: usize,
    /// Planned runs that have a folder but neither a result nor an end.
    pub unfinished: usize,
    /// Planned runs without a folder.
    pub missing: usize,
    /// Run folders that could not be used in full, and why.
    pub problems: Vec<(String, String)>,
    markdown: String,
}

impl Summary {
    /// The tables as Markdown, to print.
    pub fn terminal(&self) -> &str {
        &self.markdown
    }
}

/// What a report consists of.
const FILES: [&str; 5] = ["tables.md", "tables.csv", "comparisons.csv", "tables.tex", "index.html"];

/// Errors if a file that the report would be written to was not made by this program.
///
/// # Errors
/// Such a file is there.
pub fn refuse_foreign(out: &Path) -> Result<()> {
    Ok(clinpeft_files::refuse_foreign_files(&out.join("report"), &FILES)?)
}

/// Reads the run folders below `out` and the manifests of their data sets, and writes `index.html`, `tables.md`,
/// `tables.csv`, `tables.tex` and `comparisons.csv` into `out/report`.
///
/// Each of `plans` says which rows, tasks and seeds are expected under its preset of the rules, in order, and gives a set of
/// tables; what the first two share stands side by side in Table 5. `counts` are the task sizes of the data set (Table 1).
/// Writing twice gives the same bytes.
///
/// # Errors
/// The folder of runs cannot be listed, or a file of the report cannot be written.
pub fn write(out: &Path, plans: &[Plan], cohort: Cohort, counts: &CohortCounts) -> Result<Summary> {
    let published = published::Published::embedded()?;
    let mut store = store::Store::read(&out.join("runs"))?;
    let folders: Option<Vec<&BTreeSet<String>>> = plans.iter().map(|plan| plan.folders.as_ref()).collect();
    if let Some(folders) = folders {
        store.keep(|name| folders.iter().any(|f| f.contains(name)));
    }
    let document = assemble::document(&store, plans, cohort, counts, &published);
    let folder = out.join("report");
    let markdown = output::markdown::render(&document);
    let texts = [
        markdown.clone(),
        output::csv::records(&document),
        output::csv::comparisons(&document),
        output::latex::render(&document),
        output::html::render(&document),
    ];
    refuse_foreign(out)?;
    for (name, text) in FILES.iter().zip(&texts) {
        clinpeft_files::write_into(&folder, name, clinpeft_files::Access::Shared, text.as_bytes())?;
    }
    Ok(Summary {
        folder,
        done: document.counts.done,
        failed: document.counts.failed,
        unfinished: document.counts.unfinished,
        missing: document.counts.missing,
        problems: store.unplaced.iter().chain(&document.problems).cloned().collect(),
        markdown,
    })
}
