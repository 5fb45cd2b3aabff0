//! What the settings of a run may be at most, so that an absurd number is an error and not a machine without memory.

use crate::spec::{Base, NewBase, RunSpec};
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
        within("tokens.max_length", self.tokens.max_length, 1, 1 << 20)?;
        within("training.batch_sequences", self.training.batch_sequences, 1, 1 << 20)?;
        within("training.micro_tokens", self.training.micro_tokens, 1, 1 << 30)?;
        within("training.micro_sequences", self.training.micro_sequences.unwrap_or(1), 1, 1 << 20)?;
        within("bootstrap_resamples", self.bootstrap_resamples, 0, 10_000_000)?;
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
            Base::Folder { .. } => None,
        };
        let from = self.stack.iter().filter_map(|e| Some(("from", e.from.as_ref()?)));
        let data = self.data.iter().filter(|data| !Path::new(data).is_absolute()).map(|data| ("data", data));
        for (place, name) in base.into_iter().chain(from).chain(data) {
            let mut parts = Path::new(name).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return Err(format!("`{place}` is not the name of a folder\nhint: give the name alone, without `/`"));
            }
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
