//! Names of devices.

use clinpeft_tensor::{Error, Result};
use std::fmt;

/// Which library drives the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Cuda,
    Vulkan,
}

impl Kind {
    /// How it is written in a name.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Cuda => "cuda",
            Kind::Vulkan => "vulkan",
        }
    }
}

/// For example `vulkan:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub kind: Kind,
    pub index: usize,
}

impl Name {
    /// `vulkan` is `vulkan:0`.
    pub(crate) fn parse(text: &str) -> Result<Name> {
        let (word, index) = match text.split_once(':') {
            Some((word, index)) => (word, index.parse().ok()),
            None => (text, Some(0)),
        };
        let kind = [Kind::Cuda, Kind::Vulkan].into_iter().find(|k| k.word() == word);
        match (kind, index) {
            (Some(kind), Some(index)) => Ok(Name { kind, index }),
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
        write!(f, "{}:{}", self.kind.word(), self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_number_is_the_first_device() {
        assert_eq!(Name::parse("vulkan").unwrap(), Name::parse("vulkan:0").unwrap());
        assert_eq!(Name::parse("cuda:3").unwrap().to_string(), "cuda:3");
    }

    #[test]
    fn other_names_are_errors_with_a_hint() {
        for bad in ["", "gpu", "vulkan:", "vulkan:x", "vulkan:-1", "cuda:0:1", "Vulkan", "cpu:0"] {
            let said = Name::parse(bad).unwrap_err().to_string();
            assert!(said.contains("\nhint: "), "{said}");
        }
    }
}
