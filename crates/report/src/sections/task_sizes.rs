//! Table 1: how large the tasks are.

use crate::cohort::{CohortCounts, TaskCounts};
use crate::document::{Cell, Document, Record, Section};
use crate::format::{heading, thousands};
use crate::published::Published;

/// Adds Table 1.
pub(crate) fn table1(document: &mut Document, counts: &CohortCounts, published: &Published) {
    let columns = ["classes", "kind", "train", "validation", "test"];
    let mut section = Section {
        title: "Table 1. Task sizes".into(),
        caption: "Ours / paper.".into(),
        columns: std::iter::once("task").chain(columns).map(String::from).collect(),
        ..Section::default()
    };
    let paper = |task: &str| published.table1.iter().find(|(name, _)| name == task);
    let names = published.table1.iter().map(|(name, _)| name);
    let extra = counts.tasks.keys().filter(|task| paper(task).is_none());
    for task in names.chain(extra) {
        let ours = counts.tasks.get(task).map(sizes);
        let theirs = paper(task).map(|(_, counts)| sizes(counts));
        let cells = columns.iter().enumerate().map(|(i, column)| {
            let find = |found: &Option<[Size; 5]>| found.as_ref().map(|f| f[i].clone());
            let (ours, theirs) = (find(&ours), find(&theirs));
            let number = |size: &Option<Size>| size.as_ref().and_then(|s| s.number);
            let state = if ours.is_some() { "done" } else { "missing" };
            // Only numbers have a record.
            let records = &mut document.records;
            let numbers = number(&ours).or(number(&theirs)).is_some();
            records.extend(numbers.then(|| Record {
                table: "1".into(),
                row: task.clone(),
                column: (*column).into(),
                value: number(&ours),
                published: number(&theirs),
                state,
                ..Record::default()
            }));
            let cell = Cell { state, ..Cell::text(ours.map_or_else(|| "missing".into(), |s| s.text)) };
            cell.published(theirs.map(|s| s.text))
        });
        let cells = cells.collect();
        section.rows.push((heading(task), cells));
    }
    document.sections.push(section);
}

#[derive(Clone)]
struct Size {
    text: String,
    number: Option<f64>,
}

fn sizes(counts: &TaskCounts) -> [Size; 5] {
    let number = |n: u64| Size { text: thousands(n as f64), number: Some(n as f64) };
    let kind = Size { text: counts.kind.clone(), number: None };
    let splits = counts.splits;
    [number(counts.classes), kind, number(splits.train), number(splits.validation), number(splits.test)]
}
