//! From a discharge summary to an admission note: the eight sections that are known when a patient arrives.
//!
//! A discharge summary is written at the end of a stay and tells its outcome. What was known at the beginning is in
//! eight of its sections (van Aken et al. 2021, *Clinical Outcome Prediction from Admission Notes*). Two readers exist:
//! [`published`] does what the published rules do, with their losses; [`corrected`] knows the variants of the headers and
//! keeps a last section.

mod corrected;
mod published;

pub use corrected::corrected;
pub use published::published;
pub(crate) use published::{any_case, strip};

/// How many sections an admission note has.
pub const SECTIONS: usize = 8;

/// The headers of an admission note, in order.
pub const HEADERS: [&str; SECTIONS] = [
    "CHIEF COMPLAINT",
    "PRESENT ILLNESS",
    "MEDICAL HISTORY",
    "MEDICATION ON ADMISSION",
    "ALLERGIES",
    "PHYSICAL EXAM",
    "FAMILY HISTORY",
    "SOCIAL HISTORY",
];

/// The bodies of the eight sections in the order of [`HEADERS`]; empty where the note has none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AdmissionNote {
    pub(crate) bodies: [String; SECTIONS],
}

/// Shows lengths only: the bodies are a patient's.
impl std::fmt::Debug for AdmissionNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lengths = self.bodies.each_ref().map(String::len);
        write!(f, "AdmissionNote(lengths {lengths:?})")
    }
}

impl AdmissionNote {
    /// Whether one of the three main sections (complaint, illness, history) has a body.
    pub fn is_usable(&self) -> bool {
        self.bodies[..3].iter().any(|b| !b.is_empty())
    }

    /// The body of a section by its place in [`HEADERS`].
    pub fn body(&self, section: usize) -> &str {
        &self.bodies[section]
    }

    /// All bodies, in order.
    pub fn bodies(&self) -> impl Iterator<Item = &str> {
        self.bodies.iter().map(String::as_str)
    }

    /// The note as one text: `HEADER: body` eight times, an empty line between; every header is always there.
    pub fn assemble(&self) -> String {
        let length: usize = self.bodies.iter().map(String::len).sum();
        let mut text = String::with_capacity(length + 160);
        for (i, (header, body)) in HEADERS.iter().zip(&self.bodies).enumerate() {
            if i > 0 {
                text.push_str("\n\n");
            }
            text.push_str(header);
            text.push_str(": ");
            text.push_str(body);
        }
        text
    }
}
