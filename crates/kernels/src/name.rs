//! Names of devices.

use clinpeft_tensor::{Error, Result};
use std::fmt;

/// For example `vulkan:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// The device library: a word of the table of devices.
    pub library: &'static str,
    pub index: usize,
}

impl Name {
    /// The name of a device of one of these libraries. `vulkan` is `vulkan:0`.
    pub(crate) fn parse(text: &str, mut libraries: impl Iterator<Item = &'static str>) -> Result<Name> {
        let (word, index) = match text.split_once(':') {
            Some((word, index)) => (word, index.parse().ok()),
            None => (text, Some(0)),
        };
        match (libraries.find(|library| *library == word), index) {
            (Some(library), Some(index)) => Ok(Name { library, index }),
            _ => Err(Error::Backend {
                device: text.into(),
                what: "no device has this name\nhint: `cpu`, `vulkan`, `cuda`, or with a number as in `vulkan:0`"
                    .into(),
            }),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.library, self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Name> {
        Name::parse(text, ["cuda", "vulkan"].into_iter())
    }

    #[test]
    fn a_missing_number_is_the_first_device() {
        assert_eq!(parse("vulkan").unwrap(), parse("vulkan:0").unwrap());
        assert_eq!(parse("cuda:3").unwrap().to_string(), "cuda:3");
    }

    #[test]
    fn other_names_are_errors_with_a_hint() {
        for bad in ["", "gpu", "vulkan:", "vulkan:x", "vulkan:-1", "cuda:0:1", "Vulkan", "cpu:0"] {
            let said = parse(bad).unwrap_err().to_string();
            assert!(said.contains("\nhint: "), "{said}");
        }
    }
}
