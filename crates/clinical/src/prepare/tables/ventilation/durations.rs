//! Episodes of mechanical ventilation from charted settings.
//!
//! The definition is that of the MIMIC Code Repository for MIMIC-III (ventilation settings and durations; Johnson et al.
//! 2018). Every charted moment of an ICU stay says whether a ventilator setting was charted, an oxygen device that ends
//! ventilation, or an extubation. A new episode begins
//! - at the first ventilator or extubation row after an extubation,
//! - when oxygen therapy is charted without a ventilator setting,
//! - when more than eight hours passed since the last ventilator setting.
//!
//! An episode reaches from its first to its last ventilator or extubation row; it needs a ventilator setting and two
//! different moments.

use crate::ids::{HOUR, Moment};

/// What was charted at one moment of an ICU stay: a set of the three flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Signs(u8);

impl Signs {
    /// A ventilator setting.
    pub const VENTILATED: Signs = Signs(1);
    /// An oxygen device that is no ventilator.
    pub const OXYGEN: Signs = Signs(2);
    /// The tube was taken out.
    pub const EXTUBATED: Signs = Signs(4);

    fn has(self, other: Signs) -> bool {
        self.0 & other.0 != 0
    }

    fn with(self, other: Signs) -> Signs {
        Signs(self.0 | other.0)
    }
}

/// From the first to the last sign of one period of ventilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Episode {
    /// First ventilator row.
    pub start: Moment,
    /// Last ventilator or extubation row.
    pub end: Moment,
}

const GAP: i64 = 8 * HOUR;

/// The signs of a chart event, if it is one of those that matter.
pub fn chart_event_signs(item: u64, value: &str) -> Option<Signs> {
    match item {
        _ if value.is_empty() => None,
        720 => (value != "Other/Remarks").then_some(Signs::VENTILATED),
        223_848 => (value != "Other").then_some(Signs::VENTILATED),
        223_849 => Some(Signs::VENTILATED),
        467 if value == "Ventilator" => Some(Signs::VENTILATED),
        467 => OXYGEN_CAREVUE.contains(&value).then_some(Signs::OXYGEN),
        226_732 => OXYGEN_METAVISION.contains(&value).then_some(Signs::OXYGEN),
        640 => matches!(value, "Extubated" | "Self Extubation").then_some(Signs::EXTUBATED),
        _ => SETTINGS.contains(&item).then_some(Signs::VENTILATED),
    }
}

/// Whether a chart item can carry a sign at all: the cheap test for a table of 330 million rows.
pub fn is_chart_item(item: u64) -> bool {
    matches!(item, 720 | 223_848 | 223_849 | 467 | 226_732 | 640) || SETTINGS.contains(&item)
}

/// Whether a procedure event is an extubation (planned, by the patient, or otherwise unplanned).
pub fn is_extubation(item: u64) -> bool {
    matches!(item, 227_194 | 225_468 | 225_477)
}

/// Minute and tidal volumes, pressures, PEEP and the settings of pressure-controlled modes, of both charting systems.
const SETTINGS: [u64; 64] = [
    1, 60, 218, 221, 223, 436, 437, 444, 445, 448, 449, 450, 459, 501, 502, 503, 505, 506, 535, 543, 639, 654, 667,
    668, 669, 670, 671, 672, 681, 682, 683, 684, 686, 1211, 1340, 1486, 1600, 1655, 2000, 3459, 5865, 5866, 220_339,
    224_419, 224_684, 224_685, 224_686, 224_687, 224_695, 224_696, 224_697, 224_700, 224_701, 224_702, 224_705,
    224_706, 224_707, 224_709, 224_738, 224_746, 224_747, 224_750, 226_873, 227_187,
];

const OXYGEN_CAREVUE: [&str; 16] = [
    "Cannula",
    "Nasal Cannula",
    "Face Tent",
    "Aerosol-Cool",
    "Trach Mask",
    "Hi Flow Neb",
    "Non-Rebreather",
    "Venti Mask",
    "Medium Conc Mask",
    "Vapotherm",
    "T-Piece",
    "Hood",
    "Hut",
    "TranstrachealCat",
    "Heated Neb",
    "Ultrasonic Neb",
];

/// Some of these values end in a space in the table itself.
const OXYGEN_METAVISION: [&str; 12] = [
    "Nasal cannula",
    "Face tent",
    "Aerosol-cool",
    "Trach mask ",
    "High flow neb",
    "Non-rebreather",
    "Venti mask ",
    "Medium conc mask ",
    "T-piece",
    "High flow nasal cannula",
    "Ultrasonic neb",
    "Vapomist",
];

/// Puts rows in order of time and takes those of the same moment together.
fn merge(rows: &mut Vec<(Moment, Signs)>) {
    rows.sort_unstable();
    rows.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = kept.1.with(later.1);
        }
        same
    });
}

/// Adds a row. Many settings are charted at one moment: they are merged before more memory is taken.
pub(in crate::prepare) fn add(rows: &mut Vec<(Moment, Signs)>, row: (Moment, Signs)) {
    if rows.len() == rows.capacity() {
        merge(rows);
    }
    rows.push(row);
}

/// The episodes of one ICU stay; rows of the same moment are taken together.
pub fn episodes(mut rows: Vec<(Moment, Signs)>) -> Vec<Episode> {
    merge(&mut rows);
    let mut found: Vec<(Episode, Signs)> = Vec::new();
    let mut last_setting: Option<Moment> = None;
    let mut after_extubation = false;
    let mut begins = true;
    for (time, signs) in rows {
        let ventilated = signs.has(Signs::VENTILATED);
        let counts = ventilated || signs.has(Signs::EXTUBATED);
        let gap = last_setting.is_some_and(|last| ventilated && time.since(last) > GAP);
        begins |= (counts && after_extubation) || (!ventilated && signs.has(Signs::OXYGEN)) || gap;
        if ventilated {
            last_setting = Some(time);
        }
        if !counts {
            continue;
        }
        after_extubation = signs.has(Signs::EXTUBATED);
        match found.last_mut() {
            Some((episode, all)) if !begins => {
                episode.end = time;
                *all = all.with(signs);
            }
            _ => found.push((Episode { start: time, end: time }, signs)),
        }
        begins = false;
    }
    found.into_iter().filter(|(e, signs)| e.start != e.end && signs.has(Signs::VENTILATED)).map(|(e, _)| e).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(rows: &[(i64, Signs)]) -> Vec<(i64, i64)> {
        let rows = rows.iter().map(|(h, s)| (Moment(h * HOUR), *s)).collect();
        episodes(rows).into_iter().map(|e| (e.start.0 / HOUR, e.end.0 / HOUR)).collect()
    }

    const V: Signs = Signs::VENTILATED;
    const O: Signs = Signs::OXYGEN;
    const X: Signs = Signs::EXTUBATED;

    #[test]
    fn a_gap_of_more_than_eight_hours_begins_a_new_episode() {
        assert_eq!(hours(&[(0, V), (8, V), (16, V)]), [(0, 16)]);
        assert_eq!(hours(&[(0, V), (4, V), (13, V), (14, V)]), [(0, 4), (13, 14)]);
    }

    #[test]
    fn extubation_ends_and_belongs_to_its_episode() {
        assert_eq!(hours(&[(0, V), (5, X), (6, V), (7, V)]), [(0, 5), (6, 7)]);
    }

    #[test]
    fn oxygen_without_ventilator_begins_a_new_episode() {
        assert_eq!(hours(&[(0, V), (3, V), (4, O), (5, V), (6, V)]), [(0, 3), (5, 6)]);
    }

    #[test]
    fn single_rows_and_oxygen_alone_are_no_episode() {
        assert_eq!(hours(&[(0, V)]), []);
        assert_eq!(hours(&[(0, O), (1, O), (2, X), (3, X)]), []);
        assert_eq!(hours(&[]), []);
    }

    #[test]
    fn memory_goes_by_moments_not_by_rows() {
        let mut rows = Vec::new();
        let moment = |number: i64| Moment(number % 10 * HOUR);
        (0..10_000).for_each(|number| add(&mut rows, (moment(number), V)));
        assert!(rows.capacity() <= 32, "{}", rows.capacity());
        assert_eq!(episodes(rows), [Episode { start: moment(0), end: moment(9) }]);
    }

    #[test]
    fn order_of_rows_does_not_matter() {
        assert_eq!(hours(&[(6, V), (0, V), (3, V)]), [(0, 6)]);
    }
}
