//! Stories of results that land on a branch of a remote, which other machines land on at the same time.

use crate::support;

use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::World;

fn merge(world: &World, args: &[&str], code: i32) -> Value {
    world.treehand(&[&["merge", "--json", "--confine", "off", "--push"], args].concat()).expect(code).json()
}

fn workspace(world: &World, name: &str) {
    world.treehand(&["new", name]).expect(0);
    let tree = world.tree(name);
    std::fs::write(tree.join(name), "1\n").expect("written");
    world.git_in(&tree, &["add", name]);
    world.git_in(&tree, &["commit", "-q", "-m", name]);
}

/// What the remote has below a name.
fn there(world: &World, what: &str) -> String {
    world.git_in(&world.up(), &["for-each-ref", "--format=%(refname) %(objectname)", what])
}

fn tip_there(world: &World) -> String {
    world.git_in(&world.up(), &["rev-parse", "main"])
}

#[test]
fn what_lands_is_on_the_remote_with_a_ref_that_says_so_and_the_branch_here_follows() {
    let world = World::with_remote();
    workspace(&world, "w");
    let merged = merge(&world, &["w"], 0);
    let after = world.git(&["rev-parse", "main"]);
    assert_eq!((&merged["after"], &merged["pushed"]), (&json!(after), &json!("origin/main")));
    assert_eq!(tip_there(&world), after);
    let result = world.git(&["rev-parse", "w"]);
    assert_eq!(there(&world, "refs/treehand"), format!("refs/treehand/landed/main/{result} {after}"));
    assert_eq!(world.git(&["rev-parse", "origin/main"]), after);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(merge(&world, &["w"], 0)["landed"][0]["commit"], after, "it has landed, and does not again");
    assert_eq!(tip_there(&world), after);
    let refused = world.treehand(&["undo"]).expect(4);
    assert!(refused.stderr.contains("--revert"), "{}", refused.stderr);
}

#[test]
fn what_others_pushed_meanwhile_is_below_what_lands_and_what_is_only_here_stays_here() {
    let world = World::with_remote();
    workspace(&world, "w");
    world.commit_upstream("theirs", "theirs", "1\n");
    merge(&world, &["w"], 0);
    assert_eq!(world.git(&["log", "-2", "--format=%s", "main"]), "w\ntheirs");
    assert_eq!(world.git(&["rev-parse", "main"]), tip_there(&world));
    workspace(&world, "v");
    let mine = world.commit("mine", &[("mine", "1\n")]);
    let landed = world.treehand(&["merge", "v", "--push", "--confine", "off"]).expect(0);
    assert!(landed.stderr.contains("landed on origin/main, and the branch here stays"), "{}", landed.stderr);
    assert_eq!(world.git(&["rev-parse", "main"]), mine, "it was not pushed along either");
    assert_eq!(world.git_in(&world.up(), &["log", "-1", "--format=%s", "main"]), "v");
    assert!(world.git_in(&world.up(), &["ls-tree", "--name-only", "main"]).lines().all(|file| file != "mine"));
}

#[test]
fn a_local_change_in_the_way_keeps_only_the_branch_here() {
    let world = World::with_remote();
    workspace(&world, "w");
    world.write("w", "of a person\n");
    let before = world.git(&["rev-parse", "main"]);
    let landed = world.treehand(&["merge", "w", "--push", "--confine", "off"]).expect(0);
    assert!(landed.stderr.contains("the branch here stays"), "{}", landed.stderr);
    assert_eq!(world.git(&["rev-parse", "main"]), before);
    assert_eq!(world.git_in(&world.up(), &["log", "-1", "--format=%s", "main"]), "w");
    assert_eq!(std::fs::read_to_string(world.repo().join("w")).expect("there"), "of a person\n");
}

#[test]
fn a_remote_that_refuses_or_does_not_answer_lands_nothing() {
    let world = World::with_remote();
    workspace(&world, "w");
    let before = (world.git(&["rev-parse", "main"]), tip_there(&world));
    let hook = world.up().join("hooks/update");
    std::fs::create_dir_all(hook.parent().expect("a place")).expect("made");
    std::fs::write(&hook, "#!/bin/sh\necho protected >&2\nexit 1\n").expect("written");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let reason = &merge(&world, &["w"], 4)["rejected"][0]["reason"];
    assert!(reason["message"].as_str().expect("words").contains("origin/main does not take it"), "{reason}");
    let away = world.up().with_extension("away");
    std::fs::rename(world.up(), &away).expect("moved");
    let reason = &merge(&world, &["w"], 1)["rejected"][0]["reason"];
    assert!(reason["message"].as_str().expect("words").contains("origin: it does not answer"), "{reason}");
    std::fs::rename(&away, world.up()).expect("moved");
    assert_eq!((world.git(&["rev-parse", "main"]), tip_there(&world)), before);
    std::fs::remove_file(&hook).expect("removed");
    merge(&world, &["w"], 0);
    let alone = World::new();
    workspace(&alone, "w");
    assert!(alone.treehand(&["merge", "w", "--push"]).expect(4).stderr.contains("no counterpart on a remote"));
}

/// A clone of the remote, as another machine has it.
fn machine(world: &World, number: usize) -> PathBuf {
    let place = world.path().join(format!("machine-{number}/repo"));
    let text = place.to_string_lossy().into_owned();
    world.git_in(world.path(), &["clone", "-q", &world.up().to_string_lossy(), &text]);
    place
}

fn racing(world: &World, place: &Path, names: &[String]) -> std::process::Child {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let args = [&["merge", "--json", "--confine", "off", "--push", "--into", "main"], &names[..]].concat();
    let mut command = world.command(&args);
    let home = place.parent().expect("a machine").join("state");
    command.current_dir(place).env("XDG_STATE_HOME", home).stdout(std::process::Stdio::piped());
    command.spawn().expect("started")
}

#[test]
fn four_machines_that_land_the_same_twenty_results_land_each_once() {
    let world = World::with_remote();
    for n in 0..20 {
        world.git(&["switch", "-q", "-c", &format!("t{n}"), "main"]);
        world.commit(&format!("t{n}"), &[(&format!("f{n}"), "1\n")]);
    }
    world.git(&["switch", "-q", "main"]);
    world.git(&["push", "-q", "origin", "refs/heads/t*"]);
    let before = tip_there(&world);
    let machines: Vec<PathBuf> = (0..4).map(|n| machine(&world, n)).collect();
    let race = |(n, place): (usize, &PathBuf)| {
        // Each in an order of its own, and in several calls.
        let names: Vec<String> = (0..20).map(|i| format!("origin/t{}", (i * 7 + n * 5) % 20)).collect();
        racing(&world, place, &names)
    };
    let racers: Vec<_> = machines.iter().enumerate().map(race).collect();
    for racer in racers {
        let output = racer.wait_with_output().expect("over");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        let merged: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(merged["landed"].as_array().map(Vec::len), Some(20), "{said}");
    }
    let log = world.git_in(&world.up(), &["log", "--format=%s", &format!("{before}..main")]);
    let mut landed: Vec<&str> = log.lines().collect();
    landed.sort_unstable();
    landed.dedup();
    assert_eq!((log.lines().count(), landed.len()), (20, 20), "{log}");
    assert_eq!(there(&world, "refs/treehand/landed").lines().count(), 20);
    world.git_in(&world.up(), &["fsck", "--full"]);
}

#[test]
fn a_supervisor_that_dies_at_any_moment_lands_once_there_and_knows_it() {
    let mut moment = 1;
    loop {
        let world = World::with_remote();
        let mut begin = world.command(&[
            "run",
            "--detach",
            "--confine",
            "off",
            "--push",
            "--name",
            "t",
            "--",
            "sh",
            "-c",
            "echo t > t",
        ]);
        begin.env("TREEHAND_CRASH_AT", format!("after:{moment}"));
        let _begun_or_died = support::answer(begin);
        let id = world.only_run();
        let run = world.treehand(&["resume", &id, "--json"]).expect(0).json();
        assert_eq!(run["state"], "landed", "{moment}: {run}");
        assert_eq!(world.git_in(&world.up(), &["rev-list", "--count", "main"]), "2", "{moment}");
        assert_eq!(world.git(&["rev-parse", "main"]), tip_there(&world), "{moment}");
        let store = rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store");
        let sql = "SELECT count(*) FROM journal WHERE kind = 'run.supervised'";
        let supervisors: i64 = store.query_row(sql, [], |row| row.get(0)).expect("counted");
        if supervisors == 1 {
            assert!(moment > 5, "it died at no moment");
            return;
        }
        moment += 2;
    }
}

/// A workspace's work that has landed on the remote, with a commit of somebody's on top there and here.
fn landed_and_built_upon(name: &str) -> World {
    let world = World::with_remote();
    workspace(&world, name);
    merge(&world, &[name], 0);
    world.commit_upstream("theirs", "theirs", "1\n");
    world.git(&["pull", "-q", "--ff-only"]);
    world
}

const UNCONFINED: [&str; 2] = ["--set", "confine.level=off"];

fn take_back(world: &World, args: &[&str], code: i32) -> Value {
    world.treehand(&[&["undo", "--revert", "--json"], &UNCONFINED[..], args].concat()).expect(code).json()
}

fn operations(world: &World) -> Vec<Value> {
    let log = world.treehand(&["log", "--json"]).expect(0).json();
    log["operations"].as_array().expect("operations").clone()
}

#[test]
fn a_landing_that_was_pushed_was_reverted_on_the_branch_here_alone() {
    let world = landed_and_built_upon("w");
    let before = world.git(&["rev-parse", "main"]);
    let undone = take_back(&world, &["1"], 0);
    let tip = tip_there(&world);
    assert_eq!((&undone["op"], &undone["revert"]["commit"]), (&json!(1), &json!(tip)), "{undone}");
    assert_eq!(undone["revert"]["pushed"], "origin/main");
    assert_eq!((world.git(&["rev-parse", "main"]), world.git(&["rev-parse", "main^"])), (tip.clone(), before));
    assert_eq!(world.git(&["ls-tree", "--name-only", "main"]), "a.txt\nsrc\ntheirs");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    let body = world.git(&["show", "-s", "--format=%B", "main"]);
    assert!(body.starts_with("Revert \"w\"\n\nThis takes back operation 1: ") && body.contains("Treehand-Reverts: "));
    let log = operations(&world);
    assert_eq!((&log[0]["kind"], &log[1]["undone_by"]), (&json!("revert"), &log[0]["op"]), "{log:?}");
    let twice = take_back(&world, &["1"], 4);
    assert!(twice["message"].as_str().expect("words").contains("undone already, by operation"), "{twice}");
    // It is a landing itself, with all that belongs to one.
    let refused = world.treehand(&["undo"]).expect(4);
    assert!(refused.stderr.contains("was pushed") && refused.stderr.contains("--revert"), "{}", refused.stderr);
    take_back(&world, &[], 0);
    assert_eq!(world.git_in(&world.up(), &["ls-tree", "--name-only", "main"]), "a.txt\nsrc\ntheirs\nw");
    assert_eq!(tip_there(&world), world.git(&["rev-parse", "main"]));
}

#[test]
fn a_gate_or_a_conflict_keeps_a_revert_from_landing_and_nothing_moves() {
    let world = landed_and_built_upon("w");
    let refs = || (world.git(&["rev-parse", "main"]), tip_there(&world), there(&world, "refs/treehand"));
    let before = refs();
    let refused = take_back(&world, &["1", "--set", "merge.gates=[\"test -e w\"]"], 7);
    assert_eq!(refused["kind"], "gate", "{refused}");
    assert!(refused["message"].as_str().expect("words").starts_with("operation 1 is not reverted: "), "{refused}");
    assert_eq!((refs(), &operations(&world)[0]["undone"]), (before, &json!(false)));
    world.commit_upstream("w", "w", "of theirs\n");
    let before = refs();
    let refused = take_back(&world, &["1"], 5);
    assert!(refused["kind"] == "conflict" && refused["message"].as_str().expect("words").ends_with(": w"), "{refused}");
    assert_eq!((refs(), operations(&world).len()), (before, 1));
}

#[test]
fn a_revert_waits_for_a_paused_branch_with_what_others_land_there_and_is_begun_once() {
    let world = landed_and_built_upon("w");
    world.treehand(&["queue", "pause", "frozen", "--into", "main"]).expect(0);
    let mut command = world.command(&["undo", "1", "--revert", "--json", "--set", "confine.level=off"]);
    let piped = std::process::Stdio::piped;
    let mut reverting = command.stdout(piped()).stderr(piped()).spawn().expect("started");
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(reverting.stderr.take().expect("a pipe"));
    stderr.read_line(&mut said).expect("read");
    assert!(said.ends_with("takes back operation 1 on main\n"), "{said}");
    for args in [&["undo"][..], &["undo", "1", "--revert"]] {
        let refused = world.treehand(args).expect(4);
        assert!(refused.stderr.contains("operation 1 is being undone already, by run "), "{}", refused.stderr);
    }
    world.commit_upstream("more", "more", "1\n");
    world.treehand(&["queue", "resume", "--into", "main"]).expect(0);
    let answer = reverting.wait_with_output().expect("over");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stdout));
    assert_eq!(world.git(&["log", "-3", "--format=%s", "main"]), "Revert \"w\"\nmore\ntheirs");
    assert_eq!(world.git(&["rev-parse", "main"]), tip_there(&world));
}

#[test]
fn a_revert_whose_client_and_supervisor_die_at_any_moment_lands_once() {
    // The fifth write says that it has landed, where the remote has it already.
    for moment in ["after:4", "before:5", "after:5"] {
        let world = landed_and_built_upon("w");
        let mut begin = world.command(&["undo", "1", "--revert", "--set", "confine.level=off"]);
        begin.env("TREEHAND_CRASH_AT", moment).stderr(std::process::Stdio::piped());
        let mut client = begin.spawn().expect("started");
        let mut said = String::new();
        let mut stderr = std::io::BufReader::new(client.stderr.take().expect("a pipe"));
        stderr.read_line(&mut said).expect("read");
        let run = said.strip_prefix("run ").and_then(|said| said.split(':').next()).expect("a run").to_owned();
        client.kill().expect("killed");
        client.wait().expect("gone");
        world.treehand(&["resume", &run, "--json"]).expect(0);
        let log = operations(&world);
        let kinds: Vec<&str> = log.iter().filter_map(|operation| operation["kind"].as_str()).collect();
        assert_eq!(kinds, ["revert", "land"], "{moment}");
        assert_eq!(log[1]["undone_by"], log[0]["op"], "{moment}");
        assert_eq!(
            world.git_in(&world.up(), &["log", "-2", "--format=%s", "main"]),
            "Revert \"w\"\ntheirs",
            "{moment}"
        );
        assert_eq!(world.git(&["rev-parse", "main"]), tip_there(&world), "{moment}");
    }
}
