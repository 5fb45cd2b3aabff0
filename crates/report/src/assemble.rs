//! The order of the sections.

use crate::analysis::Analysis;
use crate::cohort::{Cohort, CohortCounts};
use crate::compare::Cells;
use crate::document::{Audience, Document};
use crate::plan::Plan;
use crate::published::Published;
use crate::sections::{environment, fidelities, others, task_sizes, tripod};
use crate::store::{State, Store};
use crate::view::View;

/// All tables in the paper's order, once per plan; what is not a table is folded for all plans but the first.
pub(crate) fn document(
    store: &Store,
    plans: &[Plan],
    cohort: Cohort,
    counts: &CohortCounts,
    published: &Published,
) -> Document {
    let mut document = Document { banner: cohort.banner(), models: cohort.models(), ..Document::default() };
    task_sizes::table1(&mut document, counts, published);
    let analyses: Vec<Analysis> = plans.iter().map(|plan| Analysis::new(store, plan)).collect();
    let all: Vec<Cells<'_>> = plans.iter().zip(&analyses).map(|(plan, analysis)| Cells { analysis, plan }).collect();
    for cells in &all {
        let mut view = View { store, plan: cells.plan, published, cells, document: &mut document };
        count(&mut view);
        view.table2();
        view.downstream("3", "Downstream tasks", &cells.plan.table3);
        view.downstream("4", "LoRA on the BERT models", &cells.plan.table4);
    }
    fidelities::table5(&mut document, store, &all, published);
    for (i, cells) in all.iter().enumerate() {
        let first = document.sections.len();
        let mut view = View { store, plan: cells.plan, published, cells, document: &mut document };
        view.forests();
        view.curves();
        view.learning();
        view.calibration();
        view.stacks();
        view.differences();
        view.attrition();
        view.cost();
        if i > 0 {
            document.sections[first..].iter_mut().for_each(|s| s.audience = Audience::Curious);
        }
    }
    document.problems = analyses.iter().flat_map(|analysis| analysis.problems.clone()).collect();
    document.sections.push(environment::environment(store));
    document.sections.extend(others::others(store, plans));
    document.sections.push(tripod::tripod());
    document
}

/// Adds how many planned runs are in which state.
fn count(view: &mut View<'_, '_>) {
    for (row, task) in view.planned() {
        for seed in &view.plan.seeds {
            let run = view.store.find(&view.key(row, task, *seed));
            let counts = &mut view.document.counts;
            match run.map(|run| &run.state) {
                None => counts.missing += 1,
                Some(State::Done) => counts.done += 1,
                Some(State::Failed(_)) => counts.failed += 1,
                Some(State::Unfinished) => counts.unfinished += 1,
            }
        }
    }
}
