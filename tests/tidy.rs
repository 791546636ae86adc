//! Holds the lines of the map (`docs/ARCHITECTURE.md`) as a test: lexical checks on the repository's own text.
//!
//! Each check is a function from texts to a list of violations, `path:line: what`. Each runs twice: on the repository,
//! where it has to find nothing, and on made-up texts, where it has to find exactly what is wrong with them; a check that
//! sees nothing at all fails there. Comments and strings are blanked before code is looked at.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// The rooms and what each may use besides itself; the map's table says the same, which `map_matches_folders` checks.
const ROOMS: [(&str, &[&str]); 9] = [
    ("model", &[]),
    ("sys", &["model"]),
    ("store", &["model", "sys"]),
    ("worktree", &["confine", "store", "sys", "model"]),
    ("confine", &["sys", "model"]),
    ("agent", &["model"]),
    ("orchestrator", &["agent", "confine", "worktree", "store", "sys", "model"]),
    ("cleanup", &["worktree", "confine", "store", "sys", "model"]),
    ("cli", &["model", "sys", "store", "worktree", "confine", "agent", "orchestrator", "cleanup"]),
];
/// Longest file, in lines, without an exception on the map.
const FILE_MAX: usize = 600;
/// The words that the map explains.
const GLOSSARY: &str = "workspace worktree base freshness lease run task attempt capture candidate gate landing salvage \
                        trash orphan";

// ---------------------------------------------------------------- the checks

/// (1) A room uses only the rooms that the map allows it, by paths that say which.
fn room_directions(sources: &[Source]) -> Vec<String> {
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
fn decision_files_are_pure(sources: &[Source]) -> Vec<String> {
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
fn only_cli_prints(sources: &[Source]) -> Vec<String> {
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
fn only_sys_git_names_git(sources: &[Source]) -> Vec<String> {
    let gateway = |path: &str| path == "src/sys/git.rs" || path.starts_with("src/sys/git/");
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| !gateway(&source.path)) {
        let named = source.literals.iter().filter(|(offset, value)| value == "git" && source.is_live(*offset));
        found.extend(named.map(|(offset, _)| source.at(*offset, "the program name git outside sys::git")));
    }
    found
}

/// (5) `unsafe` lives in `src/confine` and in the map's exceptions, and says why it is sound.
fn unsafe_is_confined(sources: &[Source], map: &str) -> Vec<String> {
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
fn files_have_headers_and_end(sources: &[Source], map: &str) -> Vec<String> {
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
fn map_matches_folders(map: &str, folders: &[String]) -> Vec<String> {
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
fn mod_files_only_list(sources: &[Source]) -> Vec<String> {
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
fn silenced_lints_have_reasons(sources: &[Source]) -> Vec<String> {
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
fn ledgers_are_kept(changelog: &str, map: &str) -> Vec<String> {
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
fn texts_name_no_machine(texts: &[(String, String)]) -> Vec<String> {
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
fn map_names_what_exists(map: &str, checks: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in map.lines().enumerate().filter(|(_, line)| line.starts_with("Architecture Invariant:")) {
        let names: Vec<&str> = line.split("`tidy::").skip(1).filter_map(|rest| rest.split('`').next()).collect();
        if names.is_empty() || !names.iter().all(|name| checks.contains(&format!("\nfn {name}("))) {
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

// ---------------------------------------------------------------- reading Rust and the map

/// One file: its text, the text with comments and strings blanked, the same without what is compiled for tests only.
struct Source {
    path: String,
    text: String,
    code: String,
    live: String,
    literals: Vec<(usize, String)>,
    for_tests: Vec<Range<usize>>,
}

struct Token<'a> {
    offset: usize,
    text: &'a str,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let (code, literals) = blank(text);
        let whole = path.ends_with("/tests.rs") || path.contains("/tests/");
        let for_tests = if whole { std::iter::once(0..code.len()).collect() } else { test_items(&code) };
        let mut live = code.clone();
        for range in &for_tests {
            live.replace_range(range.clone(), &" ".repeat(range.len()));
        }
        Source { path: path.to_owned(), text: text.to_owned(), code, live, literals, for_tests }
    }

    fn at(&self, offset: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line_of(&self.text, offset))
    }

    fn room(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.split_once('/').map(|(room, _)| room)
    }

    fn is_live(&self, offset: usize) -> bool {
        !self.for_tests.iter().any(|range| range.contains(&offset))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// The `//!` lines that a file opens with.
fn header(text: &str) -> Vec<&str> {
    text.lines().take_while(|line| line.starts_with("//!")).map(str::trim_end).collect()
}

/// The text with comments and literals as spaces, offsets kept, and the string literals as they are written.
fn blank(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (length, string) = match rest.as_bytes()[0] {
            b'/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), None),
            b'/' if rest.starts_with("/*") => (block_comment(rest), None),
            b'"' => plain_string(rest),
            b'r' if !code.ends_with(is_word) || code.ends_with(['b', 'c']) => raw_string(rest),
            b'\'' => (char_literal(rest), None),
            _ => (0, None),
        };
        literals.extend(string.map(|value| (at, value)));
        if length == 0 {
            let c = rest.chars().next().expect("the loop ends at the end of the text");
            if c.is_ascii() { code.push(c) } else { code.push_str(&" ".repeat(c.len_utf8())) }
        } else {
            code.extend(rest.bytes().take(length).map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        }
        at = code.len();
    }
    (code, literals)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn plain_string(rest: &str) -> (usize, Option<String>) {
    let mut at = 1;
    while at < rest.len() && rest.as_bytes()[at] != b'"' {
        at += if rest.as_bytes()[at] == b'\\' { 2 } else { 1 };
    }
    let end = at.min(rest.len());
    ((end + 1).min(rest.len()), rest.get(1..end).map(str::to_owned))
}

fn raw_string(rest: &str) -> (usize, Option<String>) {
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[1 + hashes..].starts_with('"') {
        return (0, None);
    }
    let body = &rest[hashes + 2..];
    let length = body.find(&format!("\"{}", "#".repeat(hashes))).unwrap_or(body.len());
    ((2 * hashes + 3 + length).min(rest.len()), Some(body[..length].to_owned()))
}

/// Zero for a lifetime.
fn char_literal(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(rest.len(), |end| end + 4),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(end, _)| end + 1),
        None => 0,
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the items are that only `cfg(test)` compiles.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let words: String = tokens[at..].iter().take(7).map(|token| token.text).collect();
        if !(words.starts_with("#[cfg(test)]") || words.starts_with("#[cfg(all(test")) {
            at += 1;
            continue;
        }
        let start = tokens[at].offset;
        while tokens.get(at).is_some_and(|token| token.text == "#") {
            at = after_group(&tokens, at);
        }
        at = after_item(&tokens, at);
        found.push(start..tokens.get(at).map_or(code.len(), |token| token.offset));
    }
    found
}

/// Words, `::`, and every other sign by itself.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = code[at..].chars().next() {
        let rest = &code[at..];
        let length = match c {
            c if c.is_whitespace() => 0,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            c => c.len_utf8(),
        };
        if length > 0 {
            found.push(Token { offset: at, text: &rest[..length] });
        }
        at += length.max(c.len_utf8());
    }
    found
}

/// The position after the next bracketed group.
fn after_group(tokens: &[Token<'_>], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 1 => return at + 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The position after an item: after its `;`, or after its body. The braces of a `use` are no body.
fn after_item(tokens: &[Token<'_>], from: usize) -> usize {
    let is_use = tokens.get(from).is_some_and(|token| token.text == "use");
    let mut at = from;
    while at < tokens.len() {
        match tokens[at].text {
            ";" => return at + 1,
            "{" if !is_use => return after_group(tokens, at),
            "(" | "[" | "{" => at = after_group(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// What stands right under `root::`, in a path or in a group of a `use` over as many lines as it likes.
fn paths_under<'a>(tokens: &[Token<'a>], root: &str) -> Vec<(usize, &'a str)> {
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(2) {
        if tokens[at].text != root || tokens[at + 1].text != "::" {
            continue;
        }
        if tokens[at + 2].text != "{" {
            found.push((tokens[at + 2].offset, tokens[at + 2].text));
            continue;
        }
        let mut inside = at + 3;
        let end = after_group(tokens, at + 2) - 1;
        while inside < end {
            found.push((tokens[inside].offset, tokens[inside].text));
            while inside < end && tokens[inside].text != "," {
                inside = if tokens[inside].text == "{" { after_group(tokens, inside) } else { inside + 1 };
            }
            inside += 1;
        }
    }
    found
}

/// The lines under a heading that contains `title`, up to the next heading.
fn section<'a>(map: &'a str, title: &str) -> Vec<(usize, &'a str)> {
    let lines = map.lines().enumerate().map(|(at, line)| (at + 1, line));
    let from = lines.skip_while(|(_, line)| !(line.starts_with("## ") && line.contains(title)));
    from.skip(1).take_while(|(_, line)| !line.starts_with("## ")).collect()
}

/// The backticked paths of the lines `- <kind>: …` under Exceptions.
fn exceptions(map: &str, kind: &str) -> Vec<String> {
    let lines = section(map, "Exceptions").into_iter().map(|(_, line)| line);
    let entries = lines.filter_map(|line| line.strip_prefix(&format!("- {kind}: ")));
    entries.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The rows of the table of rooms: line, folder, what it may use.
fn room_rows(map: &str) -> Vec<(usize, String, String)> {
    let row = |(line, text): (usize, &str)| {
        let cells: Vec<&str> = text.split('|').map(str::trim).collect();
        let folder = cells.get(1)?.strip_prefix('`')?.strip_suffix("/`")?;
        Some((line, folder.to_owned(), (*cells.get(3)?).to_owned()))
    };
    section(map, "Rooms").into_iter().filter_map(row).collect()
}

// ---------------------------------------------------------------- the repository

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
    assert_clean(map_names_what_exists(&read("docs/ARCHITECTURE.md"), include_str!("tidy.rs"), exists));
}

// ---------------------------------------------------------------- the checks see what they are for

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
    let found = map_names_what_exists(map, "\nfn held() {}\n", |path| path != "src/gone.rs");
    let map_at = |line| format!("docs/ARCHITECTURE.md:{line}");
    assert_eq!(places(&found), [map_at(2), map_at(3), map_at(1)]);
}
