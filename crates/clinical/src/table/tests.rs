use super::*;
use crate::output::Output;
use proptest::prelude::*;

fn read_all(path: &Path) -> Result<Vec<Vec<String>>> {
    let mut table = Table::open(path, &["a", "b"], &["c"])?;
    let mut rows = Vec::new();
    while let Some(row) = table.next_row()? {
        let _ = (row.number(0), row.moment(1), row.required_number(2));
        let cells: Result<Vec<String>> = (0..3).map(|i| Ok(row.text(i)?.into())).collect();
        rows.push(cells?);
    }
    table.finish()?;
    Ok(rows)
}

#[test]
fn columns_are_found_in_any_case_and_order_behind_a_byte_order_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "\u{feff}B,x,A\n1,2,3\n").unwrap();
    assert_eq!(read_all(&path).unwrap(), [["3", "1", ""]]);
}

#[test]
fn a_table_is_found_in_any_case_but_not_among_two_files() {
    let dir = tempfile::tempdir().unwrap();
    let find = || find_table(dir.path(), "ADMISSIONS");
    assert!(find().unwrap().is_none());
    std::fs::write(dir.path().join("Admissions.CSV"), "a\n").unwrap();
    assert!(find().unwrap().is_some_and(|path| path.ends_with("Admissions.CSV")));
    std::fs::create_dir(dir.path().join("ADMISSIONS.csv")).unwrap();
    std::fs::write(dir.path().join("ADMISSIONS.csv.txt"), "a\n").unwrap();
    assert!(find().is_ok(), "a folder and another kind of file are no tables");
    std::fs::write(dir.path().join("ADMISSIONS.csv.gz"), "").unwrap();
    let error = find().unwrap_err().to_string();
    assert!(error.contains("`ADMISSIONS.csv.gz` and `Admissions.CSV`") && error.contains("\nhint: "), "{error}");
}

#[test]
fn a_table_that_was_cut_off_inside_a_cell_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "a,b\n1,\"whole\ntext\"").unwrap();
    assert_eq!(read_all(&path).unwrap(), [["1", "whole\ntext", ""]]);
    std::fs::write(&path, "a,b\n1,\"secret\ntex").unwrap();
    let error = read_all(&path).unwrap_err().to_string();
    assert!(error.contains("row 1") && error.contains("inside a quoted cell") && !error.contains("secret"), "{error}");
}

#[test]
fn numbers_may_be_written_with_a_point_and_errors_show_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "a\n12.0\n\nsecret\n").unwrap();
    let mut table = Table::open(&path, &["a"], &[]).unwrap();
    assert_eq!(table.next_row().unwrap().unwrap().number(0).unwrap(), Some(12));
    let row = table.next_row().unwrap().unwrap();
    let error = row.number(0).unwrap_err().to_string();
    assert!(error.contains("row 2") && error.contains("`a`") && !error.contains("secret"));
}

#[test]
fn messages_show_no_control_characters_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t\u{1b}[31m.csv");
    std::fs::write(&path, "a,b\u{1b}[31m\n1\n").unwrap();
    for error in [read_all(&path).unwrap_err(), Table::open(&path, &["b31"], &[]).err().unwrap()] {
        let said = error.to_string();
        assert!(said.contains("b\\u{1b}[31m") || said.contains("t\\u{1b}[31m.csv"), "{said}");
        assert!(!said.contains('\u{1b}'), "{said:?}");
    }
}

#[test]
fn a_row_beyond_the_limits_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    let long = "x".repeat(LONGEST_ROW + 1);
    let wide = ",".repeat(record::MOST_CELLS);
    for (content, what) in [
        (format!("a,b\n1,2\n3,{long}\n"), "row 2: more than 67108864 bytes in one row"),
        (format!("a,\"{long}\"\n"), "header: more than 67108864 bytes in one row"),
        (format!("a,b\n1,2\n{wide}\n"), "row 2: more than 10000 cells in one row"),
        (format!("a,b{wide}\n"), "header: more than 10000 cells in one row"),
    ] {
        std::fs::write(&path, content).unwrap();
        let error = read_all(&path).unwrap_err().to_string();
        assert!(error.contains(what) && error.contains("\nhint: "), "{error}");
    }
}

#[test]
fn a_quote_that_swallows_the_rest_of_a_table_is_an_error_at_its_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.csv");
    std::fs::write(&path, "a,b\n1,2\n2,\"3\n4,5\n6,7\n").unwrap();
    let error = read_all(&path).unwrap_err().to_string();
    assert!(error.contains("row 2: the file ends inside a quoted cell"), "{error}");
    // Quotes within a cell are text.
    std::fs::write(&path, "a,b\n1,5\" tube\n2,x").unwrap();
    assert_eq!(read_all(&path).unwrap(), [["1", "5\" tube", ""], ["2", "x", ""]]);
}

proptest! {
    #[test]
    fn rows_are_those_of_the_csv_library(text in "([a-c\"\\n\\r, ]|\\PC){0,60}", cut in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let text = format!("a,b,c\n{text}{}", if cut { "" } else { "\n" });
        std::fs::write(&path, &text).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let expected: Result<Vec<Vec<String>>, _> =
            reader.records().map(|r| r.map(|r| r.iter().map(str::to_string).collect())).collect();
        match (read_all(&path), expected) {
            (Ok(read), Ok(expected)) => prop_assert_eq!(read, expected),
            (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("inside a quoted cell")),
            (Ok(_), Err(error)) => prop_assert!(false, "{}", error),
            (Err(_), Err(_)) => {}
        }
    }


    #[test]
    fn arbitrary_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["t.csv", "t.csv.gz"] {
            let path = dir.path().join(name);
            std::fs::write(&path, &bytes).unwrap();
            let _ = read_all(&path);
        }
    }

    #[test]
    fn arbitrary_text_under_a_header_is_rows_or_an_error(text in "([a-c0-9\"\\n\\r, .:-]|\\PC){0,80}") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        std::fs::write(&path, format!("a,b,c\n{text}")).unwrap();
        let _ = read_all(&path);
    }

    #[test]
    fn arbitrary_damage_to_a_packed_table_is_an_error_or_changes_no_cell(
        rows in proptest::collection::vec(["\\PC{1,9}", "[a\n\r\",]{0,9}", "\\PC{0,9}"], 1..4),
        place in any::<prop::sample::Index>(), flipped in 1u8..,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv.gz");
        let mut output = Output::create(&path, &["a", "b", "c"]).unwrap();
        for row in &rows {
            output.row(row.iter()).unwrap();
        }
        output.finish().unwrap();
        let mut packed = std::fs::read(&path).unwrap();
        let place = place.index(packed.len());
        std::fs::write(&path, &packed[..place]).unwrap();
        prop_assert!(read_all(&path).is_err(), "cut off");
        packed[place] ^= flipped;
        std::fs::write(&path, &packed).unwrap();
        if let Ok(read) = read_all(&path) {
            let expected: Vec<Vec<String>> = rows.iter().map(|r| r.to_vec()).collect();
            prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn what_was_written_is_read_again(rows in proptest::collection::vec(["\\PC{1,9}", "[a\n\r\",]{0,9}", "\\PC{0,9}"], 0..9)) {
        let dir = tempfile::tempdir().unwrap();
        for name in ["t.csv", "t.csv.gz"] {
            let path = dir.path().join(name);
            let mut output = Output::create(&path, &["a", "b", "c"]).unwrap();
            for row in &rows {
                output.row(row.iter()).unwrap();
            }
            output.finish().unwrap();
            let expected: Vec<Vec<String>> = rows.iter().map(|r| r.to_vec()).collect();
            prop_assert_eq!(read_all(&path).unwrap(), expected);
        }
    }
}
