//! `index.html`: one file, nothing loaded from elsewhere, readable on a phone and on paper, light and dark.

use crate::document::{Audience, Cell, Document, Section};

use maud::{DOCTYPE, Markup, PreEscaped, html};

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
                p { (state(document)) }
                p.print { "Sections that are folded on the screen are left out here; unfold them before printing." }
                nav aria-label="Contents" {
                    ul { @for s in contents(document) { li { a href={ "#" (slug(&s.title)) } { (s.title) } } } }
                }
                @for section in &document.sections { (show(section)) }
            }
        }
    };
    format!("<!-- {} -->\n{}\n", document.banner, page.into_string())
}

/// How many planned runs are in which state.
fn state(document: &Document) -> String {
    let c = &document.counts;
    format!("Planned runs: {} done, {} failed, {} unfinished, {} missing.", c.done, c.failed, c.unfinished, c.missing)
}

/// What the contents list: not the folded sections of a second fidelity, which come after those of the first.
fn contents(document: &Document) -> impl Iterator<Item = &Section> {
    let second = |s: &Section| s.audience == Audience::Curious && s.title.contains("(fidelity: ");
    document.sections.iter().filter(move |s| !second(s))
}

fn show(section: &Section) -> Markup {
    let id = slug(&section.title);
    html! {
        section {
            h2 id=(id) { a href={ "#" (id) } { (section.title) } }
            p { (section.caption) }
            @match section.audience {
                Audience::All => { (body(section)) }
                Audience::Curious => { details { summary { "Show" } (body(section)) } }
            }
        }
    }
}

fn body(section: &Section) -> Markup {
    html! {
        @if !section.rows.is_empty() { (table(section)) }
        @if !section.pictures.is_empty() {
            div.pictures { @for picture in &section.pictures { (picture) } }
        }
        @if !section.notes.is_empty() {
            ul { @for note in &section.notes { li { (note) } } }
        }
    }
}

fn table(section: &Section) -> Markup {
    html! {
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
            @if !cell.marks.is_empty() { b { (cell.marks) } }
            @if !cell.detail.is_empty() { small { (cell.detail) } }
            @if let Some(weighted) = &cell.by_frequency { small { "by label frequency " (weighted) } }
            @for problem in &cell.problems { small.problem { (problem) } }
            @if let Some(published) = &cell.published {
                small class=[published.ends_with(" inside").then_some("inside")] { "paper " (published) }
            }
            @if let Some(ceiling) = &cell.ceiling { small { "ceiling " (ceiling) } }
        }
    }
}

/// A title as the name of a place in the page.
fn slug(title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
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
        assert_eq!(slug("Table 5b. What (code)?"), "table-5b-what-code");
    }
}
