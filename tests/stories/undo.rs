//! Stories of taking back and making again: landings of every strategy, updates and removals, by undo, redo and revert.

use crate::support;

use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::World;

/// Lands a change of `a.txt` and a new file `x`, and gives the operation.
fn land(world: &World, flags: &[&str]) -> Value {
    let script = "echo four >> a.txt; git commit -q -a -m 'first half'; echo x > x; git add x; git commit -q -m x";
    let mut args = vec!["run", "--confine", "off", "--name", "t"];
    args.extend(flags);
    args.extend(["--", "sh", "-c", script]);
    world.treehand(&args).expect(0);
    operations(world)[0].clone()
}

fn operations(world: &World) -> Vec<Value> {
    let log = world.treehand(&["log", "--json"]).expect(0).json();
    log["operations"].as_array().expect("operations").clone()
}

fn message(document: &Value) -> String {
    document["message"].as_str().expect("a message").to_owned()
}

#[test]
fn a_landing_of_each_strategy_is_undone_and_redone_with_its_files() {
    for strategy in ["squash", "merge", "rebase", "ff"] {
        let world = World::new();
        world.write("own.txt", "mine\n");
        let before = world.git(&["rev-parse", "main"]);
        let op = land(&world, &["--strategy", strategy])["op"].clone();
        let after = world.git(&["rev-parse", "main"]);
        for _ in 0..2 {
            let undone = world.treehand(&["undo", "--json"]).expect(0).json();
            assert_eq!((&undone["op"], &undone["revert"]), (&op, &Value::Null), "{strategy}");
            assert_eq!(world.git(&["rev-parse", "main"]), before, "{strategy}");
            assert_eq!(world.git(&["status", "--porcelain"]), "?? own.txt", "{strategy}");
            assert!(world.treehand(&["log"]).expect(0).stdout.contains("(undone; redo makes it again)"));
            assert_eq!(world.treehand(&["log", "--json"]).expect(0).json()["redo"], op);
            let redone = world.treehand(&["redo", "--json"]).expect(0).json();
            assert_eq!((&redone["op"], &redone["schema"]), (&op, &json!("treehand/redo/v1")), "{strategy}");
            assert_eq!(world.git(&["rev-parse", "main"]), after, "{strategy}");
            assert_eq!(world.git(&["status", "--porcelain"]), "?? own.txt", "{strategy}");
        }
        world.treehand(&["redo"]).expect(3);
        assert_eq!(world.treehand(&["log", "--json"]).expect(0).json()["redo"], Value::Null);
    }
}

#[test]
fn something_new_ends_what_can_be_redone() {
    let world = World::new();
    land(&world, &[]);
    world.treehand(&["undo"]).expect(0);
    land(&world, &[]);
    let refused = world.treehand(&["redo", "--json"]).expect(4).json();
    assert!(message(&refused).contains("came after it was undone"), "{refused}");
}

#[test]
fn a_landing_that_was_built_upon_is_reverted_by_a_commit() {
    for strategy in ["squash", "merge", "rebase", "ff"] {
        let world = World::new();
        let tree = world.git(&["rev-parse", "main:a.txt"]);
        let landed = land(&world, &["--strategy", strategy]);
        world.commit("built on it", &[("z", "z\n")]);
        let refused = world.treehand(&["undo", "--json"]).expect(4).json();
        let hint = refused["hint"].as_str().expect("a hint").to_owned();
        assert!(hint.contains("treehand undo 1 --revert"), "{refused}");
        let undone = world.treehand(&["undo", "1", "--revert", "--json"]).expect(0).json();
        assert_eq!(undone["revert"]["commit"], world.git(&["rev-parse", "main"]).as_str(), "{undone}");
        assert_eq!(world.git(&["rev-parse", "main:a.txt"]), tree, "{strategy}");
        assert_eq!(world.git(&["ls-tree", "--name-only", "main"]), "a.txt\nsrc\nz", "{strategy}");
        assert_eq!(world.git(&["status", "--porcelain"]), "", "{strategy}");
        let body = world.git(&["show", "-s", "--format=%B", "main"]);
        let name = landed["summary"].as_str().and_then(|text| text.split(' ').nth(1)).expect("RUN/TASK").to_owned();
        assert!(body.starts_with("Revert \"") && body.contains(&format!("Treehand-Reverts: {name}")), "{body}");
        let log = operations(&world);
        assert_eq!(
            (&log[0]["kind"], &log[1]["undone"], &log[1]["undone_by"]),
            (&json!("revert"), &json!(true), &json!(2))
        );
        world.treehand(&["undo"]).expect(0);
        assert_eq!(world.show("main", "x"), "x\n", "{strategy}: the revert was taken back");
        assert_eq!(operations(&world)[1]["undone"], false);
    }
}

#[test]
fn a_revert_in_conflict_names_the_files_and_changes_nothing() {
    let world = World::new();
    land(&world, &[]);
    let tip = world.commit("built on it", &[("a.txt", "all new\n")]);
    let refused = world.treehand(&["undo", "--revert", "--json"]).expect(5).json();
    assert!(refused["kind"] == "conflict" && message(&refused).contains("a.txt"), "{refused}");
    assert_eq!(world.git(&["rev-parse", "main"]), tip);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(operations(&world)[0]["undone"], false);
}

#[test]
fn a_branch_that_a_run_made_goes_with_its_landings_one_after_the_other() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"a\"\ncommand = [\"sh\", \"-c\", \"echo a > a\"]\n\
                 [[task]]\nid = \"b\"\nneeds = [\"a\"]\ncommand = [\"sh\", \"-c\", \"echo b > b\"]\n";
    world.run_tasks(tasks, &["--into", "fresh", "--base", "main"]).expect(0);
    let tip = world.git(&["rev-parse", "fresh"]);
    let there = || world.git(&["branch", "--list", "fresh"]);
    assert_eq!(world.treehand(&["undo", "--json"]).expect(0).json()["removed"], json!([]));
    assert_ne!(there(), "");
    assert_eq!(world.treehand(&["undo", "--json"]).expect(0).json()["removed"], json!(["fresh"]));
    assert_eq!(there(), "");
    world.treehand(&["redo"]).expect(0);
    world.treehand(&["redo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "fresh"]), tip);
    world.treehand(&["undo"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(there(), "", "as it was before the run");
}

#[test]
fn a_branch_that_was_there_before_the_run_stays() {
    let world = World::new();
    world.treehand(&["new", "mine"]).expect(0);
    world.treehand(&["rm", "mine"]).expect(0);
    world.git(&["branch", "other"]);
    let base = world.git(&["rev-parse", "main"]);
    for branch in ["mine", "other"] {
        land(&world, &["--into", branch, "--base", "main"]);
        let undone = world.treehand(&["undo", "--json"]).expect(0).json();
        assert_eq!(undone["removed"], json!([]), "{branch}");
        assert_eq!(world.git(&["rev-parse", branch]), base);
    }
}

#[test]
fn a_removal_is_made_again_only_while_nothing_of_it_has_changed() {
    let world = World::new();
    let made = world.treehand(&["new", "w", "--json"]).expect(0).json();
    let path = PathBuf::from(made["path"].as_str().expect("a path"));
    std::fs::write(path.join("u"), "untracked\n").expect("written");
    world.treehand(&["rm", "w", "-f"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    // Looking is no change.
    world.git_in(&path, &["status"]);
    for look in [&["ls"][..], &["diff", "w"], &["path", "w"], &["fresh"]] {
        world.treehand(look).expect(0);
    }
    world.treehand(&["redo"]).expect(0);
    assert!(!path.exists());
    world.treehand(&["undo"]).expect(0);
    std::fs::write(path.join("u"), "another\n").expect("written");
    let refused = world.treehand(&["redo", "--json"]).expect(4).json();
    assert!(message(&refused).contains("has changed since"), "{refused}");
    assert_eq!(std::fs::read_to_string(path.join("u")).expect("there"), "another\n");
}

#[test]
fn what_a_clean_took_of_a_run_comes_back_goes_again_and_comes_back_again() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"lands\"\ncommand = [\"sh\", \"-c\", \"echo l > l\"]\n\
                 [[task]]\nid = \"rejected\"\npaths = [\"src/**\"]\ncommand = [\"sh\", \"-c\", \"echo x > outside\"]\n\
                 [[task]]\nid = \"fails\"\ncommand = [\"sh\", \"-c\", \"echo y > y; exit 1\"]\n";
    world.run_tasks(tasks, &[]).expect(1);
    let picture = || {
        let refs = world.git(&["for-each-ref", "refs/heads"]);
        let entries = world.git(&["worktree", "list", "--porcelain"]);
        let mut files: Vec<String> = walkdir::WalkDir::new(world.trees())
            .into_iter()
            .filter_map(Result::ok)
            .map(|entry| entry.path().display().to_string())
            .collect();
        files.sort();
        (refs, entries, files)
    };
    let before = picture();
    assert!(before.2.iter().any(|path| path.ends_with("/y")), "{before:?}");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    let cleaned = picture();
    assert_ne!(cleaned, before);
    for _ in 0..2 {
        world.treehand(&["undo"]).expect(0);
        assert_eq!(picture(), before);
        let redone = world.treehand(&["redo", "--json"]).expect(0).json();
        assert_eq!(redone["kind"], "clean");
        assert_eq!(picture(), cleaned);
    }
    world.treehand(&["undo"]).expect(0);
    let run = operations(&world).last().expect("the landing")["summary"].as_str().expect("words").to_owned();
    let run = run.split([' ', '/']).nth(1).expect("a run").to_owned();
    world.treehand(&["diff", &format!("{run}/fails")]).expect(0);
    let redone = world.treehand(&["redo", "--json"]).expect(0).json();
    assert_eq!(redone["kind"], "clean", "looking is no change");
    let saved = world.treehand(&["salvage", "ls", "--json"]).expect(0).json();
    assert_eq!(saved["salvage"].as_array().map(Vec::len), Some(1), "{saved}");
    let action = |document: &Value| document["actions"].as_array().map(Vec::len);
    assert_eq!(action(&world.treehand(&["clean", "--json", "--min-age", "0s"]).expect(0).json()), Some(0));
}

#[test]
fn a_removal_and_an_update_are_done_again_and_taken_back_again() {
    let world = World::with_remote();
    world.treehand(&["new", "w"]).expect(0);
    let tree = world.trees().join("w/repo");
    std::fs::write(tree.join("untracked"), "mine\n").expect("written");
    world.commit_upstream("theirs", "theirs.txt", "theirs\n");
    let before = world.git(&["rev-parse", "w"]);
    world.treehand(&["fresh", "w", "--update", "rebase"]).expect(0);
    let after = world.git(&["rev-parse", "w"]);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "w"]), before);
    world.treehand(&["redo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "w"]), after);
    assert!(tree.join("theirs.txt").exists());
    let base = || world.treehand(&["--json", "ls"]).expect(0).json()["workspaces"][0]["base"]["commit"].clone();
    assert_eq!(base(), after.as_str());

    world.treehand(&["rm", "-f", "-D", "w"]).expect(0);
    for _ in 0..2 {
        world.treehand(&["undo"]).expect(0);
        assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), "?? untracked");
        assert_eq!(world.git(&["rev-parse", "w"]), after);
        world.treehand(&["redo"]).expect(0);
        assert!(!tree.exists() && world.git(&["branch", "--list", "w"]).is_empty());
    }
    let operations = world.treehand(&["--json", "log"]).expect(0).json();
    assert_eq!(operations["operations"].as_array().map(Vec::len), Some(2), "{operations}");
}

#[test]
fn a_branch_comes_back_with_its_reflog() {
    let world = World::new();
    world.treehand(&["new", "w"]).expect(0);
    let tree = world.trees().join("w/repo");
    let tree = tree.to_str().expect("UTF-8");
    for n in ["one", "two"] {
        world.git(&["-C", tree, "commit", "-q", "--allow-empty", "-m", n]);
    }
    let before = world.git(&["reflog", "show", "w"]);
    world.treehand(&["rm", "w", "-D"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["reflog", "show", "w"]), before);
    // Once more: what was put back is what it was.
    world.treehand(&["redo"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["reflog", "show", "w"]), before);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_taken_away_was_left_by_an_undo_that_called_itself_done() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let script = "echo x > src/x; git add src; git commit -q -m x";
    world.treehand(&["run", "--confine", "off", "--name", "t", "--", "sh", "-c", script]).expect(0);
    let source = world.repo().join("src");
    let allow = |mode: u32| {
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(mode)).expect("allowed");
    };
    allow(0o555);
    if std::fs::write(source.join("probe"), "").is_ok() {
        std::fs::remove_file(source.join("probe")).expect("removed");
        writeln!(std::io::stderr(), "NOT RUN: nothing keeps the administrator from writing").expect("stderr is open");
        return;
    }
    for _ in 0..2 {
        let refused = world.treehand(&["undo", "--json"]).expect(4).json();
        assert!(message(&refused).contains("src"), "{refused}");
        assert!(source.join("x").exists());
        assert_eq!(operations(&world)[0]["undone"], false);
    }
    allow(0o755);
    world.treehand(&["undo"]).expect(0);
    assert!(!source.join("x").exists());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(operations(&world)[0]["undone"], true);
}

#[test]
fn work_on_top_of_a_landing_keeps_it_from_being_undone_and_a_push_does_too() {
    let world = World::with_remote();
    land(&world, &[]);
    let made = world.treehand(&["new", "w", "--json"]).expect(0).json();
    let path = PathBuf::from(made["path"].as_str().expect("a path"));
    world.treehand(&["new", "idle"]).expect(0);
    world.git_in(&path, &["commit", "-q", "--allow-empty", "-m", "on top"]);
    let refused = world.treehand(&["undo", "1", "--json"]).expect(4).json();
    assert!(message(&refused).contains("the workspace `w`: ") && message(&refused).contains(" on top"), "{refused}");
    assert!(refused["hint"].as_str().expect("a hint").contains("treehand undo 1 --revert"), "{refused}");
    world.treehand(&["rm", "-D", "w"]).expect(0);
    world.git(&["push", "-q", "origin", "main"]);
    let refused = world.treehand(&["undo", "1", "--json"]).expect(4).json();
    assert!(message(&refused).contains("was pushed: origin/main has it"), "{refused}");
    world.treehand(&["undo", "1", "--revert"]).expect(0);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn tasks_of_the_same_run_that_did_not_land_are_not_built_upon_what_did() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"lands\"\ncommand = [\"sh\", \"-c\", \"echo l > l\"]\n\
                 [[task]]\nid = \"rejected\"\nneeds = [\"lands\"]\npaths = [\"src/**\"]\n\
                 command = [\"sh\", \"-c\", \"echo x > outside\"]\n";
    for strategy in ["ff", "squash"] {
        world.run_tasks(tasks, &["--strategy", strategy]).expect(4);
        world.treehand(&["undo"]).expect(0);
        assert!(!world.repo().join("l").exists(), "{strategy}");
    }
}

#[test]
fn a_workspace_does_not_come_back_to_a_branch_that_went_on_without_it() {
    let world = World::new();
    let made = world.treehand(&["new", "w", "--json"]).expect(0).json();
    let path = PathBuf::from(made["path"].as_str().expect("a path"));
    std::fs::write(path.join("y"), "y\n").expect("written");
    world.git_in(&path, &["add", "y"]);
    world.git_in(&path, &["commit", "-q", "-m", "first half"]);
    world.treehand(&["rm", "w"]).expect(0);
    let tip = world.git(&["rev-parse", "w"]);
    world.git(&["checkout", "-q", "w"]);
    let refused = world.treehand(&["undo", "--json"]).expect(4).json();
    assert!(message(&refused).contains("refs/heads/w is in use in"), "{refused}");
    world.commit("second half", &[("z", "z\n")]);
    world.git(&["checkout", "-q", "main"]);
    let refused = world.treehand(&["undo", "--json"]).expect(4).json();
    assert!(message(&refused).contains("`w` was built upon") && message(&refused).contains("second half"), "{refused}");
    world.git(&["branch", "-q", "-D", "w"]);
    world.git(&["reflog", "expire", "--expire=now", "--all"]);
    let undone = world.treehand(&["undo", "--json"]).expect(0).json();
    assert!(undone["restored"].as_array().expect("a list").contains(&json!("refs/heads/w")), "{undone}");
    assert_eq!(world.git(&["rev-parse", "w"]), tip);
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), "");
}
