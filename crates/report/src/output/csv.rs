//! `tables.csv`: one line per number. `comparisons.csv`: one line per comparison.

use crate::document::Document;

use std::borrow::Cow;

const HEADER: &str = "table,row,column,seed,value,lo,hi,published,ceiling,trainable_parameters,seconds,peak_memory_mib,\
                      run_folder,state,fidelity";

/// `tables.csv`; the first line is a comment (`#`).
pub(crate) fn records(document: &Document) -> String {
    let mut text = format!("# {}\n{HEADER}\n", document.banner);
    for r in &document.records {
        let number = |n: Option<f64>| n.map(shortest).unwrap_or_default();
        let cells = [
            r.table.clone(),
            r.row.clone(),
            r.column.clone(),
            r.seed.map(|s| s.to_string()).unwrap_or_default(),
            number(r.value),
            number(r.lo),
            number(r.hi),
            number(r.published),
            number(r.ceiling),
            number(r.trainable_parameters),
            number(r.seconds),
            number(r.peak_memory_mib),
            r.run_folder.clone().unwrap_or_default(),
            r.state.into(),
            r.fidelity.clone(),
        ];
        text.push_str(&cells.map(quoted).join(","));
        text.push('\n');
    }
    text
}

/// `comparisons.csv`: one line per comparison, AUROC in 0..=1.
pub(crate) fn comparisons(document: &Document) -> String {
    let header = "table,fidelity,row,against,role,task,difference,lo,hi,standard_error,p_value,adjusted_p_value,test";
    let mut text = format!("# {}\n{header}\n", document.banner);
    for (table, fidelity, c) in &document.comparisons {
        let (lo, hi) = c.difference.interval();
        let numbers = [c.difference.value, lo, hi, c.difference.standard_error, c.p_value, c.adjusted];
        let task = c.task.as_deref().unwrap_or("macro_average");
        let mut cells = [table, fidelity, &c.row, &c.against, c.role.name(), task].map(String::from).to_vec();
        cells.extend(numbers.map(shortest));
        cells.push(c.test.into());
        text.push_str(&cells.into_iter().map(quoted).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}

/// The shortest text that reads back as the same number; a published `66.80 / 100` is cut to what was printed.
pub(crate) fn shortest(n: f64) -> String {
    let cut = format!("{n:.12}");
    let cut = cut.trim_end_matches('0').trim_end_matches('.');
    match cut.parse::<f64>() {
        Ok(read) if (read - n).abs() <= f64::EPSILON * n.abs() => cut.into(),
        _ => n.to_string(),
    }
}

/// A cell of a CSV file, with an apostrophe before what a spreadsheet would run as a formula. Numbers stay numbers.
pub fn plain_cell(cell: &str) -> Cow<'_, str> {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    if formula { format!("'{cell}").into() } else { cell.into() }
}

pub(crate) fn quoted(cell: String) -> String {
    let cell = plain_cell(&cell).into_owned();
    if cell.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", cell.replace('"', "\"\""));
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_and_quotes_survive() {
        assert_eq!(quoted("a \"b\", c".into()), "\"a \"\"b\"\", c\"");
        assert_eq!(quoted("LLaMA + LoRA".into()), "LLaMA + LoRA");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, written) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("=HYPERLINK(\"x\",\"y\")", "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\""),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("+a", "'+a"),
            ("-0.5", "-0.5"),
            ("+1e-3", "+1e-3"),
            ("a=b", "a=b"),
        ] {
            assert_eq!(quoted(cell.into()), written);
        }
    }

    #[test]
    fn numbers_read_back() {
        assert_eq!(shortest(66.80 / 100.0), "0.668");
        assert_eq!(shortest(8_388_608.0), "8388608");
        assert_eq!(shortest(0.0), "0");
        for n in [1.0 / 3.0, 1e-20, 0.812_345_678_901_234_5] {
            assert_eq!(shortest(n).parse::<f64>().unwrap(), n);
        }
    }
}
