//! Words that say nothing about the facts.

use super::conditions::index as c;

/// Doses behind a medicine.
pub const DOSES: [&str; 6] = ["5 mg daily", "10 mg qd", "20 mg po bid", "40 mg daily", "as directed", "one tab qhs"];
/// Allergies.
pub const ALLERGIES: [&str; 6] = [
    "No Known Allergies",
    "NKDA",
    "Penicillins",
    "Sulfa (Sulfonamide Antibiotics)",
    "Patient recorded as having No Known Allergies to Drugs",
    "Codeine / Latex",
];
/// Complaints that fit anybody.
pub const COMPLAINTS: [&str; 5] = ["weakness", "feeling unwell", "nausea", "referred from clinic", "pain"];
/// One sentence of the history.
pub const ILLNESS: [&str; 8] = [
    "symptoms began two days ago",
    "seen in the ED and given fluids",
    "brought in by family",
    "called the ambulance at night",
    "was at rehab until this week",
    "reports poor appetite",
    "had labs drawn at [**Hospital1 18**]",
    "followed by Dr. [**Last Name (STitle) 1234**]",
];
/// What patients say.
pub const QUOTES: [&str; 4] = ["I feel lousy", "not myself", "just tired", "this came out of nowhere"];
/// Examination by systems.
pub const EXAM: [&str; 6] = [
    "HEENT: perrl, mmm. Abd: soft, nt",
    "CV: regular, no murmur. Ext: warm",
    "Lungs: coarse at bases. Neuro: grossly intact",
    "Skin: no rash. Neck: supple",
    "Abd: nd, bs present. Neuro: moves all four",
    "HEENT: anicteric. CV: s1 s2",
];
/// Family histories without a disease.
pub const FAMILY: [&str; 4] = ["Noncontributory", "nc", "unknown, adopted", "Parents lived long"];
/// Relatives.
pub const RELATIVES: [&str; 5] = ["Mother", "Father", "Brother", "Sister", "An uncle"];
/// Diseases of relatives.
pub const INHERITED: [usize; 4] = [c::CORONARY, c::DIABETES, c::HYPERTENSION, c::CANCER];
/// Social histories.
pub const SOCIAL: [&str; 6] = [
    "Lives with spouse, retired teacher",
    "Former smoker, lives alone",
    "Widowed, two children nearby",
    "Works in an office, no tobacco",
    "Lives in assisted living, walks with cane",
    "Married, retired, occasional wine",
];
/// Hospital courses.
pub const COURSE: [&str; 4] = [
    "Consultants agreed with the plan.",
    "Diet was advanced as tolerated.",
    "Physical therapy saw the patient.",
    "Lines were removed in turn.",
];
/// Where survivors go.
pub const DISPOSITIONS: [&str; 4] = ["Home", "Home With Service", "Extended Care", "Rehab"];

/// Long sentences for the history of real length.
pub const LONG_ILLNESS: [&str; 12] = [
    "The patient was in the usual state of health until several days prior to presentation, when the above was first noticed.",
    "In the emergency room two peripheral lines were placed, labs were sent and a urine sample was obtained.",
    "Outside records were requested and faxed from [**Hospital1 18**], but several pages were not legible.",
    "The primary care physician was called and agreed that an admission was the safest way forward.",
    "There was no recent travel, no sick contacts and no change of diet or of medicines in the last month.",
    "Review with the family at the bedside did not add to the account that the patient gave on arrival.",
    "On the floor the patient was able to answer questions and asked for something to drink.",
    "An ambulance was called by a neighbor, and the crew noted that the apartment was in good order.",
    "Vital signs were repeated on transfer and were written on the flow sheet by the triage nurse.",
    "The patient had been seen in clinic on [**2151-7-2**] for a routine visit, at which nothing was changed.",
    "A chest film was obtained portably and compared with the one from [**2150-11-3**].",
    "The case was discussed with the attending overnight and the plan was explained to the patient.",
];
/// Long sentences for the medical history.
pub const LONG_HISTORY: [&str; 5] = [
    "s/p tonsillectomy as a child, date not known",
    "s/p cataract surgery on both sides at [**Hospital1 18**]",
    "colonoscopy [**2148-5-1**] with one small polyp, removed",
    "remote ankle injury without surgery",
    "seasonal rhinitis, chronic low back pain",
];
/// Long sentences for the social history.
pub const LONG_SOCIAL: [&str; 4] = [
    "Worked for many years in a warehouse and later at a desk.",
    "Has a health care proxy on file, copy in the chart.",
    "Enjoys gardening and sees grandchildren every week.",
    "Eats most meals at home and manages the household accounts.",
];
/// Long sentences for the examination.
pub const LONG_EXAM: [&str; 7] = [
    "Head is atraumatic, sclerae are clear, oropharynx without lesions.",
    "Neck without lymphadenopathy, trachea midline.",
    "Heart sounds are audible in all four fields.",
    "Abdomen without scars, bowel sounds in four quadrants, no organs felt.",
    "Joints without swelling or warmth, full range of motion at both knees.",
    "Cranial nerves two to twelve tested and without deficit.",
    "Skin without ulcer, small bruise at the site of a blood draw.",
];
/// How a note calls a patient.
pub const PATIENTS: [&str; 4] = ["yo F", "year old woman", "yo M", "year old man"];
/// How a hospital course ends for those who died.
pub const DIED: &str = "The patient expired with family at bedside.";
/// How it ends for the others.
pub const SURVIVED: &str = "Discharged in stable condition.";
/// How long ventilation is told.
pub const INTUBATED: &str = "Remained intubated for days.";
/// Social histories of one word.
pub const LIVES: [&str; 4] = ["alone", "married", "retired", "widowed"];
