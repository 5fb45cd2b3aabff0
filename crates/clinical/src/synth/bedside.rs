//! Ventilator settings at the bedside, as far as durations are computed from them.

use super::columns;
use super::patient::Admission;
use super::raw::Cell::{self, Empty, Measure, Number, Time, Words};
use super::raw::{Part, RawTable};
use crate::error::Result;
use crate::ids::{HOUR, IcuStayId, Moment};
use clinpeft_rng::RngExt;

/// CHARTEVENTS and PROCEDUREEVENTS_MV.
pub struct Bedside {
    chart: RawTable,
    procedures: RawTable,
    /// Rows of CHARTEVENTS so far.
    pub rows: u64,
}

const HEART_RATE: u64 = 220_045;
const VENTILATOR_MODE: u64 = 223_849;
const VENTILATOR_TYPE: u64 = 223_848;
const END_PRESSURE: u64 = 220_339;
const OXYGEN_DEVICE: u64 = 226_732;
const CAREVUE_MODE: u64 = 720;
const EXTUBATION: u64 = 227_194;

/// Vital signs of both charting systems.
const SIGNS: [u64; 8] = [HEART_RATE, 220_210, 220_277, 220_179, 220_180, 211, 618, 646];
/// Tidal volume, pressures and PEEP.
const SETTINGS: [u64; 4] = [END_PRESSURE, 224_684, 224_695, 535];

const ITEMS: [(u64, &str, &str, &str); 7] = [
    (HEART_RATE, "Heart Rate", "metavision", "chartevents"),
    (VENTILATOR_MODE, "Ventilator Mode", "metavision", "chartevents"),
    (VENTILATOR_TYPE, "Ventilator Type", "metavision", "chartevents"),
    (END_PRESSURE, "PEEP set", "metavision", "chartevents"),
    (OXYGEN_DEVICE, "O2 Delivery Device(s)", "metavision", "chartevents"),
    (CAREVUE_MODE, "Ventilator Mode", "carevue", "chartevents"),
    (EXTUBATION, "Extubation", "metavision", "procedureevents_mv"),
];

impl Bedside {
    /// Begins a block of patients.
    pub fn create(block: u64) -> Result<Bedside> {
        Ok(Bedside {
            chart: RawTable::create(block, "CHARTEVENTS.csv.gz", &columns::CHART)?,
            procedures: RawTable::create(block, "PROCEDUREEVENTS_MV.csv.gz", &columns::PROCEDURE_EVENTS)?,
            rows: 0,
        })
    }

    /// Writes one stay: a heart rate, settings at most eight hours apart (with a longer gap now and then), extubation, oxygen.
    pub fn write(&mut self, subject: u64, stay: IcuStayId, admission: &mut Admission) -> Result<()> {
        let ids = [Number(subject), Number(admission.id.0), Number(stay.0)];
        let arrived = admission.admitted.plus(HOUR);
        self.event(ids, HEART_RATE, arrived, "80", Empty)?;
        let Some((began, hours)) = admission.ventilation else {
            return self.event(ids, OXYGEN_DEVICE, arrived, "Nasal cannula", Empty);
        };
        let rng = &mut admission.rng;
        let mode = if rng.random_bool(0.3) { CAREVUE_MODE } else { VENTILATOR_MODE };
        let mut hour = 0;
        while hour < hours {
            self.event(ids, mode, began.plus(hour * HOUR), "CMV/ASSIST/AutoFlow", Empty)?;
            if rng.random_bool(0.3) {
                self.event(ids, END_PRESSURE, began.plus(hour * HOUR), "5", Empty)?;
            }
            let gap = if hours > 24 && rng.random_bool(0.02) { 10 } else { rng.random_range(2..=8) };
            hour += gap;
        }
        let ended = began.plus(hours * HOUR);
        self.event(ids, mode, ended.plus(-HOUR), "SPONT", Empty)?;
        // Neither counts: a value that means nothing, and a row that was withdrawn.
        self.event(ids, VENTILATOR_TYPE, ended.plus(6 * HOUR), "Other", Empty)?;
        self.event(ids, mode, ended.plus(7 * HOUR), "SPONT", Number(1))?;
        self.extubation(ids, ended)?;
        self.event(ids, OXYGEN_DEVICE, ended.plus(HOUR), "Nasal cannula", Empty)
    }

    /// Writes events that change no label: one in ten is a setting while ventilation lasts, the others are vital signs.
    pub fn fill(&mut self, subject: u64, admission: &mut Admission, events: u64) -> Result<()> {
        let stay = admission.icu.map_or(Empty, |stay| Number(stay.0));
        let ids = [Number(subject), Number(admission.id.0), stay];
        let length = admission.discharged.since(admission.admitted);
        for number in 0..events {
            let draw: u32 = admission.rng.random();
            let measured = (40 + draw % 100).to_string();
            let place = number as f64 / events as f64;
            match admission.ventilation {
                Some((began, hours)) if draw.is_multiple_of(10) => {
                    let at = began.plus((place * (hours - 1) as f64) as i64 * HOUR);
                    self.event(ids, SETTINGS[(draw / 10 % 4) as usize], at, &measured, Empty)?;
                }
                _ => {
                    let at = admission.admitted.plus((place * length as f64) as i64 / 60 * 60);
                    self.event(ids, SIGNS[(draw / 100 % 8) as usize], at, &measured, Empty)?;
                }
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        [subject, admission, stay]: [Cell<'_>; 3],
        item: u64,
        at: Moment,
        value: &str,
        error: Cell<'_>,
    ) -> Result<()> {
        self.rows += 1;
        self.chart.row(&[
            subject,
            admission,
            stay,
            Number(item),
            Time(at),
            Time(at),
            Empty,
            Words(value),
            Empty,
            Empty,
            Empty,
            error,
            Empty,
            Empty,
        ])
    }

    fn extubation(&mut self, [subject, admission, stay]: [Cell<'_>; 3], at: Moment) -> Result<()> {
        let mut cells = [Empty; 24];
        cells[..3].copy_from_slice(&[subject, admission, stay]);
        cells[3..8].copy_from_slice(&[Time(at), Time(at.plus(60)), Number(EXTUBATION), Measure(1.0), Words("min")]);
        cells[20] = Words("FinishedRunning");
        self.procedures.row(&cells)
    }

    /// Ends the block.
    pub fn finish(self) -> Result<[Part; 2]> {
        Ok([self.chart.finish()?, self.procedures.finish()?])
    }
}

/// The dictionary of items.
pub fn items() -> Result<Part> {
    let mut table = RawTable::create(0, "D_ITEMS.csv.gz", &columns::ITEMS)?;
    for (id, label, source, of) in ITEMS {
        let label = Words(label);
        table.row(&[Number(id), label, label, Words(source), Words(of), Empty, Empty, Empty, Empty])?;
    }
    table.finish()
}
