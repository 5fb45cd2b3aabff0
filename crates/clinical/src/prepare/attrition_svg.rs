//! The attrition as a picture: every filter in order, what it leaves as a bar, what it drops as a number.
//!
//! The file is complete in itself: no script, no font and no style from elsewhere; it follows the light or dark scheme of
//! whoever looks at it.

use super::record::flow::Attrition;
use std::fmt::Write;

const WIDTH: u32 = 1000;
const BAR_LEFT: u32 = 470;
const BAR_WIDTH: u32 = 300;
const KEPT_RIGHT: u32 = 870;
const DROPPED_RIGHT: u32 = 970;
const ROW: u32 = 26;
const HEAD: u32 = 46;
const MARGIN: u32 = 30;

const STYLE: &str = "
svg { color-scheme: light dark; font: 14px system-ui, -apple-system, 'Segoe UI', sans-serif; }
.ground { fill: #ffffff; } text { fill: #24292f; } .quiet { fill: #59636e; } .track { fill: #e7eaee; } .bar { fill: #4a7ba6; }
.title { font-size: 20px; font-weight: 600; } .head { font-weight: 600; } .number { text-anchor: end; font-variant-numeric: tabular-nums; }
@media (prefers-color-scheme: dark) {
.ground { fill: #15191e; } text { fill: #e3e7eb; } .quiet { fill: #98a2ad; } .track { fill: #2b323a; } .bar { fill: #6ea3d0; }
}
";

/// Draws the steps; those of one task and unit stand under one heading.
pub(super) fn attrition_svg(steps: &[Attrition]) -> String {
    let groups: Vec<&[Attrition]> = steps.chunk_by(|a, b| heading(a) == heading(b)).collect();
    let rows: usize = steps.len() + groups.len();
    let height = 2 * MARGIN + HEAD + rows as u32 * ROW + groups.len() as u32 * HEAD;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Attrition: what each filter keeps and drops\">\n<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    let mut y = MARGIN + 20;
    text(&mut svg, "title", MARGIN, y, "What each filter keeps");
    text(&mut svg, "quiet number", KEPT_RIGHT, y, "kept");
    text(&mut svg, "quiet number", DROPPED_RIGHT, y, "dropped");
    for group in groups {
        y += HEAD;
        let before = group[0].kept + group[0].dropped;
        text(&mut svg, "head", MARGIN, y, &heading(&group[0]));
        y += ROW;
        row(&mut svg, y, "before the first filter", [before, before], 0);
        for step in group {
            y += ROW;
            row(&mut svg, y, filter(step), [step.kept, before], step.dropped);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// The task and the unit that is counted, which the names of filters begin with.
fn heading(step: &Attrition) -> String {
    let unit = match step.filter.split(':').next().unwrap_or_default() {
        "row" => "rows of NOTEEVENTS",
        "admission" => "admissions",
        "ICU stay" => "ICU stays",
        "note" => "notes",
        _ => "samples",
    };
    let mut task = step.task.replace('_', " ");
    if let Some(first) = task.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    format!("{task}: {unit}")
}

fn filter(step: &Attrition) -> &str {
    step.filter.split_once(": ").map_or(&step.filter, |(_, filter)| filter)
}

fn row(svg: &mut String, y: u32, label: &str, [kept, before]: [u64; 2], dropped: u64) {
    text(svg, "", MARGIN + 16, y, label);
    let width = if before == 0 { 0.0 } else { f64::from(BAR_WIDTH) * kept as f64 / before as f64 };
    let top = y - 12;
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<rect class=\"track\" x=\"{BAR_LEFT}\" y=\"{top}\" width=\"{BAR_WIDTH}\" height=\"14\" rx=\"3\"/><rect class=\"bar\" x=\"{BAR_LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"14\" rx=\"3\"/>"
    );
    text(svg, "number", KEPT_RIGHT, y, &grouped(kept));
    if dropped > 0 {
        text(svg, "number quiet", DROPPED_RIGHT, y, &format!("\u{2212}{}", grouped(dropped)));
    }
}

fn text(svg: &mut String, class: &str, x: u32, y: u32, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{escaped}</text>");
}

/// `58,976`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_has_its_numbers_and_nothing_comes_from_elsewhere() {
        let step = |task: &str, filter: &str, kept, dropped| Attrition {
            task: task.into(),
            filter: filter.into(),
            kept,
            dropped,
        };
        let svg = attrition_svg(&[
            step("notes", "row: is a <discharge> summary", 59_652, 2_023_528),
            step("length_of_stay", "sample: patient survived", 0, 7),
        ]);
        for part in
            ["59,652", "\u{2212}2,023,528", "2,083,180", "Length of stay: samples", "is a &lt;discharge> summary"]
        {
            assert!(svg.contains(part), "{part}");
        }
        let elsewhere = svg.replace("http://www.w3.org/2000/svg", "");
        assert!(["script", "http", "@import", "@font-face", "url("].iter().all(|word| !elsewhere.contains(word)));
        assert!(!svg.contains("NaN"));
    }
}
