//! What the tables leave out.

use crate::document::{Cell, Section};
use crate::format::heading;
use crate::plan::Plan;
use crate::store::{Key, Store};

/// Folders that no table shows: not planned, older than another of the same cell, or without a name.
pub(crate) fn others(store: &Store, plans: &[Plan]) -> Option<Section> {
    let mut section = Section {
        title: "Other run folders".into(),
        caption: "Folders that no table above shows.".into(),
        columns: ["folder", "row", "task", "seed", "fidelity", "state", "why it is here"].map(String::from).to_vec(),
        ..Section::default()
    };
    for run in &store.runs {
        let why = match (plans.iter().any(|plan| is_planned(plan, &run.key)), store.find(&run.key)) {
            (false, _) => "not planned".to_owned(),
            (true, Some(newest)) if newest.folder != run.folder => {
                format!("older than {}", newest.folder)
            }
            (true, _) => continue,
        };
        let task = run.key.task.as_deref().unwrap_or("adaptation");
        let cells =
            [&run.key.row, &heading(task), &run.key.seed.to_string(), &run.key.fidelity, run.state.name(), &why];
        section.rows.push((run.folder.clone(), cells.map(Cell::text).to_vec()));
    }
    for (folder, why) in &store.unplaced {
        let cells = ["–", "–", "–", "–", "unreadable", why];
        section.rows.push((folder.clone(), cells.map(Cell::text).to_vec()));
    }
    (!section.rows.is_empty()).then_some(section)
}

fn is_planned(plan: &Plan, key: &Key) -> bool {
    let row = match &key.task {
        None => plan.table2.contains(&key.row),
        Some(task) => plan.tasks.contains(task) && plan.downstream_rows().contains(&key.row.as_str()),
    };
    row && plan.fidelity == key.fidelity && plan.seeds.contains(&key.seed)
}
