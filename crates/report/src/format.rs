//! Numbers as text.

/// `12345678` -> `12,345,678`.
pub(crate) fn thousands(n: f64) -> String {
    let digits = format!("{n:.0}");
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds as `12.3 s` below a minute, otherwise as `h:mm:ss`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}

/// A share as the paper prints it: two significant digits.
pub(crate) fn percent(share: f64) -> String {
    let p = share * 100.0;
    let digits = if p > 0.0 { (1 - p.log10().floor() as i32).clamp(0, 6) as usize } else { 0 };
    format!("{p:.digits$}%")
}

/// AUROC x 100 with two digits, as the paper prints it.
pub(crate) fn hundredfold(value: f64) -> String {
    format!("{:.2}", value * 100.0)
}

/// A difference of AUROCs x 100 with its sign.
pub(crate) fn points(difference: f64) -> String {
    let text = format!("{:+.2}", difference * 100.0);
    if text == "-0.00" { "+0.00".into() } else { text }
}

/// Perplexity with three digits, as the paper prints it.
pub(crate) fn perplexity(value: f64) -> String {
    format!("{value:.3}")
}

/// Memory in MiB.
pub(crate) fn mebibytes(value: f64) -> String {
    format!("{} MiB", thousands(value))
}

/// Name of a task in a heading.
pub(crate) fn heading(task: &str) -> String {
    task.replace('_', " ")
}

/// The first line of an error.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_the_paper() {
        assert_eq!(thousands(8_388_608.0), "8,388,608");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(0.0), "0");
        assert_eq!(duration(77_862.0), "21:37:42");
        assert_eq!(duration(12.34), "12.3 s");
        assert_eq!(percent(8_388_608.0 / 6_746_804_224.0), "0.12%");
        assert_eq!(percent(0.0000091), "0.00091%");
        assert_eq!(percent(0.25), "25%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(0.0), "0%");
        assert_eq!(hundredfold(0.7489), "74.89");
    }
}
