//! Every op has its kernel, its conformance case, its backward rule and the gradient check of that rule.
//!
//! The ops are the files of `crates/tensor/src/ops`. Code is parsed, so a comment or a name in a string is no check.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::Item;

use crate::workspace::{Violation, read, rust_files};

/// Ops without a backward rule, each with the reason.
const NOT_DIFFERENTIABLE: &[(&str, &str)] = &[("adamw", "changes parameters in place after the backward pass")];

/// Ops without a conformance case, each with the place of their own comparison with the CPU.
const COMPARED_ELSEWHERE: &[(&str, &str)] = &[("adamw", "crates/kernels/tests/steps.rs: it changes its operands")];

/// What the four places hold, by name of the op.
#[derive(Debug, Default)]
struct Found {
    tensor: Vec<String>,
    kernels: Vec<String>,
    /// With whether its tests call `gradcheck`.
    autodiff: Vec<(String, bool)>,
    conformance: Vec<String>,
}

/// Reads the four places and compares them.
pub fn check(root: &Path) -> Result<Vec<Violation>, String> {
    let crates = root.join("crates");
    let files = |name: &str| rust_files(&crates.join(name).join("src/ops"));
    let names = |name: &str| -> Result<Vec<String>, String> { Ok(files(name)?.iter().filter_map(|p| op(p)).collect()) };
    let mut found = Found { tensor: names("tensor")?, kernels: names("kernels")?, ..Found::default() };
    for path in files("autodiff")? {
        if let Some(name) = op(&path) {
            found.autodiff.push((name, has_gradcheck(&read(&path)?)?));
        }
    }
    let suite = rust_files(&crates.join("tensor/src"))?.into_iter().filter(|path| path.iter().any(is_conformance));
    for path in suite {
        strings(tokens(&read(&path)?)?, &mut found.conformance);
    }
    Ok(violations(&found))
}

fn is_conformance(part: &std::ffi::OsStr) -> bool {
    part == "conformance" || part == "conformance.rs"
}

/// `ops/rms_norm.rs` and `ops/rms_norm/mod.rs` are `rms_norm`; other files in an op's folder are parts of it.
fn op(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent()?.file_name()?.to_str()?;
    match (folder, stem) {
        ("ops", "mod") => None,
        ("ops", op) | (op, "mod") => Some(op.to_owned()),
        _ => None,
    }
}

fn violations(found: &Found) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let exempt = |list: &[(&str, &str)], op: &str| list.iter().any(|(name, _)| *name == op);
    for op in &found.tensor {
        if !found.kernels.contains(op) {
            wrong.push(format!("op `{op}` has no kernel: write crates/kernels/src/ops/{op}.rs"));
        }
        if found.conformance.contains(op) == exempt(COMPARED_ELSEWHERE, op) {
            wrong.push(format!(
                "op `{op}` must either have a case in crates/tensor/src/conformance.rs or be listed in \
                 xtask/tidy/src/ops.rs with a reason"
            ));
        }
        let checked = found.autodiff.iter().find(|(name, _)| name == op).map(|(_, checked)| *checked);
        match (checked, exempt(NOT_DIFFERENTIABLE, op)) {
            (Some(false), false) => wrong.push(format!(
                "op `{op}` has no gradient check: call `gradcheck` in the tests of crates/autodiff/src/ops/{op}.rs"
            )),
            (None, true) | (Some(true), false) => {}
            (None, false) | (Some(_), true) => wrong.push(format!(
                "op `{op}` must either have a backward rule, crates/autodiff/src/ops/{op}.rs, or be listed in \
                 xtask/tidy/src/ops.rs with a reason"
            )),
        }
    }
    for op in found.kernels.iter().filter(|op| !found.tensor.contains(op)) {
        wrong.push(format!("kernel `{op}` has no contract: write crates/tensor/src/ops/{op}.rs"));
    }
    wrong
}

/// Whether a test module of a file calls `gradcheck`.
fn has_gradcheck(text: &str) -> Result<bool, String> {
    let file = syn::parse_file(text).map_err(|e| format!("cannot parse an op of autodiff: {e}"))?;
    let tests = file.items.iter().filter(|item| matches!(item, Item::Mod(m) if m.ident == "tests"));
    Ok(tests.into_iter().any(|item| calls(item.to_token_stream(), "gradcheck")))
}

/// Whether a function is called within tokens.
fn calls(tokens: TokenStream, function: &str) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.windows(2).any(|two| match two {
        [TokenTree::Ident(name), TokenTree::Group(_)] => name == function,
        _ => false,
    }) || tokens.into_iter().any(|token| matches!(token, TokenTree::Group(g) if calls(g.stream(), function)))
}

fn tokens(text: &str) -> Result<TokenStream, String> {
    text.parse().map_err(|e| format!("cannot parse the conformance suite: {e}"))
}

/// Collects the string literals within tokens.
pub fn strings(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => strings(group.stream(), found),
            TokenTree::Literal(literal) => {
                found.extend(syn::parse_str::<syn::LitStr>(&literal.to_string()).map(|text| text.value()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `gelu` and `adamw` as they must be.
    fn complete() -> Found {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Found {
            tensor: names(&["adamw", "gelu"]),
            kernels: names(&["adamw", "gelu"]),
            autodiff: vec![("gelu".to_owned(), true)],
            conformance: names(&["gelu"]),
        }
    }

    #[test]
    fn each_missing_part_of_an_op_is_found() {
        assert_eq!(violations(&complete()), [""; 0]);
        let without = |change: fn(&mut Found)| {
            let mut found = complete();
            change(&mut found);
            let wrong = violations(&found);
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            wrong[0].clone()
        };
        assert!(without(|f| f.kernels.truncate(1)).contains("`gelu` has no kernel"));
        assert!(without(|f| f.conformance.clear()).contains("`gelu` must either have a case"));
        assert!(without(|f| f.autodiff.clear()).contains("`gelu` must either have a backward rule"));
        assert!(without(|f| f.autodiff[0].1 = false).contains("`gelu` has no gradient check"));
        assert!(without(|f| f.autodiff.push(("adamw".into(), true))).contains("`adamw`"));
        assert!(without(|f| f.kernels.push("fast_gelu".into())).contains("`fast_gelu` has no contract"));
    }

    #[test]
    fn only_a_call_in_the_tests_is_a_gradient_check() {
        let found = |text| has_gradcheck(text).unwrap();
        assert!(found("#[cfg(test)] mod tests { #[test] fn t() { gradcheck([&[3]], f); } }"));
        for text in [
            "",
            "fn f() { gradcheck(); } mod tests {}",
            "mod tests { // gradcheck(\n }",
            "mod tests { const X: &str = \"gradcheck()\"; use gradcheck; }",
        ] {
            assert!(!found(text), "{text}");
        }
    }

    #[test]
    fn ops_are_files_or_folders() {
        let name = |path: &str| op(Path::new(path));
        assert_eq!(name("src/ops/gelu.rs").as_deref(), Some("gelu"));
        assert_eq!(name("src/ops/matmul/mod.rs").as_deref(), Some("matmul"));
        assert_eq!(name("src/ops/matmul/tiles.rs"), None);
        assert_eq!(name("src/ops/mod.rs"), None);
    }
}
