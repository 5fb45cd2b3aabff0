//! `tables.tex`: the paper's tables. `\input` it into a document that loads `booktabs` and `graphicx`, or compile it alone.

use crate::document::{Cell, Document, Section};

/// Inside of a document `\documentclass` is an error by that name; alone, the file needs a preamble.
const HEAD: &str = r"\makeatletter
\ifx\documentclass\@notprerr\def\clinpeftend{}\else
\def\clinpeftend{\end{document}}
\documentclass[a4paper,landscape]{article}
\usepackage[margin=1cm]{geometry}
\usepackage{booktabs,graphicx}
\begin{document}
\fi
\makeatother
";

/// The tables of the paper, in its order.
pub(crate) fn render(document: &Document) -> String {
    let mut text = format!("% {}\n{HEAD}", document.banner);
    for section in document.sections.iter().filter(|s| s.title.starts_with("Table")) {
        text.push_str(&table(section, document.banner));
    }
    text + "\\clinpeftend\n"
}

fn table(section: &Section, banner: &str) -> String {
    let columns: Vec<String> = section.columns.iter().map(|c| escaped(c)).collect();
    let rows = section.rows.iter().map(|(name, cells)| {
        let cells = cells.iter().map(stacked);
        let row: Vec<String> = std::iter::once(stack(&[escaped(name)])).chain(cells).collect();
        format!("{} \\\\\n", row.join(" & "))
    });
    let notes = section.notes.iter().map(|note| format!("\\par {}\n", escaped(note)));
    format!(
        "\n\\begin{{table}}[p]\n\\centering\n\\caption{{{}}}\n\
         \\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%\n\
         \\begin{{tabular}}{{{}}}\n\\toprule\n{} \\\\\n\\midrule\n{}\\bottomrule\n\\end{{tabular}}}}\n\
         \\par\\smallskip\\footnotesize {} {}\n{}\\end{{table}}\n",
        escaped(&section.title),
        "l".repeat(columns.len()),
        columns.join(" & "),
        rows.collect::<String>(),
        escaped(banner),
        escaped(&section.caption),
        notes.collect::<String>(),
    )
}

/// The parts of a cell below each other.
fn stacked(cell: &Cell) -> String {
    let small = |text: &str| format!("{{\\scriptsize {}}}", escaped(text));
    let mut lines = vec![format!("{}{}", escaped(&cell.main), escaped(&cell.marks))];
    lines.extend((!cell.detail.is_empty()).then(|| small(&cell.detail)));
    lines.extend(cell.by_frequency.iter().map(|weighted| small(&format!("by label frequency {weighted}"))));
    lines.extend(cell.problems.iter().map(|problem| small(problem)));
    let named = [("paper", &cell.published), ("ceiling", &cell.ceiling)];
    lines.extend(named.iter().filter_map(|(name, text)| Some(small(&format!("{name} {}", text.as_ref()?)))));
    stack(&lines)
}

fn stack(lines: &[String]) -> String {
    format!("\\begin{{tabular}}[t]{{@{{}}l@{{}}}}{}\\end{{tabular}}", lines.join("\\\\"))
}

/// Text as LaTeX shows it; a character that its fonts lack becomes a question mark.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\textbackslash{}"),
            '{' | '}' | '$' | '&' | '#' | '%' | '_' => out.extend(['\\', c]),
            '^' => out.push_str("\\textasciicircum{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '<' | '>' | '|' | '−' => out.push_str(&format!("${}$", if c == '−' { '-' } else { c })),
            // At the beginning of a line of a table they would be options of the line before.
            '[' | ']' | '*' => out.push_str(&format!("{{{c}}}")),
            '–' => out.push_str("--"),
            '·' => out.push_str("$\\cdot$"),
            '→' => out.push_str("$\\rightarrow$"),
            '↑' => out.push_str("$\\uparrow$"),
            '↓' => out.push_str("$\\downarrow$"),
            '▲' => out.push_str("$\\bigtriangleup$"),
            '▼' => out.push_str("$\\bigtriangledown$"),
            '⇑' => out.push_str("$\\Uparrow$"),
            '⇓' => out.push_str("$\\Downarrow$"),
            c if c.is_ascii_control() => out.push(' '),
            c if c.is_ascii() => out.push(c),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_cell_is_a_command() {
        let text = escaped(r"\input{x} 5% & a_b #1 $x$ ^~ [2] ↑ é");
        assert_eq!(
            text,
            r"\textbackslash{}input\{x\} 5\% \& a\_b \#1 \$x\$ \textasciicircum{}\textasciitilde{} {[}2{]} $\uparrow$ ?"
        );
    }
}
