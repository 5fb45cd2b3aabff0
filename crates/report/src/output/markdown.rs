//! `tables.md`, also what the terminal shows.

use crate::document::{Audience, Cell, Document, Section};

/// The document as Markdown.
pub(crate) fn render(document: &Document) -> String {
    let mut text = format!("{}\n", document.banner);
    let shown = |s: &&Section| !s.rows.is_empty() && s.audience == Audience::All;
    for section in document.sections.iter().filter(shown) {
        text.push('\n');
        text.push_str(&table(section));
    }
    text
}

/// Cells are padded, so that the source reads as a table too.
fn table(section: &Section) -> String {
    let mut lines = vec![section.columns.iter().map(|c| escaped(c)).collect::<Vec<_>>()];
    for (name, cells) in &section.rows {
        let cells = cells.iter().map(|cell| escaped(&text(cell)));
        lines.push(std::iter::once(escaped(name)).chain(cells).collect());
    }
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..section.columns.len()).map(width).collect();
    let mut out = format!("## {}\n\n{}\n\n", section.title, section.caption);
    for (i, line) in lines.iter().enumerate() {
        out.push('|');
        for (cell, width) in line.iter().zip(&widths) {
            out.push_str(&format!(" {cell:<width$} |"));
        }
        out.push('\n');
        if i == 0 {
            let rules = widths.iter().map(|w| format!("{}|", "-".repeat(w + 2)));
            out.push_str(&format!("|{}\n", rules.collect::<String>()));
        }
    }
    if !section.notes.is_empty() {
        out.push('\n');
        let notes = section.notes.iter().map(|note| format!("- {}\n", escaped(note)));
        out.extend(notes);
    }
    out
}

fn text(cell: &Cell) -> String {
    let mut text = format!("{}{}", cell.main, cell.marks);
    if !cell.detail.is_empty() {
        text = format!("{text} {}", cell.detail);
    }
    if let Some(weighted) = &cell.by_frequency {
        text = format!("{text} (by label frequency {weighted})");
    }
    if !cell.problems.is_empty() {
        text = format!("{text}; {}", cell.problems.join("; "));
    }
    for part in [&cell.published, &cell.ceiling].into_iter().flatten() {
        text = format!("{text} / {part}");
    }
    text
}

/// A cell must not end its column, its line or become markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '<' | '`' | '\\' => out.extend(['\\', c]),
            '\n' | '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_break_its_table() {
        let cell = Cell::text("failed: a|b\n<script>");
        assert_eq!(escaped(&text(&cell)), "failed: a\\|b \\<script>");
    }
}
