//! Stories of workspaces that are ready before anybody asks for them: at once there, clean, nobody else's, and never what somebody has changed.

use crate::support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::World;

/// A world in whose repository so many slots are wanted.
fn world(size: &str) -> World {
    let world = World::new();
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::create_dir_all(config.parent().expect("a parent")).expect("made");
    std::fs::write(config, format!("worktree.pool = {size}\nworktree.pool_free = 0\n")).expect("written");
    world
}

fn pool(world: &World) -> PathBuf {
    world.repo().join(".git/treehand/pool")
}

/// The slots that nobody has in hand.
fn ready(world: &World) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir(pool(world)) else { return Vec::new() };
    let all = all.map(|entry| entry.expect("read").path());
    let mut found: Vec<PathBuf> = all.filter(|path| path.is_dir() && path.extension().is_none()).collect();
    found.sort();
    found
}

/// Those who make slots in the background; each has begun when who started it has ended.
fn makers(git_dir: &Path) -> Vec<String> {
    let asked = format!("__slots\0{}\0", git_dir.display());
    let is_one = |pid: &String| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.windows(asked.len()).any(|part| part == asked.as_bytes()))
    };
    let all = std::fs::read_dir("/proc").expect("read").flatten();
    all.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_one).collect()
}

/// Waits for all who are making slots, and sees to it that there are so many.
fn wait_for(world: &World, count: usize) {
    let git_dir = world.repo().join(".git");
    for maker in makers(&git_dir) {
        world.shell(&format!("tail --pid={maker} -f /dev/null")).expect(0);
    }
    while ready(world).len() != count {
        world.treehand(&["__slots", &git_dir.to_string_lossy()]).expect(0);
    }
}

fn made(world: &World, args: &[&str]) -> (PathBuf, Value) {
    let made = world.treehand(&[&["new", "--json"], args].concat()).expect(0).json();
    (PathBuf::from(made["path"].as_str().expect("a path")), made)
}

/// As git would have made it, and git need not read anything of it.
fn is_right(world: &World, tree: &Path, branch: &str) {
    assert_eq!(world.git_in(tree, &["status", "--porcelain", "--ignored", "--branch"]).trim(), format!("## {branch}"));
    assert_eq!(world.git_in(tree, &["rev-parse", "--abbrev-ref", "HEAD"]).trim(), branch);
    assert_eq!(std::fs::read_to_string(tree.join("src/lib.txt")).expect("read"), "lib\n");
}

#[test]
fn the_second_workspace_is_there_before_it_is_asked_for() {
    let world = world("2");
    let (_, first) = made(&world, &["first"]);
    assert_eq!(
        (first["strategy"].as_str(), first["strategy_why"].as_str()),
        (Some("checkout"), Some("no slot is ready"))
    );
    wait_for(&world, 2);
    let (tree, second) = made(&world, &["second"]);
    assert_eq!(
        (second["strategy"].as_str(), second["strategy_why"].as_str()),
        (Some("slot"), Some("a slot was ready"))
    );
    is_right(&world, &tree, "second");
    // The base moves: what differs is written.
    let old = world.git(&["rev-parse", "--short=12", "main"]).trim().to_owned();
    world.commit("news", &[("src/news.txt", "news\n"), ("a.txt", "other\n")]);
    wait_for(&world, 2);
    let (tree, third) = made(&world, &["third"]);
    assert_eq!(third["strategy_why"], format!("a slot was ready, brought from {old}"));
    is_right(&world, &tree, "third");
    assert_eq!(std::fs::read_to_string(tree.join("src/news.txt")).expect("read"), "news\n");
    wait_for(&world, 2);
    let doctor = world.treehand(&["doctor", "--json"]).json();
    let check = doctor["checks"].as_array().expect("a list").iter().find(|check| check["name"] == "slots");
    let tip = world.git(&["rev-parse", "--short=12", "main"]);
    let detail = check.expect("looked at")["detail"].as_str().expect("text").to_owned();
    assert!(detail.starts_with(&format!("2 of 2 ready, 2 at {}", tip.trim())), "{detail}");
    // What is done in one is in no other.
    std::fs::write(tree.join("src/lib.txt"), "mine\n").expect("written");
    std::fs::write(tree.join("untracked"), "mine\n").expect("written");
    let (tree, _) = made(&world, &["fourth"]);
    is_right(&world, &tree, "fourth");
    assert!(!tree.join("untracked").exists());
    // git and `rm` see workspaces like any other.
    assert_eq!(world.git(&["worktree", "list"]).lines().count(), 5);
    world.treehand(&["rm", "fourth"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    is_right(&world, &tree, "fourth");
    world.git(&["fsck", "--no-dangling"]);
}

#[test]
fn sealed_workspaces_and_tasks_have_slots_too() {
    let world = world("1");
    made(&world, &["first"]);
    wait_for(&world, 1);
    let (tree, sealed) = made(&world, &["closed", "--sealed"]);
    assert_eq!(sealed["strategy"], "slot");
    is_right(&world, &tree, "closed");
    wait_for(&world, 1);
    let run = ["run", "--json", "--confine", "off", "--", "sh", "-c", "git status --porcelain && echo x >> a.txt"];
    let run = world.treehand(&run).expect(0).json();
    assert_eq!(run["tasks"][0]["state"], "landed");
    // What a gate looks at is a commit that nobody has yet: the slots stay as they are, and the next is at what landed.
    wait_for(&world, 1);
    let run =
        ["run", "--json", "--confine", "off", "--gate", "git status --porcelain", "--", "sh", "-c", "echo y >> a.txt"];
    assert_eq!(world.treehand(&run).expect(0).json()["tasks"][0]["state"], "landed");
    wait_for(&world, 1);
    let (tree, landed) = made(&world, &["landed"]);
    assert_eq!(landed["strategy"], "slot", "{landed}");
    is_right(&world, &tree, "landed");
    wait_for(&world, 1);
    let slot = std::fs::read_to_string(ready(&world)[0].join("slot.json")).expect("read");
    assert!(world.git(&["rev-list", "main"]).lines().any(|commit| slot.contains(commit)), "{slot}");
}

#[test]
fn a_run_has_slots_made_where_no_workspace_ever_was() {
    let world = world("1");
    world.treehand(&["run", "--confine", "off", "--", "true"]).expect(0);
    wait_for(&world, 1);
    let (tree, made) = made(&world, &["first"]);
    assert_eq!(made["strategy"], "slot");
    is_right(&world, &tree, "first");
}

#[test]
fn a_workspace_is_as_open_as_who_makes_it_wants_it() {
    let world = world("1");
    made(&world, &["first"]);
    wait_for(&world, 1);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_treehand")).display().to_string();
    let made = world.shell(&format!("umask 077; {program} new mine --json")).expect(0).json();
    assert_eq!(made["strategy"], "checkout");
    let file = PathBuf::from(made["path"].as_str().expect("a path")).join("a.txt");
    assert_eq!(file.metadata().expect("read").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_slot_that_somebody_has_changed_is_nobodys_workspace() {
    let world = world("1");
    made(&world, &["first"]);
    for (number, path) in ["a.txt", "src/planted"].into_iter().enumerate() {
        wait_for(&world, 1);
        let inside = ready(&world)[0].join("sealed");
        let may = |mode| std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(mode)).expect("set");
        may(0o700);
        std::fs::write(inside.join("tree").join(path), "by hand\n").expect("written");
        may(0o000);
        let name = format!("w{number}");
        let (tree, made) = made(&world, &[&name]);
        assert_eq!(made["strategy"], "checkout");
        let why = made["strategy_why"].as_str().expect("text");
        assert!(why.starts_with("a slot was no use: "), "{why}");
        is_right(&world, &tree, &name);
    }
}

#[test]
fn slots_that_nobody_wants_any_more_go() {
    let world = world("1");
    made(&world, &["first"]);
    wait_for(&world, 1);
    // One that a process had in hand that is dead now.
    let slot = ready(&world)[0].clone();
    std::fs::rename(&slot, format!("{}.4000000000.1.gone", slot.display())).expect("moved");
    let plan = world.treehand(&["clean", "--only", "temp", "--json"]).expect(0).json();
    assert_eq!(plan["actions"].as_array().map(Vec::len), Some(1), "{plan}");
    assert_eq!(plan["actions"][0]["proof"], "who had it in hand is dead");
    world.treehand(&["clean", "--only", "temp", "--yes"]).expect(0);
    assert_eq!(
        std::fs::read_dir(pool(&world)).expect("read").filter(|e| e.as_ref().expect("read").path().is_dir()).count(),
        0
    );
    wait_for(&world, 1);
    // Nobody has made a workspace for longer than they stay.
    let wanted = pool(&world).join("wanted.json");
    let mut long_ago: Value = serde_json::from_slice(&std::fs::read(&wanted).expect("read")).expect("json");
    long_ago["at"] = "2020-01-01T00:00:00.000Z".into();
    std::fs::write(&wanted, long_ago.to_string()).expect("written");
    let plan = world.treehand(&["clean", "--only", "temp", "--json"]).expect(0).json();
    assert_eq!(plan["actions"][0]["proof"], "nobody has made a workspace for 7d", "{plan}");
    world.treehand(&["clean", "--only", "temp", "--yes"]).expect(0);
    assert_eq!(ready(&world), [] as [PathBuf; 0]);
    // None are wanted at all.
    made(&world, &["second"]);
    wait_for(&world, 1);
    world.treehand(&["new", "third", "--set", "worktree.pool=0"]).expect(0);
    wait_for(&world, 0);
    // Who was called for that may not have begun yet.
    while pool(&world).exists() {
        world.treehand(&["__slots", &world.repo().join(".git").to_string_lossy()]).expect(0);
    }
}
