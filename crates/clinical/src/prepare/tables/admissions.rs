//! The tables of patients and admissions.

use crate::error::Result;
use crate::ids::{DAY, HadmId, Moment, SubjectId};
use crate::prepare::record::irregularities::Irregularities;
use crate::table::{InputFile, Table};
use std::collections::BTreeMap;
use std::path::Path;

/// How an admission came about, as far as the rules ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::prepare) enum Arrival {
    Newborn,
    Other,
}

/// One admission.
#[derive(Debug, Clone)]
pub(in crate::prepare) struct Admission {
    pub subject: SubjectId,
    pub arrival: Arrival,
    pub admitted: Moment,
    pub discharged: Option<Moment>,
    /// `HOSPITAL_EXPIRE_FLAG`; `None` where the cell is empty.
    pub died: Option<u32>,
}

pub(in crate::prepare) type Admissions = BTreeMap<HadmId, Admission>;

pub(in crate::prepare) const HINT: &str =
    "give the folder that holds the tables of MIMIC-III v1.4, or run `synth` first";

pub(in crate::prepare) fn read(folder: &Path, irregularities: &mut Irregularities) -> Result<(Admissions, InputFile)> {
    let columns = ["HADM_ID", "SUBJECT_ID", "ADMITTIME", "DISCHTIME", "ADMISSION_TYPE", "HOSPITAL_EXPIRE_FLAG"];
    let mut table = Table::open_in(folder, "ADMISSIONS", &columns, &[], HINT)?;
    let mut admissions = Admissions::new();
    while let Some(row) = table.next_row()? {
        let discharged = row.moment(3)?;
        if discharged.is_none() {
            irregularities.note("ADMISSIONS: no discharge time");
        }
        let died = row.number(5)?;
        if died.is_some_and(|d| d > 1) {
            return Err(row.wrong(5, "neither 0 nor 1", "the flag says whether the patient died"));
        }
        let admission = Admission {
            subject: row.subject(1)?,
            arrival: if row.bytes(4) == b"NEWBORN" { Arrival::Newborn } else { Arrival::Other },
            admitted: row.required_moment(2)?,
            discharged,
            died: died.map(|d| d as u32),
        };
        if admissions.insert(row.admission(0)?, admission).is_some() {
            irregularities.note("ADMISSIONS: admission listed twice, last row counts");
        }
    }
    Ok((admissions, table.finish_some()?))
}

/// Birthdays, for the one task that needs an age.
pub(in crate::prepare) fn birthdays(folder: &Path) -> Result<(BTreeMap<SubjectId, Moment>, InputFile)> {
    let mut table = Table::open_in(folder, "PATIENTS", &["SUBJECT_ID", "DOB"], &[], HINT)?;
    let mut birthdays = BTreeMap::new();
    while let Some(row) = table.next_row()? {
        birthdays.insert(row.subject(0)?, row.required_moment(1)?);
    }
    Ok((birthdays, table.finish()?))
}

/// The class of the length of stay: days are rounded to one decimal (half to even), then cut at 3, 7 and 14.
pub(in crate::prepare) fn stay_class(admission: &Admission) -> Option<usize> {
    let seconds = admission.discharged?.since(admission.admitted);
    let tenths = (seconds as f64 / DAY as f64 * 10.0).round_ties_even();
    Some(match tenths {
        t if t <= 30.0 => 0,
        t if t <= 70.0 => 1,
        t if t <= 140.0 => 2,
        _ => 3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(seconds: i64) -> usize {
        stay_class(&Admission {
            subject: SubjectId(1),
            arrival: Arrival::Other,
            admitted: Moment(0),
            discharged: Some(Moment(seconds)),
            died: Some(0),
        })
        .unwrap()
    }

    #[test]
    fn stays_are_rounded_to_tenths_of_a_day_before_they_are_cut() {
        assert_eq!(class(3 * DAY), 0);
        assert_eq!(class(3 * DAY + 4_320), 0, "3.05 days round to 3.0");
        assert_eq!(class(3 * DAY + 4_321), 1);
        assert_eq!(class(7 * DAY), 1);
        assert_eq!(class(14 * DAY), 2);
        assert_eq!(class(14 * DAY + 8_640), 3);
        assert_eq!(class(-60), 0);
    }
}
