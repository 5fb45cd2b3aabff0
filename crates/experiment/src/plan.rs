//! From a profile and the matrix to the list of runs.

use crate::profile::{Adaptations, BaseStart, Part, Row, RowEntry};
use crate::spec::{BaseText, FurtherBase};
use crate::switches::{PUBLISHED_CONTEXT, SecondAdapter, Switches};
use crate::{Base, Error, Kind, Matrix, Profile, Result, RunSpec, StackEntry, Tokens};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_text::Packing;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One run and what it waits for.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Name of its folder.
    pub name: String,
    /// Its switches.
    pub spec: RunSpec,
    /// Runs that must be done before.
    pub needs: Vec<String>,
}

/// What is the same for all runs of a plan.
#[derive(Debug, Clone)]
pub struct Common {
    /// Dataset folder.
    pub data: String,
    /// Hash of its manifest.
    pub data_hash: String,
    /// Rules that it names.
    pub data_rules: BTreeMap<String, String>,
    /// Preset of the rules.
    pub fidelity: Fidelity,
    /// Where folders of published models lie.
    pub inputs: PathBuf,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
}

/// Rows and tasks that are wanted; everything where empty.
#[derive(Debug, Clone, Default)]
pub struct Only {
    /// Parts of row names, or names of tasks.
    pub words: Vec<String>,
    /// Tables by number.
    pub tables: Vec<u8>,
}

/// True if one of `parts` stands in a row's name, or if there are none.
fn named(row: &Row, mut parts: impl ExactSizeIterator<Item = impl AsRef<str>>) -> bool {
    let name = row.name.to_lowercase();
    parts.len() == 0 || parts.any(|part| name.contains(&part.as_ref().to_lowercase()))
}

impl Part {
    fn row(&self, row: &Row) -> bool {
        if row.table == 2 {
            return self.adaptations == Adaptations::All;
        }
        (self.bases.is_empty() || self.bases.contains(&row.base)) && named(row, self.rows.iter())
    }
}

impl Only {
    fn row(&self, row: &Row) -> bool {
        let shown = self.tables.is_empty() || self.tables.iter().any(|t| row.is_in(*t));
        let rows: Vec<&String> = self.words.iter().filter(|w| w.parse::<Task>().is_err()).collect();
        shown && named(row, rows.into_iter())
    }

    fn task(&self, task: Task) -> bool {
        let tasks: Vec<Task> = self.words.iter().filter_map(|w| w.parse().ok()).collect();
        tasks.is_empty() || tasks.contains(&task)
    }
}

/// All runs of a part, each after those that it needs.
pub fn plan(profile: &Profile, part: &Part, matrix: &Matrix, common: &Common, only: &Only) -> Result<Vec<Planned>> {
    let mut planner =
        Planner { profile, common, runs: Vec::new(), adaptations: BTreeMap::new(), bases: BTreeMap::new() };
    let wanted = |r: &&Row| part.row(r) && only.row(r);
    let downstream: Vec<&Row> = matrix.row.iter().filter(|r| r.table > 2).filter(wanted).collect();
    for seed in &common.seeds {
        for row in matrix.row.iter().filter(|r| r.table == 2).filter(|r| wanted(r) || needed(&downstream, r)) {
            planner.adaptation(row, *seed)?;
        }
    }
    for seed in &common.seeds {
        for row in &downstream {
            for task in profile.tasks.iter().filter(|t| only.task(**t)) {
                planner.downstream(row, *task, *seed)?;
            }
        }
    }
    Ok(planner.runs)
}

fn adaptation_id(row: &Row) -> String {
    format!("adapt/{}/{}", row.base, row.adapter.as_deref().unwrap_or_default())
}

/// True if one of these rows uses this adaptation.
fn needed(rows: &[&Row], adaptation: &Row) -> bool {
    let id = adaptation_id(adaptation);
    rows.iter().flat_map(|r| &r.stack).any(|e| e.from.as_ref() == Some(&id))
}

struct Planner<'a> {
    profile: &'a Profile,
    common: &'a Common,
    runs: Vec<Planned>,
    /// (id, seed) -> name of the run.
    adaptations: BTreeMap<(String, u64), String>,
    /// Name -> the model, and the run that makes it if one does.
    bases: BTreeMap<String, (Base, Option<String>)>,
}

impl Planner<'_> {
    fn add(&mut self, spec: RunSpec, needs: Vec<String>) -> Result<String> {
        let name = spec.folder_name()?;
        if self.runs.iter().all(|r| r.name != name) {
            self.runs.push(Planned { name: name.clone(), spec, needs });
        }
        Ok(name)
    }

    /// A base model, and what must be done before it is there.
    fn base(&mut self, name: &str) -> Result<(Base, Vec<String>)> {
        if !self.bases.contains_key(name) {
            let base = self.profile.base(name)?;
            let found = match &base.start {
                BaseStart::Folder(f) => (Base::Folder { folder: self.common.inputs.join(&f.folder) }, None),
                BaseStart::New(new) => self.made(name, Base::New(new.clone()), &new.text, None)?,
                BaseStart::Further(further) => {
                    let (_, before) = self.base(&further.run)?;
                    let [run] = &before[..] else {
                        let what = format!("base model `{}` is a folder and cannot be trained further", further.run);
                        return Err(Error::Options(what));
                    };
                    let start = FurtherBase { run: run.clone(), ..further.clone() };
                    self.made(name, Base::Further(start), &further.text, Some(run.clone()))?
                }
            };
            self.bases.insert(name.into(), found);
        }
        let (base, run) = &self.bases[name];
        Ok((base.clone(), run.iter().cloned().collect()))
    }

    /// A base model that a run makes from `start`, after `before`.
    fn made(
        &mut self,
        name: &str,
        start: Base,
        text: &[BaseText],
        before: Option<String>,
    ) -> Result<(Base, Option<String>)> {
        let (base, step) = (self.profile.base(name)?, self.profile.base_step(name)?);
        let data = text.iter().any(|t| t.is_of_notes()).then_some(self.common);
        let spec = RunSpec {
            kind: Kind::Base,
            table: None,
            row: format!("base {name}"),
            task: None,
            seed: base.seed,
            // What no note enters is the same under every preset.
            fidelity: data.map_or(Fidelity::Paper, |d| d.fidelity),
            data: data.map(|d| d.data.clone()),
            data_hash: data.map(|d| d.data_hash.clone()),
            switches: Switches::preset(Fidelity::Paper),
            data_rules: data.map(|d| d.data_rules.clone()).unwrap_or_default(),
            bootstrap_resamples: 0,
            base: start,
            full: false,
            tokens: step.tokens,
            training: step.training,
            stack: vec![],
        };
        let run = self.add(spec, before.into_iter().collect())?;
        Ok((Base::Run { run: run.clone() }, Some(run)))
    }

    fn adaptation(&mut self, row: &Row, seed: u64) -> Result<()> {
        let (base, needs) = self.base(&row.base)?;
        let wanted = row.adapter.as_deref().unwrap_or_default();
        let adapter = self.profile.adapters.get(wanted);
        let adapter = adapter.ok_or_else(|| Error::Options(format!("the profile has no adapter `{wanted}`")))?.clone();
        let step = &self.profile.adaptation;
        let entry =
            StackEntry { name: wanted.into(), from: None, trainable: true, active: true, adapter: Some(adapter) };
        let spec = RunSpec {
            kind: Kind::Adaptation,
            table: Some(2),
            row: row.name.clone(),
            task: None,
            seed,
            fidelity: self.common.fidelity,
            data: Some(self.common.data.clone()),
            data_hash: Some(self.common.data_hash.clone()),
            switches: Switches::preset(self.common.fidelity),
            data_rules: self.common.data_rules.clone(),
            bootstrap_resamples: self.profile.bootstrap_resamples,
            base,
            full: false,
            tokens: self.tokens(&step.tokens),
            training: step.training.clone(),
            stack: vec![entry],
        };
        let run = self.add(self.profile.choices.apply(spec)?, needs)?;
        self.adaptations.insert((adaptation_id(row), seed), run);
        Ok(())
    }

    fn downstream(&mut self, row: &Row, task: Task, seed: u64) -> Result<()> {
        let (base, mut needs) = self.base(&row.base)?;
        let mut stack = Vec::new();
        for entry in &row.stack {
            let resolved = self.entry(entry, seed)?;
            needs.extend(resolved.from.clone());
            stack.push(resolved);
        }
        if Switches::preset(self.common.fidelity).second_adapter == SecondAdapter::Inactive {
            // The published code marks it trainable too, but what is not active gets no gradient and no step.
            for entry in stack.iter_mut().skip(1) {
                (entry.active, entry.trainable) = (false, false);
            }
        }
        let step = &self.profile.downstream;
        let mut training = if row.full { &step.full } else { &step.training }.clone();
        if !row.full && stack.iter().all(|e| !e.trainable || !e.active) {
            training.learning_rate = step.head_only.learning_rate;
            training.epochs = step.head_only.epochs;
        }
        let spec = RunSpec {
            kind: Kind::Downstream,
            table: Some(row.table),
            row: row.name.clone(),
            task: Some(task),
            seed,
            fidelity: self.common.fidelity,
            data: Some(self.common.data.clone()),
            data_hash: Some(self.common.data_hash.clone()),
            switches: Switches::preset(self.common.fidelity),
            data_rules: self.common.data_rules.clone(),
            bootstrap_resamples: self.profile.bootstrap_resamples,
            base,
            full: row.full,
            tokens: self.tokens(&step.tokens),
            training,
            stack,
        };
        self.add(self.profile.choices.apply(spec)?, needs).map(|_| ())
    }

    /// The context of the fidelity: the published one is short, and nothing is packed.
    fn tokens(&self, wanted: &Tokens) -> Tokens {
        match self.common.fidelity {
            Fidelity::Paper => wanted.clone(),
            Fidelity::Code => Tokens { max_length: wanted.max_length.min(PUBLISHED_CONTEXT), packing: Packing::None },
        }
    }

    fn entry(&self, entry: &RowEntry, seed: u64) -> Result<StackEntry> {
        let find = |id: &String| {
            let run = self.adaptations.get(&(id.clone(), seed)).cloned();
            run.ok_or_else(|| Error::Options(format!("`{}` needs `{id}`, which no row of table 2 makes", entry.name)))
        };
        let adapter = |name: &String| {
            let found = self.profile.adapters.get(name).cloned();
            found.ok_or_else(|| Error::Options(format!("the profile has no adapter `{name}`")))
        };
        Ok(StackEntry {
            name: entry.name.clone(),
            from: entry.from.as_ref().map(find).transpose()?,
            trainable: entry.trainable,
            active: entry.active,
            adapter: entry.adapter.as_ref().map(adapter).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(seeds: &[u64]) -> Common {
        Common {
            data: "d".into(),
            data_hash: "h".into(),
            data_rules: BTreeMap::new(),
            fidelity: Fidelity::Paper,
            seeds: seeds.to_vec(),
        }
    }

    #[test]
    fn demo_has_two_bases_ten_adaptations_and_thirty_cells_for_a_seed() {
        let (p, m) = (Profile::named("demo").unwrap(), Matrix::paper().unwrap());
        let runs = plan(&p, &m, &common(&[1, 2]), &Only::default()).unwrap();
        let count = |k: Kind| runs.iter().filter(|r| r.spec.kind == k).count();
        assert_eq!((count(Kind::Base), count(Kind::Adaptation), count(Kind::Downstream)), (2, 20, 60));
        for (i, r) in runs.iter().enumerate() {
            assert!(r.needs.iter().all(|n| runs[..i].iter().any(|b| b.name == *n)), "{}", r.name);
        }
    }

    #[test]
    fn full_has_the_hundred_cells_of_the_paper() {
        let (p, m) = (Profile::named("full").unwrap(), Matrix::paper().unwrap());
        let runs = plan(&p, &m, &common(&[1]), &Only::default()).unwrap();
        let cells = |wanted: &dyn Fn(&RunSpec) -> bool| {
            runs.iter().filter(|r| r.spec.kind == Kind::Downstream && wanted(&r.spec)).count()
        };
        assert_eq!((cells(&|s| s.table == Some(3)), cells(&|s| s.table == Some(4))), (80, 20));
        assert_eq!(cells(&|s| s.full), 20);
        assert_eq!(runs.iter().filter(|r| r.spec.kind == Kind::Adaptation).count(), 10);
        for r in &runs {
            assert!(!r.spec.full || r.spec.stack.is_empty(), "{}", r.name);
            assert!(r.needs.iter().all(|n| runs.iter().any(|b| b.name == *n)), "{}", r.name);
        }
    }

    #[test]
    fn tables_are_chosen_by_number_with_what_they_need() {
        let (p, m) = (Profile::named("full").unwrap(), Matrix::paper().unwrap());
        let count = |tables: &[u8]| {
            let only = Only { tables: tables.to_vec(), ..Only::default() };
            let runs = plan(&p, &m, &common(&[1]), &only).unwrap();
            let of = |k: Kind| runs.iter().filter(|r| r.spec.kind == k).count();
            (of(Kind::Adaptation), of(Kind::Downstream))
        };
        // Table 4 repeats a row with the clinical adapter; Table 3 uses that adapter of both bases.
        assert_eq!((count(&[2]), count(&[3]), count(&[4])), ((10, 0), (2, 80), (1, 25)));
        assert_eq!(count(&[2, 3, 4]), (10, 100));
    }

    #[test]
    fn only_bases_that_read_notes_depend_on_the_data() {
        let (p, m) = (Profile::named("full").unwrap(), Matrix::paper().unwrap());
        for run in plan(&p, &m, &common(&[1]), &Only::default()).unwrap() {
            let reads = match &run.spec.base {
                Base::New(new) => new.text.iter().any(|t| t.is_of_notes()),
                Base::Further(further) => further.text.iter().any(|t| t.is_of_notes()),
                _ => true,
            };
            assert_eq!(run.spec.data.is_some(), reads, "{}", run.name);
        }
    }

    #[test]
    fn published_code_leaves_the_second_adapter_out() {
        let (p, m) = (Profile::named("demo").unwrap(), Matrix::paper().unwrap());
        let code = Common { fidelity: Fidelity::Code, ..common(&[1]) };
        for run in plan(&p, &m, &code, &Only::default()).unwrap() {
            for (i, entry) in run.spec.stack.iter().enumerate() {
                assert_eq!(entry.active, i == 0, "{}", run.name);
            }
            assert!(run.spec.kind == Kind::Base || run.spec.tokens.max_length <= 128);
        }
    }

    #[test]
    fn only_narrows_rows_and_tasks() {
        let (p, m) = (Profile::named("demo").unwrap(), Matrix::paper().unwrap());
        let only = Only { words: vec!["frozen".into(), "mortality".into()], ..Only::default() };
        let runs = plan(&p, &m, &common(&[1]), &only).unwrap();
        let cells: Vec<_> = runs.iter().filter(|r| r.spec.kind == Kind::Downstream).collect();
        assert_eq!(cells.len(), 2);
        assert!(runs.iter().any(|r| r.spec.kind == Kind::Adaptation), "its adaptation is made too");
    }

    #[test]
    fn spec_survives_its_own_text() {
        let (p, m) = (Profile::named("smoke").unwrap(), Matrix::paper().unwrap());
        for r in plan(&p, &m, &common(&[1]), &Only::default()).unwrap() {
            let again: RunSpec = toml::from_str(&r.spec.text().unwrap()).unwrap();
            assert_eq!(again, r.spec);
        }
    }
}
