//! One op, three rooms, one name: `tensor/src/ops/X.rs`, `autodiff/src/ops/X.rs`, `kernels/src/ops/X.rs`.

use std::path::Path;

use crate::workspace::{Violation, read, rust_files};

/// Ops without a backward rule, each with the reason.
const NOT_DIFFERENTIABLE: &[(&str, &str)] =
    &[("adamw", "changes leaves in place after the backward pass, outside of the tape")];

/// The op files of the three rooms.
#[derive(Debug, Default)]
struct Rooms {
    tensor: Vec<String>,
    /// With the text of the file.
    autodiff: Vec<(String, String)>,
    kernels: Vec<String>,
}

/// Reads the rooms and checks them; folders that are not there hold no ops.
pub fn check(root: &Path) -> Result<Vec<Violation>, String> {
    let files = |room: &str| rust_files(&root.join("crates").join(room).join("src/ops"));
    let names =
        |room: &str| -> Result<Vec<String>, String> { Ok(files(room)?.iter().filter_map(|path| name(path)).collect()) };
    let mut rooms = Rooms { tensor: names("tensor")?, kernels: names("kernels")?, autodiff: Vec::new() };
    for path in files("autodiff")? {
        if let Some(name) = name(&path) {
            rooms.autodiff.push((name, read(&path)?));
        }
    }
    Ok(violations(&rooms, NOT_DIFFERENTIABLE))
}

/// `ops/rms_norm.rs` and `ops/rms_norm/mod.rs` are `rms_norm`; other files in an op's folder are parts of it.
fn name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let folder = path.parent()?.file_name()?.to_str()?;
    match (folder, stem) {
        ("ops", "mod") => None,
        ("ops", op) | (op, "mod") => Some(op.to_owned()),
        _ => None,
    }
}

fn violations(rooms: &Rooms, exempt: &[(&str, &str)]) -> Vec<Violation> {
    let mut found = Vec::new();
    for op in &rooms.tensor {
        let backward = rooms.autodiff.iter().find(|(name, _)| name == op);
        let exemption = exempt.iter().find(|(name, _)| name == op);
        match (backward, exemption) {
            (Some((_, text)), None) if !has_gradcheck(text) => found.push(format!(
                "op `{op}` has no gradcheck: add a test with `gradcheck(` to crates/autodiff/src/ops/{op}.rs"
            )),
            (None, None) => found.push(format!(
                "op `{op}` has no backward rule: write crates/autodiff/src/ops/{op}.rs, or list the op in \
                 xtask/tidy/src/ops.rs with a reason"
            )),
            (Some(_), Some((_, reason))) => found.push(format!(
                "op `{op}` has a backward rule, but xtask/tidy/src/ops.rs says that it needs none: {reason}"
            )),
            (Some(_), None) | (None, Some(_)) => {}
        }
    }
    for op in rooms.kernels.iter().filter(|op| !rooms.tensor.contains(op)) {
        found.push(format!("kernel `{op}` has no contract: name it as a file of crates/tensor/src/ops"));
    }
    found
}

/// Whether the tests of a file call `gradcheck`.
fn has_gradcheck(text: &str) -> bool {
    let tests = text.split_once("#[cfg(test)]").map(|(_, tests)| tests);
    tests.is_some_and(|tests| {
        let code = tests.lines().map(str::trim_start).filter(|l| !l.starts_with("//"));
        code.into_iter().any(|line| line.contains("gradcheck("))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TESTED: &str = "fn f() {}\n#[cfg(test)]\nmod tests {\n    gradcheck([&[3]], f);\n}\n";

    fn rooms(tensor: &[&str], autodiff: &[(&str, &str)], kernels: &[&str]) -> Rooms {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let both = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Rooms { tensor: names(tensor), autodiff: autodiff.iter().map(both).collect(), kernels: names(kernels) }
    }

    #[test]
    fn an_op_in_all_rooms_is_fine_and_no_ops_are_fine() {
        let all = rooms(&["gelu", "adamw"], &[("gelu", TESTED)], &["gelu"]);
        assert_eq!(violations(&all, NOT_DIFFERENTIABLE), Vec::<Violation>::new());
        assert!(violations(&Rooms::default(), NOT_DIFFERENTIABLE).is_empty());
        assert!(check(Path::new("/nonexistent")).unwrap().is_empty());
    }

    #[test]
    fn a_missing_backward_rule_is_found() {
        let found = violations(&rooms(&["gelu"], &[], &[]), &[]);
        assert!(found[0].starts_with("op `gelu` has no backward rule"));
    }

    #[test]
    fn a_missing_gradcheck_is_found() {
        let outside = "fn f() { gradcheck(); }\n#[cfg(test)]\nmod tests {\n    // gradcheck(\n}\n";
        for text in ["", outside] {
            let found = violations(&rooms(&["gelu"], &[("gelu", text)], &[]), &[]);
            assert!(found[0].starts_with("op `gelu` has no gradcheck"));
        }
    }

    #[test]
    fn a_stale_exemption_is_found() {
        let found = violations(&rooms(&["adamw"], &[("adamw", TESTED)], &[]), NOT_DIFFERENTIABLE);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_kernel_without_contract_is_found() {
        let found = violations(&rooms(&[], &[], &["fast_gelu"]), &[]);
        assert!(found[0].starts_with("kernel `fast_gelu` has no contract"));
    }

    #[test]
    fn ops_are_files_or_folders() {
        let name = |path: &str| name(Path::new(path));
        assert_eq!(name("src/ops/gelu.rs").as_deref(), Some("gelu"));
        assert_eq!(name("src/ops/matmul/mod.rs").as_deref(), Some("matmul"));
        assert_eq!(name("src/ops/matmul/tiles.rs"), None);
        assert_eq!(name("src/ops/mod.rs"), None);
    }
}
