//! Identifiers that cannot be mixed up, points in time, and note text that cannot be printed.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A patient (`SUBJECT_ID`).
    SubjectId
);
id!(
    /// A hospital admission (`HADM_ID`).
    HadmId
);
id!(
    /// A stay in an intensive-care unit (`ICUSTAY_ID`).
    IcuStayId
);

/// A point in time: seconds since 1970-01-01 on the table's own civil clock (MIMIC dates are shifted per patient).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

/// Seconds of a day.
pub const DAY: i64 = 86_400;
/// Seconds of an hour.
pub const HOUR: i64 = 3_600;

impl Moment {
    /// Parses `2151-07-16 13:45:00`, the same with `T`, or a date alone (midnight). `None` for anything else.
    pub fn parse(text: &str) -> Option<Moment> {
        let date_time: jiff::civil::DateTime = match text.len() {
            10 => text.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()),
            16.. => text.parse().ok()?,
            _ => return None,
        };
        Some(Moment(date_time.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0)).as_secs()))
    }

    /// Midnight of a civil date; `None` outside of the calendar.
    pub fn on(year: i16, month: i8, day: i8) -> Option<Moment> {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        let epoch = jiff::civil::date(1970, 1, 1);
        Some(Moment(date.duration_since(epoch).as_secs()))
    }

    /// Later (or, with a negative number, earlier) by whole seconds.
    pub fn plus(self, seconds: i64) -> Moment {
        Moment(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this moment.
    pub fn since(self, earlier: Moment) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn civil(self) -> jiff::civil::DateTime {
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        epoch.saturating_add(jiff::SignedDuration::from_secs(self.0))
    }

    /// `2151-07-16`.
    pub fn date(self) -> String {
        self.civil().date().to_string()
    }
}

/// `2151-07-16 13:45:00`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil();
        write!(f, "{} {}", civil.date(), civil.time())
    }
}

/// The text of a clinical note. It has no `Display`; `Debug` shows its length and a short hash only.
///
/// ```compile_fail
/// let text = clinpeft_clinical::NoteText::new("a patient's history".to_string());
/// println!("{text}");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NoteText(String);

impl NoteText {
    /// Wraps text.
    pub fn new(text: String) -> Self {
        NoteText(text)
    }

    /// The text itself, for those who must work with it. Never pass it to a log, an error or a report.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for NoteText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = blake3::hash(self.0.as_bytes()).to_hex();
        write!(f, "NoteText({} bytes, {})", self.0.len(), &hash[..8])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_round_trip_through_text() {
        let moment = Moment::parse("2151-07-16 13:45:00").unwrap();
        assert_eq!(moment.to_string(), "2151-07-16 13:45:00");
        assert_eq!(moment.plus(DAY).date(), "2151-07-17");
        assert_eq!(Moment::parse("2151-07-16"), Moment::on(2151, 7, 16));
        assert_eq!(Moment::parse("2151-02-30"), None);
        assert_eq!(Moment::parse("16/07/2151"), None);
        assert_eq!(Moment::parse(""), None);
    }

    #[test]
    fn debug_of_a_note_shows_no_word_of_it() {
        let shown = format!("{:?}", NoteText::new("secret words".into()));
        assert!(shown.starts_with("NoteText(12 bytes, "));
        assert!(!shown.contains("secret"));
    }
}
