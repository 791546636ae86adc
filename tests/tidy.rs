//! Holds the lines of the map (`docs/ARCHITECTURE.md`) as a test: lexical checks on the repository's own text.
//!
//! Each check is a function from texts to a list of violations, `path:line: what`. Each runs twice: on the repository,
//! where it has to find nothing, and on made-up texts, where it has to find exactly what is wrong with them; a check that
//! sees nothing at all fails there. Comments and strings are blanked before code is looked at.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/seen.rs"]
mod seen;
#[path = "tidy/source.rs"]
mod source;

use checks::*;
use source::Source;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file beneath `folder`, as sorted paths from the root.
fn files_under(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("the folder can be read").path();
            let name = path.strip_prefix(root()).expect("it is beneath the root").to_string_lossy().into_owned();
            match path.is_dir() && !path.is_symlink() {
                true if name != ".git" && name != "target" => folders.push(path),
                true => {}
                false => found.push(name),
            }
        }
    }
    found.sort();
    found
}

fn rust_under(folder: &str) -> Vec<Source> {
    let paths = files_under(folder).into_iter().filter(|path| path.ends_with(".rs"));
    let found: Vec<Source> = paths.map(|path| Source::new(&path, &read(&path))).collect();
    assert!(!found.is_empty(), "{folder} holds no Rust: the checks would see nothing");
    found
}

/// What git tracks; without a repository (an unpacked package) every file.
#[expect(clippy::disallowed_methods, reason = "a test asks git what it tracks")]
fn tracked_files() -> Vec<String> {
    let mut git = std::process::Command::new("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        git.env_remove(name);
    }
    let listed = git.arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let listed = listed.ok().filter(|output| output.status.success() && root().join(".git").exists());
    let text = String::from_utf8_lossy(&listed.map(|output| output.stdout).unwrap_or_default()).into_owned();
    let paths: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    if paths.is_empty() { files_under("") } else { paths }
}

fn assert_clean(found: Vec<String>) {
    assert!(found.is_empty(), "{} violation(s):\n{}\n", found.len(), found.join("\n"));
}

#[test]
fn rooms_use_only_what_the_map_allows() {
    assert_clean(room_directions(&rust_under("src")));
}

#[test]
fn decision_files_do_no_io() {
    assert_clean(decision_files_are_pure(&rust_under("src")));
}

#[test]
fn only_the_command_line_prints() {
    assert_clean(only_cli_prints(&rust_under("src")));
}

#[test]
fn git_has_one_gateway() {
    assert_clean(only_sys_git_names_git(&rust_under("src")));
}

#[test]
fn unsafe_code_has_its_place_and_its_reason() {
    assert_clean(unsafe_is_confined(&rust_under("src"), &read("docs/ARCHITECTURE.md")));
}

#[test]
fn files_open_with_their_purpose_and_are_short() {
    assert_clean(files_have_headers_and_end(&rust_under("src"), &read("docs/ARCHITECTURE.md")));
}

#[test]
fn the_map_shows_the_rooms_that_there_are() {
    let mut folders: BTreeSet<String> = BTreeSet::new();
    for path in files_under("src").into_iter().chain(files_under("tests")).chain(files_under("scripts")) {
        let depth = if path.starts_with("src/") { 2 } else { 1 };
        let parts: Vec<&str> = path.split('/').collect();
        if parts.len() > depth {
            folders.insert(parts[..depth].join("/"));
        }
    }
    assert_clean(map_matches_folders(&read("docs/ARCHITECTURE.md"), &folders.into_iter().collect::<Vec<_>>()));
}

#[test]
fn mod_files_hold_nothing_themselves() {
    assert_clean(mod_files_only_list(&rust_under("src")));
}

#[test]
fn lints_are_silenced_with_reasons() {
    assert_clean(silenced_lints_have_reasons(&rust_under("src")));
    assert_clean(silenced_lints_have_reasons(&rust_under("tests")));
}

#[test]
fn changelog_and_glossary_are_kept() {
    assert_clean(ledgers_are_kept(&read("CHANGELOG.md"), &read("docs/ARCHITECTURE.md")));
}

#[test]
fn tracked_texts_name_no_machine() {
    let read_text = |path: String| fs::read_to_string(root().join(&path)).ok().map(|text| (path, text));
    let texts: Vec<(String, String)> = tracked_files().into_iter().filter_map(read_text).collect();
    assert!(texts.iter().any(|(path, _)| path == "Cargo.toml"), "the list of tracked files is not this repository's");
    assert_clean(texts_name_no_machine(&texts));
}

#[test]
fn the_map_names_checks_and_files_that_exist() {
    let exists = |path: &str| root().join(path).exists();
    assert_clean(map_names_what_exists(&read("docs/ARCHITECTURE.md"), include_str!("tidy/checks.rs"), exists));
}
