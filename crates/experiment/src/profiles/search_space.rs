//! What a sweep tries for which rows.

use crate::error::{Error, Result};
use crate::spec::overrides::Overrides;
use clinpeft_clinical::Task;
use clinpeft_rng::{Seed, shuffle};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is tried: `datasets/sweeps/NAME.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Seed of the trials; none of the reported seeds.
    pub seed: u64,
    /// Tasks whose validation AUROC is averaged.
    pub tasks: Vec<Task>,
    /// Base models whose rows take over what is chosen for the same rows of another one, by their names in the tables.
    #[serde(default)]
    pub take_over: BTreeMap<String, String>,
    /// What is tried for which rows.
    pub space: Vec<SearchSpace>,
}

/// The settings that some rows are tried with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSpace {
    /// The table of the rows.
    pub table: u8,
    /// Their names.
    pub rows: Vec<String>,
    /// Which points of the grid.
    pub strategy: Strategy,
    /// All values of each setting.
    pub values: BTreeMap<String, Vec<toml::Value>>,
}

/// Which points of a grid are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// All.
    Grid,
    /// So many, drawn without repetition.
    Random(usize),
}

impl Search {
    /// The row whose choice a row takes over.
    pub(crate) fn takes_over(&self, row: &str) -> Option<String> {
        self.take_over.iter().find_map(|(to, from)| {
            let rest = row.strip_prefix(to.as_str()).filter(|rest| rest.is_empty() || rest.starts_with(' '))?;
            Some(format!("{from}{rest}"))
        })
    }

    /// The points that a row is tried with.
    pub(crate) fn points(&self, (table, row): (u8, &str)) -> Result<Vec<Overrides>> {
        let fits = |s: &&SearchSpace| s.table == table && s.rows.iter().any(|r| r == row);
        let spaces: Vec<&SearchSpace> = self.space.iter().filter(fits).collect();
        let [space] = spaces[..] else {
            let what = format!(
                "row `{row}` matches {} search spaces, expected 1\nhint: change `rows` in the sweep",
                spaces.len()
            );
            return Err(Error::Options(what));
        };
        let mut points = vec![Overrides::new()];
        for (place, values) in &space.values {
            let extend = |p: &Overrides| {
                let one = |v: &toml::Value| {
                    let mut p = p.clone();
                    p.insert(place.clone(), v.clone());
                    p
                };
                values.iter().map(one).collect::<Vec<_>>()
            };
            points = points.iter().flat_map(extend).collect();
        }
        if let Strategy::Random(trials) = space.strategy {
            // The same draw for all rows of a space, so that they see the same points.
            shuffle(&mut points, &mut Seed(self.seed).stream("search"));
            points.truncate(trials);
        }
        Ok(points)
    }
}
