//! Names of adapters.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;

/// Name of an adapter: in a stack, in `run.toml`, and of its folder.
///
/// ASCII letters, digits, `_`, `-` and `.`; 1 to 64 of them; the first is no dot. So it can never lead out of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AdapterName(String);

impl AdapterName {
    /// Longest name.
    pub const LONGEST: usize = 64;

    /// Errors with the rule if the name breaks it.
    pub fn new(name: &str) -> Result<AdapterName> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        let fits = (1..=AdapterName::LONGEST).contains(&name.len()) && !name.starts_with('.');
        if fits && name.bytes().all(plain) {
            return Ok(AdapterName(name.into()));
        }
        let mut shown: String = name.chars().take(AdapterName::LONGEST).collect();
        if shown.len() < name.len() {
            shown.push('…');
        }
        Err(Error::Name(shown.escape_debug().to_string()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for AdapterName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AdapterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AdapterName {
    type Error = String;

    /// As [`AdapterName::new`], with an error of one line, to which a parser adds the place.
    fn try_from(name: String) -> std::result::Result<AdapterName, String> {
        AdapterName::new(&name).map_err(|e| e.to_string().replace("\nhint:", ":"))
    }
}

impl TryFrom<&str> for AdapterName {
    type Error = Error;

    fn try_from(name: &str) -> Result<AdapterName> {
        AdapterName::new(name)
    }
}

impl From<AdapterName> for String {
    fn from(name: AdapterName) -> String {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_breaks_the_rule_is_refused_with_it() {
        let long = "a".repeat(65);
        for name in ["", ".", "..", ".hidden", "../evil", "a/b", "a\\b", "/etc", "a b", "é", "a\n", "a\0", "C:", &long]
        {
            let said = AdapterName::new(name).unwrap_err().to_string();
            assert!(said.contains("\nhint: letters, digits") && !said.contains(['\0']), "{said}");
            assert_eq!(said.lines().count(), 2, "{said}");
            let json = serde_json::to_string(name).unwrap();
            let read = serde_json::from_str::<AdapterName>(&json).unwrap_err().to_string();
            assert!(read.contains("letters, digits") && read.lines().count() == 1, "{read}");
        }
        for name in ["a", "clinical", "v1.2_b-3", &"a".repeat(64)] {
            let read: AdapterName = serde_json::from_value(name.into()).unwrap();
            assert_eq!((read.as_str(), serde_json::to_value(&read).unwrap()), (name, name.into()));
        }
    }

    proptest! {
        #[test]
        fn a_name_is_one_part_of_a_path(name in "[ -~]{0,70}") {
            if let Ok(name) = AdapterName::new(&name) {
                let inside = std::path::Path::new("root").join(&*name);
                prop_assert_eq!(inside.parent(), Some(std::path::Path::new("root")));
                prop_assert_eq!(inside.file_name().and_then(|n| n.to_str()), Some(name.as_str()));
            }
        }
    }
}
