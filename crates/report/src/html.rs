//! `index.html`: one file, nothing loaded from elsewhere, readable on a phone, light and dark.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::series::Cell;
use crate::tables::{Document, Section};

/// The document as HTML. The first line is a comment, so that `head -1` shows the banner.
pub(crate) fn render(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "clinpeft: tables" }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                h1 { "Parameter-efficient fine-tuning of LLaMA for the clinical domain" }
                p.banner { (document.banner) }
                p { "Ours beside the published numbers. Each number links to the folder of the run that made it." }
                @for section in &document.sections { (table(section)) }
            }
        }
    };
    format!("<!-- {} -->\n{}\n", document.banner, page.into_string())
}

fn table(section: &Section) -> Markup {
    html! {
        h2 { (section.title) }
        p { (section.caption) }
        div.scroll tabindex="0" role="region" aria-label=(section.title) {
            table {
                thead { tr { @for column in &section.columns { th scope="col" { (column) } } } }
                tbody {
                    @for (name, cells) in &section.rows {
                        tr { th scope="row" { (name) } @for cell in cells { (data(cell)) } }
                    }
                }
            }
        }
        @if !section.notes.is_empty() {
            ul { @for note in &section.notes { li { (note) } } }
        }
    }
}

fn data(cell: &Cell) -> Markup {
    html! {
        td class=(cell.state) {
            @match cell.links.as_slice() {
                [(_, folder)] => { a href=(address(folder)) { (cell.main) } }
                links => {
                    (cell.main)
                    @if !links.is_empty() {
                        small { @for (text, folder) in links { a href=(address(folder)) { (text) } " " } }
                    }
                }
            }
            @if !cell.detail.is_empty() { small { (cell.detail) } }
            @for problem in &cell.problems { small.problem { (problem) } }
            @if let Some(published) = &cell.published { small { "paper " (published) } }
            @if let Some(ceiling) = &cell.ceiling { small { "ceiling " (ceiling) } }
        }
    }
}

/// Where a run folder is, seen from the report.
fn address(folder: &str) -> String {
    let mut address = "../runs/".to_owned();
    for byte in folder.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => address.push(byte.into()),
            other => address.push_str(&format!("%{other:02X}")),
        }
    }
    address.push('/');
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_escaped() {
        assert_eq!(address("a b#1-é"), "../runs/a%20b%231-%C3%A9/");
    }
}
