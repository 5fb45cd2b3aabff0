//! One number over seeds: what was found, what failed, and how it is shown.

use crate::document::Cell;
use crate::store::{Key, Run, State, Store};

/// What one seed gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Measurement {
    Value {
        value: f64,
        interval: Option<(f64, f64)>,
    },
    Failed(String),
    Unfinished,
    /// No folder, or a result without this metric.
    Missing,
}

impl Measurement {
    /// One word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Value { .. } => "done",
            Self::Failed(_) => "failed",
            Self::Unfinished => "unfinished",
            Self::Missing => "missing",
        }
    }
}

/// One seed of a [`Series`].
#[derive(Debug, Clone)]
pub(crate) struct SeedValue<'a> {
    pub(crate) seed: u64,
    pub(crate) outcome: Measurement,
    pub(crate) run: Option<&'a Run>,
}

/// One number over all planned seeds.
#[derive(Debug, Clone)]
pub(crate) struct Series<'a>(pub(crate) Vec<SeedValue<'a>>);

/// A number and its interval.
pub(crate) type Number = (f64, Option<(f64, f64)>);

/// What to take from a run.
pub(crate) type Pick<'p> = &'p dyn Fn(&Run) -> Option<Number>;

/// A metric of `result.json`.
pub(crate) fn metric(name: &str) -> impl Fn(&Run) -> Option<Number> {
    let name = name.to_owned();
    move |run| {
        let metric = run.result.metrics.get(&name)?;
        Some((metric.value?, metric.interval))
    }
}

impl<'a> Series<'a> {
    /// Picks a number from the run of each seed; `key` gives the run's key for a seed.
    pub(crate) fn new(store: &'a Store, seeds: &[u64], key: impl Fn(u64) -> Key, pick: Pick<'_>) -> Self {
        let entry = |seed: &u64| {
            let run = store.find(&key(*seed));
            let outcome = match run.map(|run| &run.state) {
                None => Measurement::Missing,
                Some(State::Failed(error)) => Measurement::Failed(error.clone()),
                Some(State::Unfinished) => Measurement::Unfinished,
                Some(State::Done) => match run.and_then(pick) {
                    Some((value, interval)) => Measurement::Value { value, interval },
                    None => Measurement::Missing,
                },
            };
            SeedValue { seed: *seed, outcome, run }
        };
        Self(seeds.iter().map(entry).collect())
    }

    /// The plain mean over tasks, seed by seed; a seed that misses a task has none. `joint` gives the interval of a seed:
    /// tasks share patients, so the intervals of the tasks do not tell it.
    pub(crate) fn mean_of_tasks(tasks: &[Self], joint: impl Fn(u64) -> Option<(f64, f64)>) -> Self {
        let Some(first) = tasks.first() else {
            return Self(Vec::new());
        };
        let entry = |(i, entry): (usize, &SeedValue<'a>)| SeedValue {
            seed: entry.seed,
            outcome: mean(tasks.iter().map(|task| &task.0[i].outcome), joint(entry.seed)),
            run: None,
        };
        Self(first.0.iter().enumerate().map(entry).collect())
    }

    /// The mean over the seeds that have a number.
    pub(crate) fn mean(&self) -> Option<f64> {
        let values: Vec<f64> = self.values().map(|(value, _)| value).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    }

    /// The interval of the number, if there is just one.
    pub(crate) fn interval(&self) -> Option<(f64, f64)> {
        let mut values = self.values();
        values.next().filter(|_| values.next().is_none())?.1
    }

    fn values(&self) -> impl Iterator<Item = Number> {
        self.0.iter().filter_map(|entry| match entry.outcome {
            Measurement::Value { value, interval } => Some((value, interval)),
            _ => None,
        })
    }

    /// The series as a cell: one seed with its interval, several as mean and spread (and the interval of the mean).
    pub(crate) fn cell(&self, show: impl Fn(f64) -> String, of_mean: Option<(f64, f64)>) -> Cell {
        let values: Vec<_> = self.values().collect();
        let mut problems: Vec<String> = Vec::new();
        let mut state = "missing";
        for entry in &self.0 {
            let text = match &entry.outcome {
                Measurement::Value { .. } => continue,
                Measurement::Failed(error) => format!("failed: {error}"),
                Measurement::Unfinished => "unfinished".into(),
                Measurement::Missing => "missing".into(),
            };
            if state != "failed" {
                state = entry.outcome.name();
            }
            problems.push(match self.0.len() {
                1 => text,
                _ => format!("seed {} {text}", entry.seed),
            });
        }
        let (main, detail) = match (self.mean(), values.as_slice()) {
            (Some(mean), [(_, interval)]) => {
                let ends = interval.map(|(lo, hi)| format!("[{}, {}]", show(lo), show(hi)));
                (show(mean), ends.unwrap_or_default())
            }
            (Some(mean), values) => {
                let lo = values.iter().map(|v| v.0).fold(f64::INFINITY, f64::min);
                let hi = values.iter().map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
                let spread = (lo < hi).then(|| {
                    let seeds = values.len();
                    format!("({}–{}, {seeds} seeds)", show(lo), show(hi))
                });
                let interval = of_mean.map(|(lo, hi)| format!("[{}, {}]", show(lo), show(hi)));
                let parts: Vec<String> = interval.into_iter().chain(spread).collect();
                (show(mean), parts.join(" "))
            }
            (None, _) if problems.iter().all(|p| p.ends_with("missing")) => {
                problems.clear();
                ("missing".into(), String::new())
            }
            (None, _) => (std::mem::take(&mut problems).join("; "), String::new()),
        };
        Cell {
            main,
            detail,
            state: if values.is_empty() { state } else { "done" },
            problems,
            links: self.links(),
            ..Cell::default()
        }
    }

    fn links(&self) -> Vec<(String, String)> {
        let runs = self.0.iter().filter_map(|e| Some((e.seed, e.run?)));
        runs.map(|(seed, run)| (format!("seed {seed}"), run.folder.clone())).collect()
    }
}

fn mean<'o>(outcomes: impl Iterator<Item = &'o Measurement>, interval: Option<(f64, f64)>) -> Measurement {
    let (mut sum, mut count) = (0.0, 0u32);
    for outcome in outcomes {
        let Measurement::Value { value, .. } = outcome else {
            return Measurement::Missing;
        };
        sum += value;
        count += 1;
    }
    Measurement::Value { value: sum / f64::from(count), interval }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(outcomes: &[Measurement]) -> Series<'static> {
        let entry =
            |(i, outcome): (usize, &Measurement)| SeedValue { seed: i as u64, outcome: outcome.clone(), run: None };
        Series(outcomes.iter().enumerate().map(entry).collect())
    }

    fn value(value: f64, interval: Option<(f64, f64)>) -> Measurement {
        Measurement::Value { value, interval }
    }

    fn shown(outcomes: &[Measurement]) -> (String, String, String, &'static str) {
        let cell = series(outcomes).cell(|v| format!("{v:.1}"), None);
        (cell.main, cell.detail, cell.problems.join("; "), cell.state)
    }

    #[test]
    fn cells_say_what_happened() {
        let two = value(2.0, Some((1.0, 4.0)));
        let failed = Measurement::Failed("no memory".into());
        let cell =
            |main: &str, detail: &str, problems: &str, state| (main.into(), detail.into(), problems.into(), state);
        assert_eq!(shown(std::slice::from_ref(&two)), cell("2.0", "[1.0, 4.0]", "", "done"));
        assert_eq!(shown(&[two.clone(), value(3.0, None)]), cell("2.5", "(2.0–3.0, 2 seeds)", "", "done"));
        assert_eq!(shown(&[two, failed.clone()]), cell("2.0", "[1.0, 4.0]", "seed 1 failed: no memory", "done"));
        assert_eq!(shown(&[failed]), cell("failed: no memory", "", "", "failed"));
        assert_eq!(shown(&[Measurement::Missing, Measurement::Missing]), cell("missing", "", "", "missing"));
        assert_eq!(shown(&[]), cell("missing", "", "", "missing"));
    }

    #[test]
    fn mean_of_tasks_has_the_joint_interval() {
        let tasks = [series(&[value(0.5, Some((0.47, 0.53)))]), series(&[value(0.75, None)])];
        let found = Series::mean_of_tasks(&tasks, |_| Some((0.6, 0.7)));
        assert_eq!(found.0[0].outcome, value(0.625, Some((0.6, 0.7))));
        assert_eq!(found.interval(), Some((0.6, 0.7)));
    }

    #[test]
    fn published_number_lies_inside_or_outside() {
        let cell = |published, ours| Cell::text("x").against(published, ours, |v| format!("{v:.1}")).published.unwrap();
        assert_eq!(cell(Some(2.0), Some((1.0, 2.0))), "2.0 inside");
        assert_eq!(cell(Some(2.5), Some((1.0, 2.0))), "2.5 outside");
        assert_eq!(cell(Some(2.5), None), "2.5");
        assert_eq!(cell(None, Some((1.0, 2.0))), "–");
    }

    #[test]
    fn mean_of_tasks_needs_every_task() {
        let tasks = [series(&[value(0.5, None)]), series(&[Measurement::Missing])];
        let found = Series::mean_of_tasks(&tasks, |_| None);
        assert_eq!(found.0[0].outcome, Measurement::Missing);
    }
}
