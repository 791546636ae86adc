//! Stories of what was saved before a removal: it is listed, shown, restored with every byte and mode, and dropped only on demand.
#![cfg(unix)]

use crate::support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::Value;
use support::{World, state};

fn workspace(world: &World, flags: &[&str]) -> PathBuf {
    let made = world.treehand(&[&["new", "--json"], flags].concat()).expect(0).json();
    PathBuf::from(made["path"].as_str().expect("a path"))
}

/// A workspace `w` with a commit of its own and every kind of change, removed by force.
fn removed_mess(world: &World) -> String {
    let path = workspace(world, &["w"]);
    let write = |name: &str, bytes: &[u8]| std::fs::write(path.join(name), bytes).expect("written");
    write("mine", b"mine\n");
    world.git_in(&path, &["add", "mine"]);
    world.git_in(&path, &["commit", "-q", "-m", "my work"]);
    let head = world.git_in(&path, &["rev-parse", "HEAD"]);
    write("staged", b"staged\n");
    world.git_in(&path, &["add", "staged"]);
    write("staged", b"staged, then changed\n");
    write("a.txt", b"modified\n");
    write("bytes", b"\0\xff\x01 raw\n");
    write("tool", b"#!/bin/sh\n");
    std::fs::set_permissions(path.join("tool"), std::fs::Permissions::from_mode(0o755)).expect("executable");
    symlink("src/lib.txt", path.join("link")).expect("a link");
    std::fs::remove_file(path.join("src/lib.txt")).expect("removed");
    world.treehand(&["rm", "w", "-f", "-D"]).expect(0);
    head
}

fn listed(world: &World) -> Vec<Value> {
    let document = world.treehand(&["salvage", "ls", "--json"]).expect(0).json();
    assert_eq!(document["schema"], "treehand/salvage/v1");
    document["salvage"].as_array().expect("a list").clone()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

#[test]
fn all_that_was_in_a_workspace_is_listed_and_shown() {
    let world = World::new();
    assert_eq!(world.treehand(&["salvage", "ls"]).expect(0).stdout, "nothing is saved\n");
    let head = removed_mess(&world);
    let all = listed(&world);
    let [saved] = &all[..] else { panic!("one removal is one thing: {all:?}") };
    assert_eq!((text(saved, "from"), &saved["commits"], &saved["files"]), ("w", &1.into(), &6.into()), "{saved}");
    assert!(text(saved, "expires_at") > text(saved, "at"), "{saved}");
    assert_eq!(world.git(&["rev-parse", text(saved, "ref")]), text(saved, "commit"));
    let table = world.treehand(&["salvage", "ls"]).expect(0).stdout;
    assert!(table.starts_with("NAME") && table.contains(text(saved, "name")), "{table}");
    let shown = world.treehand(&["salvage", "show", "w", "--json"]).expect(0).json();
    assert_eq!((text(&shown, "name"), &shown["commit"]), (text(saved, "name"), &saved["commit"]));
    assert_eq!(text(&shown, "base"), world.git(&["rev-parse", "main"]), "no branch holds what was committed in it");
    let files: Vec<String> = shown["files"]
        .as_array()
        .expect("files")
        .iter()
        .map(|file| format!("{} {}", text(file, "status"), text(file, "path")))
        .collect();
    assert_eq!(files, ["M a.txt", "A bytes", "A link", "A mine", "D src/lib.txt", "A staged", "A tool"]);
    let patch = world.treehand(&["salvage", "show", "w"]).expect(0).stdout;
    assert!(patch.contains("+staged, then changed") && patch.contains("GIT binary patch"), "{patch}");
    assert_ne!(world.try_git_in(&world.repo(), &["rev-parse", "-q", "--verify", "refs/heads/w"]).code, 0);
    world.git(&["branch", "again", &head]);
    assert_eq!(listed(&world)[0]["commits"], 0, "a branch holds what was committed");
    let shown = world.treehand(&["salvage", "show", "w", "--json"]).expect(0).json();
    assert_eq!((text(&shown, "base"), shown["files"].as_array().map(Vec::len)), (head.as_str(), Some(6)));
}

#[test]
fn restoring_makes_branches_with_every_byte_and_mode_and_moves_none() {
    let world = World::new();
    let head = removed_mess(&world);
    let saved = listed(&world).remove(0);
    let restored = world.treehand(&["salvage", "restore", "w", "--json"]).expect(0).json();
    let branch = text(&restored, "branch").to_owned();
    assert_eq!(branch, format!("salvaged/{}", text(&saved, "name")));
    assert_eq!(world.git(&["rev-parse", &format!("{branch}^")]), head, "what was committed lies below");
    assert_eq!(
        world.show(&format!("{branch}-index"), "staged"),
        "staged\n",
        "what was staged differs, so it has its own"
    );
    assert_eq!(restored["branches"].as_array().map(Vec::len), Some(2), "{restored}");
    let path = workspace(&world, &["back", "--base", &branch]);
    let read = |name: &str| std::fs::read(path.join(name)).expect(name);
    assert_eq!((read("mine"), read("staged")), (b"mine\n".to_vec(), b"staged, then changed\n".to_vec()));
    assert_eq!((read("a.txt"), read("bytes")), (b"modified\n".to_vec(), b"\0\xff\x01 raw\n".to_vec()));
    let mode = std::fs::metadata(path.join("tool")).expect("a tool").permissions().mode();
    assert_eq!(mode & 0o111, 0o111, "{mode:o}");
    assert_eq!(std::fs::read_link(path.join("link")).expect("a link"), PathBuf::from("src/lib.txt"));
    assert!(!path.join("src/lib.txt").exists());
    assert_eq!(listed(&world)[0]["commit"], saved["commit"], "it stays saved");
    let shown = world.treehand(&["salvage", "show", "w", "--json"]).expect(0).json();
    assert_eq!(shown["files"].as_array().map(Vec::len), Some(7), "its own branch is no base: {shown}");

    let before = world.git(&["for-each-ref"]);
    for flags in [&[][..], &["--branch", "main"], &["--branch", "main/x"], &["--branch", "salvaged"]] {
        let refused = world.treehand(&[&["salvage", "restore", "w", "--json"], flags].concat()).expect(4).json();
        assert!(text(&refused, "hint").contains("--branch"), "{refused}");
    }
    world.treehand(&["salvage", "restore", "w", "--branch", "bad..name"]).expect(2);
    assert_eq!(world.git(&["for-each-ref"]), before, "nothing moved");
    world.treehand(&["salvage", "restore", "w", "--branch", "other"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "other"]), text(&saved, "commit"));
    world.git(&["fsck", "--full", "--strict"]);
}

#[test]
fn restoring_makes_a_workspace_where_one_is_asked_for_and_nothing_where_its_name_is_taken() {
    let world = World::new();
    removed_mess(&world);
    workspace(&world, &["taken"]);
    let before = world.git(&["for-each-ref", "refs/heads/"]);
    let refused = world.treehand(&["salvage", "restore", "w", "--workspace", "taken"]).expect(4);
    assert!(refused.stderr.contains("there is a workspace `taken` already"), "{}", refused.stderr);
    world.treehand(&["salvage", "restore", "w", "--workspace", ".."]).expect(2);
    assert_eq!(world.git(&["for-each-ref", "refs/heads/"]), before, "no branch was made");
    let document = world.treehand(&["salvage", "restore", "w", "--workspace", "again", "--json"]).expect(0).json();
    let tree = PathBuf::from(document["workspace"]["path"].as_str().expect("a path"));
    assert_eq!(world.git_in(&tree, &["branch", "--show-current"]).trim(), "again");
    assert_eq!(std::fs::read(tree.join("bytes")).expect("it is there"), b"\0\xff\x01 raw\n");
    assert!(!tree.join("src/lib.txt").exists(), "as it was");
    assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), "");
}

#[test]
fn what_lies_beside_a_sparse_checkout_is_shown_and_saved_and_what_was_left_out_of_it_stays() {
    let world = World::new();
    world.commit("more", &[("out/kept.txt", "kept\n"), ("in/kept.txt", "kept\n")]);
    let path = workspace(&world, &["w"]);
    world.git_in(&path, &["sparse-checkout", "set", "in"]);
    assert!(!path.join("out").exists(), "it is sparse");
    std::fs::create_dir(path.join("out")).expect("made");
    std::fs::write(path.join("out/new.txt"), "new\n").expect("written");
    let diff = world.treehand(&["diff", "w", "--json"]).expect(0).json();
    let files: Vec<&str> = diff["files"].as_array().expect("files").iter().map(|file| text(file, "path")).collect();
    assert_eq!(files, ["out/new.txt"], "{diff}");
    world.treehand(&["rm", "w", "-f"]).expect(0);
    world.treehand(&["salvage", "restore", "w", "--branch", "back"]).expect(0);
    assert_eq!(world.git(&["diff", "--name-status", "main", "back"]), "A\tout/new.txt");
}

#[test]
fn ignored_files_that_the_configuration_names_are_saved_and_no_others() {
    let world = World::new();
    world.commit("ignore", &[(".gitignore", ".env*\n*.log\nlocal/\n")]);
    let config = world.path().join("home/.config/treehand/config.toml");
    std::fs::create_dir_all(config.parent().expect("a parent")).expect("made");
    std::fs::write(&config, "[clean]\nsalvage_ignored = ['.env*', 'local/**', '[ab]*']\n").expect("written");
    let fill = |path: &PathBuf, whose: &str| {
        for (name, content) in [(".env.mine", whose), ("run.log", "log\n"), ("local/deep/x", "x\n")] {
            std::fs::create_dir_all(path.join(name).parent().expect("a parent")).expect("made");
            std::fs::write(path.join(name), content).expect("written");
        }
        world.git_in(path, &["init", "-q", "local/own"]);
    };
    let kept = |name: &str| {
        let restored = world.treehand(&["salvage", "restore", name, "--json"]).expect(0).json();
        let branches = restored["branches"].as_array().expect("a list");
        let one = branches.iter().find(|one| one["part"] == "ignored").unwrap_or_else(|| panic!("{restored}"));
        world.git(&["diff", "--name-status", "main", text(one, "branch")])
    };
    for (name, flags) in
        [("clean", &["rm"][..]), ("dirty", &["rm", "-f"]), ("big", &["rm", "--set", "clean.salvage_max=0"])]
    {
        let path = workspace(&world, &[name]);
        fill(&path, name);
        if name == "dirty" {
            std::fs::write(path.join("a.txt"), "changed\n").expect("written");
        }
        let removed = world.treehand(&[flags, &[name]].concat());
        assert_eq!(removed.code, 0, "{name}: {}", removed.stderr);
        assert_eq!(kept(name), "A\t.env.mine\nA\tlocal/deep/x", "{name}");
    }
    assert_eq!(listed(&world).iter().filter(|saved| !saved["bundle"].is_null()).count(), 1, "too much for refs");
}

#[test]
fn what_only_was_staged_needs_no_branch_beside_the_one() {
    let world = World::new();
    let path = workspace(&world, &["w"]);
    std::fs::write(path.join("new"), "n\n").expect("written");
    world.git_in(&path, &["add", "new"]);
    world.treehand(&["rm", "w", "-f"]).expect(0);
    let restored = world.treehand(&["salvage", "restore", "w", "--json"]).expect(0).json();
    assert_eq!(restored["branches"].as_array().map(Vec::len), Some(1), "{restored}");
    assert_eq!(world.show(text(&restored, "branch"), "new"), "n\n");
}

#[test]
fn dropping_wants_a_yes_and_takes_all_that_is_named_or_none() {
    let world = World::new();
    removed_mess(&world);
    for name in ["x1", "x2"] {
        let path = workspace(&world, &[name]);
        std::fs::write(path.join("new"), name).expect("written");
        world.treehand(&["rm", name, "-f"]).expect(0);
    }
    let before = world.git(&["for-each-ref"]);
    let names: Vec<String> = listed(&world).iter().map(|saved| text(saved, "from").to_owned()).collect();
    assert_eq!(names, ["x2", "x1", "w"], "newest first");
    let refused = world.treehand(&["salvage", "drop", "w", "--json"]).expect(4).json();
    assert!(text(&refused, "message").contains("1 commit that no branch holds, 6 uncommitted files"), "{refused}");
    assert!(text(&refused, "hint").contains("--yes"), "{refused}");
    let unknown = world.treehand(&["salvage", "drop", "--yes", "w", "nothing", "--json"]).expect(3).json();
    assert!(text(&unknown, "hint").contains("treehand salvage ls"), "{unknown}");
    let ambiguous = world.treehand(&["salvage", "drop", "--yes", "w", "x", "--json"]).expect(2).json();
    assert!(text(&ambiguous, "message").contains("x1-") && text(&ambiguous, "message").contains("x2-"), "{ambiguous}");
    assert_eq!(world.git(&["for-each-ref"]), before, "nothing is gone");
    for verb in ["show", "restore"] {
        world.treehand(&["salvage", verb, "nothing"]).expect(3);
        world.treehand(&["salvage", verb, "x"]).expect(2);
    }
    let dropped = world.treehand(&["salvage", "drop", "--yes", "w", "w", "x1", "--json"]).expect(0).json();
    assert_eq!(dropped["dropped"].as_array().map(Vec::len), Some(2), "{dropped}");
    let left = world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand/salvage"]);
    assert!(left.lines().all(|name| name.starts_with("refs/treehand/salvage/x2/")), "{left}");
    assert_eq!(listed(&world).len(), 1);
}

#[test]
fn what_is_past_the_retention_is_taken_by_clean_and_no_longer_listed() {
    let world = World::new();
    removed_mess(&world);
    let clean = |retention: &str| {
        world
            .treehand(&["clean", "--yes", "--min-age", "0s", "--set", &format!("clean.retention={retention}")])
            .expect(0);
    };
    clean("1h");
    assert_eq!(listed(&world).len(), 1);
    clean("0s");
    assert!(listed(&world).is_empty());
    world.treehand(&["salvage", "show", "w"]).expect(3);
}

#[test]
fn work_of_sealed_workspaces_and_failed_tasks_is_listed_by_where_it_is_from() {
    let world = World::new();
    let path = workspace(&world, &["box", "--sealed"]);
    std::fs::write(path.join("sealed.txt"), "s\n").expect("written");
    world.treehand(&["rm", "box", "-f", "-D"]).expect(0);
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo half > half.txt; exit 3\"]\n";
    let run = world.run_tasks(tasks, &[]).expect(1).json();
    assert_eq!(state(&run, "t"), "failed", "{run}");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    let task = format!("{}/t", text(&run, "run"));
    let all = listed(&world);
    let found: Vec<&str> = all.iter().map(|saved| text(saved, "from")).collect();
    assert_eq!(found, [task.as_str(), "box"]);
    for saved in &all {
        assert_eq!((&saved["commits"], &saved["files"]), (&0.into(), &1.into()), "nothing was committed: {saved}");
    }
    let shown = world.treehand(&["salvage", "show", &task, "--json"]).expect(0).json();
    assert_eq!(shown["files"][0]["path"], "half.txt", "{shown}");
    assert_eq!(shown["files"].as_array().map(Vec::len), Some(1), "{shown}");
    let restored = world.treehand(&["salvage", "restore", &task, "--json"]).expect(0).json();
    assert_eq!(world.show(text(&restored, "branch"), "half.txt"), "half\n");
    let restored = world.treehand(&["salvage", "restore", "box", "--json"]).expect(0).json();
    assert_eq!(world.show(text(&restored, "branch"), "sealed.txt"), "s\n");
}

#[test]
fn names_of_what_is_saved_are_completed() {
    let world = World::new();
    removed_mess(&world);
    let name = text(&listed(&world)[0], "name").to_owned();
    let offered = world.treehand(&["__complete", "fish", "--", "w", "salvage", "show"]).expect(0).stdout;
    assert!(offered.contains(&name), "{offered}");
}

#[test]
fn what_was_staged_beside_a_conflict_comes_back_after_any_gc() {
    let world = World::new();
    let path = workspace(&world, &["w"]);
    let git = |args: &[&str]| world.git_in(&path, args);
    let commit = |content: &str| {
        std::fs::write(path.join("src/lib.txt"), content).expect("written");
        git(&["commit", "-q", "-a", "-m", content.trim()]);
    };
    git(&["checkout", "-q", "--detach"]);
    commit("theirs\n");
    let theirs = git(&["rev-parse", "HEAD"]);
    git(&["checkout", "-q", "w"]);
    commit("ours\n");
    assert_ne!(world.try_git_in(&path, &["merge", "-q", &theirs]).code, 0);
    std::fs::write(path.join("a.txt"), "staged\n").expect("written");
    git(&["add", "a.txt"]);
    std::fs::write(path.join("a.txt"), "in the worktree\n").expect("written");
    let picture = || (git(&["ls-files", "--stage"]), git(&["status", "--porcelain"]), git(&["reflog"]));
    let before = picture();
    world.treehand(&["rm", "-f", "w"]).expect(0);
    let saved = listed(&world).remove(0);
    let parts: Vec<&str> = saved["parts"].as_array().expect("parts").iter().map(|part| text(part, "part")).collect();
    assert_eq!(parts, ["worktree", "index", "head", "conflict", "MERGE_HEAD"]);
    assert_eq!(saved["files"], 2, "{saved}");
    let restored = world.treehand(&["salvage", "restore", "w", "--branch", "again", "--json"]).expect(0).json();
    assert_eq!(restored["branches"].as_array().map(Vec::len), Some(4), "{restored}");
    assert_eq!(world.show("again-index", "a.txt"), "staged\n");
    assert_eq!(world.show("again-conflict", "theirs/src/lib.txt"), "theirs\n");
    for branch in ["again", "again-index", "again-conflict", "again-MERGE_HEAD"] {
        world.git(&["branch", "-q", "-D", branch]);
    }
    for _ in 0..2 {
        world.git(&["reflog", "expire", "--expire=now", "--all"]);
        world.git(&["gc", "-q", "--prune=now"]);
        world.treehand(&["undo"]).expect(0);
        assert_eq!(picture(), before);
        world.git(&["fsck", "--strict", "--no-dangling"]);
        world.treehand(&["redo"]).expect(0);
    }
    for name in world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand"]).lines() {
        world.git(&["update-ref", "-d", name]);
    }
    world.git(&["gc", "-q", "--prune=now"]);
    let refused = world.treehand(&["undo", "--json"]).expect(4).json();
    assert!(text(&refused, "message").contains(" needs the object "), "{refused}");
    assert!(!path.exists());
}

const CAP: [&str; 2] = ["--set", "clean.salvage_max=64K"];

/// A dirty workspace that is more than the cap, removed by force; the bytes of its file that no packing makes smaller.
fn removed_beyond_the_cap(world: &World, name: &str) -> Vec<u8> {
    let path = workspace(world, &[name]);
    world.shell(&format!("head -c 300000 /dev/urandom > '{}'", path.join("big").display())).expect(0);
    let bytes = std::fs::read(path.join("big")).expect("there");
    std::fs::write(path.join("a.txt"), "staged\n").expect("written");
    world.git_in(&path, &["add", "a.txt"]);
    std::fs::write(path.join("a.txt"), "in the worktree\n").expect("written");
    world.treehand(&[&["rm", "-f", name], &CAP[..]].concat()).expect(0);
    bytes
}

fn bundle(saved: &Value) -> PathBuf {
    PathBuf::from(text(saved, "bundle"))
}

#[test]
fn what_is_more_than_the_cap_is_in_a_bundle_that_every_verb_knows() {
    let world = World::new();
    let bytes = removed_beyond_the_cap(&world, "w");
    let path = world.tree("w");
    let saved = listed(&world).remove(0);
    let parts: Vec<&str> = saved["parts"].as_array().expect("parts").iter().map(|part| text(part, "part")).collect();
    assert_eq!((parts, &saved["files"]), (vec!["worktree", "index", "head"], &2.into()), "{saved}");
    assert!(bundle(&saved).starts_with(world.repo().join(".git/treehand/salvage/w")), "{saved}");
    assert_ne!(world.try_git_in(&world.repo(), &["cat-file", "-e", text(&saved, "commit")]).code, 0, "it is not here");
    world.git(&["bundle", "verify", "-q", text(&saved, "bundle")]);
    for name in ["w", text(&saved, "ref"), text(&saved, "name")] {
        let shown = world.treehand(&["salvage", "show", name, "--json"]).expect(0).json();
        let files = shown["files"].as_array().expect("files").iter().map(|file| text(file, "path"));
        assert_eq!(files.collect::<Vec<_>>(), ["a.txt", "big"], "{shown}");
    }
    let clean = world.treehand(&["clean", "--json", "--min-age", "0s"]).expect(0).json();
    assert!(!clean["actions"].to_string().contains("/salvage/"), "it is young: {clean}");

    world.git(&["gc", "-q", "--prune=now"]);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(std::fs::read(path.join("big")).expect("back"), bytes);
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "MM a.txt\n?? big");
    world.treehand(&["redo"]).expect(0);
    let anew = listed(&world).remove(0);
    assert_eq!((&anew["commit"], bundle(&anew) == bundle(&saved)), (&saved["commit"], false), "it lasts from now on");

    let restored = world.treehand(&["salvage", "restore", "w", "--branch", "again", "--json"]).expect(0).json();
    assert_eq!(restored["branches"].as_array().map(Vec::len), Some(2), "{restored}");
    assert_eq!(world.show("again", "a.txt") + &world.show("again-index", "a.txt"), "in the worktree\nstaged\n");
    let back = workspace(&world, &["back", "--base", "again"]);
    assert_eq!(std::fs::read(back.join("big")).expect("there"), bytes);
    world.git(&["fsck", "--full", "--strict"]);

    assert!(bundle(&anew).exists(), "it stays saved");
    world.treehand(&["salvage", "drop", "w"]).expect(4);
    let dropped = world.treehand(&["salvage", "drop", "--yes", "w", "--json"]).expect(0).json();
    assert_eq!(bundle(&dropped["dropped"][0]), bundle(&anew));
    assert!(!bundle(&anew).exists() && listed(&world).is_empty());
    world.treehand(&["undo"]).expect(0);
    assert_eq!(std::fs::read(path.join("big")).expect("undo needs nothing of it"), bytes);
    let doctor = world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).json();
    let check = doctor["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "interrupted");
    assert_eq!(check.expect("it is looked at")["detail"], "nothing");
}

#[test]
fn a_bundle_ends_with_the_retention_or_the_disk_budget() {
    let world = World::new();
    for (name, flags) in [("one", &["--set", "clean.retention=0s"]), ("two", &["--disk-budget", "0"])] {
        removed_beyond_the_cap(&world, name);
        let saved = listed(&world).into_iter().find(|saved| saved["from"] == name).expect("it is saved");
        let done = world.treehand(&[&["clean", "--json", "--yes"], &flags[..]].concat()).expect(0).json();
        let place = bundle(&saved).parent().expect("a directory").to_owned();
        let actions = done["actions"].as_array().expect("a list").iter();
        let action = actions.into_iter().find(|action| action["item"] == *place.to_string_lossy());
        let action = action.unwrap_or_else(|| panic!("it is not among {done}"));
        assert!(action["bytes"].as_u64().is_some_and(|bytes| bytes >= 300_000), "{action}");
        assert_eq!((text(action, "kind"), text(action, "outcome")), ("state", "done"));
        assert!(!place.exists() && listed(&world).iter().all(|saved| saved["bundle"].is_null()));
    }
}

#[test]
fn uninstall_is_refused_for_a_bundle_and_takes_it_when_told() {
    let mut world = World::new();
    world.set("TREEHAND_CONFINE__LEVEL", "off");
    removed_beyond_the_cap(&world, "w");
    let refused = world.treehand(&["uninstall", "--yes", "--json"]).expect(4).json();
    let reason = text(&refused["repos"][0], "reason");
    assert!(reason.contains("1 thing that was saved before a removal") && reason.contains(", until "), "{reason}");
    let path = workspace(&world, &["shut", "--sealed"]);
    world.shell(&format!("head -c 300000 /dev/urandom > '{}'", path.join("big").display())).expect(0);
    let bytes = std::fs::read(path.join("big")).expect("there");
    world.treehand(&[&["uninstall", "--yes", "--discard"], &CAP[..]].concat()).expect(0);
    assert!(!world.repo().join(".git/treehand").exists());
    world.git(&["branch", "-q", "-f", "look", "shut"]);
    let kept = world.git(&["rev-parse", "look:big"]);
    std::fs::write(world.path().join("big"), bytes).expect("written");
    let file = world.path().join("big");
    assert_eq!(
        world.git(&["hash-object", "--no-filters", &file.to_string_lossy()]),
        kept,
        "what was sealed is on its branch"
    );
}

#[test]
fn a_bundle_that_cannot_be_written_keeps_the_workspace() {
    let world = World::new();
    let path = workspace(&world, &["w"]);
    world.shell(&format!("head -c 300000 /dev/urandom > '{}'", path.join("big").display())).expect(0);
    let bytes = std::fs::read(path.join("big")).expect("there");
    let place = world.repo().join(".git/treehand/salvage");
    std::fs::write(&place, "in the way").expect("written");
    let refused = world.treehand(&[&["rm", "-f", "w", "--json"], &CAP[..]].concat()).expect(4).json();
    assert!(text(&refused, "message").contains("clean.salvage_max), and no bundle of it can be written"), "{refused}");
    assert_eq!(std::fs::read(path.join("big")).expect("there"), bytes);
    assert_eq!(world.git(&["for-each-ref", "refs/treehand"]), "");
    assert_eq!(std::fs::read_dir(world.repo().join(".git/treehand/quarantine")).map_or(0, Iterator::count), 0);
    std::fs::remove_file(&place).expect("removed");
    world.treehand(&[&["rm", "-f", "w"], &CAP[..]].concat()).expect(0);
    assert!(bundle(&listed(&world)[0]).exists());
}
