//! `cargo xtask tidy`: what the compiler does not check.
//!
//! | module | check |
//! |---|---|
//! | [`layers`] | crates depend on layers below them only |
//! | [`imports`] | no cycle of imports between the files of a crate |
//! | [`ops`] | every op has its kernel, conformance case, backward rule and gradient check |
//! | [`adapters`] | every adapter takes part in the four tests of all adapters |
//! | [`words`] | no public type name in more than two crates, no old word |
//! | [`manifests`] | who may depend on CubeCL, no HTTP client, inherited lints and version |
//! | [`lines`] | prints the lines of code of each crate |
//!
//! Each check is a function from plain data to a list of violations, with a test that shows how it fails.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::path::Path;
use std::process::ExitCode;

use workspace::{Package, Violation};

mod adapters;
mod head;
mod imports;
mod layers;
mod lines;
mod manifests;
mod ops;
mod words;
mod workspace;

/// Prints the lines of code, then what is wrong; exit code 1 if something is, 2 if a file cannot be read.
fn main() -> ExitCode {
    let outcome = workspace::packages().and_then(|(root, packages)| {
        println!("{}", lines::table(&packages)?);
        for path in words::stale(&root)? {
            println!("tidy: {path} needs no permission in words.rs any more");
        }
        Ok((packages.len(), check(&root, &packages)?))
    });
    match outcome {
        Ok((packages, violations)) if violations.is_empty() => {
            println!("tidy: {packages} packages, no violation");
            ExitCode::SUCCESS
        }
        Ok((_, violations)) => {
            for violation in &violations {
                eprintln!("tidy: {violation}");
            }
            eprintln!("tidy: {} violations", violations.len());
            ExitCode::from(1)
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn check(root: &Path, packages: &[Package]) -> Result<Vec<Violation>, String> {
    let mut violations = layers::check(packages);
    violations.extend(imports::check(packages)?);
    violations.extend(ops::check(root)?);
    violations.extend(adapters::check(root)?);
    violations.extend(words::check(root, packages)?);
    violations.extend(manifests::check(root, packages)?);
    Ok(violations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        let (root, packages) = workspace::packages().unwrap();
        assert_eq!(check(&root, &packages).unwrap(), Vec::<Violation>::new());
    }
}
