//! Stories of sealed workspaces that are brought up to their bases: what is committed is rebased or merged, what is not stays
//! uncommitted, and `undo` takes it back.

#![expect(clippy::disallowed_methods, reason = "stories start programs as a user does")]

use crate::support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Answer, World};

/// A sealed workspace with commits and changes in it, and a newer base.
fn behind() -> (World, PathBuf) {
    let world = World::with_remote();
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    inside(&world, "echo one > one.txt; git add -A; git commit -qm one; echo 'x.o' > .gitignore; echo x > x.o")
        .expect(0);
    inside(
        &world,
        "echo staged > staged.txt; git add staged.txt; echo changed >> one.txt; echo new > 'un tracked.txt'",
    )
    .expect(0);
    world.commit_upstream("theirs", "theirs.txt", "theirs\n");
    let tree = world.trees().join("s/repo");
    (world, tree)
}

fn inside(world: &World, script: &str) -> Answer {
    world.treehand(&["exec", "s", "--confine", "off", "--", "sh", "-ec", script])
}

fn fresh(world: &World, by: &str, code: i32) -> Value {
    world.treehand(&["--json", "fresh", "s", "--update", by]).expect(code).json()["workspaces"][0].clone()
}

/// What there is to see in it.
fn seen(world: &World, tree: &Path) -> String {
    let files = inside(world, "cat one.txt staged.txt 'un tracked.txt' x.o .gitignore").expect(0).stdout;
    world.git_in(tree, &["log", "--format=%s"]) + "\n" + &files + &world.git_in(tree, &["status", "--porcelain"])
}

#[test]
fn what_is_committed_is_brought_up_and_what_is_not_stays_so() {
    for by in ["rebase", "merge"] {
        let (world, tree) = behind();
        let updated = fresh(&world, by, 0);
        assert_eq!((&updated["updated"], &updated["base"]["behind"]), (&true.into(), &0.into()), "{updated}");
        let changes = " M one.txt\n?? .gitignore\n?? staged.txt\n?? \"un tracked.txt\"";
        let log = world.git_in(&tree, &["log", "--format=%s"]);
        match by {
            "rebase" => assert_eq!(log, "one\ntheirs\nfirst"),
            _ => assert!(log.starts_with("Merge branch 'main' into s"), "{log}"),
        }
        assert_eq!(world.git_in(&tree, &["status", "--porcelain"]).trim(), changes.trim());
        assert_eq!(world.git_in(&tree, &["fsck", "--full", "--strict", "--no-dangling"]), "");
        assert!(tree.join("theirs.txt").exists() && tree.join("x.o").exists());
        // Its branch here has all of it.
        assert_eq!(world.show("s", "one.txt"), "one\nchanged\n");
        assert_eq!(world.show("s", "theirs.txt"), "theirs\n");
        // It goes on as before.
        inside(&world, "git add -A; git commit -qm two").expect(0);
        let diff = world.treehand(&["diff", "s", "--json"]).expect(0).json();
        let files: Vec<&str> =
            diff["files"].as_array().expect("files").iter().filter_map(|file| file["path"].as_str()).collect();
        assert_eq!(files, [".gitignore", "one.txt", "staged.txt", "un tracked.txt"], "{diff}");
        let removed = world.treehand(&["rm", "s", "--json"]).expect(0).json();
        assert_eq!(removed["removed"][0]["branch_outcome"], "kept", "{removed}");
        assert_eq!(world.git(&["log", "-1", "--format=%s", "s"]), "two");
        world.git(&["fsck", "--full", "--strict"]);
    }
}

#[test]
fn an_update_is_taken_back_and_made_again() {
    let (world, tree) = behind();
    let at_first = seen(&world, &tree);
    fresh(&world, "rebase", 0);
    let after = seen(&world, &tree);
    let undone = world.treehand(&["undo", "--json"]).expect(0).json();
    assert_eq!(undone["schema"], "treehand/undo/v1", "{undone}");
    let before = seen(&world, &tree);
    assert_eq!(before, at_first);
    assert!(before.starts_with("one\nfirst\n") && before.contains("A  staged.txt"), "{before}");
    assert!(!tree.join("theirs.txt").exists());
    assert_eq!(world.treehand(&["--json", "fresh", "s"]).expect(0).json()["workspaces"][0]["base"]["behind"], 1);
    world.treehand(&["redo"]).expect(0);
    assert_eq!(seen(&world, &tree), after);
    // What was done since is not run over.
    inside(&world, "echo more >> one.txt").expect(0);
    let refused = world.treehand(&["undo"]).expect(4);
    assert!(refused.stderr.contains("was worked on since"), "{}", refused.stderr);
    assert!(std::fs::read_to_string(tree.join("one.txt")).expect("there").ends_with("more\n"));
    let refused = world.treehand(&["undo", "--revert"]).expect(4);
    assert!(refused.stderr.contains("only the workspace's own processes"), "{}", refused.stderr);
}

#[test]
fn what_was_staged_is_staged_again_after_the_undo_and_unstaged_where_it_is_gone() {
    let (world, tree) = behind();
    let script = "printf 'in the index\\n' > both.txt; git add both.txt; printf 'in the tree\\n' > both.txt; git rm -q --cached one.txt; \
                  : > later.txt; git add -N later.txt; git update-index --assume-unchanged a.txt";
    inside(&world, script).expect(0);
    let names = || world.git_in(&tree, &["ls-files", "--stage", "-v"]);
    let (before, staged) = (seen(&world, &tree), names());
    fresh(&world, "rebase", 0);
    assert_ne!(names(), staged);
    world.treehand(&["undo"]).expect(0);
    assert_eq!((seen(&world, &tree), names()), (before, staged.clone()));
    // Nothing in the private store holds what was staged only: git may take it away there.
    world.treehand(&["redo"]).expect(0);
    inside(&world, "git gc -q --prune=now").expect(0);
    let undone = world.treehand(&["undo"]).expect(0);
    assert!(undone.stderr.contains("it is unstaged now"), "{}", undone.stderr);
    assert_ne!(names(), staged);
    assert_eq!(std::fs::read_to_string(tree.join("both.txt")).expect("there"), "in the tree\n");
    world.git_in(&tree, &["fsck", "--full", "--strict", "--no-dangling"]);
}

#[test]
fn a_conflict_or_a_process_or_a_file_in_the_way_leaves_it_as_it_was() {
    let (world, tree) = behind();
    let before = seen(&world, &tree);
    let mut process = Command::new("cat");
    let mut process = process.current_dir(&tree).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started");
    assert!(fresh(&world, "rebase", 8)["reason"].as_str().is_some_and(|why| why.contains("works in it")));
    drop(process.stdin.take());
    process.wait().expect("ended");
    // An ignored file where the base has one of its own.
    world.commit_upstream("an object", "x.o", "theirs\n");
    let in_the_way = fresh(&world, "rebase", 4);
    assert!(in_the_way["reason"].as_str().is_some_and(|why| why.contains("x.o")), "{in_the_way}");
    assert_eq!(seen(&world, &tree), before);
    // What is not committed conflicts as what is.
    world.commit_upstream("one", "staged.txt", "not mine\n");
    let conflict = fresh(&world, "merge", 5);
    assert_eq!(conflict["paths"], serde_json::json!(["staged.txt"]), "{conflict}");
    assert_eq!((conflict["updated"].as_bool(), seen(&world, &tree)), (Some(false), before));
    let left = std::fs::read_dir(world.repo().join(".git/treehand/quarantine")).expect("there");
    assert_eq!(left.count(), 0, "a quarantine is left");
}

#[test]
fn what_is_planted_in_it_is_not_run_by_an_update() {
    let (world, tree) = behind();
    let witness = world.path().join("witness");
    let script = format!(
        "c=$(git rev-parse --git-common-dir); mkdir -p $c/hooks; printf '#!/bin/sh\\ntouch {0}\\n' > $c/hooks/post-index-change; \
         chmod +x $c/hooks/*; git config core.hooksPath $c/hooks; git config core.fsmonitor 'touch {0}'; \
         git config filter.x.smudge 'touch {0}; cat'; git config filter.x.clean 'touch {0}; cat'; \
         echo '* filter=x' >> .gitattributes; rm -f {0}",
        witness.display()
    );
    inside(&world, &script).expect(0);
    fresh(&world, "rebase", 0);
    assert!(!witness.exists(), "a program that was planted was started");
    assert!(tree.join("theirs.txt").exists());
    // Nor is a file written through a link.
    let world_file = world.path().join("mine");
    std::fs::write(&world_file, "mine\n").expect("a file");
    inside(
        &world,
        &format!("git config core.hooksPath /dev/null; git config core.fsmonitor false; d=$(git rev-parse --git-dir); ln -sf {} $d/ORIG_HEAD", world_file.display()),
    )
    .expect(0);
    world.commit_upstream("more", "more.txt", "more\n");
    fresh(&world, "rebase", 0);
    assert_eq!(std::fs::read_to_string(&world_file).expect("there"), "mine\n");
}
