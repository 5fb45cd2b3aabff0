//! Mentions of the patient's death, which would give a mortality label away.

use crate::sections::{AdmissionNote, any_case};
use regex::Regex;
use std::borrow::Cow;
use std::sync::LazyLock;

const MEDICATION: usize = 3;
const EXAM: usize = 5;

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("a constant expression that a test compiles")
}

/// White space as Python's `\s` has it: four separators more than Unicode.
const SPACE: &str = r"[\s\x1c-\x1f]";

fn published_expression(text: &str) -> Regex {
    expression(
        &any_case(&text.replace("DIED", "(?:had_|has_)?(?:expired|died|passed away|deceased)")).replace('_', SPACE),
    )
}

static AFTER_HEADER: LazyLock<Regex> =
    LazyLock::new(|| published_expression(r"((?:physical exam|medication on admission):[^\n]*?)(?:patient|pt)?_+DIED"));

static ANYWHERE: LazyLock<Regex> =
    LazyLock::new(|| published_expression("(?:patient|pt)_+DIED|he expired|pronounced expired|time of death"));

static PATIENT_DIED: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?i)\b(?:(?:patient|pt)\.?,?\s+(?:(?:had|has|is|was|then|later|unfortunately)\s+)*(?:expired|died|passed away|passed|deceased)\b|s?he\s+(?:(?:had|has|then|later|unfortunately)\s+)*(?:expired|died|passed away)\b|(?:pronounced|declared)\s+(?:expired|dead|deceased)\b|time of death)",
    )
});

static DIED: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?i)\b(?:(?:the\s+)?(?:patient|pt)\.?,?\s+)?(?:(?:had|has|is|was|then|later|unfortunately)\s+)*(?:(?:pronounced|declared)\s+)?(?:expired|deceased)\b",
    )
});

/// The published filter on the assembled text: `None` drops the sample.
///
/// After the headers of examination and medication the first mention on the line is deleted, later ones stay; a mention of
/// the patient elsewhere drops the sample.
pub fn published(text: &str) -> Option<Cow<'_, str>> {
    let text = AFTER_HEADER.replace_all(text, "$1");
    (!ANYWHERE.is_match(&text)).then_some(text)
}

/// The corrected filter on the sections: `None` drops the sample.
///
/// In examination and medication every mention is deleted, since nothing there explains it; a patient's death in any other
/// section drops the sample. Relatives may die.
pub fn corrected(mut note: AdmissionNote) -> Option<AdmissionNote> {
    for section in [MEDICATION, EXAM] {
        let body = &mut note.bodies[section];
        for expression in [&*PATIENT_DIED, &*DIED] {
            if let Cow::Owned(changed) = expression.replace_all(body, "") {
                *body = changed.split_whitespace().collect::<Vec<_>>().join(" ");
            }
        }
    }
    let leaks = note.bodies.iter().any(|body| PATIENT_DIED.is_match(body));
    (!leaks).then_some(note)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sections::corrected as cut;

    #[test]
    fn published_deletes_one_mention_per_header() {
        let text = "PHYSICAL EXAM: cold, pt expired, patient died\n\nFAMILY HISTORY: x";
        assert_eq!(published(text), None, "the second mention stays and drops it");
        let text = "PHYSICAL EXAM: cold, pt has expired.\n\nFAMILY HISTORY: father died";
        assert_eq!(published(text).unwrap(), "PHYSICAL EXAM: cold, .\n\nFAMILY HISTORY: father died");
        assert_eq!(published("PRESENT ILLNESS: she expired"), None);
        assert_eq!(published("PRESENT ILLNESS: Time of Death 3"), None);
        assert_eq!(published("PRESENT ILLNESS: pt d\u{131}ed"), None, "Python takes a dotless i for an i");
    }

    #[test]
    fn corrected_deletes_all_mentions_and_lets_relatives_die() {
        let note = cut("HPI: fever\n\nPhysical Exam: pt expired, cold. Patient died. Expired\n\nFH: mother died");
        let note = corrected(note).unwrap();
        assert_eq!(note.body(EXAM), ", cold. .");
        assert_eq!(note.body(6), "mother died");
        assert!(corrected(cut("HPI: the patient unfortunately passed away")).is_none());
        assert!(corrected(cut("HPI: he expired")).is_none());
    }
}
