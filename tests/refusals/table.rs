//! A table in `deploy/refusals.md`, and whether it says what the tests saw.

use std::fmt::Write as _;
use std::path::Path;

/// One bad input: what it is about, what is sent, and what came back.
pub(crate) struct Row {
    pub(crate) about: &'static str,
    pub(crate) sent: String,
    pub(crate) answer: String,
}

/// Requires that the part of the file between the marks of `name` is the table of these rows. With `WRITE_TABLES` in the environment,
/// it is written instead.
pub(crate) fn agrees(name: &str, rows: &[Row]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/refusals.md");
    let text = std::fs::read_to_string(&path).expect("the file is readable");
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let (before, rest) = text.split_once(&begin).expect("the table has a beginning");
    let (present, after) = rest.split_once(&end).expect("the table has an end");
    let mut table = String::from("| about | sent | answer |\n|---|---|---|\n");
    let mut about = "";
    for row in rows {
        let first = if row.about == about { "" } else { row.about };
        about = row.about;
        writeln!(table, "| {first} | {} | {} |", row.sent, row.answer).expect("memory is there");
    }
    if std::env::var_os("WRITE_TABLES").is_some() {
        let text = format!("{before}{begin}{table}{end}{after}");
        std::fs::write(&path, text).expect("the file is writable");
        return;
    }
    assert!(present == table, "the table of {name} should be:\n{table}");
}
