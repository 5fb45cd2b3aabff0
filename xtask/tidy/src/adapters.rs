//! Every adapter method takes part in the four tests of all methods: it begins as its method says, its files come back,
//! its gradient reaches every parameter (`crates/peft/tests/methods.rs`, which runs what its `methods()` lists), and its
//! loss falls (`tests/tests/demo_task.rs`).

use std::path::Path;

use proc_macro2::{Delimiter, TokenTree};
use quote::ToTokens;
use syn::Item;

use crate::ops::strings;
use crate::workspace::{Violation, read, rust_files};

const METHODS: &str = "crates/peft/tests/methods.rs";
const DEMO: &str = "tests/tests/demo_task.rs";

/// Both files must name every variant of `AdapterConfig`.
pub fn check(root: &Path) -> Result<Vec<Violation>, String> {
    let mut names = Vec::new();
    for path in rust_files(&root.join("crates/peft/src"))? {
        names.extend(variants(&read(&path)?)?);
    }
    if names.is_empty() {
        return Err(
            "no variant of `AdapterConfig` in crates/peft/src\nhint: xtask/tidy/src/adapters.rs reads it".into()
        );
    }
    violations(&names, &read(&root.join(METHODS))?, &read(&root.join(DEMO))?)
}

/// The variants of `AdapterConfig`, written as an enum or as the list `methods! { Name(Method, Config), ... }`.
fn variants(text: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for item in parse(text)?.items {
        match item {
            Item::Enum(item) if item.ident == "AdapterConfig" => {
                found.extend(item.variants.into_iter().map(|variant| variant.ident.to_string()));
            }
            Item::Macro(item) if item.mac.path.is_ident("methods") => {
                let tokens: Vec<TokenTree> = item.mac.tokens.into_iter().collect();
                found.extend(tokens.windows(2).filter_map(|two| match two {
                    [TokenTree::Ident(name), TokenTree::Group(group)]
                        if group.delimiter() == Delimiter::Parenthesis =>
                    {
                        Some(name.to_string())
                    }
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    Ok(found)
}

fn violations(names: &[String], methods: &str, demo: &str) -> Result<Vec<Violation>, String> {
    let listed =
        parse(methods)?.items.into_iter().filter(|item| matches!(item, Item::Fn(f) if f.sig.ident == "methods"));
    let listed: String = listed.map(|item| item.to_token_stream().to_string()).collect();
    let mut trained = Vec::new();
    strings(parse(demo)?.to_token_stream(), &mut trained);
    let mut wrong = Vec::new();
    for name in names {
        if !listed.contains(&format!("AdapterConfig :: {name} ")) {
            wrong.push(format!("adapter `{name}` is not tested: add it to `methods()` in {METHODS}"));
        }
        if !trained.contains(&snake_case(name)) {
            wrong
                .push(format!("adapter `{name}` is not trained: add `\"method\": \"{}\"` to {DEMO}", snake_case(name)));
        }
    }
    Ok(wrong)
}

fn parse(text: &str) -> Result<syn::File, String> {
    syn::parse_file(text).map_err(|e| format!("cannot parse a file about adapters: {e}"))
}

/// `PTuning` is `p_tuning`, as serde has it.
fn snake_case(name: &str) -> String {
    let mut text = String::new();
    for (i, c) in name.chars().enumerate() {
        text.extend((i > 0 && c.is_uppercase()).then_some('_'));
        text.extend(c.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_without_its_tests_is_found() {
        let names = variants("mod x {} pub enum AdapterConfig { Lora(LoraConfig), PTuning(PTuningConfig) }").unwrap();
        let methods =
            "fn methods() { let p = |e| AdapterConfig::PTuning(e); vec![AdapterConfig::Lora(lora()), p(1)]; }";
        let demo = "f! { a: low_rank(\"lora\"); b: json!({\"method\": \"p_tuning\"}); }";
        assert_eq!(violations(&names, methods, demo).unwrap(), [""; 0]);
        let elsewhere = "fn methods() {} fn other() { AdapterConfig::Lora(x); } // AdapterConfig::PTuning(e)";
        assert_eq!(violations(&names, elsewhere, demo).unwrap().len(), 2);
        let untrained = violations(&names, methods, "fn f() { \"p_tuning\"; } // \"lora\"").unwrap();
        assert!(untrained[0].starts_with("adapter `Lora` is not trained"), "{untrained:?}");
    }
}
