//! The section rules as published with the CORe tasks, their losses included.
//!
//! In the note, line breaks become the two characters backslash and n. A section is the shortest text of one character or
//! more between its name with a colon, in any case, and two line breaks followed by a header: characters that are none of
//! `( ) | \ .` nor a digit, then a colon. Therefore
//! - `Physical Exam (ER):` neither begins nor ends a section, and a numbered item ends none;
//! - the last section of a note, which no header follows, is lost;
//! - a note that already holds a backslash and an n is read as if a line ended there; since case is ignored, a backslash and
//!   an N can be part of what ends a section, but stays in a body.

use super::{AdmissionNote, SECTIONS};
use regex::Regex;
use std::sync::LazyLock;

const NAMES: [&str; SECTIONS] = [
    "chief complaint:",
    "present illness:",
    "medical history:",
    "medications on admission:",
    "allergies:",
    "physical exam:",
    "family history:",
    "social history:",
];

static BEGIN: LazyLock<[Regex; SECTIONS]> = LazyLock::new(|| {
    NAMES.map(|name| Regex::new(&any_case(name)).expect("the names hold no regex syntax but that of any case"))
});

static END: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)\\n\\n[^(\\|\d.)]+?:").expect("a constant expression that a test compiles"));

/// An expression that ignores case as Python does, which folds two more characters into an i than Unicode's simple folding.
/// `expression` has no group flags and no class or escape with an i.
pub(crate) fn any_case(expression: &str) -> String {
    format!("(?i){}", expression.replace('i', "[i\u{130}\u{131}]"))
}

/// Cuts a note by the published rules.
pub fn published(note: &str) -> AdmissionNote {
    let flat = note.replace('\n', "\\n");
    let mut bodies: [String; SECTIONS] = Default::default();
    for (body, begin) in bodies.iter_mut().zip(BEGIN.iter()) {
        if let Some(found) = section(&flat, begin) {
            *body = strip(&found.replace("\\n", " ")).to_string();
        }
    }
    AdmissionNote { bodies }
}

/// If nothing ends the first occurrence, nothing ends a later one either, so the first is all there is to try.
fn section<'a>(flat: &'a str, begin: &Regex) -> Option<&'a str> {
    let rest = &flat[begin.find(flat)?.end()..];
    let first = rest.chars().next()?.len_utf8();
    let end = END.find(&rest[first..])?.start() + first;
    Some(&rest[..end])
}

/// Cuts white space from both ends as Python does, which counts four separators more than Unicode.
pub fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMPLAINT: usize = 0;
    const HISTORY: usize = 2;
    const ALLERGIES: usize = 4;
    const EXAM: usize = 5;

    #[test]
    fn section_ends_at_a_header_after_an_empty_line() {
        let note = published("Chief Complaint:\nchest pain\n\nHPI: x\n\nAllergies:\nnone\n");
        assert_eq!(note.body(COMPLAINT), "chest pain");
    }

    #[test]
    fn last_section_is_lost() {
        assert_eq!(published("Allergies:\nnone\n").body(ALLERGIES), "");
    }

    #[test]
    fn header_with_parenthesis_neither_begins_nor_ends() {
        let note = published("Allergies: none\n\nPhysical Exam (ER):\nwell\n\nPertinent Results:\n");
        assert_eq!(note.body(EXAM), "");
        assert_eq!(note.body(ALLERGIES), "none  Physical Exam (ER): well");
    }

    #[test]
    fn numbered_items_end_nothing() {
        let note = published("Past Medical History:\n1. dm: old\n\n2. htn: new\n\nSocial History:\n");
        assert_eq!(note.body(HISTORY), "1. dm: old  2. htn: new");
    }

    #[test]
    fn body_has_at_least_one_character() {
        // The first line break is the body's character, so the header behind it cannot end the section.
        let note = published("Allergies:\n\nAttending: x\n\nService: y");
        assert_eq!(note.body(ALLERGIES), "Attending: x");
    }

    #[test]
    fn case_is_ignored_where_a_section_ends_but_not_within() {
        let note = published("Allergies: eggs\\Nnuts\n\\NService: x");
        assert_eq!(note.body(ALLERGIES), "eggs\\Nnuts");
    }

    /// A section as the published rules have it, in one.
    static WHOLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?i)allergies:(.+?)\\n\\n[^(\\|\d|\.)]+?:").unwrap());

    proptest! {
        #[test]
        fn equals_one_lazy_expression_on_arbitrary_text(
            parts in proptest::collection::vec(prop_oneof![
                Just("\n".to_string()), Just("\n\n".to_string()), Just("Allergies:".to_string()),
                Just("chief COMPLAINT:".to_string()), Just("Service:".to_string()), Just("\\n".to_string()), Just("\\N".to_string()),
                Just("1. a:".to_string()), Just("(ER):".to_string()), "[a-z :.\\\\]{0,6}", "\\PC{0,3}",
            ], 0..24)
        ) {
            let text: String = parts.concat();
            let flat = text.replace('\n', "\\n");
            let expected = WHOLE.captures(&flat).map_or(String::new(), |c| {
                strip(&c[1].replace("\\n", " ")).to_string()
            });
            let note = published(&text);
            prop_assert_eq!(note.body(ALLERGIES), expected);
        }

        #[test]
        fn arbitrary_text_is_no_reason_to_panic(text in "\\PC*") {
            let _ = published(&text).assemble();
        }
    }
}
