//! Code groups and what drives them.
//!
//! A group is coded with probability 1 - (1 - otherwise) * product of (1 - p) over its drivers that are present.

use super::conditions::index as c;
use super::facts::Facts;

/// What makes a code likely.
#[derive(Debug, Clone, Copy)]
pub enum Driver {
    /// A condition is present.
    Has(usize, f64),
    /// The severity is at this step or above.
    Severity(u8, f64),
    /// Ventilation for two days or more (which is itself uncertain given the note).
    Ventilated(f64),
}
use Driver::{Has, Severity, Ventilated};

/// One code group.
#[derive(Debug)]
pub struct Group {
    /// The group as the corrected rules name it.
    pub name: &'static str,
    /// A full code of the group.
    pub code: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What makes it likely.
    pub drivers: &'static [Driver],
    /// Its probability without any driver.
    pub otherwise: f64,
}

const fn group(
    name: &'static str,
    code: &'static str,
    title: &'static str,
    drivers: &'static [Driver],
    otherwise: f64,
) -> Group {
    Group { name, code, title, drivers, otherwise }
}

/// Diagnoses, sorted by name. `V300` belongs to newborns only.
#[rustfmt::skip]
pub const DIAGNOSES: [Group; 49] = [
    group("038", "0389", "Unspecified septicemia", &[Has(c::SEPSIS, 0.90)], 0.01),
    group("042", "042", "Human immunodeficiency virus [HIV] disease", &[Has(c::HIV, 0.92)], 0.001),
    group("141", "1419", "Malignant neoplasm of tongue, unspecified", &[Has(c::CANCER, 0.06)], 0.0003),
    group("197", "1970", "Secondary malignant neoplasm of lung", &[Has(c::CANCER, 0.88)], 0.005),
    group("244", "2449", "Unspecified acquired hypothyroidism", &[Has(c::HYPOTHYROID, 0.89)], 0.01),
    group("250", "25000", "Diabetes mellitus without mention of complication", &[Has(c::DIABETES, 0.90)], 0.02),
    group("272", "2724", "Other and unspecified hyperlipidemia", &[Has(c::LIPIDS, 0.87)], 0.025),
    group("274", "2749", "Gout, unspecified", &[Has(c::GOUT, 0.89)], 0.005),
    group("276", "2762", "Acidosis", &[Severity(3, 0.80), Has(c::DIALYSIS, 0.45)], 0.05),
    group("285", "2851", "Acute posthemorrhagic anemia", &[Has(c::BLEED, 0.85)], 0.025),
    group("303", "30390", "Other and unspecified alcohol dependence", &[Has(c::ALCOHOL, 0.88)], 0.0075),
    group("305", "3051", "Tobacco use disorder", &[Has(c::COPD, 0.70)], 0.0375),
    group("311", "311", "Depressive disorder, not elsewhere classified", &[Has(c::DEPRESSION, 0.88)], 0.0125),
    group("327", "32723", "Obstructive sleep apnea (adult)(pediatric)", &[Has(c::SLEEP_APNEA, 0.89)], 0.005),
    group("331", "3310", "Alzheimer's disease", &[Has(c::DEMENTIA, 0.88)], 0.005),
    group("345", "34590", "Epilepsy, unspecified", &[Has(c::SEIZURES, 0.89)], 0.005),
    group("401", "4019", "Unspecified essential hypertension", &[Has(c::HYPERTENSION, 0.88)], 0.05),
    group("403", "40391", "Hypertensive chronic kidney disease, stage V", &[Has(c::DIALYSIS, 0.89)], 0.005),
    group("410", "41071", "Subendocardial infarction, initial episode of care", &[Has(c::INFARCTION, 0.90)], 0.0075),
    group("414", "41401", "Coronary atherosclerosis of native coronary artery", &[Has(c::CORONARY, 0.89), Has(c::INFARCTION, 0.55)], 0.02),
    group("415", "41519", "Other pulmonary embolism and infarction", &[Has(c::EMBOLISM, 0.91)], 0.0025),
    group("427", "42731", "Atrial fibrillation", &[Has(c::ATRIAL_FIBRILLATION, 0.90)], 0.0175),
    group("428", "4280", "Congestive heart failure, unspecified", &[Has(c::HEART_FAILURE, 0.90)], 0.02),
    group("431", "431", "Intracerebral hemorrhage", &[Has(c::BRAIN_BLEED, 0.91)], 0.005),
    group("486", "486", "Pneumonia, organism unspecified", &[Has(c::PNEUMONIA, 0.89)], 0.015),
    group("493", "49390", "Asthma, unspecified type", &[Has(c::ASTHMA, 0.89)], 0.005),
    group("496", "496", "Chronic airway obstruction, not elsewhere classified", &[Has(c::COPD, 0.88)], 0.015),
    group("518", "51881", "Acute respiratory failure", &[Has(c::RESPIRATORY, 0.90)], 0.025),
    group("530", "53081", "Esophageal reflux", &[Has(c::REFLUX, 0.88)], 0.015),
    group("571", "5712", "Alcoholic cirrhosis of liver", &[Has(c::CIRRHOSIS, 0.90)], 0.005),
    group("572", "5723", "Portal hypertension", &[Has(c::CIRRHOSIS, 0.70)], 0.0025),
    group("577", "5770", "Acute pancreatitis", &[Has(c::PANCREATITIS, 0.91)], 0.0025),
    group("578", "5789", "Hemorrhage of gastrointestinal tract, unspecified", &[Has(c::BLEED, 0.89)], 0.0075),
    group("584", "5849", "Acute kidney failure, unspecified", &[Has(c::KIDNEY_INJURY, 0.90)], 0.02),
    group("585", "5859", "Chronic kidney disease, unspecified", &[Has(c::KIDNEY_DISEASE, 0.89), Has(c::DIALYSIS, 0.75)], 0.015),
    group("785", "78552", "Septic shock", &[Severity(4, 0.85), Has(c::SEPSIS, 0.35)], 0.015),
    group("820", "82021", "Closed fracture of intertrochanteric section of femur", &[Has(c::HIP, 0.91)], 0.0025),
    group("969", "9694", "Poisoning by benzodiazepine-based tranquilizers", &[Has(c::OVERDOSE, 0.88)], 0.0025),
    group("995", "99592", "Severe sepsis", &[Has(c::SEPSIS, 0.80)], 0.01),
    group("E849", "E8490", "Home accidents", &[Has(c::HIP, 0.55)], 0.0075),
    group("E888", "E8889", "Unspecified fall", &[Has(c::HIP, 0.80)], 0.0075),
    group("E950", "E9503", "Suicide and self-inflicted poisoning by tranquilizers", &[Has(c::OVERDOSE, 0.70)], 0.0013),
    group("V101", "V1011", "Personal history of malignant neoplasm of bronchus", &[Has(c::CANCER, 0.45)], 0.0075),
    group("V300", "V3000", "Single liveborn, born in hospital", &[], 0.0),
    group("V436", "V4364", "Hip joint replacement", &[Has(c::HIP, 0.35)], 0.0075),
    group("V451", "V4511", "Renal dialysis status", &[Has(c::DIALYSIS, 0.87)], 0.0025),
    group("V458", "V4582", "Percutaneous transluminal coronary angioplasty status", &[Has(c::CORONARY, 0.55)], 0.02),
    group("V462", "V462", "Dependence on supplemental oxygen", &[Has(c::COPD, 0.45)], 0.01),
    group("V586", "V5861", "Long-term (current) use of anticoagulants", &[Has(c::ATRIAL_FIBRILLATION, 0.75), Has(c::EMBOLISM, 0.65)], 0.025),
];

/// Procedures, sorted by name.
#[rustfmt::skip]
pub const PROCEDURES: [Group; 24] = [
    group("006", "0066", "Percutaneous transluminal coronary angioplasty", &[Has(c::INFARCTION, 0.85)], 0.003),
    group("013", "0131", "Incision of cerebral meninges", &[Has(c::BRAIN_BLEED, 0.85)], 0.001),
    group("033", "0331", "Spinal tap", &[Has(c::SEIZURES, 0.8), Has(c::HIV, 0.7)], 0.003),
    group("332", "3324", "Closed [endoscopic] biopsy of bronchus", &[Has(c::PNEUMONIA, 0.8)], 0.008),
    group("372", "3722", "Left heart cardiac catheterization", &[Has(c::INFARCTION, 0.92), Has(c::CORONARY, 0.2)], 0.005),
    group("387", "387", "Interruption of the vena cava", &[Has(c::EMBOLISM, 0.9)], 0.001),
    group("389", "3893", "Venous catheterization, not elsewhere classified", &[Has(c::SEPSIS, 0.9), Severity(3, 0.6)], 0.030),
    group("399", "3995", "Hemodialysis", &[Has(c::DIALYSIS, 0.95), Has(c::KIDNEY_INJURY, 0.1)], 0.002),
    group("431", "4311", "Percutaneous [endoscopic] gastrostomy", &[Has(c::DEMENTIA, 0.7), Has(c::BRAIN_BLEED, 0.5)], 0.003),
    group("451", "4513", "Other endoscopy of small intestine", &[Has(c::BLEED, 0.93)], 0.005),
    group("549", "5491", "Percutaneous abdominal drainage", &[Has(c::CIRRHOSIS, 0.88)], 0.003),
    group("793", "7935", "Open reduction of fracture with internal fixation, femur", &[Has(c::HIP, 0.93)], 0.001),
    group("885", "8856", "Coronary arteriography using two catheters", &[Has(c::INFARCTION, 0.9)], 0.006),
    group("887", "8872", "Diagnostic ultrasound of heart", &[Has(c::HEART_FAILURE, 0.8), Has(c::ATRIAL_FIBRILLATION, 0.3)], 0.010),
    group("891", "8914", "Electroencephalogram", &[Has(c::SEIZURES, 0.85), Has(c::OVERDOSE, 0.2)], 0.004),
    group("939", "9390", "Non-invasive mechanical ventilation", &[Has(c::COPD, 0.6), Has(c::SLEEP_APNEA, 0.8)], 0.008),
    group("944", "9444", "Other group therapy", &[Has(c::DEPRESSION, 0.6), Has(c::OVERDOSE, 0.7)], 0.004),
    group("946", "9462", "Alcohol detoxification", &[Has(c::ALCOHOL, 0.85)], 0.002),
    group("960", "9604", "Insertion of endotracheal tube", &[Has(c::RESPIRATORY, 0.8), Ventilated(0.7)], 0.010),
    group("966", "966", "Enteral infusion of concentrated nutritional substances", &[Severity(4, 0.85), Has(c::PANCREATITIS, 0.5)], 0.006),
    group("967", "9672", "Continuous invasive mechanical ventilation for 96 consecutive hours or more", &[Ventilated(0.95)], 0.004),
    group("990", "9904", "Transfusion of packed cells", &[Has(c::BLEED, 0.9), Has(c::CANCER, 0.3)], 0.010),
    group("991", "9915", "Parenteral infusion of concentrated nutritional substances", &[Has(c::PANCREATITIS, 0.8)], 0.001),
    group("992", "9925", "Injection or infusion of cancer chemotherapeutic substance", &[Has(c::CANCER, 0.8)], 0.002),
];

/// What is known of ventilation when the probability of a code is asked.
#[derive(Debug, Clone, Copy)]
pub enum Ventilation {
    /// It happened or not.
    Known(super::facts::Ventilated),
    /// Its probability given the facts of the note.
    Probable(f64),
}

impl Group {
    /// The probability that the group is coded.
    pub fn probability(&self, facts: &Facts, ventilation: Ventilation) -> f64 {
        let mut absent = 1.0 - self.otherwise;
        for driver in self.drivers {
            let p = match *driver {
                Has(condition, p) if facts.has[condition] => p,
                Severity(level, p) if facts.severity >= level => p,
                Ventilated(p) => match ventilation {
                    // One driver of this kind per group, so the mean of the product is the product of the mean.
                    Ventilation::Probable(q) => p * q,
                    Ventilation::Known(v) if v.two_days_or_more() => p,
                    Ventilation::Known(_) => 0.0,
                },
                _ => 0.0,
            };
            absent *= 1.0 - p;
        }
        1.0 - absent
    }
}
