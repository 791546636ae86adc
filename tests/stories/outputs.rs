//! Stories of what setup steps make and the next workspace has without them: the same only where it follows from the same, a copy of its
//! own for each, never what was touched, and from no history that the workspace does not have.

use crate::support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{World, state, task};

/// What a step makes: something that is never the same twice, a script that names its place, a link to that, and an empty file.
const MAKE: &str = "mkdir -p deps/bin && od -An -tx8 -N16 /dev/urandom > deps/stamp && cp lock deps/lock && \
    printf '#!/bin/sh\\necho at %s\\n' \"$PWD/deps/bin\" > deps/bin/tool && chmod +x deps/bin/tool && \
    ln -s \"$PWD/deps/stamp\" deps/link && : > deps/empty";

fn step(more: &str) -> String {
    format!("[worktree]\nsetup = [{{ run = {}, inputs = [\"lock\"], outputs = [\"deps\"]{more} }}]\n", json!(MAKE))
}

fn world() -> World {
    let world = World::new();
    let level = if support::level() == "strict" { "strict" } else { "off" };
    world.configure(&format!("{}[confine]\nlevel = \"{level}\"\n", step("")));
    world.commit("setup", &[(".gitignore", "deps/\n"), ("lock", "one\n")]);
    world
}

/// A new workspace: its tree, and whether the step was spared.
fn made(world: &World, args: &[&str]) -> (PathBuf, bool) {
    let made = world.treehand(&[&["new", "--json"], args].concat()).expect(0);
    let document = made.json();
    let cached = document["setup"][0]["cached"].as_bool().expect("it is said");
    assert_eq!(made.stderr.contains("from the last time"), cached, "{}", made.stderr);
    (PathBuf::from(document["path"].as_str().expect("a path")), cached)
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn stamp(tree: &Path) -> String {
    read(tree.join("deps/stamp"))
}

/// What is kept.
fn kept(world: &World) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir(world.repo().join(".git/treehand/outputs")) else { return Vec::new() };
    all.map(|entry| entry.expect("read").path()).collect()
}

#[test]
fn the_next_workspace_has_what_the_step_made_and_its_own_copy_of_it() {
    let world = world();
    let (first, cached) = made(&world, &["a"]);
    assert!(!cached);
    let (second, cached) = made(&world, &["b"]);
    assert!(cached && stamp(&first) == stamp(&second));
    let tool = second.join("deps/bin/tool");
    assert_eq!(read(&tool), format!("#!/bin/sh\necho at {}/deps/bin\n", second.display()));
    assert_eq!(tool.metadata().expect("there").permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_link(second.join("deps/link")).expect("a link"), second.join("deps/stamp"));
    let time = |path: &str| second.join(path).metadata().and_then(|meta| meta.modified()).expect("a time");
    assert!(time("lock") < time("deps/stamp"), "it was made of that");
    assert_eq!(world.git_in(&second, &["status", "--porcelain"]), "");
    // What is done to one shows in no other, and in what is kept neither.
    std::fs::write(second.join("deps/stamp"), "mine").expect("written");
    let (third, cached) = made(&world, &["c", "--sealed"]);
    assert!(cached && stamp(&third) == stamp(&first));
    assert_eq!(kept(&world).len(), 1);
    // Other inputs make something else, and the old ones are known still.
    world.commit("newer", &[("lock", "two\n")]);
    let (newer, cached) = made(&world, &["d"]);
    assert!(!cached && stamp(&newer) != stamp(&first) && read(newer.join("deps/lock")) == "two\n");
    assert!(made(&world, &["e", "--base", "main~1"]).1 && made(&world, &["f"]).1);
    world.commit("unrelated", &[("other", "x\n")]);
    assert!(made(&world, &["g"]).1);
}

#[test]
fn tasks_and_gates_have_it_too_and_many_at_once_make_it_once() {
    let world = world();
    let tasks: String = (0..4)
        .map(|n| format!("[[task]]\nid = \"t{n}\"\ncommand = [\"sh\", \"-c\", \"cat deps/stamp > stamp{n}\"]\n"))
        .collect();
    let flags = ["--jobs", "4", "--gate", "test -x deps/bin/tool && sh deps/bin/tool | grep -q \"$PWD\""];
    let run = world.run_tasks(&tasks, &flags).expect(0).json();
    let cached = |id: &str| task(&run, id)["attempts"][0]["setup"][0]["cached"].as_bool().expect("it is said");
    assert_eq!((0..4).filter(|n| !cached(&format!("t{n}"))).count(), 1, "{run}");
    assert!((0..4).all(|n| state(&run, &format!("t{n}")) == "landed"), "{run}");
    let stamps: Vec<String> = (0..4).map(|n| world.show("main", &format!("stamp{n}"))).collect();
    assert!(stamps.iter().all(|stamp| *stamp == stamps[0]), "{stamps:?}");
    let logs = world.treehand(&["logs", run["run"].as_str().expect("an id")]).expect(0).stdout;
    assert_eq!(logs.matches("not run: 5 files").count(), 3, "{logs}");
    // Whoever comes later has it from the run; what gates made would not have been kept.
    assert!(made(&world, &["w", "--set", "confine.level=off"]).1);
    assert_eq!(kept(&world).len(), 1);
}

#[test]
fn many_new_workspaces_at_once_make_it_once() {
    let world = world();
    let answer = world.shell(&format!(
        "for n in 1 2 3 4 5 6; do {0} new w$n --json > ../w$n.json 2> ../w$n.err & done; wait; cat ../w*.json",
        env!("CARGO_BIN_EXE_treehand"),
    ));
    let documents: Vec<Value> =
        serde_json::Deserializer::from_str(&answer.stdout).into_iter().map(|one| one.expect("JSON")).collect();
    assert_eq!(documents.len(), 6, "{}", answer.stderr);
    assert_eq!(documents.iter().filter(|one| one["setup"][0]["cached"] == false).count(), 1, "{documents:?}");
    let first = stamp(&world.tree("w1"));
    assert!((2..=6).all(|n| stamp(&world.tree(&format!("w{n}"))) == first));
}

#[test]
fn what_was_touched_is_given_to_nobody() {
    let world = world();
    let (first, _) = made(&world, &["a"]);
    let place = kept(&world).remove(0);
    let before = stamp(&first);
    let damages: [&dyn Fn(&Path); 5] = [
        &|place| {
            // Of the same size, and with the time of before.
            let (file, time) =
                (place.join("tree/deps/stamp"), place.join("tree/deps/stamp").metadata().expect("there"));
            std::fs::write(&file, "x".repeat(usize::try_from(time.len()).expect("small"))).expect("written");
            let open = std::fs::File::options().write(true).open(&file).expect("open");
            open.set_modified(time.modified().expect("a time")).expect("set");
        },
        &|place| std::fs::remove_file(place.join("tree/deps/bin/tool")).expect("removed"),
        &|place| std::fs::remove_file(place.join("list")).expect("removed"),
        &|place| std::fs::write(place.join("list"), "[]").expect("written"),
        &|place| {
            std::fs::set_permissions(place.join("tree/deps/empty"), PermissionsExt::from_mode(0o777)).expect("set")
        },
    ];
    for (n, damage) in damages.iter().enumerate() {
        damage(&place);
        let (tree, cached) = made(&world, &[&format!("d{n}")]);
        assert!(!cached && stamp(&tree) != before, "{n}");
        let (next, cached) = made(&world, &[&format!("e{n}")]);
        assert!(cached && stamp(&next) == stamp(&tree), "it was kept anew");
    }
}

#[test]
fn nothing_comes_from_a_history_that_the_workspace_does_not_have() {
    let world = world();
    world.git(&["branch", "theirs"]);
    world.commit("ours", &[("ours", "x\n")]);
    world.git(&["checkout", "-q", "theirs"]);
    world.commit("theirs", &[("theirs", "x\n")]);
    world.git(&["checkout", "-q", "main"]);
    assert!(!made(&world, &["t", "--base", "theirs"]).1);
    assert!(made(&world, &["u", "--base", "theirs"]).1);
    assert!(!made(&world, &["m"]).1, "the other branch is none of its history");
    world.git(&["merge", "-q", "--no-edit", "theirs"]);
    assert!(made(&world, &["n"]).1);
}

#[test]
fn what_is_there_already_what_is_secret_and_what_is_no_file_is_not_kept() {
    let mut world = world();
    world.set("TOKEN", "a-secret-value-of-mine");
    let level = if support::level() == "strict" { "strict" } else { "off" };
    let with = |run: &str, more: &str| {
        let step =
            format!("{{ run = {}, inputs = [\"lock\"], outputs = [\"deps\", \"more/deps\"]{more} }}", json!(run));
        world.configure(&format!("[worktree]\nsetup = [{step}]\n[confine]\nlevel = \"{level}\"\n"));
    };
    let not_kept = |name: &str, why: &str| {
        for round in ["1", "2"] {
            let answer = world.treehand(&["new", &format!("{name}{round}")]).expect(0);
            assert!(answer.stderr.contains(why), "{}", answer.stderr);
        }
        assert_eq!(kept(&world), [] as [PathBuf; 0]);
    };
    with("mkdir deps && echo key=$TOKEN > deps/rc", ", secrets = [\"TOKEN\"]");
    not_kept("secret", "the value of a secret is in it");
    with("mkdir deps && touch deps/$TOKEN", ", secrets = [\"TOKEN\"]");
    not_kept("name", "the value of a secret is in it");
    with("ln -s . more && mkdir deps && echo x > deps/x", "");
    not_kept("behind", "behind a link");
    with("mkdir deps && mkfifo deps/pipe", "");
    not_kept("pipe", "neither file nor link");
    with("true", "");
    not_kept("nothing", "it made nothing there");
    // Each on its own, and one in another directory.
    with("mkdir -p more/deps && echo x > more/deps/x", "");
    assert!(!made(&world, &["c"]).1 && made(&world, &["d"]).1);
    assert_eq!(read(world.tree("d").join("more/deps/x")), "x\n");
    // A step that fails has made nothing.
    with("mkdir deps && echo x > deps/x && false", "");
    for _ in 0..2 {
        world.treehand(&["new", "failed"]).expect(1);
        world.treehand(&["rm", "failed", "-f"]).expect(0);
    }
    assert_eq!(kept(&world).len(), 1);
}

#[test]
fn cargo_builds_again_what_has_changed_and_nothing_else() {
    let world = World::new();
    let level = if support::level() == "strict" { "strict" } else { "off" };
    // That of the test itself: one of its home would not be found in a home of the story's.
    let programs = Path::new(env!("CARGO")).parent().expect("a directory");
    let cargo = format!("PATH={}:$PATH cargo", programs.display());
    let confine = format!(
        "[confine]
level = \"{level}\"
read = [{}]
",
        json!(programs.parent())
    );
    let step =
        "{ run = \"CARGO build --offline\", inputs = [\"Cargo.lock\", \"**/Cargo.toml\"], outputs = [\"target\"] }";
    world.configure(&format!("[worktree]\nsetup = [{}]\n{confine}", step.replace("CARGO", &cargo)));
    let package = |name: &str, more: &str| {
        format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{more}")
    };
    let app =
        package("app", "[dependencies]\nseven = { path = \"seven\" }\nother = { path = \"other\" }\n[workspace]\n");
    // As cargo itself writes it: it would change another one.
    let lock = "# This file is automatically @generated by Cargo.\n# It is not intended for manual editing.\nversion = 4\n\n\
        [[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\n \"other\",\n \"seven\",\n]\n\n\
        [[package]]\nname = \"other\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"seven\"\nversion = \"0.1.0\"\n";
    world.commit(
        "a program",
        &[
            (".gitignore", "target\n"),
            ("Cargo.lock", lock),
            ("Cargo.toml", &app),
            ("src/main.rs", "fn main() { println!(\"{}\", seven::seven() + other::other()); }\n"),
            ("seven/Cargo.toml", &package("seven", "")),
            ("seven/src/lib.rs", "pub fn seven() -> u32 { 7 }\n"),
            ("other/Cargo.toml", &package("other", "")),
            ("other/src/lib.rs", "pub fn other() -> u32 { 0 }\n"),
        ],
    );
    let build = |name: &str| {
        let answer = world.treehand(&["exec", name, "--", "sh", "-c", &format!("{cargo} run --offline")]).expect(0);
        let compiled = ["app", "other", "seven"].map(|name| answer.stderr.contains(&format!("Compiling {name} ")));
        (compiled, answer.stdout)
    };
    assert!(!made(&world, &["a"]).1 && made(&world, &["b"]).1 && made(&world, &["c", "--sealed"]).1);
    assert_eq!(build("b"), ([false; 3], "7\n".to_owned()));
    assert_eq!(build("c"), ([false; 3], "7\n".to_owned()));
    assert_eq!(world.git_in(&world.tree("b"), &["status", "--porcelain"]), "");
    // As long as before, and in the same second.
    world.commit("eight", &[("seven/src/lib.rs", "pub fn seven() -> u32 { 8 }\n")]);
    assert!(made(&world, &["d"]).1);
    assert_eq!(build("d"), ([true, false, true], "8\n".to_owned()));
    world.configure(&format!("[worktree]\ncopy = [\"target\"]\n{confine}"));
    world.shell(&format!("{cargo} build --offline")).expect(0);
    world.commit("nine", &[("seven/src/lib.rs", "pub fn seven() -> u32 { 9 }\n")]);
    world.treehand(&["new", "e"]).expect(0);
    assert_eq!(build("e").1, "9\n", "what was copied is not newer than what it was not made of");
}

#[test]
fn an_output_may_be_a_link_and_a_step_before_may_have_had_a_secret() {
    let mut world = world();
    world.set("TOKEN", "a-secret-value-of-mine");
    let level = if support::level() == "strict" { "strict" } else { "off" };
    let confine = format!("[confine]\nlevel = \"{level}\"\n");
    let second = "{ run = \"mkdir real && echo x > real/x && ln -s real deps\", inputs = [\"lock\"], outputs = [\"deps\", \"real\"] }";
    world.configure(&format!("[worktree]\nsetup = [{second}]\n{confine}"));
    assert!(!made(&world, &["a"]).1 && made(&world, &["b"]).1);
    assert_eq!(read(world.tree("b").join("deps/x")), "x\n");
    assert!(world.tree("b").join("deps").is_symlink());
    let first = "{ run = \"echo $TOKEN > $HOME/rc\", secrets = [\"TOKEN\"] }";
    let second = "{ run = \"mkdir deps && cp $HOME/rc deps/rc\", inputs = [\"lock\"], outputs = [\"deps\"] }";
    world.configure(&format!("[worktree]\nsetup = [{first}, {second}]\n{confine}"));
    let answer = world.treehand(&["new", "c"]).expect(0);
    assert!(answer.stderr.contains("the value of a secret is in it"), "{}", answer.stderr);
    assert_eq!(kept(&world).len(), 1);
}

#[test]
fn an_ignored_file_that_came_along_is_as_new_beside_what_was_kept_as_it_was() {
    let world = World::new();
    let level = if support::level() == "strict" { "strict" } else { "off" };
    let step = "{ run = \"test out -nt conf.local || cp conf.local out\", inputs = [\"lock\"], outputs = [\"out\"] }";
    let copy = "copy = [\"conf.local\", \"late.local\"]";
    world.configure(&format!("[worktree]\n{copy}\nsetup = [{step}]\n[confine]\nlevel = \"{level}\"\n"));
    world.commit("setup", &[(".gitignore", "*.local\nout\n"), ("lock", "one\n")]);
    let now = world.repo().join("lock").metadata().and_then(|meta| meta.modified()).expect("a time");
    let write = |name: &str, seconds: u64| {
        world.write(name, name);
        let file = std::fs::File::options().append(true).open(world.repo().join(name)).expect("open");
        file.set_modified(now + std::time::Duration::from_secs(seconds)).expect("set");
    };
    write("conf.local", 0);
    assert!(!made(&world, &["a"]).1);
    // Changed after that, and another one long after.
    write("conf.local", 20);
    write("late.local", 500);
    let (tree, cached) = made(&world, &["b"]);
    let time = |name: &str| tree.join(name).metadata().and_then(|meta| meta.modified()).expect("a time");
    assert!(cached && time("out") < time("conf.local"), "it was not made of that");
}

#[test]
fn a_file_that_a_hook_takes_away_is_no_error() {
    let world = world();
    assert!(!made(&world, &["a"]).1);
    let hook = world.repo().join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().expect("a parent")).expect("made");
    std::fs::write(&hook, "#!/bin/sh\nrm -f lock\n").expect("written");
    std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755)).expect("set");
    let (tree, cached) = made(&world, &["b"]);
    assert!(cached && !tree.join("lock").exists());
    assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), " D lock");
}
