//! Lines of code: not blank, without tests.

use crate::workspace::{Package, read, rust_files, short_name};

/// Lines of each package and their sum, as text.
pub fn table(packages: &[Package]) -> Result<String, String> {
    let mut counts = Vec::new();
    for package in packages {
        let mut count = 0;
        for path in rust_files(&package.manifest.with_file_name("src"))? {
            if path.file_name().is_none_or(|name| name != "tests.rs") {
                count += lines(&read(&path)?);
            }
        }
        counts.push((short_name(&package.name), count));
    }
    Ok(format(&counts))
}

/// Lines up to the first `#[cfg(test)]` that are not blank.
fn lines(text: &str) -> usize {
    let code = text.lines().map(str::trim);
    code.take_while(|line| !line.starts_with("#[cfg(test)]")).filter(|line| !line.is_empty()).count()
}

fn format(counts: &[(&str, usize)]) -> String {
    let total = counts.iter().map(|(_, count)| count).sum();
    let rows = counts.iter().copied().chain([("total", total)]);
    let rows = rows.map(|(name, count)| format!("{name:<12} {count:>6}\n"));
    format!("lines of code without blank lines and tests\n\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_tests_do_not_count() {
        assert_eq!(lines("//! A.\n\nfn f() {}\n\n#[cfg(test)]\nmod tests {}\n"), 2);
        assert_eq!(lines(""), 0);
    }

    #[test]
    fn the_sum_is_the_last_line() {
        let text = format(&[("a", 2), ("b", 40)]);
        assert!(text.ends_with("b                40\ntotal            42\n"));
    }
}
