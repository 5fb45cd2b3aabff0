//! The ventilation cohort: adults ventilated for two days or more, and who of them for a week.
//!
//! Follows the cohort of Huang et al. 2020 (*Clinical XLNet*) on the ventilation durations of the MIMIC Code Repository:
//! ICU stays of patients of 18 or older, without head and neck cancer, neuromuscular disease, large burns or organ
//! donation. A stay counts as ventilated for d days if its last episode ends no earlier than d days less six hours after
//! its first one began. Of each admission the first stay of two days or more is taken; the label is whether any of the
//! admission's stays reaches seven. A nursing or respiratory note must be charted in the first 48 hours of ventilation.

use super::durations::{Signs, add, chart_event_signs, episodes, is_chart_item, is_extubation};
use super::list::{self, Listed, VentilationClass};
use crate::error::Result;
use crate::ids::{DAY, HOUR, HadmId, IcuStayId, Moment, SubjectId};
use crate::prepare::filters::{self, Filter};
use crate::prepare::record::flow::{Attrition, FlowCounts};
use crate::prepare::record::irregularities::Irregularities;
use crate::prepare::tables::admissions::{Admissions, HINT};
use crate::progress::{ProgressMeter, Work};
use crate::table::{InputFile, Row, Table};
use crate::task::Split;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const YEAR: i64 = 31_556_952;
const GRACE: i64 = 6 * HOUR;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EarlyNote {
    Found,
    NotSeen,
}

#[derive(Debug)]
struct Candidate {
    began: Moment,
    duration: VentilationClass,
    early_note: EarlyNote,
}

/// Admissions that may enter the cohort.
#[derive(Debug, Default)]
pub(in crate::prepare) struct Candidates {
    by_admission: BTreeMap<HadmId, Candidate>,
    listed: Listed,
    pub attrition: Vec<Attrition>,
}

/// What the cohort is made from.
pub(in crate::prepare) struct Sources<'a> {
    pub folder: &'a Path,
    pub admissions: &'a Admissions,
    pub birthdays: &'a BTreeMap<SubjectId, Moment>,
    pub excluded: &'a BTreeSet<HadmId>,
}

struct Stay {
    id: IcuStayId,
    admission: HadmId,
    entered: Moment,
}

impl Candidates {
    /// Reads ICUSTAYS, CHARTEVENTS and PROCEDUREEVENTS_MV.
    pub fn read(sources: &Sources<'_>, inputs: &mut Vec<InputFile>, meter: &ProgressMeter<'_>) -> Result<Candidates> {
        let mut funnel = FlowCounts::new("ventilation", filters::ICU_STAYS);
        let stays = adult_stays(sources, &mut funnel, inputs)?;
        let mut signs: BTreeMap<IcuStayId, Vec<(Moment, Signs)>> = stays.iter().map(|s| (s.id, Vec::new())).collect();
        chart_events(sources.folder, &mut signs, inputs, meter)?;
        extubations(sources.folder, &mut signs, inputs)?;
        let mut candidates = Candidates::default();
        for stay in stays {
            let rows = signs.remove(&stay.id).unwrap_or_default();
            candidates.add(&stay, rows, &mut funnel);
        }
        candidates.attrition = funnel.steps();
        Ok(candidates)
    }

    /// Stays come in the order of their beginning.
    fn add(&mut self, stay: &Stay, rows: Vec<(Moment, Signs)>, funnel: &mut FlowCounts) {
        let found = episodes(rows);
        let began = found.iter().map(|e| e.start).min();
        let ended = found.iter().map(|e| e.end).max();
        let (Some(began), Some(ended)) = (began, ended) else {
            return funnel.drop_by(Filter::StayVentilated);
        };
        let lasted = |days: i64| ended.since(began) + GRACE >= days * DAY;
        if !lasted(2) {
            return funnel.drop_by(Filter::StayTwoDays);
        }
        let duration = if lasted(7) { VentilationClass::AWeekOrMore } else { VentilationClass::UnderAWeek };
        match self.by_admission.entry(stay.admission) {
            std::collections::btree_map::Entry::Occupied(mut first) => {
                if duration == VentilationClass::AWeekOrMore {
                    first.get_mut().duration = duration;
                }
                funnel.drop_by(Filter::StayFirst);
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Candidate { began, duration, early_note: EarlyNote::NotSeen });
                funnel.keep();
            }
        }
    }

    /// Marks the admission of a nursing or respiratory note of the first 48 hours; columns by their place in `row`.
    pub fn see_note(&mut self, row: &Row<'_>, columns: [usize; 3]) -> Result<()> {
        let [admission, category, charted] = columns;
        let nursing = matches!(row.bytes(category), b"Nursing" | b"Nursing/other" | b"Respiratory " | b"Respiratory");
        if !nursing || self.by_admission.is_empty() {
            return Ok(());
        }
        let Some(candidate) = row.number(admission)?.and_then(|id| self.by_admission.get_mut(&HadmId(id))) else {
            return Ok(());
        };
        if let Some(charted) = row.moment(charted)?
            && (0..=2 * DAY).contains(&charted.since(candidate.began))
        {
            candidate.early_note = EarlyNote::Found;
        }
        Ok(())
    }

    /// Takes labels and splits from a list; the bedside tables are not read then.
    pub fn listed_in(path: &Path, irregularities: &mut Irregularities) -> Result<(Candidates, InputFile)> {
        let (listed, input) = list::read(path, irregularities)?;
        Ok((Candidates { listed, ..Candidates::default() }, input))
    }

    /// How many admissions a list gives; none without a list.
    pub fn listed(&self) -> u64 {
        self.listed.len() as u64
    }

    /// The split that a list gives.
    pub fn listed_split(&self, admission: HadmId) -> Option<Split> {
        self.listed.get(&admission).map(|(_, split)| *split)
    }

    /// The label of an admission with an early note; `Err` tells whether at least the stay fits.
    pub fn label(&self, admission: HadmId) -> Result<VentilationClass, Unfit> {
        if !self.listed.is_empty() {
            return self.listed.get(&admission).map(|(duration, _)| *duration).ok_or(Unfit::NotListed);
        }
        match self.by_admission.get(&admission) {
            None => Err(Unfit::NoStay),
            Some(c) if c.early_note == EarlyNote::NotSeen => Err(Unfit::NoEarlyNote),
            Some(c) => Ok(c.duration),
        }
    }
}

/// Why an admission has no ventilation label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum Unfit {
    NoStay,
    NotListed,
    NoEarlyNote,
}

fn adult_stays(sources: &Sources<'_>, funnel: &mut FlowCounts, inputs: &mut Vec<InputFile>) -> Result<Vec<Stay>> {
    let columns = ["ICUSTAY_ID", "HADM_ID", "INTIME"];
    let mut table = Table::open_in(sources.folder, "ICUSTAYS", &columns, &[], HINT)?;
    let mut stays = Vec::new();
    while let Some(row) = table.next_row()? {
        let admission = row.admission(1)?;
        let Some(known) = sources.admissions.get(&admission) else {
            funnel.drop_by(Filter::StayAdmission);
            continue;
        };
        let adult =
            sources.birthdays.get(&known.subject).is_some_and(|birth| known.admitted.since(*birth) >= 18 * YEAR);
        if !adult {
            funnel.drop_by(Filter::StayAdult);
        } else if sources.excluded.contains(&admission) {
            funnel.drop_by(Filter::StayDiagnosis);
        } else if let (Some(id), Some(entered)) = (row.icu_stay(0)?, row.moment(2)?) {
            stays.push(Stay { id, admission, entered });
        } else {
            funnel.drop_by(Filter::StayAdmission);
        }
    }
    inputs.push(table.finish()?);
    stays.sort_by_key(|s| (s.entered, s.id));
    stays.dedup_by_key(|s| s.id);
    Ok(stays)
}

fn chart_events(
    folder: &Path,
    signs: &mut BTreeMap<IcuStayId, Vec<(Moment, Signs)>>,
    inputs: &mut Vec<InputFile>,
    meter: &ProgressMeter<'_>,
) -> Result<()> {
    let columns = ["ITEMID", "ICUSTAY_ID", "CHARTTIME", "VALUE"];
    let mut table = Table::open_in(folder, "CHARTEVENTS", &columns, &["ERROR"], HINT)?;
    while let Some(row) = table.next_row()? {
        meter.row("CHARTEVENTS", &row, Work::Read)?;
        let item = row.required_number(0)?;
        if !is_chart_item(item) || row.bytes(4) == b"1" {
            continue;
        }
        let Some(sign) = chart_event_signs(item, row.text(3)?) else {
            continue;
        };
        if let Some(stay) = row.icu_stay(1)?
            && let Some(rows) = signs.get_mut(&stay)
        {
            add(rows, (row.required_moment(2)?, sign));
        }
    }
    let input = table.finish()?;
    meter.end(&input, Work::Read);
    inputs.push(input);
    Ok(())
}

fn extubations(
    folder: &Path,
    signs: &mut BTreeMap<IcuStayId, Vec<(Moment, Signs)>>,
    inputs: &mut Vec<InputFile>,
) -> Result<()> {
    let columns = ["ITEMID", "ICUSTAY_ID", "STARTTIME"];
    let mut table = Table::open_in(folder, "PROCEDUREEVENTS_MV", &columns, &[], HINT)?;
    while let Some(row) = table.next_row()? {
        if is_extubation(row.required_number(0)?)
            && let Some(stay) = row.icu_stay(1)?
            && let Some(rows) = signs.get_mut(&stay)
        {
            rows.push((row.required_moment(2)?, Signs::EXTUBATED));
        }
    }
    inputs.push(table.finish()?);
    Ok(())
}
