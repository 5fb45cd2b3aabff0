//! Lines of code: neither blank nor a comment, without tests.

use crate::workspace::{Package, read, rust_files, short_name};

/// Lines of each package and their sum, as text.
pub fn table(packages: &[Package]) -> Result<String, String> {
    let mut rows = String::from("lines of code without blank lines, comments and tests\n\n");
    let mut total = 0;
    for package in packages {
        let mut count = 0;
        for path in rust_files(&package.manifest.with_file_name("src"))? {
            if path.file_name().is_none_or(|name| name != "tests.rs") {
                count += lines(&read(&path)?);
            }
        }
        total += count;
        rows.push_str(&format!("{:<12} {count:>6}\n", short_name(&package.name)));
    }
    Ok(format!("{rows}{:<12} {total:>6}\n", "total"))
}

/// Lines up to the test module that are neither blank nor a comment.
fn lines(text: &str) -> usize {
    let mut lines = text.lines().map(str::trim).peekable();
    let mut count = 0;
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" && lines.peek().is_some_and(|next| next.contains("mod ") && next.ends_with('{')) {
            break;
        }
        count += usize::from(!line.is_empty() && !line.starts_with("//"));
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_comments_and_tests_do_not_count() {
        assert_eq!(lines("//! A.\n\nfn f() {} // b\n\n#[cfg(test)]\nmod tests {\n}\n"), 1);
        assert_eq!(lines("#[cfg(test)]\nuse a;\nfn f() {}"), 3);
    }
}
