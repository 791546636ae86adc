//! Each check on made-up texts, where it has to find exactly what is wrong with them: one that sees nothing fails here.
//!
//! The texts are as short as the fault allows.

use crate::assert_clean;
use crate::checks::*;
use crate::source::Source;

/// The places of the violations, without what they say.
fn places(found: &[String]) -> Vec<&str> {
    found.iter().map(|violation| violation.split_once(": ").expect("a violation is `path:line: what`").0).collect()
}

fn one(path: &str, text: &str) -> [Source; 1] {
    [Source::new(path, text)]
}

#[test]
fn a_wrong_direction_is_seen() {
    let text = "use crate::{\n    model::{A, sys},\n    store::B,\n};\n// crate::cli\nlet x = crate :: orchestrator::run(\"crate::cli\");\n";
    assert_eq!(places(&room_directions(&one("src/sys/fs.rs", text))), ["src/sys/fs.rs:3", "src/sys/fs.rs:6"]);
    assert_eq!(places(&room_directions(&one("src/model/a.rs", "use crate::sys::Git;"))), ["src/model/a.rs:1"]);
    assert_eq!(places(&room_directions(&one("src/sys/a.rs", "use crate::Git;\nuse crate::*;"))).len(), 2);
    assert_eq!(places(&room_directions(&one("src/sys/a.rs", "use super::super::store;"))), ["src/sys/a.rs:1"]);
    assert_eq!(places(&room_directions(&one("src/sys/mod.rs", "use super::store;"))), ["src/sys/mod.rs:1"]);
    assert_eq!(places(&room_directions(&one("src/attic/a.rs", ""))), ["src/attic/a.rs:1"]);
    assert_eq!(places(&room_directions(&one("src/loose.rs", ""))), ["src/loose.rs:1"]);
    assert_clean(room_directions(&one(
        "src/cli/new.rs",
        "use crate::{cleanup, orchestrator::{self, Run}};\nuse super::x;",
    )));
}

#[test]
fn an_impure_decision_is_seen() {
    let text = "//! Plans.\n//! Decision file: no IO.\nuse std::{collections::X,\n  fs::{self}, env};\nuse crate::sys::Git;\nfn f(now: SystemTime) {}\n";
    let path = "src/worktree/plan.rs";
    let found = decision_files_are_pure(&one(path, text));
    assert_eq!(places(&found).iter().map(|place| &place[path.len() + 1..]).collect::<Vec<_>>(), ["5", "4", "4", "6"]);
    assert_clean(decision_files_are_pure(&one(path, &text.replace("Decision file", "Scan file"))));
}

#[test]
fn printing_outside_cli_is_seen() {
    let text = "fn f() {\n    println!(\"x\");\n    std::io::stderr().lock();\n}\nuse std::io::{self, stdout};\n#[derive(clap::Args)]\nstruct A;\nfn g(c: Child) { c.stdout.take() }\n";
    let found = only_cli_prints(&one("src/store/a.rs", text));
    assert_eq!(places(&found), ["src/store/a.rs:2", "src/store/a.rs:3", "src/store/a.rs:5", "src/store/a.rs:6"]);
    assert_clean(only_cli_prints(&one("src/cli/a.rs", text)));
    assert_clean(only_cli_prints(&one("src/store/a.rs", "#[cfg(test)]\nmod tests { fn f() { println!() } }")));
}

#[test]
fn a_second_git_is_seen() {
    let text = "fn f<'a>(c: char) { Command::new(\"git\"); g('\"', \"git2\", r#\"git\"#) } // \"git\"\n#[cfg(test)]\nmod tests {\n    const G: &str = \"git\";\n}\nconst H: &[u8] = b\"git\";\n";
    let found = only_sys_git_names_git(&one("src/worktree/a.rs", text));
    assert_eq!(places(&found), ["src/worktree/a.rs:1", "src/worktree/a.rs:1", "src/worktree/a.rs:6"]);
    assert_clean(only_sys_git_names_git(&one("src/sys/git/command.rs", text)));
    assert_clean(only_sys_git_names_git(&one("src/worktree/tests.rs", text)));
}

#[test]
fn unsafe_out_of_place_or_unexplained_is_seen() {
    let bare = "fn f() {\n    unsafe { g() }\n}\n";
    let explained = "fn f() {\n    // SAFETY: g takes nothing.\n    unsafe { g() }\n}\n";
    let map = "## Exceptions\n\n- unsafe: `src/sys/a.rs`, for the test\n- length: `src/sys/b.rs`, for the test\n";
    assert_eq!(places(&unsafe_is_confined(&one("src/sys/a.rs", bare), "")), ["src/sys/a.rs:2"; 2]);
    assert_eq!(places(&unsafe_is_confined(&one("src/sys/a.rs", bare), map)), ["src/sys/a.rs:2"]);
    assert_eq!(places(&unsafe_is_confined(&one("src/sys/b.rs", explained), map)), ["src/sys/b.rs:3"]);
    assert_eq!(places(&unsafe_is_confined(&one("src/confine/a.rs", bare), "")), ["src/confine/a.rs:2"]);
    assert_clean(unsafe_is_confined(&one("src/confine/a.rs", explained), ""));
    assert_clean(unsafe_is_confined(&one("src/sys/a.rs", "#[expect(unsafe_code)] fn f() { \"unsafe {\" }"), ""));
}

#[test]
fn a_missing_header_and_a_long_file_are_seen() {
    let long = format!("//! A.\n//! B.\n{}", "\n".repeat(FILE_MAX));
    let map = "## Exceptions\n\n- length: `src/cli/a.rs`, for the test\n";
    assert_eq!(places(&files_have_headers_and_end(&one("src/cli/a.rs", &long), "")), ["src/cli/a.rs:1"]);
    assert_clean(files_have_headers_and_end(&one("src/cli/a.rs", &long), map));
    for short in ["", "//! One line.\n//!\nfn f() {}", "use x;\n//! A.\n//! B."] {
        assert_eq!(files_have_headers_and_end(&one("src/cli/a.rs", short), map).len(), 1, "{short:?}");
    }
}

#[test]
fn a_map_that_left_the_folders_is_seen() {
    let map = "## Rooms\n\n| room | holds | may use |\n|---|---|---|\n| `src/model/` | x | sys |\n| `src/cli/` | x | everything |\n| `tests/` | x | |\n";
    let folders = ["src/cli", "src/store", "scripts"].map(str::to_owned);
    let found = map_matches_folders(map, &folders);
    let map_at = |line| format!("docs/ARCHITECTURE.md:{line}");
    assert_eq!(places(&found), [&map_at(5), &map_at(5), &map_at(7), "src/store:1", "scripts:1"]);
    assert_clean(map_matches_folders("## Rooms\n| `src/model/` | x | nothing |\n", &["src/model".to_owned()]));
}

#[test]
fn code_in_a_mod_file_is_seen() {
    let text = "//! Docs.\n#![allow(x)]\n/// M.\nmacro_rules! m { ($a:ident) => { fn $a() {} }; }\npub(crate) use m;\npub mod a;\nuse {b::C,\n d};\npub fn f() { g(); }\nmod inline { fn f() {} }\nconst N: [u8; 3] = [0; 3];\npub use a::B;\n";
    let found = mod_files_only_list(&one("src/sys/mod.rs", text));
    assert_eq!(places(&found), ["src/sys/mod.rs:9", "src/sys/mod.rs:10", "src/sys/mod.rs:11"]);
    assert_clean(mod_files_only_list(&one("src/sys/other.rs", text)));
}

#[test]
fn a_lint_silenced_without_a_reason_is_seen() {
    let text = "#[allow(dead_code)]\nfn f() {}\n#[expect(\n    x,\n    reason = \"why\"\n)]\nfn g() { h().expect(\"x\") }\n#[cfg_attr(test, allow(x))]\nfn i() {}\n";
    assert_eq!(places(&silenced_lints_have_reasons(&one("src/a.rs", text))), ["src/a.rs:1", "src/a.rs:8"]);
    assert_eq!(places(&silenced_lints_have_reasons(&one("src/a.rs", "#![expect(x)]"))), ["src/a.rs:1"]);
}

#[test]
fn missing_ledgers_are_seen() {
    let map = "## GLOSSARY\n\n- **run**: x\n\n## Other\n- **task**: x\n";
    let words = GLOSSARY.split_whitespace().count();
    assert_eq!(ledgers_are_kept("# Changelog\n\nUnreleased\n", map).len(), words);
    assert_eq!(ledgers_are_kept("## Unreleased\n", map).len(), words - 1);
}

#[test]
fn a_machine_in_a_text_is_seen() {
    let home = concat!("/ho", "me/me/x");
    let text = format!(
        "see {home}\n`{}`\nbox{home} $HOME/x\nhttps://{}\n",
        concat!("/ro", "ot/x"),
        concat!("index.crates", ".io")
    );
    let found = |path: &str| texts_name_no_machine(&[(path.to_owned(), text.clone())]);
    assert_eq!(places(&found("README.md")), ["README.md:2", "README.md:1", "README.md:4"]);
    assert_eq!(places(&found("tests/a.rs")), ["tests/a.rs:2", "tests/a.rs:4"]);
    let lock = format!("{0}https://github.com/rust-lang/crates.io-index\n{0}https://x.y\n", concat!("registry", "+"));
    assert_eq!(places(&texts_name_no_machine(&[("Cargo.lock".to_owned(), lock)])), ["Cargo.lock:2"]);
}

#[test]
fn an_invariant_without_a_check_is_seen() {
    let map = "Architecture Invariant: a (`tidy::held`).\nArchitecture Invariant: b (`tidy::gone`).\nArchitecture Invariant: c.\n## Exceptions\n- unsafe: `src/gone.rs`, why\n";
    let found = map_names_what_exists(map, "\npub fn held() {}\n", |path| path != "src/gone.rs");
    let map_at = |line| format!("docs/ARCHITECTURE.md:{line}");
    assert_eq!(places(&found), [map_at(2), map_at(3), map_at(1)]);
}
