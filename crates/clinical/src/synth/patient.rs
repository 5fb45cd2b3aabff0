//! Draws a patient with all admissions: a function of seed, number and specification only.

use super::conditions::index as c;
use super::facts::{self, Facts, Odds, Outcome, Person, Sex, Survival, Ventilated};
use super::note::{Occasion, discharge_summary};
use super::readmission;
use super::spec::{CohortSpec, NoteLength};
use super::style::Author;
use crate::ids::{DAY, HOUR, HadmId, IcuStayId, Moment, SubjectId};
use clinpeft_rng::{RngExt, Seed, Stream};

/// Which collection a patient belongs to: their streams and identifiers do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    /// The tables.
    Mimic3,
    /// The notes for adaptation.
    Mimic4,
}

/// Whether a patient was born during the stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Born here.
    Newborn,
    /// Anybody else.
    Grown,
}

/// One patient.
pub struct Patient {
    /// Identifier.
    pub subject: SubjectId,
    /// Newborn or not.
    pub arrival: Arrival,
    /// Latent constants.
    pub person: Person,
    /// Date of birth; three hundred years back for those of 90 or more.
    pub born: Moment,
    /// Stays, in the order of time.
    pub admissions: Vec<Admission>,
}

/// One admission.
pub struct Admission {
    /// Identifier.
    pub id: HadmId,
    /// Stay in intensive care, where there is one.
    pub icu: Option<IcuStayId>,
    /// What the note reveals.
    pub facts: Facts,
    /// What follows from it with which probability.
    pub odds: Odds,
    /// What followed.
    pub outcome: Outcome,
    /// Arrival.
    pub admitted: Moment,
    /// End of the stay.
    pub discharged: Moment,
    /// First moment and hours of ventilation.
    pub ventilation: Option<(Moment, i64)>,
    /// The discharge summary.
    pub summary: String,
    /// A stream for what is written beside the summary.
    pub rng: Stream,
}

/// Most admissions of one patient.
const MOST: u64 = 3;

/// Draws patient `number` of a collection.
pub fn draw(seed: Seed, spec: &CohortSpec, authors: &[Author], collection: Collection, number: u64) -> Patient {
    let (part, subject_base, admission_base) = match collection {
        Collection::Mimic3 => ("mimic3", 1_000, 100_000),
        Collection::Mimic4 => ("mimic4", 10_000_000, 20_000_000),
    };
    let seed = seed.part(&format!("{part}-patient-{number}"));
    let mut rng = seed.stream("cohort");
    let arrival = if collection == Collection::Mimic3 && rng.random_bool(spec.newborns) {
        Arrival::Newborn
    } else {
        Arrival::Grown
    };
    let person = facts::person(&mut rng);
    let [once, twice] = spec.stays();
    let stays = match (collection, arrival, rng.random_range(0..100)) {
        (Collection::Mimic4, ..) | (_, Arrival::Newborn, _) => 1,
        (.., place) if place < once => 1,
        (.., place) if place < once + twice => 2,
        _ => MOST,
    };
    let mut day = first_day(&mut rng);
    let born = match (arrival, person.age as i64) {
        (Arrival::Newborn, _) => day,
        (_, 90..) => day.plus(-300 * 365 * DAY),
        (_, age) => day.plus(-(age * 36_525 / 100 + 50) * DAY),
    };
    let mut admissions = Vec::new();
    for stay in 0..stays {
        let id = admission_base + number * MOST + stay;
        let rng = seed.stream(&format!("admission-{stay}"));
        let writers = Writers { authors, collection };
        let admission = admission(spec, &writers, &person, day, [id, id + 100_000], rng);
        let days = readmission::days(&admission.facts, &mut seed.stream(&format!("gap-{stay}")));
        day = admission.discharged.plus(days * DAY);
        day = Moment(day.0 - day.0.rem_euclid(DAY));
        let died = admission.outcome.survival == Survival::Died;
        admissions.push(admission);
        if died {
            break;
        }
    }
    Patient { subject: SubjectId(subject_base + number), arrival, person, born, admissions }
}

fn first_day(rng: &mut Stream) -> Moment {
    let start = Moment::on(2101, 1, 1).unwrap_or(Moment(0));
    start.plus(rng.random_range(0..90 * 365) * DAY)
}

/// Who writes the notes of a collection.
struct Writers<'a> {
    authors: &'a [Author],
    collection: Collection,
}

impl Writers<'_> {
    /// Share of the hospital courses that have a header. Brief notes for adaptation mostly go on without one where the admission
    /// part ends; those of the tasks need it, since the published rules find that end by it.
    fn course_headers(&self, length: NoteLength) -> f64 {
        match (self.collection, length) {
            (Collection::Mimic4, NoteLength::Brief) => 0.3,
            _ => 1.0,
        }
    }
}

fn admission(
    spec: &CohortSpec,
    writers: &Writers<'_>,
    person: &Person,
    day: Moment,
    [id, icu]: [u64; 2],
    mut rng: Stream,
) -> Admission {
    let facts = facts::admission(person, &mut rng);
    let odds = facts.odds();
    let outcome = facts.outcome(&odds, &mut rng);
    let admitted = day.plus(rng.random_range(0..24 * 60) * 60);
    let seconds = stay_seconds(&outcome, &mut rng);
    let hours = ventilated_hours(outcome.ventilated, seconds, &mut rng);
    let ventilation = hours.map(|hours| (admitted.plus(rng.random_range(1..5) * HOUR), hours));
    let intensive = ventilation.is_some() || rng.random_bool(0.85);
    let author = &writers.authors[rng.random_range(0..writers.authors.len())];
    let occasion = Occasion {
        facts: &facts,
        outcome,
        days: seconds / DAY,
        age: person.age as u32,
        sex: person.sex,
        length: spec.note_length,
        course_header: rng.random_bool(writers.course_headers(spec.note_length)),
    };
    let summary = discharge_summary(&occasion, author, &mut rng);
    Admission {
        id: HadmId(id),
        icu: intensive.then_some(IcuStayId(icu)),
        facts,
        odds,
        outcome,
        admitted,
        discharged: admitted.plus(seconds),
        ventilation,
        summary,
        rng,
    }
}

/// Seconds in hospital that fit class and ventilation; some end on the edge of a class.
fn stay_seconds(outcome: &Outcome, rng: &mut Stream) -> i64 {
    let edge = rng.random_bool(0.03);
    let (shortest, longest, edges) = match (outcome.stay, outcome.ventilated) {
        // 3.05 days round to 3.0, which is still the first class.
        (0, _) => (0.6, 3.0, [3.0, 3.05]),
        (1, _) => (3.2, 7.0, [7.0, 7.05]),
        (2, Ventilated::Weeks) => (8.0, 14.0, [14.0, 14.04]),
        (2, _) => (7.2, 14.0, [14.0, 14.04]),
        _ => (14.2, 40.0, [14.11, 14.2]),
    };
    let days = if edge { edges[rng.random_range(0..2)] } else { shortest + (longest - shortest) * rng.random::<f64>() };
    (days * 1440.0).floor() as i64 * 60
}

/// Whole hours from the first to the last sign of ventilation; a week counts from six hours less.
fn ventilated_hours(ventilated: Ventilated, stay: i64, rng: &mut Stream) -> Option<i64> {
    let most = stay / HOUR - 8;
    let (low, high) = match ventilated {
        Ventilated::Never => return None,
        Ventilated::Briefly => (4, 40.min(most)),
        Ventilated::Days => (42, 161.min(most)),
        Ventilated::Weeks => (162, most),
    };
    Some(rng.random_range(low..=high.max(low)))
}

impl Patient {
    /// `F` or `M`.
    pub fn sex(&self) -> &'static str {
        match self.person.sex {
            Sex::Female => "F",
            Sex::Male => "M",
        }
    }
}

/// What the radiology reports of a stay show.
pub const VISIBLE: [usize; 4] = [c::PNEUMONIA, c::HEART_FAILURE, c::COPD, c::EMBOLISM];
