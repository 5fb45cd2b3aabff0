//! What a plan needs and this machine lacks.

use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::plan::planned::PlannedRun;
use crate::profiles::{BaseStart, Data, Profile};
use crate::spec::Base;
use serde::Serialize;
use std::path::PathBuf;

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Where it belongs.
    pub path: PathBuf,
    /// What it is.
    pub what: String,
}

/// What these runs of a profile need and the inputs lack.
pub(crate) fn missing(profile: &Profile, inputs: &Inputs, runs: &[PlannedRun]) -> Vec<Missing> {
    let mut all = Vec::new();
    let mut need = |path: PathBuf, what: String| {
        if !path.exists() {
            all.push(Missing { path, what });
        }
    };
    for base in profile.bases.values() {
        if let BaseStart::Folder(f) = &base.start {
            let folder = inputs.folder.join(&f.folder);
            let used = |run: &PlannedRun| matches!(&run.spec.base, Base::Folder { folder: of } if *of == folder);
            if runs.iter().any(used) {
                need(folder.join("config.json"), format!("model folder: {}", f.published_as));
            }
        }
    }
    if let Data::Mimic { .. } = profile.data {
        let of = |name: &str| inputs.folder.join(name);
        let access = "(credentialed access at PhysioNet)";
        need(of("mimic3"), format!("the tables of MIMIC-III v1.4 {access}"));
        need(of("mimic4-note"), format!("discharge.csv.gz and radiology.csv.gz of MIMIC-IV-Note 2.2 {access}"));
    }
    all
}

/// Errors with all that the runs need and `inputs` lacks.
pub(crate) fn check_inputs(profile: &Profile, inputs: &Inputs, runs: &[PlannedRun]) -> Result<()> {
    let missing = missing(profile, inputs, runs);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(|m| format!("  {}: {}", m.path.display(), m.what)).collect();
    Err(Error::Options(format!(
        "the inputs are not complete; missing are\n{}\nhint: put them there, or name another folder with `--inputs`; README.md \
         shows its layout",
        lines.join("\n")
    )))
}
