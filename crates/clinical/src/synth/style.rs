//! The habits of the people who write the notes.
//!
//! Each author prefers one form of a condition's name, one layout of headers, one way of negating, one order of words.
//! The habits are fixed by the seed and the author's number alone, so that both note collections share their authors.

use super::conditions::{COUNT, FORMS};
use clinpeft_rng::{RngExt, Seed, Stream};

/// How a list of conditions is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// One line, commas.
    Commas,
    /// `1. first`, one line each.
    Numbers,
    /// `- first`, one line each.
    Dashes,
}

/// Letter case of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Sentences begin with a capital.
    Sentence,
    /// Everything in lower case.
    Lower,
}

/// Which of the optional sections are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoroughness {
    /// All eight sections.
    Full,
    /// No family history.
    NoFamily,
    /// Neither family nor social history.
    Brief,
}

/// One author.
#[derive(Debug, Clone)]
pub struct Author {
    /// The form of each condition's name that comes first to mind.
    favourite: [u8; COUNT],
    /// How often the favourite is used.
    faithful: f64,
    /// Layout of lists.
    pub listing: Listing,
    /// Letter case.
    pub case: Case,
    /// Sections that are written.
    pub thoroughness: Thoroughness,
    /// Header of the present illness.
    pub illness_header: &'static str,
    /// Header of the medical history.
    pub history_header: &'static str,
    /// Header of the medications.
    pub medication_header: &'static str,
    /// Header of the examination.
    pub exam_header: &'static str,
    /// Header of the complaint.
    pub complaint_header: &'static str,
    /// How an absent condition is negated.
    pub negation: &'static str,
    /// How a known condition is introduced.
    pub known: &'static str,
    /// How the reason for coming is introduced.
    pub presents: &'static str,
    /// How often a chronic condition is told by its medicine alone.
    pub medicine_only: f64,
}

const LISTINGS: [Listing; 3] = [Listing::Commas, Listing::Numbers, Listing::Dashes];
const CASES: [Case; 3] = [Case::Sentence, Case::Sentence, Case::Lower];
const THOROUGHNESS: [Thoroughness; 4] =
    [Thoroughness::Full, Thoroughness::Full, Thoroughness::NoFamily, Thoroughness::Brief];
/// Ways to say that a condition is absent.
pub const NEGATIONS: [&str; 5] = ["no hx of", "denies", "no known", "negative for", "without"];
/// Ways to introduce a known condition.
pub const KNOWN: [&str; 5] = ["with hx of", "h/o", "with a history of", "w/", "known"];
/// Ways to introduce the reason for coming.
pub const PRESENTS: [&str; 5] = ["presents with", "p/w", "admitted for", "who came in with", "transferred with"];

/// Headers of the sections that are known at admission, and how each is written: plainly, in capitals, or in one of three ways of one's own.
#[rustfmt::skip]
pub const HEADERS: [[&str; 5]; 5] = [
    ["Chief Complaint:", "CHIEF COMPLAINT:", "CC:", "chief complaint:", "Chief Complaint:"],
    ["History of Present Illness:", "HISTORY OF PRESENT ILLNESS:", "HPI:", "history of present illness:", "Present Illness:"],
    ["Past Medical History:", "PAST MEDICAL HISTORY:", "PMH:", "PMHx:", "past medical history:"],
    ["Medications on Admission:", "MEDICATIONS ON ADMISSION:", "Home Medications:", "medications on admission:", "Meds on Admission:"],
    ["Physical Exam:", "PHYSICAL EXAM:", "Physical Exam (ER):", "Physical Examination:", "physical exam:"],
];

/// One in five authors writes capitals, one header in eight is of the author's own.
fn headers(rng: &mut Stream) -> [&'static str; 5] {
    let usual = usize::from(rng.random_bool(0.2));
    HEADERS.map(|ways| match rng.random_bool(0.12) {
        true => ways[rng.random_range(2..5)],
        false => ways[usual],
    })
}

fn pick<T: Copy>(from: &[T], rng: &mut Stream) -> T {
    from[rng.random_range(0..from.len())]
}

impl Author {
    /// The author with this number.
    pub fn new(seed: Seed, number: u32) -> Author {
        let mut rng = seed.part(&format!("author-{number}")).stream("habits");
        let leaning: u8 = rng.random_range(0..FORMS as u8);
        let favourite =
            std::array::from_fn(|_| if rng.random_bool(0.7) { leaning } else { rng.random_range(0..FORMS as u8) });
        let headers = headers(&mut rng);
        Author {
            favourite,
            faithful: 0.6 + 0.35 * rng.random::<f64>(),
            listing: pick(&LISTINGS, &mut rng),
            case: pick(&CASES, &mut rng),
            thoroughness: pick(&THOROUGHNESS, &mut rng),
            complaint_header: headers[0],
            illness_header: headers[1],
            history_header: headers[2],
            medication_header: headers[3],
            exam_header: headers[4],
            negation: pick(&NEGATIONS, &mut rng),
            known: pick(&KNOWN, &mut rng),
            presents: pick(&PRESENTS, &mut rng),
            medicine_only: 0.1 + 0.2 * rng.random::<f64>(),
        }
    }

    /// The form in which this author writes a condition now.
    pub fn form(&self, condition: usize, rng: &mut Stream) -> usize {
        if rng.random_bool(self.faithful) { usize::from(self.favourite[condition]) } else { rng.random_range(0..FORMS) }
    }
}
