//! Small line plots as inline SVG, in the colours of the page. 320 units wide, so that one fills a phone's screen.

use maud::{Markup, html};

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 230.0;
/// Margins: left, top, right, bottom.
const MARGINS: [f64; 4] = [40.0, 8.0, 10.0, 36.0];
const COLOURS: usize = 6;
const DASHES: usize = 4;

/// One axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) lo: f64,
    pub(crate) hi: f64,
}

/// One line; `style` chooses colour and dashes, the same in every plot for the same row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) style: usize,
    pub(crate) points: Vec<(f64, f64)>,
    /// `x`, lower and upper end.
    pub(crate) band: Vec<(f64, f64, f64)>,
    /// Whether each point has a dot.
    pub(crate) dots: bool,
}

/// A plot.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Points of a thin line for comparison, for example the diagonal.
    pub(crate) guide: Vec<(f64, f64)>,
    pub(crate) lines: Vec<Line>,
}

impl Axis {
    /// From 0 to 1.
    pub(crate) fn unit(label: &str) -> Self {
        Self { label: label.into(), lo: 0.0, hi: 1.0 }
    }

    /// As wide as the values.
    pub(crate) fn around(label: &str, values: impl Iterator<Item = f64>) -> Self {
        let (lo, hi) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(v), hi.max(v)));
        let (lo, hi) = if lo <= hi { (lo, hi) } else { (0.0, 1.0) };
        let margin = if lo < hi { (hi - lo) * 0.04 } else { 0.5 };
        Self { label: label.into(), lo: lo - margin, hi: hi + margin }
    }

    /// Round numbers on it: steps of 1, 2 or 5 times a power of ten.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.hi - self.lo) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(power);
        let first = (self.lo / step).ceil() as i64;
        let last = (self.hi / step + 1e-9).floor() as i64;
        (first..=last).map(|k| k as f64 * step).collect()
    }
}

/// Class names of a thing in a style.
fn class(thing: &str, style: usize) -> String {
    format!("{thing} c{} d{}", style % COLOURS, style / COLOURS % DASHES)
}

impl Plot {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, top, right, bottom] = MARGINS;
        let share = |v: f64, axis: &Axis| ((v - axis.lo) / (axis.hi - axis.lo)).clamp(0.0, 1.0);
        (
            left + share(x, &self.x) * (WIDTH - left - right),
            HEIGHT - bottom - share(y, &self.y) * (HEIGHT - top - bottom),
        )
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let finite = points.filter(|(x, y)| x.is_finite() && y.is_finite());
        let places = finite.map(|p| self.place(p));
        places.enumerate().map(|(i, (x, y))| format!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' })).collect()
    }

    fn band(&self, line: &Line) -> String {
        let up = line.band.iter().map(|(x, lo, _)| (*x, *lo));
        let down = line.band.iter().rev().map(|(x, _, hi)| (*x, *hi));
        format!("{}Z", self.path(up.chain(down)))
    }

    /// The picture; hovering a line shows its name.
    pub(crate) fn render(&self) -> Markup {
        let [left, _, _, bottom] = MARGINS;
        html! {
            figure {
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(self.title) {
                    @for tick in self.x.ticks() {
                        @let (x, y) = self.place((tick, self.y.lo));
                        text.tick x=(at(x)) y=(at(y + 14.0)) text-anchor="middle" { (number(tick)) }
                    }
                    @for tick in self.y.ticks() {
                        @let (x, y) = self.place((self.x.lo, tick));
                        path.grid d=(self.path([(self.x.lo, tick), (self.x.hi, tick)].into_iter())) {}
                        text.tick x=(at(x - 5.0)) y=(at(y + 3.5)) text-anchor="end" { (number(tick)) }
                    }
                    path.axis d=(self.path([(self.x.lo, self.y.lo), (self.x.hi, self.y.lo)].into_iter())) {}
                    text.label x=(at((left + WIDTH) / 2.0)) y=(at(HEIGHT - bottom + 30.0)) text-anchor="middle" {
                        (self.x.label)
                    }
                    text.label x="11" y=(at((HEIGHT - bottom) / 2.0)) text-anchor="middle"
                        transform=(format!("rotate(-90 11 {:.1})", (HEIGHT - bottom) / 2.0)) { (self.y.label) }
                    @if !self.guide.is_empty() { path.guide d=(self.path(self.guide.iter().copied())) {} }
                    @for line in self.lines.iter().filter(|l| !l.band.is_empty()) {
                        path class=(class("band", line.style)) d=(self.band(line)) {}
                    }
                    @for line in &self.lines {
                        path class=(class("line", line.style)) d=(self.path(line.points.iter().copied())) {
                            title { (line.name) }
                        }
                        @if line.dots {
                            @for (x, y) in line.points.iter().map(|p| self.place(*p)) {
                                circle class=(class("dot", line.style)) cx=(at(x)) cy=(at(y)) r="2.5" {}
                            }
                        }
                    }
                }
                figcaption { (self.title) }
            }
        }
    }
}

/// Names of the lines with their strokes.
pub(crate) fn legend(names: &[(usize, String)]) -> Markup {
    html! {
        ul.legend {
            @for (style, name) in names {
                li {
                    svg viewBox="0 0 24 8" aria-hidden="true" { path class=(class("line", *style)) d="M0 4L24 4" {} }
                    (name)
                }
            }
        }
    }
}

/// At most `most` points: neighbours are averaged.
pub(crate) fn thin(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let group = points.len().div_ceil(most.max(1)).max(1);
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    points.chunks(group).map(mean).collect()
}

fn at(place: f64) -> String {
    format!("{place:.1}")
}

/// A tick without needless digits.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Axis::unit("x").ticks().len(), 6);
        let axis = Axis::around("x", [3.1, 17.9].into_iter());
        assert_eq!(axis.ticks(), [5.0, 10.0, 15.0]);
        assert_eq!(number(0.1 + 0.2), "0.3");
    }

    #[test]
    fn thinning_keeps_the_mean_and_the_bound() {
        let points: Vec<(f64, f64)> = (0..1000).map(|i| (f64::from(i), f64::from(i % 7))).collect();
        let thinned = thin(&points, 200);
        assert_eq!(thinned.len(), 200);
        assert_eq!(thinned[0], (2.0, 2.0));
        assert_eq!(thin(&points[..3], 200), points[..3]);
        assert!(thin(&[], 10).is_empty());
    }

    #[test]
    fn what_is_not_finite_is_left_out() {
        let plot = Plot {
            title: "t".into(),
            x: Axis::unit("x"),
            y: Axis::around("y", [].into_iter()),
            guide: vec![],
            lines: vec![Line { points: vec![(0.0, f64::NAN), (0.5, 0.5)], ..Line::default() }],
        };
        let svg = plot.render().into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
