//! What each row and each cell cost, and what it would cost at the paper's size.

use crate::document::{Audience, Cell};
use crate::format::{duration, heading, mebibytes, thousands};
use crate::store::{Run, State, Trained};
use crate::view::View;

/// Parameters of LLaMA-7B and of BERT-base.
const LLAMA: f64 = 6_738_415_616.0;
const BERT: f64 = 109_482_240.0;

/// Notes that the paper adapted on, tokens of a note that it read, passes over a task's training examples.
const ADAPTATION_NOTES: f64 = 2_387_834.0;
const CONTEXT: f64 = 128.0;
const EPOCHS: f64 = 10.0;

/// Operations per second of one A100 in the published adaptation with LoRA: 4 x 6.74e9 x 2,387,834 x 128 in 77,862 s.
const SPEED: f64 = 4.0 * LLAMA * ADAPTATION_NOTES * CONTEXT / 77_862.0;

const COLUMNS: [&str; 6] =
    ["runs", "trainable parameters", "time", "peak memory", "tokens", "A100 hours at the paper's size"];

impl View<'_, '_> {
    /// Adds the cost of rows and of cells.
    pub(crate) fn cost(&mut self) {
        let (mut rows, mut cells) = (self.section("Cost"), self.section("Cost of each cell"));
        rows.caption = format!(
            "Sums over the tasks and seeds that are done; memory is the greatest. Hours at the paper's size: passes x \
             parameters x tokens / {:.0}e12 per second, the speed of the published adaptation; 2 passes where only the head \
             learns, 4 with adapters, 6 where all learns; 6.74e9 parameters (BERT: 1.09e8); tokens: the paper's training \
             examples x {CONTEXT} x {EPOCHS} epochs (head alone: 1; adaptation: 2,387,834 notes, 1 epoch). Fidelity: {}.",
            SPEED / 1e12,
            self.plan.fidelity
        );
        cells.caption = format!("The same for each cell. Fidelity: {}.", self.plan.fidelity);
        cells.audience = Audience::Curious;
        for section in [&mut rows, &mut cells] {
            section.columns = std::iter::once("model").chain(COLUMNS).map(String::from).collect();
        }
        for row in &self.plan.table2 {
            let cost = self.cost_row(row, &[None]);
            cells.rows.push((format!("Table 2: {row}"), cost.clone()));
            rows.rows.push((format!("Table 2: {row}"), cost));
        }
        let tasks: Vec<Option<&str>> = self.plan.tasks.iter().map(|t| Some(t.as_str())).collect();
        for row in self.plan.downstream_rows() {
            rows.rows.push((row.to_owned(), self.cost_row(row, &tasks)));
            for task in &self.plan.tasks {
                cells.rows.push((format!("{row}: {}", heading(task)), self.cost_row(row, &[Some(task)])));
            }
        }
        self.document.sections.extend([rows, cells]);
    }

    fn cost_row(&self, row: &str, tasks: &[Option<&str>]) -> Vec<Cell> {
        let planned = tasks.len() * self.plan.seeds.len();
        let found: Vec<&Run> = tasks
            .iter()
            .flat_map(|task| self.plan.seeds.iter().map(move |seed| (*task, *seed)))
            .filter_map(|(task, seed)| self.store.find(&self.key(row, task, seed)))
            .collect();
        let failed = found.iter().filter(|run| matches!(run.state, State::Failed(_))).count();
        let runs: Vec<&Run> = found.into_iter().filter(|run| run.state == State::Done).collect();
        let state = match (runs.len(), failed) {
            (0, 0) => "missing",
            (0, _) => "failed",
            _ => "done",
        };
        let cost = |pick: &dyn Fn(&Run) -> Option<f64>, show: &dyn Fn(&[f64]) -> String| {
            let values: Vec<f64> = runs.iter().filter_map(|run| pick(run)).collect();
            match values.as_slice() {
                [] if state == "done" => Cell::text("missing"),
                [] => Cell { state, ..Cell::text(state) },
                values => Cell::text(show(values)),
            }
        };
        let count = match failed {
            0 => format!("{} of {planned}", runs.len()),
            _ => format!("{} of {planned}, {failed} failed", runs.len()),
        };
        let sum = |values: &[f64]| values.iter().sum::<f64>();
        let links = match runs.as_slice() {
            [run] if planned == 1 => vec![("run".into(), run.folder.clone())],
            _ => vec![],
        };
        vec![
            Cell { links, ..Cell::text(count) },
            cost(&|run| run.result.trainable_parameters, &range),
            cost(&|run| run.result.seconds, &|v| duration(sum(v))),
            cost(&|run| run.result.peak_memory_mib, &|v| mebibytes(most(v))),
            cost(&|run| run.result.tokens, &|v| thousands(sum(v))),
            cost(&|run| self.hours(run), &|v| format!("{:.1}", sum(v))),
        ]
    }

    /// Hours of one A100 that a run would take at the paper's size; `None` where the run does not say what it trained or
    /// on which model, or the paper does not have its task.
    fn hours(&self, run: &Run) -> Option<f64> {
        if run.learning == Trained::BagOfWords {
            return Some(0.0);
        }
        let everything = run.result.trainable_parameters? > 0.5 * run.result.total_parameters?;
        let passes = match run.learning {
            _ if everything => 6.0,
            Trained::Unknown | Trained::BagOfWords => return None,
            Trained::Head => 2.0,
            Trained::Adapters => 4.0,
        };
        let parameters = if run.model_type.as_deref()? == "bert" { BERT } else { LLAMA };
        let tokens = match &run.key.task {
            None => ADAPTATION_NOTES * CONTEXT,
            Some(task) => {
                let (_, counts) = self.published.table1.iter().find(|(name, _)| name == task)?;
                let epochs = if passes > 2.0 { EPOCHS } else { 1.0 };
                counts.splits.train as f64 * CONTEXT * epochs
            }
        };
        Some(passes * parameters * tokens / SPEED / 3600.0)
    }
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Heads differ in size from task to task.
fn range(values: &[f64]) -> String {
    let (from, to) = (values.iter().copied().fold(f64::INFINITY, f64::min), most(values));
    if from < to {
        return format!("{}–{}", thousands(from), thousands(to));
    }
    thousands(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_speed_of_the_published_adaptation_is_a_plausible_share_of_the_card() {
        // A100, half precision: 312e12 operations per second.
        assert!((0.2..0.6).contains(&(SPEED / 312e12)));
    }
}
