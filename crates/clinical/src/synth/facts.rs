//! The latent facts of patients and admissions, and the outcomes that follow from them.

use super::conditions::{CONDITIONS, COUNT, Course, LEVELS};
use clinpeft_rng::{RngExt, Stream, normal};

/// What the note reveals and every outcome depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which conditions are present.
    pub has: [bool; COUNT],
    /// How ill the patient arrives, from 0 to 4.
    pub severity: u8,
}

/// What stays the same over a patient's admissions.
#[derive(Debug, Clone)]
pub struct Person {
    /// Standard normal.
    pub frailty: f64,
    /// Age at the first admission.
    pub age: f64,
    /// `F` or `M`.
    pub sex: Sex,
    chronic: [bool; COUNT],
}

/// As the tables write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// F
    Female,
    /// M
    Male,
}

/// How long the patient was ventilated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ventilated {
    /// Not at all.
    Never,
    /// Less than two days.
    Briefly,
    /// Two days or more, less than a week.
    Days,
    /// A week or more.
    Weeks,
}

impl Ventilated {
    /// Whether the stay belongs to the ventilation cohort.
    pub fn two_days_or_more(self) -> bool {
        matches!(self, Ventilated::Days | Ventilated::Weeks)
    }
}

/// Probabilities given the facts: the truth that no model can beat.
#[derive(Debug, Clone)]
pub struct Odds {
    /// Of death in hospital.
    pub death: f64,
    /// Of ventilation for two days or more.
    pub ventilated: f64,
    /// Of a week, given two days.
    pub prolonged: f64,
    /// Of the four classes of the length of stay.
    pub stay: [f64; 4],
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Death in hospital.
    pub survival: Survival,
    /// Ventilation.
    pub ventilated: Ventilated,
    /// Class of the length of stay.
    pub stay: usize,
}

/// Death in hospital or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Left alive.
    Survived,
    /// Died in hospital.
    Died,
}

/// The logistic function.
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Draws a patient.
pub fn person(rng: &mut Stream) -> Person {
    let frailty = normal(rng);
    let age = (64.0 + 14.0 * normal(rng) + 3.0 * frailty).clamp(19.0, 96.0);
    let sex = if rng.random_bool(0.5) { Sex::Female } else { Sex::Male };
    let chronic = std::array::from_fn(|i| {
        let c = &CONDITIONS[i];
        let odds = c.base + c.slope * frailty + c.age * (age - 60.0) / 10.0;
        c.course == Course::Chronic && rng.random_bool(logistic(odds))
    });
    Person { frailty, age, sex, chronic }
}

/// Upper ends of the first four steps of severity on the latent scale.
const STEPS: [f64; LEVELS - 1] = [-0.45, 0.25, 0.85, 1.45];

/// Draws the facts of one admission.
pub fn admission(person: &Person, rng: &mut Stream) -> Facts {
    let illness = 0.6 * person.frailty + 0.8 * normal(rng);
    let severity = STEPS.iter().filter(|step| illness > **step).count() as u8;
    let has = std::array::from_fn(|i| {
        let c = &CONDITIONS[i];
        let odds = c.base + c.slope * f64::from(severity) + c.age * (person.age - 60.0) / 10.0;
        person.chronic[i] || (c.course == Course::Acute && rng.random_bool(logistic(odds)))
    });
    Facts { has, severity }
}

const DEATH: f64 = -5.1;
const DEATH_SEVERITY: f64 = 0.88;
const DEATH_SCALE: f64 = 0.76;
const VENTILATED: f64 = -3.5;
const VENTILATED_SEVERITY: f64 = 0.75;
const PROLONGED: f64 = -4.3;
const PROLONGED_SEVERITY: f64 = 1.5;
const PROLONGED_SCALE: f64 = 0.75;
const STAY_SEVERITY: f64 = 1.1;
const STAY_SCALE: f64 = 1.5;
/// Share of brief ventilation among those not ventilated for two days.
const BRIEF: f64 = 0.06;
/// Upper thresholds of the score for classes 0, 1, 2, by the length of ventilation.
const STAY_STEPS: [[f64; 3]; 3] =
    [[0.9, 2.8, 4.6], [f64::NEG_INFINITY, 3.3, 5.5], [f64::NEG_INFINITY, f64::NEG_INFINITY, 5.1]];

impl Facts {
    fn sum(&self, effect: impl Fn(usize) -> f64) -> f64 {
        (0..COUNT).filter(|i| self.has[*i]).map(effect).sum()
    }

    /// The probabilities of every outcome.
    pub fn odds(&self) -> Odds {
        let severity = f64::from(self.severity);
        let death = DEATH + DEATH_SEVERITY * severity + DEATH_SCALE * self.sum(|i| CONDITIONS[i].death);
        let ventilated = logistic(VENTILATED + VENTILATED_SEVERITY * severity + self.sum(|i| CONDITIONS[i].ventilated));
        let prolonged = logistic(
            PROLONGED + PROLONGED_SEVERITY * severity + PROLONGED_SCALE * self.sum(|i| CONDITIONS[i].prolonged),
        );
        let mut stay = [0.0; 4];
        let weights = [1.0 - ventilated, ventilated * (1.0 - prolonged), ventilated * prolonged];
        for (weight, steps) in weights.iter().zip(&STAY_STEPS) {
            for (sum, p) in stay.iter_mut().zip(self.stay_given(steps)) {
                *sum += weight * p;
            }
        }
        Odds { death: logistic(death), ventilated, prolonged, stay }
    }

    /// An ordinal logit: the class is below a step with the logistic of the step less the score.
    fn stay_given(&self, steps: &[f64; 3]) -> [f64; 4] {
        let score = STAY_SEVERITY * f64::from(self.severity) + self.sum(|i| CONDITIONS[i].stay);
        let below = steps.map(|step| logistic(STAY_SCALE * (step - score)));
        [below[0], below[1] - below[0], below[2] - below[1], 1.0 - below[2]]
    }

    /// Draws what happened; death and ventilation are independent given the facts.
    pub fn outcome(&self, odds: &Odds, rng: &mut Stream) -> Outcome {
        let ventilated = if rng.random_bool(odds.ventilated) {
            if rng.random_bool(odds.prolonged) { Ventilated::Weeks } else { Ventilated::Days }
        } else if rng.random_bool(BRIEF) {
            Ventilated::Briefly
        } else {
            Ventilated::Never
        };
        let steps = match ventilated {
            Ventilated::Never | Ventilated::Briefly => &STAY_STEPS[0],
            Ventilated::Days => &STAY_STEPS[1],
            Ventilated::Weeks => &STAY_STEPS[2],
        };
        let mut left: f64 = rng.random();
        let mut stay = 3;
        for (class, p) in self.stay_given(steps).into_iter().enumerate() {
            if left < p {
                stay = class;
                break;
            }
            left -= p;
        }
        let survival = if rng.random_bool(odds.death) { Survival::Died } else { Survival::Survived };
        Outcome { survival, ventilated, stay }
    }
}
