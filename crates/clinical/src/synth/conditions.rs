//! What a patient can have: how common it is, how it is written, what it does.

/// Whether a condition stays with a patient or belongs to one admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Drawn once per patient; depends on frailty and age.
    Chronic,
    /// Drawn per admission; depends on the severity.
    Acute,
}

/// One condition.
#[derive(Debug)]
pub struct Condition {
    /// Chronic or acute.
    pub course: Course,
    /// Log-odds of having it at mean frailty, age and severity.
    pub base: f64,
    /// What one standard deviation of frailty (chronic) or one step of severity (acute) adds to the log-odds.
    pub slope: f64,
    /// What ten years of age above 60 add to the log-odds.
    pub age: f64,
    /// Ways to write it: in full, as a diagnosis is listed; in other English words; and last as clinicians abbreviate it.
    pub forms: [&'static str; FORMS],
    /// The medicine that gives it away.
    pub medicine: Option<&'static str>,
    /// A complaint that brings such a patient.
    pub complaint: &'static str,
    /// Added to the log-odds of death.
    pub death: f64,
    /// Added to the score of the length of stay.
    pub stay: f64,
    /// Added to the log-odds of ventilation for two days or more.
    pub ventilated: f64,
    /// Added to the log-odds that ventilation, if two days, lasts a week.
    pub prolonged: f64,
}

/// In how many ways a condition is written.
pub const FORMS: usize = 5;

/// How many of them are words that everybody knows; the others are met in notes only.
pub const KNOWN_FORMS: usize = 3;

/// How many conditions there are.
pub const COUNT: usize = 32;

const fn chronic(
    [base, slope, age]: [f64; 3],
    forms: [&'static str; FORMS],
    medicine: Option<&'static str>,
    complaint: &'static str,
    [death, stay, ventilated, prolonged]: [f64; 4],
) -> Condition {
    Condition {
        course: Course::Chronic,
        base,
        slope,
        age,
        forms,
        medicine,
        complaint,
        death,
        stay,
        ventilated,
        prolonged,
    }
}

const fn acute(odds: [f64; 3], forms: [&'static str; FORMS], complaint: &'static str, effects: [f64; 4]) -> Condition {
    let mut condition = chronic(odds, forms, None, complaint, effects);
    condition.course = Course::Acute;
    condition
}

/// The conditions. Indices are named below.
#[rustfmt::skip]
pub const CONDITIONS: [Condition; COUNT] = [
    chronic([-0.2, 0.3, 0.35], ["hypertension", "high pressure", "hypertensive", "htn", "hbp"], Some("lisinopril"), "headache", [-0.3, -0.1, 0.0, -0.3]),
    chronic([-1.0, 0.3, 0.10], ["diabetes mellitus", "diabetic", "sugar disease", "dm", "niddm"], Some("metformin"), "malaise", [0.1, 0.3, 0.0, 0.2]),
    chronic([-1.4, 0.7, 0.30], ["congestive heart failure", "cardiomyopathy", "weak heart", "chf", "hfref"], Some("furosemide"), "leg swelling", [0.9, 0.6, 0.4, 0.8]),
    chronic([-1.6, 0.4, 0.45], ["atrial fibrillation", "irregular rhythm", "atrial arrhythmia", "afib", "paf"], Some("warfarin"), "palpitations", [0.2, 0.2, 0.0, 0.0]),
    chronic([-1.1, 0.3, 0.35], ["coronary artery disease", "ischemic heart", "coronary stenosis", "cad", "ihd"], Some("clopidogrel"), "chest tightness", [0.0, -0.2, 0.0, -0.5]),
    chronic([-1.7, 0.5, 0.15], ["chronic obstructive pulmonary disease", "emphysema", "smokers lung", "copd", "aecopd"], Some("tiotropium"), "wheezing", [0.5, 0.4, 0.8, 1.4]),
    chronic([-1.8, 0.5, 0.30], ["chronic kidney disease", "renal insufficiency", "nephropathy", "ckd", "cri"], Some("calcitriol"), "fatigue", [0.4, 0.4, 0.0, 0.2]),
    chronic([-3.2, 0.6, 0.00], ["end stage renal disease", "hemodialysis", "kidneys failed", "esrd", "hd"], Some("sevelamer"), "missed session", [0.6, 0.7, 0.2, 0.4]),
    chronic([-2.7, 0.4, -0.10], ["cirrhosis", "scarred liver", "hepatopathy", "esld", "nash"], Some("lactulose"), "abdominal swelling", [1.6, 0.9, 0.3, 0.4]),
    chronic([-2.0, 0.2, 0.15], ["hypothyroidism", "underactive gland", "myxedema", "hypoth", "lowt4"], Some("levothyroxine"), "cold intolerance", [0.0, 0.0, 0.0, 0.0]),
    chronic([-1.8, 0.3, -0.05], ["depression", "low mood", "melancholia", "mdd", "dep"], Some("sertraline"), "poor sleep", [-0.2, 0.0, 0.0, -0.2]),
    chronic([-2.9, 0.7, 0.60], ["dementia", "memory loss", "cognitive decline", "sdat", "ad"], Some("donepezil"), "confusion", [0.9, 0.2, -0.3, 0.0]),
    chronic([-2.6, 0.4, 0.15], ["metastatic cancer", "disseminated malignancy", "carcinomatosis", "mets", "stage iv"], Some("capecitabine"), "weight loss", [2.2, 0.5, 0.0, 0.0]),
    chronic([-0.8, 0.1, 0.25], ["hyperlipidemia", "elevated cholesterol", "dyslipidemia", "hld", "hchol"], Some("simvastatin"), "muscle aches", [-0.3, -0.1, 0.0, 0.0]),
    chronic([-2.5, 0.1, -0.15], ["asthma", "reactive airways", "bronchospasm", "rad", "asthm"], Some("albuterol"), "chest tightness", [-0.4, -0.2, 0.3, -0.9]),
    chronic([-1.5, 0.1, 0.05], ["gastroesophageal reflux", "acid reflux", "pyrosis", "gerd", "ger"], Some("omeprazole"), "heartburn", [-0.1, 0.0, 0.0, 0.0]),
    chronic([-2.7, 0.2, 0.00], ["obstructive sleep apnea", "nightly cpap", "snoring", "osa", "osahs"], None, "daytime sleepiness", [0.1, 0.2, 0.4, 0.5]),
    chronic([-4.0, 0.2, -0.30], ["human immunodeficiency virus", "low cd4", "immune deficiency", "hiv", "aids"], Some("truvada"), "thrush", [0.8, 0.5, 0.2, 0.4]),
    chronic([-2.3, 0.3, -0.30], ["alcohol abuse", "heavy drinker", "alcoholic", "etoh", "aud"], Some("thiamine"), "tremor", [0.3, 0.3, 0.3, -1.0]),
    chronic([-2.8, 0.3, -0.05], ["seizure disorder", "epilepsy", "convulsions", "sz", "tle"], Some("keppra"), "shaking spell", [0.1, 0.2, 0.3, -0.6]),
    chronic([-2.8, 0.3, 0.20], ["gout", "podagra", "uric arthropathy", "gouty", "tophi"], Some("allopurinol"), "toe pain", [-0.1, 0.0, 0.0, 0.0]),
    acute([-3.6, 0.85, 0.10], ["sepsis", "bloodstream infection", "bacteremia", "septic", "sirs"], "fever", [1.5, 1.1, 0.6, 1.0]),
    acute([-2.4, 0.45, 0.10], ["pneumonia", "lobar consolidation", "lung infection", "pna", "cap"], "cough", [0.7, 0.7, 0.8, 1.8]),
    acute([-2.6, 0.25, 0.05], ["gastrointestinal bleed", "melena", "bloody stool", "gib", "ugib"], "dark stools", [0.4, 0.0, -0.2, -1.8]),
    acute([-3.2, 0.40, 0.10], ["intracranial hemorrhage", "brain bleed", "subdural", "ich", "sah"], "worst headache", [1.9, 1.2, 1.1, 2.0]),
    acute([-2.7, 0.25, 0.15], ["myocardial infarction", "heart attack", "coronary occlusion", "nstemi", "stemi"], "chest pain", [0.6, -0.5, 0.0, -1.6]),
    acute([-3.1, 0.05, 0.35], ["hip fracture", "broken femur", "femoral fracture", "hip fx", "itfx"], "fall", [0.2, 0.6, -0.4, -0.6]),
    acute([-2.6, 0.60, 0.10], ["acute kidney injury", "rising creatinine", "oliguria", "aki", "arf"], "low urine output", [0.8, 0.6, 0.2, 0.6]),
    acute([-3.2, 0.85, 0.05], ["respiratory failure", "hypoxia", "desaturating", "resp failure", "ahrf"], "shortness of breath", [1.0, 0.6, 1.6, 0.7]),
    acute([-3.7, 0.30, 0.00], ["pulmonary embolism", "saddle clot", "thromboembolism", "pe", "vte"], "pleuritic pain", [0.7, 0.3, 0.2, -0.5]),
    acute([-3.6, 0.20, -0.05], ["pancreatitis", "inflamed pancreas", "pancreatic necrosis", "panc", "agp"], "epigastric pain", [0.2, 1.1, 0.2, 1.2]),
    acute([-3.6, 0.20, -0.50], ["overdose", "poisoning", "toxic ingestion", "od", "tox"], "found down", [-0.5, -0.9, 0.9, -2.6]),
];

/// Indices into [`CONDITIONS`] for the tables of codes.
#[rustfmt::skip]
pub mod index {
    #![allow(missing_docs, reason = "each name is the condition's")]
    pub const HYPERTENSION: usize = 0; pub const DIABETES: usize = 1; pub const HEART_FAILURE: usize = 2;
    pub const ATRIAL_FIBRILLATION: usize = 3; pub const CORONARY: usize = 4; pub const COPD: usize = 5;
    pub const KIDNEY_DISEASE: usize = 6; pub const DIALYSIS: usize = 7; pub const CIRRHOSIS: usize = 8;
    pub const HYPOTHYROID: usize = 9; pub const DEPRESSION: usize = 10; pub const DEMENTIA: usize = 11;
    pub const CANCER: usize = 12; pub const LIPIDS: usize = 13; pub const ASTHMA: usize = 14;
    pub const REFLUX: usize = 15; pub const SLEEP_APNEA: usize = 16; pub const HIV: usize = 17;
    pub const ALCOHOL: usize = 18; pub const SEIZURES: usize = 19; pub const GOUT: usize = 20;
    pub const SEPSIS: usize = 21; pub const PNEUMONIA: usize = 22; pub const BLEED: usize = 23;
    pub const BRAIN_BLEED: usize = 24; pub const INFARCTION: usize = 25; pub const HIP: usize = 26;
    pub const KIDNEY_INJURY: usize = 27; pub const RESPIRATORY: usize = 28; pub const EMBOLISM: usize = 29;
    pub const PANCREATITIS: usize = 30; pub const OVERDOSE: usize = 31;
}

/// How many steps of severity there are.
pub const LEVELS: usize = 5;

/// Words of the history for each step of severity.
pub const SEVERITY_HISTORY: [[&str; 4]; LEVELS] = [
    ["appears well", "feels fine overall", "stable throughout", "no acute complaints"],
    ["mildly unwell", "somewhat tired", "slightly worse lately", "mild symptoms"],
    ["moderately ill", "progressively weaker", "clearly declining", "bedbound since yesterday"],
    ["severely ill", "rapidly deteriorating", "markedly obtunded", "very sick on arrival"],
    ["critically ill", "moribund on arrival", "in extremis", "near cardiac arrest"],
];

/// Words of the examination for each step of severity.
pub const SEVERITY_EXAM: [[&str; 3]; LEVELS] = [
    ["nad", "pleasant and comfortable", "looks great"],
    ["tired appearing", "mild distress", "a bit uncomfortable"],
    ["ill appearing", "diaphoretic", "moderate distress"],
    ["toxic appearing", "lethargic", "severe distress"],
    ["unresponsive", "mottled", "cold extremities"],
];
