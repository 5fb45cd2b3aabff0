//! What the settings of a run may be at most, so that an absurd number is an error and not a machine without memory.

use crate::spec::{BagOfWords, Base, Kind, NewBase, RunSpec};
use std::path::{Component, Path};

/// Longest name of a row.
const ROW: usize = 150;

impl RunSpec {
    /// What is wrong with a setting, with its place in `run.toml`, if anything is.
    ///
    /// Settings of training and of adapters are checked where they are used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.row.trim().is_empty() || self.row.len() > ROW || self.row.contains(char::is_control) {
            return Err(format!(
                "`row` is empty, longer than {ROW} bytes, or holds control characters\nhint: give a short name"
            ));
        }
        within("bootstrap_resamples", self.bootstrap_resamples, 0, 10_000_000)?;
        if let Base::BagOfWords(settings) = &self.base {
            if self.kind != Kind::Downstream || self.full || !self.stack.is_empty() {
                return Err(
                    "a bag of words is for a task, and takes no adapters\nhint: leave out `full` and `stack`".into()
                );
            }
            settings.check()?;
        } else {
            self.check_model()?;
        }
        let data = self.data.iter().filter(|data| !Path::new(data).is_absolute());
        data.into_iter().try_for_each(|data| folder_name("data", data))
    }

    fn check_model(&self) -> Result<(), String> {
        within("tokens.max_length", self.tokens.max_length, 1, 1 << 20)?;
        within("training.batch_sequences", self.training.batch_sequences, 1, 1 << 20)?;
        within("training.micro_tokens", self.training.micro_tokens, 1, 1 << 30)?;
        within("training.micro_sequences", self.training.micro_sequences.unwrap_or(1), 1, 1 << 20)?;
        let base = match &self.base {
            Base::New(new) => {
                new.check()?;
                None
            }
            Base::Run { run } => Some(("base.run", run)),
            Base::Further(further) => {
                within("base.paragraphs", further.paragraphs as usize, 1, 1 << 20)?;
                Some(("base.run", &further.run))
            }
            Base::Folder { .. } | Base::BagOfWords(_) => None,
        };
        let from = self.stack.iter().filter_map(|e| Some(("from", e.from.as_ref()?)));
        base.into_iter().chain(from).try_for_each(|(place, name)| folder_name(place, name))
    }
}

fn folder_name(place: &str, name: &str) -> Result<(), String> {
    let mut parts = Path::new(name).components();
    if matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        return Ok(());
    }
    Err(format!("`{place}` is not the name of a folder\nhint: give the name alone, without `/`"))
}

impl BagOfWords {
    fn check(&self) -> Result<(), String> {
        within("base.max_features", self.max_features, 1, 1 << 24)?;
        within("number of values in `base.c`", self.c.len(), 1, 100)?;
        let rising = self.c.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || self.c.iter().any(|c| !(1e-9..=1e9).contains(c)) {
            return Err(
                "`base.c` is not a rising list of positive numbers\nhint: [0.1, 1.0, 10.0, 100.0] is usual".into()
            );
        }
        Ok(())
    }
}

impl NewBase {
    fn check(&self) -> Result<(), String> {
        within("base.paragraphs", self.paragraphs as usize, 1, 1 << 20)?;
        within("base.vocabulary", self.vocabulary, 1, 1 << 18)?;
        within("base.width", self.width, 1, 1 << 14)?;
        within("base.layers", self.layers, 1, 256)?;
        within("base.heads", self.heads, 1, self.width)?;
        within("base.positions", self.positions, 1, 1 << 20)?;
        if !self.width.is_multiple_of(self.heads) {
            return Err("`base.width` is no multiple of `base.heads`\nhint: choose sizes that divide".into());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err("`base.dropout` is outside of [0, 1)\nhint: 0.1 is usual".into());
        }
        Ok(())
    }
}

fn within(place: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("`{place}` is {value}\nhint: give a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use crate::RunSpec;

    fn spec(change: impl Fn(&mut toml::Table)) -> Result<RunSpec, String> {
        let mut table: toml::Table = toml::from_str(include_str!("../../tests/fixtures/run.toml")).unwrap();
        change(&mut table);
        let spec: RunSpec = table.try_into().map_err(|e: toml::de::Error| e.to_string())?;
        spec.check().map(|()| spec)
    }

    #[test]
    fn a_bag_of_words_needs_neither_tokens_nor_training_but_every_model_does() {
        let words = |c: &str| {
            spec(|table| {
                ["tokens", "training", "stack"].iter().for_each(|key| drop(table.remove(*key)));
                let base = format!("source = \"bag_of_words\"\nmin_df = 2\nmax_features = 100\nc = {c}");
                table.insert("base".into(), base.parse::<toml::Table>().unwrap().into());
            })
        };
        words("[0.5, 1.0]").unwrap();
        for wrong in ["[]", "[1.0, 0.5]", "[-1.0]", "[nan]"] {
            let said = words(wrong).unwrap_err();
            assert!(said.contains("base.c") && said.contains("\nhint: "), "{said}");
        }
        for key in ["tokens", "training"] {
            let said = spec(|table| drop(table.remove(key))).unwrap_err();
            assert!(said.contains(key) && said.contains("\nhint: "), "{said}");
        }
    }

    #[test]
    fn absurd_settings_are_named_with_what_is_allowed() {
        spec(|_| {}).unwrap();
        for (section, key, value) in [
            ("", "row", toml::Value::from("x".repeat(300))),
            ("", "row", "\u{1b}[2J".into()),
            ("", "bootstrap_resamples", i64::MAX.into()),
            ("", "data", "../../elsewhere".into()),
            ("base", "run", "../elsewhere".into()),
            ("tokens", "max_length", (1i64 << 62).into()),
            ("tokens", "max_length", 0.into()),
            ("training", "batch_sequences", 0.into()),
            ("training", "micro_tokens", i64::MAX.into()),
        ] {
            let said = spec(|table| {
                let place = if section.is_empty() { table } else { table[section].as_table_mut().unwrap() };
                place.insert(key.into(), value.clone());
            });
            let said = said.unwrap_err();
            assert!(said.contains(key) && said.contains("\nhint: "), "{said}");
        }
    }
}
