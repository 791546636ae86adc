//! The checks: each a function from texts to a list of violations, `path:line: what`.
//!
//! They look at no file themselves; what the repository has is handed to them.

use std::collections::BTreeSet;

use crate::source::{
    Source, after_group, after_item, exceptions, header, line_of, paths_under, room_rows, section, tokens,
};

/// The rooms and what each may use besides itself; the map's table says the same, which `map_matches_folders` checks.
pub const ROOMS: [(&str, &[&str]); 10] = [
    ("model", &[]),
    ("sys", &["model"]),
    ("store", &["model", "sys"]),
    ("worktree", &["confine", "store", "sys", "model"]),
    ("confine", &["agent", "sys", "model"]),
    ("agent", &["model"]),
    ("orchestrator", &["agent", "confine", "worktree", "store", "sys", "model"]),
    ("forge", &["sys", "model"]),
    ("cleanup", &["forge", "worktree", "confine", "store", "sys", "model"]),
    ("cli", &["model", "sys", "store", "worktree", "confine", "agent", "forge", "orchestrator", "cleanup"]),
];
/// Longest file, in lines, without an exception on the map.
pub const FILE_MAX: usize = 600;
/// The words that the map explains.
pub const GLOSSARY: &str = "workspace worktree base freshness lease run task attempt capture candidate gate landing salvage \
                        trash orphan";

/// (1) A room uses only the rooms that the map allows it, by paths that say which.
pub fn room_directions(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let Some(room) = source.room() else {
            if !["src/lib.rs", "src/main.rs"].contains(&source.path.as_str()) {
                found.push(source.at(0, "is in no room"));
            }
            continue;
        };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.push(source.at(0, &format!("`{room}` is no room of the map")));
            continue;
        };
        let tokens = tokens(&source.code);
        for (offset, used) in paths_under(&tokens, "crate") {
            if used == room || allowed.contains(&used) {
                continue;
            }
            let known = ROOMS.iter().any(|(name, _)| *name == used);
            let what = if known { format!("{room} may not use {used}") } else { format!("crate::{used} is no room") };
            found.push(source.at(offset, &what));
        }
        for at in tokens.windows(3) {
            if at[0].text == "super" && at[1].text == "::" && at[2].text == "super" {
                found.push(source.at(at[0].offset, "super::super leaves its folder: write crate::<room>"));
            }
        }
        if source.path == format!("src/{room}/mod.rs") {
            for (offset, _) in paths_under(&self::tokens(&source.live), "super") {
                found.push(source.at(offset, "super is the crate root here: write crate::<room>"));
            }
        }
    }
    found
}

/// (2) A decision file gets facts and `now` as arguments and does no IO.
pub fn decision_files_are_pure(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let decides = |source: &&Source| header(&source.text).iter().any(|line| line.starts_with("//! Decision file"));
    for source in sources.iter().filter(decides) {
        let tokens = tokens(&source.live);
        for (root, banned) in [("crate", &["sys", "store"][..]), ("std", &["fs", "process", "env"])] {
            for (offset, used) in paths_under(&tokens, root).into_iter().filter(|(_, used)| banned.contains(used)) {
                found.push(source.at(offset, &format!("a decision file may not use {root}::{used}")));
            }
        }
        for token in tokens.iter().filter(|token| token.text == "SystemTime") {
            found.push(source.at(token.offset, "a decision file takes `now` as an argument"));
        }
    }
    found
}

/// (3) Only the command line prints and knows clap.
pub fn only_cli_prints(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let elsewhere = |source: &&Source| source.room() != Some("cli") && source.path != "src/main.rs";
    for source in sources.iter().filter(elsewhere) {
        let tokens = tokens(&source.live);
        for pair in tokens.windows(2) {
            if pair[1].text == "!" && ["println", "eprintln", "print", "eprint"].contains(&pair[0].text) {
                found.push(source.at(pair[0].offset, &format!("{}! outside cli", pair[0].text)));
            }
        }
        for (offset, used) in paths_under(&tokens, "io") {
            if ["stdout", "stderr", "Stdout", "Stderr"].contains(&used) {
                found.push(source.at(offset, &format!("io::{used} outside cli")));
            }
        }
        for token in tokens.iter().filter(|token| token.text == "clap") {
            found.push(source.at(token.offset, "clap outside cli"));
        }
    }
    found
}

/// (4) Only `sys::git` names the program git.
pub fn only_sys_git_names_git(sources: &[Source]) -> Vec<String> {
    let gateway = |path: &str| path == "src/sys/git.rs" || path.starts_with("src/sys/git/");
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !gateway(&source.path)) {
        let named = source.literals.iter().filter(|(offset, value)| value == "git" && source.is_live(*offset));
        found.extend(named.map(|(offset, _)| source.at(*offset, "the program name git outside sys::git")));
    }
    found
}

/// (5) `unsafe` lives in `src/confine` and in the map's exceptions, and says why it is sound.
pub fn unsafe_is_confined(sources: &[Source], map: &str) -> Vec<String> {
    let excepted = exceptions(map, "unsafe");
    let mut found = Vec::new();
    for source in sources {
        let allowed = source.room() == Some("confine") || excepted.contains(&source.path);
        for pair in tokens(&source.code).windows(2).filter(|pair| pair[0].text == "unsafe") {
            if !allowed {
                found.push(source.at(pair[0].offset, "unsafe outside confine and the map's exceptions"));
            }
            let last = line_of(&source.text, pair[0].offset);
            let mut near = source.text.lines().take(last).skip(last.saturating_sub(6));
            if ["{", "impl", "("].contains(&pair[1].text) && !near.any(|line| line.contains("// SAFETY:")) {
                found.push(source.at(pair[0].offset, "unsafe without a `// SAFETY:` comment in the 5 lines above"));
            }
        }
    }
    found
}

/// (6) A file opens with what it is for, and stays short enough to be read in one go.
pub fn files_have_headers_and_end(sources: &[Source], map: &str) -> Vec<String> {
    let excepted = exceptions(map, "length");
    let mut found = Vec::new();
    for source in sources {
        if header(&source.text).iter().filter(|line| line.len() > 3).count() < 2 {
            found.push(source.at(0, "starts without a `//!` header of two lines"));
        }
        let lines = source.text.lines().count();
        if lines > FILE_MAX && !excepted.contains(&source.path) {
            found.push(source.at(0, &format!("{lines} lines; {FILE_MAX} are enough")));
        }
    }
    found
}

/// (7) The map's table, the folders on disk and `ROOMS` name the same rooms with the same directions.
pub fn map_matches_folders(map: &str, folders: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let rows = room_rows(map);
    for (line, folder, uses) in &rows {
        if !folders.contains(folder) {
            found.push(format!("docs/ARCHITECTURE.md:{line}: `{folder}` is not on disk"));
        }
        let Some(room) = folder.strip_prefix("src/") else { continue };
        match ROOMS.iter().find(|(name, _)| *name == room) {
            None => found.push(format!("docs/ARCHITECTURE.md:{line}: tests/tidy.rs does not know `{room}`")),
            Some(_) if room == "cli" && uses == "everything" => {}
            Some((_, allowed)) => {
                let said: BTreeSet<&str> = uses.split(", ").filter(|word| *word != "nothing").collect();
                if said != allowed.iter().copied().collect() {
                    found.push(format!("docs/ARCHITECTURE.md:{line}: `{room}` may use {allowed:?} in tests/tidy.rs"));
                }
            }
        }
    }
    let drawn: Vec<&String> = rows.iter().map(|(_, folder, _)| folder).collect();
    let expected =
        folders.iter().filter(|folder| folder.starts_with("src/") || *folder == "tests" || *folder == "scripts");
    for folder in expected.filter(|folder| !drawn.contains(folder)) {
        found.push(format!("{folder}:1: is not in the table of docs/ARCHITECTURE.md"));
    }
    found
}

/// (8) A `mod.rs` says what there is and holds nothing itself.
pub fn mod_files_only_list(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with("/mod.rs")) {
        let tokens = tokens(&source.code);
        let mut at = 0;
        while at < tokens.len() {
            let start = at;
            if tokens[at].text == "#" {
                at = after_group(&tokens, at);
                continue;
            }
            if tokens[at].text == "pub" {
                at += 1;
                if tokens.get(at).is_some_and(|token| token.text == "(") {
                    at = after_group(&tokens, at);
                }
            }
            let word = tokens.get(at).map_or("", |token| token.text);
            let bodiless = word == "mod" && tokens.get(at + 2).is_some_and(|token| token.text == ";");
            if !(bodiless || word == "use" || word == "macro_rules") {
                found.push(source.at(tokens[start].offset, "a mod.rs holds only docs, mod, use and macro_rules"));
            }
            at = after_item(&tokens, at);
        }
    }
    found
}

/// (9) Whoever silences a lint says why.
pub fn silenced_lints_have_reasons(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let tokens = tokens(&source.code);
        let opens = |at: usize| {
            let next = if tokens.get(at + 1).is_some_and(|token| token.text == "!") { at + 2 } else { at + 1 };
            tokens[at].text == "#" && tokens.get(next).is_some_and(|token| token.text == "[")
        };
        for start in (0..tokens.len()).filter(|at| opens(*at)) {
            let attribute = &tokens[start..after_group(&tokens, start)];
            let has = |words: &[&str], then: &str| {
                attribute.windows(2).any(|pair| words.contains(&pair[0].text) && pair[1].text == then)
            };
            if has(&["allow", "expect"], "(") && !has(&["reason"], "=") {
                found.push(source.at(tokens[start].offset, "a lint is silenced without `reason = …`"));
            }
        }
    }
    found
}

/// (10) The changelog has a place for the next line, and the map explains its words.
pub fn ledgers_are_kept(changelog: &str, map: &str) -> Vec<String> {
    let mut found = Vec::new();
    if !changelog.lines().any(|line| line.starts_with("## ") && line.contains("Unreleased")) {
        found.push("CHANGELOG.md:1: has no Unreleased heading".to_owned());
    }
    let glossary = section(map, "GLOSSARY");
    for word in GLOSSARY.split_whitespace() {
        if !glossary.iter().any(|(_, line)| line.starts_with(&format!("- **{word}**"))) {
            found.push(format!("docs/ARCHITECTURE.md:1: the GLOSSARY does not explain `{word}`"));
        }
    }
    found
}

/// (11) No path of somebody's machine and no package mirror in a tracked text; `/home/` is fine in tests.
pub fn texts_name_no_machine(texts: &[(String, String)]) -> Vec<String> {
    let home = concat!("/ho", "me/");
    let directories = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), home];
    // With commas for dots, or this file would name them.
    let hosts =
        "index,crates,io static,crates,io registry,npmjs proxy,golang pypi,org artifactory, jfrog,".replace(',', ".");
    let public = concat!("registry", "+https://github.com/rust-lang/crates.io-index");
    let mut found = Vec::new();
    for (path, text) in texts {
        let source = path.ends_with(".rs").then(|| Source::new(path, text));
        let in_test = |offset| path.starts_with("tests/") || source.as_ref().is_some_and(|it| !it.is_live(offset));
        let mut report = |offset, what: &str| found.push(format!("{path}:{}: {what}", line_of(text, offset)));
        for directory in directories {
            for (offset, _) in text.match_indices(directory) {
                let starts = !text[..offset].ends_with(|c: char| c.is_alphanumeric() || "._-~/}>*".contains(c));
                if starts && !(directory == home && in_test(offset)) {
                    report(offset, &format!("{directory} is a path of one machine"));
                }
            }
        }
        for host in hosts.split_whitespace() {
            text.match_indices(host).for_each(|(offset, _)| report(offset, &format!("{host} is a registry host")));
        }
        for scheme in [concat!("registry", "+"), concat!("spar", "se+")] {
            for (offset, _) in text.match_indices(scheme).filter(|(offset, _)| !text[*offset..].starts_with(public)) {
                report(offset, "a registry that is not the public one");
            }
        }
    }
    found
}

/// (12) Every invariant of the map names the check that holds it, every exception a file that exists.
pub fn map_names_what_exists(map: &str, checks: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in map.lines().enumerate().filter(|(_, line)| line.starts_with("Architecture Invariant:")) {
        let names: Vec<&str> = line.split("`tidy::").skip(1).filter_map(|rest| rest.split('`').next()).collect();
        if names.is_empty() || !names.iter().all(|name| checks.contains(&format!("\npub fn {name}("))) {
            found.push(format!("docs/ARCHITECTURE.md:{}: an invariant without its `tidy::` check", at + 1));
        }
    }
    for path in exceptions(map, "unsafe").into_iter().chain(exceptions(map, "length")) {
        if !exists(&path) {
            found.push(format!("docs/ARCHITECTURE.md:1: the exception `{path}` does not exist"));
        }
    }
    found
}
