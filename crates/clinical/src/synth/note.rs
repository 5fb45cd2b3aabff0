//! Writes the discharge summary of one admission.
//!
//! The eight sections known at admission reveal the facts completely: every condition that is present is named once or
//! more, in one of its forms or by its medicine, and the severity by one phrase of the history and, where an examination
//! is written, by another there and by the vital signs. What follows them (hospital course, discharge diagnoses and
//! disposition) tells the outcome, as in real summaries.

use super::conditions::{CONDITIONS, COUNT, Condition, Course, SEVERITY_EXAM, SEVERITY_HISTORY};
use super::facts::{Facts, Outcome, Sex, Survival};
use super::filler;
use super::spec::NoteLength;
use super::style::{Author, Case, Listing, Thoroughness};
use super::words;
use clinpeft_rng::{RngExt, Stream, normal, shuffle};
use std::fmt::Write;

/// A mark in some synthetic notes that must never appear in an error, a log, a manifest or a report.
pub const CANARY: &str = "ZQXCANARYXQZ";

/// Headers of what follows the admission part.
pub const LATER_HEADERS: [&str; 6] = [
    "Brief Hospital Course:",
    "Discharge Medications:",
    "Discharge Disposition:",
    "Discharge Diagnosis:",
    "Discharge Condition:",
    "Followup Instructions:",
];

/// What a note is written about.
pub struct Occasion<'a> {
    /// Facts that the note reveals.
    pub facts: &'a Facts,
    /// What happened; told after the admission part only.
    pub outcome: Outcome,
    /// Days in hospital.
    pub days: i64,
    /// Age in years.
    pub age: u32,
    /// Sex.
    pub sex: Sex,
    /// Length of the admission part.
    pub length: NoteLength,
    /// Whether the hospital course has a header. The published rules find the end of the admission part by it.
    pub course_header: bool,
}

/// Where a condition is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Illness,
    History,
    MedicineOnly,
}

/// Sections of the admission part, in the order in which they are written.
struct Sections {
    complaint: String,
    illness: String,
    history: String,
    medication: String,
    allergies: String,
    exam: String,
    family: String,
    social: String,
}

fn pick<'a>(from: &[&'a str], rng: &mut Stream) -> &'a str {
    from[rng.random_range(0..from.len())]
}

/// Writes the whole discharge summary.
pub fn discharge_summary(occasion: &Occasion<'_>, author: &Author, rng: &mut Stream) -> String {
    let mut sections = sections(occasion, author, rng);
    match occasion.length {
        NoteLength::Brief => shorten(&mut sections, occasion.facts, rng),
        NoteLength::Short => {}
        NoteLength::Real => lengthen(&mut sections, rng),
    }
    if author.case == Case::Lower {
        for text in sections.all() {
            *text = text.to_lowercase();
        }
    }
    if rng.random_bool(0.02) {
        let _ = write!(sections.illness, " {CANARY}.");
    }
    mention_death(&mut sections, occasion, rng);
    layout(&sections, occasion, author, rng)
}

impl Sections {
    fn all(&mut self) -> [&mut String; 8] {
        [
            &mut self.complaint,
            &mut self.illness,
            &mut self.history,
            &mut self.medication,
            &mut self.allergies,
            &mut self.exam,
            &mut self.family,
            &mut self.social,
        ]
    }
}

fn places(occasion: &Occasion<'_>, author: &Author, rng: &mut Stream) -> [Place; COUNT] {
    std::array::from_fn(|i| {
        let condition = &CONDITIONS[i];
        let by_medicine = condition.medicine.is_some() && rng.random_bool(author.medicine_only);
        let in_illness = match condition.course {
            Course::Acute => occasion.facts.has[i],
            Course::Chronic => rng.random_bool(0.3),
        };
        match condition.course {
            Course::Chronic if by_medicine => Place::MedicineOnly,
            _ if in_illness => Place::Illness,
            _ => Place::History,
        }
    })
}

fn sections(occasion: &Occasion<'_>, author: &Author, rng: &mut Stream) -> Sections {
    let facts = occasion.facts;
    let places = places(occasion, author, rng);
    let present: Vec<usize> = (0..COUNT).filter(|i| facts.has[*i]).collect();
    let name = |i: usize, rng: &mut Stream| CONDITIONS[i].forms[author.form(i, rng)].to_string();
    let mut known = Vec::new();
    let mut reasons = Vec::new();
    let mut history = Vec::new();
    let mut medicines = Vec::new();
    for i in present.iter().copied() {
        match (places[i], CONDITIONS[i].course) {
            (Place::Illness, Course::Acute) => reasons.push(name(i, rng)),
            (Place::Illness, Course::Chronic) => known.push(name(i, rng)),
            (Place::History, _) => history.push(name(i, rng)),
            (Place::MedicineOnly, _) => {}
        }
        if let Some(medicine) = CONDITIONS[i].medicine
            && (places[i] == Place::MedicineOnly || rng.random_bool(0.4))
        {
            medicines.push(match occasion.length {
                NoteLength::Brief => medicine.into(),
                _ => format!("{medicine} {}", pick(&filler::DOSES, rng)),
            });
        }
    }
    for list in [&mut known, &mut reasons, &mut history, &mut medicines] {
        shuffle(list, rng);
    }
    let absent: Vec<usize> = (0..COUNT).filter(|i| !facts.has[*i]).collect();
    let mut negated = Vec::new();
    for _ in 0..rng.random_range(0..3) {
        negated.push(name(absent[rng.random_range(0..absent.len())], rng));
    }
    Sections {
        complaint: complaint(&present, rng),
        illness: illness(occasion, author, &known, &reasons, &negated, rng),
        history: list(&history, author, "none", rng),
        medication: list(&medicines, author, "none", rng),
        allergies: pick(&filler::ALLERGIES, rng).into(),
        exam: exam(facts, rng),
        family: family(author, rng),
        social: pick(&filler::SOCIAL, rng).into(),
    }
}

fn complaint(present: &[usize], rng: &mut Stream) -> String {
    let acute: Vec<usize> = present.iter().copied().filter(|i| CONDITIONS[*i].course == Course::Acute).collect();
    let candidates = if acute.is_empty() { present } else { &acute };
    if candidates.is_empty() || rng.random_bool(0.25) {
        return pick(&filler::COMPLAINTS, rng).into();
    }
    CONDITIONS[candidates[rng.random_range(0..candidates.len())]].complaint.into()
}

fn illness(
    occasion: &Occasion<'_>,
    author: &Author,
    known: &[String],
    reasons: &[String],
    negated: &[String],
    rng: &mut Stream,
) -> String {
    let sex = if occasion.sex == Sex::Female { 0 } else { 2 };
    let who = filler::PATIENTS[sex + rng.random_range(0..2)];
    let age = match occasion.age {
        90.. => "[**Age over 90 **]".to_string(),
        age => age.to_string(),
    };
    let mut text = format!("{age} {who}");
    if !known.is_empty() {
        let _ = write!(text, " {} {}", author.known, known.join(", "));
    }
    if reasons.is_empty() {
        let _ = write!(text, " {} {}", author.presents, pick(&filler::COMPLAINTS, rng));
    } else {
        let _ = write!(text, " {} {}", author.presents, reasons.join(" and "));
    }
    let mut sentences = vec![pick(&SEVERITY_HISTORY[occasion.facts.severity as usize], rng).to_string()];
    for absent in negated {
        sentences.push(format!("{} {absent}", author.negation));
    }
    if occasion.length != NoteLength::Brief {
        sentences.push(pick(&filler::ILLNESS, rng).to_string());
    }
    if rng.random_bool(0.1) {
        sentences.push(format!("\"{}\" per patient", pick(&filler::QUOTES, rng)));
    }
    shuffle(&mut sentences, rng);
    for sentence in sentences {
        let mut letters = sentence.chars();
        let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        let _ = write!(text, ". {first}{}", letters.as_str());
    }
    text.push('.');
    text
}

fn list(items: &[String], author: &Author, nothing: &str, rng: &mut Stream) -> String {
    if items.is_empty() {
        return nothing.into();
    }
    let lines: Vec<String> = match author.listing {
        Listing::Commas => return items.join(", "),
        Listing::Numbers => items.iter().zip(1..).map(|(item, n)| format!("{n}. {item}")).collect(),
        Listing::Dashes => items.iter().map(|item| format!("- {item}")).collect(),
    };
    // Some leave an empty line between items: it must not end the section.
    let separator = if rng.random_bool(0.05) { "\n\n" } else { "\n" };
    lines.join(separator)
}

fn exam(facts: &Facts, rng: &mut Stream) -> String {
    let level = f64::from(facts.severity);
    let mut around = |centre: f64, spread: f64| (centre + spread * normal(rng)).round().max(20.0) as i64;
    let heart = around(72.0 + 14.0 * level, 4.0);
    let systolic = around(138.0 - 13.0 * level, 5.0);
    let diastolic = around(78.0 - 6.0 * level, 4.0);
    let breaths = around(23.0 + 2.5 * level, 1.0) - 8;
    let oxygen = around(99.0 - 2.5 * level, 0.7).min(100);
    let words = pick(&SEVERITY_EXAM[facts.severity as usize], rng);
    let systems = pick(&filler::EXAM, rng);
    format!("VS: HR {heart} BP {systolic}/{diastolic} RR {breaths} O2 {oxygen}%\nGen: {words}\n{systems}")
}

fn family(author: &Author, rng: &mut Stream) -> String {
    if rng.random_bool(0.7) {
        return pick(&filler::FAMILY, rng).into();
    }
    let inherited = filler::INHERITED[rng.random_range(0..filler::INHERITED.len())];
    let relative = pick(&filler::RELATIVES, rng);
    format!("{relative} had {}", CONDITIONS[inherited].forms[author.form(inherited, rng)])
}

/// Leaves what tells the facts: an examination of one line and a social history of one word.
fn shorten(sections: &mut Sections, facts: &Facts, rng: &mut Stream) {
    let level = f64::from(facts.severity);
    let mut around = |centre: f64, spread: f64| (centre + spread * normal(rng)).round() as i64;
    let heart = around(72.0 + 14.0 * level, 4.0);
    let oxygen = around(99.0 - 2.5 * level, 0.7).min(100);
    sections.exam = format!("HR {heart} O2 {oxygen}% {}", pick(&SEVERITY_EXAM[facts.severity as usize], rng));
    sections.social = pick(&filler::LIVES, rng).into();
    sections.allergies.clear();
    sections.family.clear();
}

/// Adds sentences that say nothing about the facts until the length of a real note is reached.
fn lengthen(sections: &mut Sections, rng: &mut Stream) {
    let target = (6.35 + 0.45 * normal(rng)).exp().clamp(80.0, 8_000.0) as usize;
    let mut words: usize = sections.all().iter().map(|s| s.split_whitespace().count()).sum();
    while words < target {
        let (section, sentences): (&mut String, &[&str]) = match rng.random_range(0..10) {
            0..5 => (&mut sections.illness, &filler::LONG_ILLNESS),
            5 => (&mut sections.history, &filler::LONG_HISTORY),
            6 => (&mut sections.social, &filler::LONG_SOCIAL),
            _ => (&mut sections.exam, &filler::LONG_EXAM),
        };
        let before = section.len();
        section.push(if rng.random_bool(0.3) { '\n' } else { ' ' });
        match rng.random_bool(0.2) {
            true => section.push_str(pick(sentences, rng)),
            false => words::put(section, before + 80, rng),
        }
        words += section[before..].split_whitespace().count();
    }
}

/// Few who died have it said in the admission part: the filters must find it.
fn mention_death(sections: &mut Sections, occasion: &Occasion<'_>, rng: &mut Stream) {
    if occasion.outcome.survival == Survival::Survived {
        return;
    }
    match rng.random_range(0..50) {
        0 => sections.illness.push_str(" The patient passed away on the ward."),
        1 => sections.exam.push_str("\nOn the last day patient expired"),
        2 => sections.exam = format!("pt has expired, {}", sections.exam),
        _ => {}
    }
}

fn layout(sections: &Sections, occasion: &Occasion<'_>, author: &Author, rng: &mut Stream) -> String {
    let mut text = String::new();
    if occasion.length != NoteLength::Brief {
        text = head(occasion, rng);
    }
    let mut put = |header: &str, body: &str| {
        let gap = if header.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{header}{gap}{body}\n\n");
    };
    let medication_last = rng.random_bool(0.04);
    let medication = (!medication_last).then_some((author.medication_header, sections.medication.as_str()));
    match occasion.length {
        NoteLength::Brief => {
            put(author.complaint_header, &sections.complaint);
            put(author.illness_header, &sections.illness);
            put(author.history_header, &sections.history);
            medication.into_iter().for_each(|(header, body)| put(header, body));
            put(author.exam_header, &sections.exam);
            put("Social History:", &sections.social);
        }
        NoteLength::Short | NoteLength::Real => admission_part(sections, author, medication, rng, &mut put),
    }
    after_admission(occasion, rng, &mut put);
    if medication_last {
        // Nothing follows: the last section has no header behind it.
        let _ = write!(text, "{}\n{}", author.medication_header, sections.medication);
    }
    text
}

/// What stands above the sections.
fn head(occasion: &Occasion<'_>, rng: &mut Stream) -> String {
    let sex = match occasion.sex {
        Sex::Female => "F",
        Sex::Male => "M",
    };
    format!(
        "Admission Date:  [**2151-7-16**]              Discharge Date:   [**2151-7-{}**]\n\nDate of Birth:  [**2090-2-1**]             Sex:   {sex}\n\nService: {}\n\n",
        17 + occasion.days.clamp(0, 14),
        pick(&["MEDICINE", "SURGERY", "MICU", "CARDIOTHORACIC"], rng),
    )
}

/// All sections that are known at admission, with what stands between them in real notes.
fn admission_part(
    sections: &Sections,
    author: &Author,
    medication: Option<(&str, &str)>,
    rng: &mut Stream,
    put: &mut dyn FnMut(&str, &str),
) {
    put("Allergies:", &sections.allergies);
    put("Attending:[**First Name3 (LF) 1234**]", "");
    put(author.complaint_header, &sections.complaint);
    put("Major Surgical or Invasive Procedure:", "see below");
    put(author.illness_header, &sections.illness);
    put(author.history_header, &sections.history);
    if let Some((header, body)) = medication {
        put(header, body);
        if rng.random_bool(0.5) {
            put("Review of Systems:", "negative unless noted");
        }
    }
    if author.thoroughness != Thoroughness::Brief {
        put("Social History:", &sections.social);
    }
    if author.thoroughness == Thoroughness::Full {
        put("Family History:", &sections.family);
    }
    put(author.exam_header, &sections.exam);
    put("Pertinent Results:", "[**2151-7-16**] 06:10AM BLOOD WBC-8.4 Hgb-11.2 Plt Ct-210");
}

/// A sentence for each condition that names it twice: two ways to write it, or with its medicine or its complaint.
fn problems(facts: &Facts, rng: &mut Stream) -> Vec<String> {
    let present = (0..COUNT).filter(|i| facts.has[*i]).map(|i| &CONDITIONS[i]);
    let sentence = |condition: &Condition| {
        let mut terms: Vec<&str> = condition.forms.into_iter().chain(condition.medicine).collect();
        if condition.course == Course::Acute {
            terms.push(condition.complaint);
        }
        shuffle(&mut terms, rng);
        format!("{} {}.", terms[0], terms[1])
    };
    present.map(sentence).collect()
}

fn after_admission(occasion: &Occasion<'_>, rng: &mut Stream, put: &mut dyn FnMut(&str, &str)) {
    let facts = occasion.facts;
    let mut names: Vec<&str> = (0..COUNT).filter(|i| facts.has[*i]).map(|i| CONDITIONS[i].forms[0]).collect();
    shuffle(&mut names, rng);
    let (end, disposition) = match occasion.outcome.survival {
        Survival::Died => (filler::DIED, "Expired"),
        Survival::Survived => (filler::SURVIVED, pick(&filler::DISPOSITIONS, rng)),
    };
    let mut sentences = problems(facts, rng);
    if occasion.outcome.ventilated.two_days_or_more() {
        sentences.push(filler::INTUBATED.into());
    }
    sentences.extend([format!("Stayed {} days.", occasion.days), end.into()]);
    shuffle(&mut sentences, rng);
    if occasion.length != NoteLength::Brief {
        sentences.push(pick(&filler::COURSE, rng).into());
    }
    let mut course = sentences.join(" ");
    if occasion.length == NoteLength::Real {
        words::put(&mut course, words::length(4500.0, 0.5, rng), rng);
    }
    put(if occasion.course_header { "Brief Hospital Course:" } else { "" }, &course);
    let medicines: Vec<&str> = (0..COUNT).filter(|i| facts.has[*i]).filter_map(|i| CONDITIONS[i].medicine).collect();
    put("Discharge Medications:", &medicines.join("\n"));
    put("Discharge Disposition:", disposition);
    shuffle(&mut names, rng);
    put("Discharge Diagnosis:", &names.join("\n"));
    if occasion.length != NoteLength::Brief {
        put("Discharge Condition:", disposition);
        put("Followup Instructions:", "[**Hospital1 18**] clinic in two weeks");
    }
}
