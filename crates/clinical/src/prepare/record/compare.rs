//! Whether two sites hold the same prepared data, judged from their manifests alone.

use super::Manifest;
use std::collections::BTreeMap;

/// What two manifests say about each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The prepared data are the same; inputs or rules may differ without effect, and the first such is named.
    Equal(Option<String>),
    /// The prepared data differ; the first difference, looked for in inputs, then rules, then outputs.
    Different(String),
}

/// Compares two manifests.
pub fn compare(a: &Manifest, b: &Manifest) -> Comparison {
    let contents = |m: &Manifest| -> BTreeMap<String, String> {
        m.inputs.iter().map(|i| (i.table(), i.content_blake3.clone())).collect()
    };
    let rules = |m: &Manifest| -> BTreeMap<String, String> {
        let rest = [("program_version", m.program_version.clone()), ("seed", m.seed.to_string())];
        m.switches.clone().into_iter().chain(rest.map(|(name, value)| (name.into(), value))).collect()
    };
    let cause = first_difference("input", &contents(a), &contents(b))
        .or_else(|| first_difference("rule", &rules(a), &rules(b)));
    if a.cohort.blake3 == b.cohort.blake3 {
        return Comparison::Equal(cause);
    }
    let output = || first_difference("output", &a.cohort.parts, &b.cohort.parts);
    Comparison::Different(cause.or_else(output).unwrap_or_else(|| "the cohort hash".into()))
}

fn first_difference(kind: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Option<String> {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    let name = names.into_iter().find(|name| a.get(*name) != b.get(*name))?;
    let show = |value: Option<&String>| value.map_or("absent".into(), |v| v.chars().take(40).collect::<String>());
    Some(format!("{kind} `{name}`: {} and {}", show(a.get(name)), show(b.get(name))))
}
