//! What every call of the program promises, whatever was done to it.

use super::child::{Ended, PATIENCE, said};
use super::leaks::{Secrets, holds};

/// Resident memory that no process of a trial may pass, in MiB.
pub const MOST_MEMORY_MIB: u64 = 1024;

/// Codes with which a call may end: done, failed, asked wrongly, stopped, nobody reads.
const CODES: [i32; 5] = [0, 1, 2, 130, 141];

/// The promises that this call broke.
pub fn broken(ended: &Ended, secrets: &Secrets) -> Vec<String> {
    let mut faults = Vec::new();
    let text = String::from_utf8_lossy(&ended.stderr);
    if ended.overdue {
        faults.push(format!("took longer than {} s", PATIENCE.as_secs()));
    } else if let Some(signal) = ended.signal.filter(|_| !ended.disturbed) {
        faults.push(format!("ended by signal {signal}: {}", said(ended)));
    }
    if let Some(code) = ended.code.filter(|code| !CODES.contains(code)) {
        faults.push(format!("exit code {code}: {}", said(ended)));
    }
    for word in ["panicked", "memory allocation of", "stack overflow", "RUST_BACKTRACE"] {
        if text.contains(word) {
            faults.push(format!("`{word}` on standard error: {}", said(ended)));
            break;
        }
    }
    if ended.peak_kib > MOST_MEMORY_MIB << 10 {
        faults.push(format!("{} MiB resident, above {MOST_MEMORY_MIB}", ended.peak_kib >> 10));
    }
    if matches!(ended.code, Some(1 | 2)) && !ended.stderr.is_empty() {
        let errors = text.lines().filter(|l| l.starts_with("error: ")).count();
        if errors != 1 {
            faults.push(format!("{errors} lines begin with `error:`: {}", said(ended)));
        }
        let hints = text.rsplit("error: ").next().unwrap_or_default().matches("hint: ").count();
        if hints > 1 {
            faults.push(format!("an error with {hints} hints: {}", said(ended)));
        }
    }
    for (stream, bytes) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        faults.extend(holds(bytes, secrets).map(|what| format!("{stream} shows {what}")));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32, stderr: &str) -> Vec<String> {
        let ended = Ended { code: Some(code), stderr: stderr.as_bytes().to_vec(), ..Ended::default() };
        broken(&ended, &Secrets::default())
    }

    #[test]
    fn a_broken_promise_is_named_and_a_kept_one_is_not() {
        assert!(of(0, "").is_empty());
        assert!(of(1, "error: `x`: no\nhint: give another\n").is_empty());
        for (code, text) in [
            (101, "thread 'main' panicked at x.rs\n"),
            (3, ""),
            (1, "error: a\nerror: b\n"),
            (1, "no word of what went wrong\n"),
            (1, "error: a\nhint: b\nhint: c\n"),
            (0, "thread '<unnamed>' panicked at x.rs\n"),
        ] {
            assert!(!of(code, text).is_empty(), "{code} {text}");
        }
        let killed = Ended { signal: Some(9), ..Ended::default() };
        assert!(!broken(&killed, &Secrets::default()).is_empty());
        assert!(broken(&Ended { disturbed: true, ..killed }, &Secrets::default()).is_empty());
        assert!(!broken(&Ended { peak_kib: 2 << 20, ..Ended::default() }, &Secrets::default()).is_empty());
    }
}
