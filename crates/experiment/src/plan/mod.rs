//! From a profile and the matrix to the list of runs.

pub mod cost;
pub mod filter;
pub mod missing;
pub mod planned;

use crate::data::dataset::DatasetInfo;
use crate::data::inputs_dir::Inputs;
use crate::error::{Error, Result};
use crate::plan::filter::RowFilter;
use crate::plan::planned::PlannedRun;
use crate::profiles::{BaseStart, Matrix, Part, Profile, Row, RowEntry};
use crate::spec::switches::{PUBLISHED_CONTEXT, SecondAdapter, Switches};
use crate::spec::{Base, BaseText, FurtherBase, Kind, RunSpec, StackEntry, Tokens};
use clinpeft_clinical::Task;
use clinpeft_clinical::prepare::Fidelity;
use clinpeft_text::Packing;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is the same for all runs of a plan.
#[derive(Debug, Clone)]
pub struct PlanContext {
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

impl PlanContext {
    /// For runs on a dataset.
    pub fn new(dataset: &DatasetInfo, fidelity: Fidelity, inputs: &Inputs, seeds: Vec<u64>) -> PlanContext {
        PlanContext {
            data: dataset.name.clone(),
            data_hash: dataset.hash.clone(),
            data_rules: dataset.rules.clone(),
            fidelity,
            inputs: inputs.folder.clone(),
            seeds,
        }
    }
}

/// All runs of a part, each after those that it needs.
pub fn plan(
    profile: &Profile,
    part: &Part,
    matrix: &Matrix,
    common: &PlanContext,
    only: &RowFilter,
) -> Result<Vec<PlannedRun>> {
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
    common: &'a PlanContext,
    runs: Vec<PlannedRun>,
    /// (id, seed) -> name of the run.
    adaptations: BTreeMap<(String, u64), String>,
    /// Name -> the model, and the run that makes it if one does.
    bases: BTreeMap<String, (Base, Option<String>)>,
}

impl Planner<'_> {
    fn add(&mut self, spec: RunSpec, needs: Vec<String>) -> Result<String> {
        let name = spec.folder_name()?;
        if self.runs.iter().all(|r| r.name != name) {
            self.runs.push(PlannedRun { name: name.clone(), spec, needs });
        }
        Ok(name)
    }

    /// A base model, and what must be done before it is there.
    fn base(&mut self, name: &str) -> Result<(Base, Vec<String>)> {
        if !self.bases.contains_key(name) {
            let base = self.profile.base(name)?;
            let found = match &base.start {
                BaseStart::Folder(f) => (Base::Folder { folder: self.common.inputs.join(&f.folder) }, None),
                BaseStart::BagOfWords(settings) => (Base::BagOfWords(settings.clone()), None),
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
            StackEntry { name: wanted.try_into()?, from: None, trainable: true, active: true, adapter: Some(adapter) };
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
        let (tokens, training) = match base {
            Base::BagOfWords(_) => Default::default(),
            _ => (self.tokens(&step.tokens), step.training_of(row.full, &stack)),
        };
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
            tokens,
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
            name: entry.name.as_str().try_into()?,
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

    fn common(fidelity: Fidelity, seeds: &[u64]) -> PlanContext {
        PlanContext {
            data: "d".into(),
            data_hash: "h".into(),
            data_rules: BTreeMap::new(),
            fidelity,
            inputs: "inputs".into(),
            seeds: seeds.to_vec(),
        }
    }

    /// The runs of a profile under one of its presets.
    fn runs(profile: &str, rules: Fidelity, seeds: &[u64], only: &RowFilter) -> Vec<PlannedRun> {
        let (profile, matrix) = (Profile::named(profile).unwrap(), Matrix::paper().unwrap());
        let part = profile.parts(&[]).into_iter().find(|p| p.rules == rules).unwrap();
        let runs = plan(&profile, &part, &matrix, &common(rules, seeds), only).unwrap();
        for (i, r) in runs.iter().enumerate() {
            assert!(r.needs.iter().all(|n| runs[..i].iter().any(|b| b.name == *n)), "{}", r.name);
            assert!(!r.spec.full || r.spec.stack.is_empty(), "{}", r.name);
        }
        runs
    }

    fn paper(profile: &str) -> Vec<PlannedRun> {
        runs(profile, Fidelity::Paper, &[1], &RowFilter::default())
    }

    fn count(runs: &[PlannedRun], kind: Kind, table: Option<u8>) -> usize {
        runs.iter().filter(|r| r.spec.kind == kind && (table.is_none() || r.spec.table == table)).count()
    }

    #[test]
    fn demo_and_paper_have_every_run_of_the_paper() {
        // 10 adaptations, 16 rows and the bag of words x 5 tasks, and 4 x 5 more in Table 4.
        for (profile, bases) in [("demo", 8), ("paper", 0)] {
            let all = paper(profile);
            let of = |kind, table| count(&all, kind, table);
            assert_eq!((of(Kind::Adaptation, Some(2)), of(Kind::Base, None)), (10, bases), "{profile}");
            assert_eq!((of(Kind::Downstream, Some(3)), of(Kind::Downstream, Some(4))), (85, 20), "{profile}");
            assert_eq!(all.iter().filter(|r| r.spec.full).count(), 20);
        }
    }

    #[test]
    fn the_published_rules_have_llamas_rows_with_a_clinical_adapter_and_the_bag_of_words() {
        let code = runs("demo", Fidelity::Code, &[1], &RowFilter::default());
        assert_eq!((count(&code, Kind::Adaptation, None), count(&code, Kind::Downstream, None)), (1, 25));
    }

    #[test]
    fn llama_is_one_block_with_every_adaptation() {
        let all = runs("llama", Fidelity::Paper, &[1, 2], &RowFilter::default());
        let of = |kind| count(&all, kind, None);
        assert_eq!((of(Kind::Base), of(Kind::Adaptation), of(Kind::Downstream)), (2, 20, 70));
    }

    #[test]
    fn tables_are_chosen_by_number_with_what_they_need() {
        let of = |tables: &[u8]| {
            let all =
                runs("demo", Fidelity::Paper, &[1], &RowFilter { tables: tables.to_vec(), ..RowFilter::default() });
            (count(&all, Kind::Adaptation, None), count(&all, Kind::Downstream, None))
        };
        // Table 4 repeats a row with the clinical adapter; Table 3 uses that adapter of both bases.
        assert_eq!((of(&[2]), of(&[3]), of(&[4])), ((10, 0), (2, 85), (1, 25)));
        assert_eq!(of(&[2, 3, 4]), (10, 105));
    }

    #[test]
    fn only_bases_that_read_notes_depend_on_the_data() {
        for run in paper("demo") {
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
        for run in runs("demo", Fidelity::Code, &[1], &RowFilter::default()) {
            for (i, entry) in run.spec.stack.iter().enumerate() {
                assert_eq!(entry.active, i == 0, "{}", run.name);
            }
            assert!(run.spec.kind == Kind::Base || run.spec.tokens.max_length <= 128);
        }
    }

    #[test]
    fn under_the_published_rules_rows_with_and_without_the_second_adapter_have_the_same_settings() {
        let all = runs("demo", Fidelity::Code, &[1], &RowFilter::default());
        let second = " + Downstream LLaMA-LoRA";
        let with: Vec<_> = all.iter().filter(|r| r.spec.row.ends_with(second)).collect();
        assert_eq!(with.len(), 10);
        for run in with {
            let bare = run.spec.row.trim_end_matches(second);
            let other = all.iter().find(|r| r.spec.row == bare && r.spec.task == run.spec.task).unwrap();
            assert_eq!(other.spec.training, run.spec.training);
        }
    }

    #[test]
    fn a_bag_of_words_needs_no_run_and_has_no_settings_of_training() {
        for (profile, rules) in [("smoke", Fidelity::Paper), ("smoke", Fidelity::Code), ("paper", Fidelity::Paper)] {
            let all = runs(profile, rules, &[1], &RowFilter::default());
            let words: Vec<_> = all.iter().filter(|r| matches!(r.spec.base, Base::BagOfWords(_))).collect();
            assert_eq!(words.len(), 5, "{profile}");
            for run in words {
                let text = run.spec.text().unwrap();
                assert!(run.needs.is_empty() && !text.contains("[training]") && !text.contains("[tokens"), "{text}");
            }
        }
    }

    #[test]
    fn only_narrows_rows_and_tasks() {
        let only = RowFilter { words: vec!["frozen".into(), "mortality".into()], ..RowFilter::default() };
        let all = runs("llama", Fidelity::Paper, &[1], &only);
        assert_eq!(count(&all, Kind::Downstream, None), 2);
        assert!(count(&all, Kind::Adaptation, None) > 0, "its adaptation is made too");
    }

    #[test]
    fn spec_survives_its_own_text() {
        for r in paper("smoke").iter().chain(&paper("paper")) {
            let again: RunSpec = toml::from_str(&r.spec.text().unwrap()).unwrap();
            assert_eq!(again, r.spec);
        }
    }

    #[test]
    fn published_settings_reach_their_runs() {
        let all = paper("paper");
        let adapter = |row: &str, task: Option<Task>| {
            let run = all.iter().find(|r| r.spec.row == row && r.spec.task == task).unwrap();
            let mut text = toml::to_string(&run.spec.stack.last().unwrap().adapter).unwrap();
            text += &format!("learning_rate = {:e}", run.spec.training.learning_rate);
            text
        };
        assert!(adapter("PMC-LLaMA + LoRA", None).contains("r = 4\n"));
        assert!(adapter("LLaMA + LoRA", None).contains("r = 16\n"));
        assert!(adapter("LLaMA + LoRA", Some(Task::Mortality)).contains("learning_rate = 3e-4"));
        assert!(adapter("LLaMA + LoRA", Some(Task::Procedures)).contains("learning_rate = 5e-5"));
        let best = "LLaMA + Clinical LLaMA-LoRA (Trainable) + Downstream LLaMA-LoRA";
        assert!(adapter(best, Some(Task::Procedures)).contains("r = 2\n"));
        assert!(adapter(best, Some(Task::Mortality)).contains("r = 8\n"));
    }
}
