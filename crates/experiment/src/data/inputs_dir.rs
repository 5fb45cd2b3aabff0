//! What a person brings.

use crate::error::Result;
use std::path::{Path, PathBuf};

/// The folder with what a person brings: models and raw data.
///
/// ```text
/// models/<name>/    config.json, weights and tokenizer of a published model
/// mimic3/           the tables of MIMIC-III v1.4 (.csv or .csv.gz)
/// mimic4-note/      discharge.csv.gz and radiology.csv.gz of MIMIC-IV-Note 2.2
/// splits/           mimic_train.csv, mimic_val.csv, mimic_test.csv (published; optional)
/// pmv.csv           the published ventilation labels (optional)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inputs {
    /// The folder, absolute.
    pub folder: PathBuf,
}

impl Inputs {
    /// The inputs in a folder, which need not be there.
    pub fn at(folder: &Path) -> Result<Inputs> {
        let folder = std::path::absolute(folder).map_err(clinpeft_files::at("find", folder))?;
        Ok(Inputs { folder })
    }

    /// For profiles that make all that they need.
    pub fn none() -> Inputs {
        Inputs { folder: PathBuf::new() }
    }

    /// A file or folder that may be there.
    pub(crate) fn optional(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|path| path.exists())
    }
}
