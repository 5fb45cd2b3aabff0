//! The section rules without the losses of the published ones.
//!
//! A header stands at the beginning of a line. It is recognised by its name, variants included (`PMH:`, `HPI:`,
//! `Physical Exam (ER):`, any case), and opens a section that reaches to the next header, or to the end of the note. What
//! ends a section is a known header (also one of a section that is not kept, such as `Brief Hospital Course:`), or, after
//! an empty line, a line that looks like a header: up to six words and a colon, beginning with a capital letter. A
//! numbered item is not a header. White space runs become one space. If a section occurs twice, the first body that is not
//! empty counts; examinations at discharge are never taken.

use super::{AdmissionNote, SECTIONS};

/// Names that open a kept section, by their place in [`super::HEADERS`], in lower case without colon.
const OPENING: [&[&str]; SECTIONS] = [
    &["chief complaint", "chief complaints", "cc", "reason for admission", "presenting complaint"],
    &[
        "history of present illness",
        "history of the present illness",
        "present illness",
        "hpi",
        "hx of present illness",
        "history of presenting illness",
        "hx present illness",
    ],
    &[
        "past medical history",
        "medical history",
        "pmh",
        "pmhx",
        "past medical hx",
        "past history",
        "past medical and surgical history",
        "past medical/surgical history",
        "pmh/psh",
        "past medical history/past surgical history",
    ],
    &[
        "medications on admission",
        "medication on admission",
        "meds on admission",
        "admission medications",
        "admission meds",
        "home medications",
        "home meds",
        "outpatient medications",
        "medications at home",
    ],
    &["allergies", "allergy", "allergies/adverse reactions", "drug allergies"],
    &[
        "physical exam",
        "physical examination",
        "pe",
        "exam",
        "admission exam",
        "admission physical exam",
        "physical exam on admission",
        "physical examination on admission",
        "exam on admission",
        "phys exam",
    ],
    &["family history", "fh", "fhx", "family hx", "family medical history"],
    &["social history", "sh", "shx", "social hx", "soc hx", "soc history"],
];

/// Names that end a section and open none, in lower case without colon.
const CLOSING: &[&str] = &[
    "pertinent results",
    "brief hospital course",
    "hospital course",
    "hospital course by problem",
    "concise summary of hospital course by issue/system",
    "discharge medications",
    "discharge meds",
    "medications on discharge",
    "discharge disposition",
    "disposition",
    "discharge diagnosis",
    "discharge diagnoses",
    "final diagnosis",
    "final diagnoses",
    "discharge condition",
    "condition on discharge",
    "condition at discharge",
    "discharge instructions",
    "discharge exam",
    "discharge physical exam",
    "physical exam on discharge",
    "physical examination on discharge",
    "exam on discharge",
    "exam at discharge",
    "discharge labs",
    "labs on discharge",
    "followup instructions",
    "follow-up instructions",
    "followup",
    "attending",
    "service",
    "date of birth",
    "sex",
    "admission date",
    "discharge date",
    "major surgical or invasive procedure",
    "laboratory data",
    "labs",
    "imaging",
    "studies",
    "dictated by",
    "completed by",
    "facility",
    "review of systems",
    "past surgical history",
    "addendum",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Header {
    Opens(usize),
    Closes,
}

/// Cuts a note by the corrected rules.
pub fn corrected(note: &str) -> AdmissionNote {
    let mut admission = AdmissionNote::default();
    let mut open: Option<usize> = None;
    let mut body = String::new();
    let mut after_empty_line = true;
    for line in note.split(['\n', '\r']) {
        match header(line, after_empty_line) {
            Some((kind, rest)) => {
                keep(&mut admission, open, &mut body);
                open = match kind {
                    Header::Opens(section) => Some(section),
                    Header::Closes => None,
                };
                append(&mut body, rest);
            }
            None => append(&mut body, line),
        }
        after_empty_line = line.trim().is_empty();
    }
    keep(&mut admission, open, &mut body);
    admission
}

fn keep(admission: &mut AdmissionNote, open: Option<usize>, body: &mut String) {
    if let Some(section) = open
        && admission.bodies[section].is_empty()
    {
        admission.bodies[section] = std::mem::take(body);
    }
    body.clear();
}

fn append(body: &mut String, line: &str) {
    for word in line.split_whitespace() {
        if !body.is_empty() {
            body.push(' ');
        }
        body.push_str(word);
    }
}

/// The header at the beginning of a line and what follows it, if there is one.
fn header(line: &str, after_empty_line: bool) -> Option<(Header, &str)> {
    let line = line.trim_start();
    let colon = line.find(':').filter(|colon| *colon <= 80)?;
    let name = line[..colon].trim();
    let rest = &line[colon + 1..];
    if let Some(kind) = known(name) {
        return Some((kind, rest));
    }
    (after_empty_line && looks_like_a_header(name)).then_some((Header::Closes, rest))
}

fn known(name: &str) -> Option<Header> {
    let lower = name.to_lowercase();
    let bare = match lower.find('(') {
        // "Physical Exam (discharge)" is the exam that must not be read.
        Some(_) if lower.contains("discharge") => return Some(Header::Closes),
        Some(bracket) => lower[..bracket].trim_end(),
        None => lower.as_str(),
    };
    if let Some(section) = OPENING.iter().position(|names| names.contains(&bare)) {
        return Some(Header::Opens(section));
    }
    CLOSING.contains(&bare).then_some(Header::Closes)
}

fn looks_like_a_header(name: &str) -> bool {
    let words = name.split_whitespace().count();
    (1..=6).contains(&words)
        && name.starts_with(|c: char| c.is_uppercase())
        && !name.contains(['.', '|', '\\', ',', '['])
        && !name.contains(|c: char| c.is_numeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(note: &str, section: usize, body: &str) {
        assert_eq!(corrected(note).body(section), body);
    }

    #[test]
    fn header_variants_open_their_section() {
        check("PMH:\n1. dm\n2. htn\n\nSocial History:\nsmokes", 2, "1. dm 2. htn");
        check("HISTORY OF PRESENT ILLNESS: fell", 1, "fell");
        check("Physical Exam (ER):\nwell\n\nPertinent Results: x", 5, "well");
        check("medications on admission:\naspirin", 3, "aspirin");
    }

    #[test]
    fn last_section_is_kept() {
        check("Chief Complaint:\nfever\n\nAllergies:\nnone", 4, "none");
    }

    #[test]
    fn numbered_items_and_inner_headers_end_nothing() {
        check("Past Medical History:\n1. dm: old\n\n2. ckd: new", 2, "1. dm: old 2. ckd: new");
        check("Physical Exam:\nVS: 98.6\nHEENT: clear", 5, "VS: 98.6 HEENT: clear");
    }

    #[test]
    fn what_is_written_at_discharge_is_dropped() {
        let note = "Physical Exam:\nill\nDischarge exam:\nwell\n\nBrief Hospital Course:\ndied\n\nAllergies: none";
        check(note, 5, "ill");
        check("Physical Exam (at discharge): well", 5, "");
        check("Allergies: none\n\nSome New Header: died", 4, "none");
    }

    #[test]
    fn first_body_that_is_not_empty_counts() {
        check("Allergies:\n\nAllergies: eggs\n\nAllergies: nuts", 4, "eggs");
    }

    proptest! {
        #[test]
        fn arbitrary_text_is_no_reason_to_panic(text in "\\PC*") {
            let _ = corrected(&text).assemble();
        }

        #[test]
        fn bodies_have_single_spaces_and_no_line_breaks(text in "(Allergies:|PMH:|[a-z :\t\r\n]{0,5}){0,20}") {
            for body in corrected(&text).bodies {
                prop_assert!(!body.contains(['\n', '\r', '\t']) && !body.contains("  "));
            }
        }
    }
}
