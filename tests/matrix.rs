//! The git matrix: each kind of repository that people have, made by a script and used with the real binary.
//! `docs/git.md` says row by row what happens; a row is a test, so that a failure names it.

#![expect(clippy::disallowed_methods, reason = "rows start programs as a user does")]

mod support;

#[path = "matrix/content.rs"]
mod content;
#[path = "matrix/drive.rs"]
mod drive;
#[path = "matrix/filters.rs"]
mod filters;
#[path = "matrix/formats.rs"]
mod formats;
#[path = "matrix/modules.rs"]
mod modules;
#[path = "matrix/people.rs"]
mod people;
#[path = "matrix/places.rs"]
mod places;
#[path = "matrix/sight.rs"]
mod sight;
#[path = "matrix/signing.rs"]
mod signing;
#[path = "matrix/states.rs"]
mod states;

/// Where a row is documented: the first cell of a line of a table.
fn documented(page: &str) -> std::collections::BTreeSet<&str> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells.flat_map(|cell| cell.split(", ").map(|name| name.trim_matches('`'))).collect()
}

#[test]
fn the_page_names_every_row() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/git.md")).expect("the page");
    let mut rows = std::collections::BTreeSet::new();
    let files = std::fs::read_dir(root.join("tests/matrix")).expect("the rows");
    for file in files.map(|entry| entry.expect("readable").path()) {
        let text = std::fs::read_to_string(&file).expect("readable");
        let tests = text.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next());
        rows.extend(tests.map(str::to_owned));
    }
    let named: std::collections::BTreeSet<String> = documented(&page).into_iter().map(str::to_owned).collect();
    assert_eq!(named, rows, "docs/git.md and tests/matrix/ name the same rows");
}
