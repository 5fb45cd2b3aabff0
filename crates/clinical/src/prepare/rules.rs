//! The behaviours in which the two presets differ, each with a name of its own.

use super::options::Fidelity;

/// One behaviour; the table in [`super`] says what it does under either preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// How sections are found.
    Sections,
    /// In which order the notes of an admission are joined, and which of two equal ones stays.
    NoteOrder,
    /// What becomes of notes marked as errors, and of texts of white space alone.
    ErrorNotes,
    /// What becomes of mentions of death.
    DeathMentions,
    /// Whether codes are text, or whatever their column looks like: procedures are numbers then and lose their zeros.
    ColumnTypes,
    /// The order of label lists.
    LabelOrder,
    /// What the ventilation task is split by.
    VentilationSplit,
    /// How notes of the adaptation corpus are cleaned.
    CorpusCleaning,
    /// What becomes of corpus notes of held-out patients and with held-out texts.
    CorpusLeaks,
    /// What the adaptation corpus is split by.
    CorpusSplit,
}

impl Switch {
    /// All behaviours, in the order in which the diff report applies them.
    pub const ALL: [Switch; 10] = [
        Switch::Sections,
        Switch::NoteOrder,
        Switch::ErrorNotes,
        Switch::DeathMentions,
        Switch::ColumnTypes,
        Switch::LabelOrder,
        Switch::VentilationSplit,
        Switch::CorpusCleaning,
        Switch::CorpusLeaks,
        Switch::CorpusSplit,
    ];

    /// The name, and what the behaviour is called under `code` and under `paper`.
    const fn words(self) -> [&'static str; 3] {
        match self {
            Switch::Sections => ["sections", "published_expression", "variants_and_last_section"],
            Switch::NoteOrder => ["note_order", "numpy_unstable_by_date", "date_report_first_row"],
            Switch::ErrorNotes => ["error_notes", "used", "dropped"],
            Switch::DeathMentions => ["death_mentions", "first_per_header", "all_in_section"],
            Switch::ColumnTypes => ["column_types", "inferred", "declared"],
            Switch::LabelOrder => ["label_order", "first_appearance", "sorted"],
            Switch::VentilationSplit => ["ventilation_split", "by_admission", "by_patient"],
            Switch::CorpusCleaning => ["corpus_cleaning", "space_runs", "all_white_space_and_repeats"],
            Switch::CorpusLeaks => ["corpus_leaks", "counted", "dropped"],
            Switch::CorpusSplit => ["corpus_split", "by_note", "by_patient"],
        }
    }

    /// The name in the manifest.
    pub const fn name(self) -> &'static str {
        self.words()[0]
    }

    /// Whether the behaviour bears on the tasks; the others bear on the adaptation corpus.
    pub(super) fn is_of_the_tasks(self) -> bool {
        self < Switch::CorpusCleaning
    }
}

/// Which behaviours are corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules(u16);

impl Rules {
    /// The rules of a preset.
    pub fn of(fidelity: Fidelity) -> Rules {
        match fidelity {
            Fidelity::Code => Rules(0),
            Fidelity::Paper => Switch::ALL.into_iter().fold(Rules(0), Rules::correcting),
        }
    }

    /// The same with one behaviour corrected.
    pub fn correcting(self, switch: Switch) -> Rules {
        Rules(self.0 | 1 << switch as u16)
    }

    /// Whether a behaviour is corrected.
    pub fn corrects(self, switch: Switch) -> bool {
        self.0 & 1 << switch as u16 != 0
    }

    /// How a behaviour is called in the manifest.
    pub fn word(self, switch: Switch) -> &'static str {
        switch.words()[if self.corrects(switch) { 2 } else { 1 }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_differ_in_every_behaviour_and_names_are_unique() {
        let (code, paper) = (Rules::of(Fidelity::Code), Rules::of(Fidelity::Paper));
        let mut names: Vec<_> = Switch::ALL.iter().map(|s| s.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Switch::ALL.len());
        for switch in Switch::ALL {
            assert!(paper.corrects(switch) && !code.corrects(switch));
            assert_ne!(paper.word(switch), code.word(switch));
            assert!(code.correcting(switch).corrects(switch));
        }
    }
}
