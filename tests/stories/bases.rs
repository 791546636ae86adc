//! Stories of what a base may be called, and of one that is gone: what is not proved is not called fresh.

use crate::support;

use serde_json::Value;
use support::World;

#[test]
fn every_spelling_of_a_branch_is_asked_of_the_remote() {
    let world = World::with_remote();
    let newest = world.commit_upstream("theirs", "new.txt", "new\n");
    let spellings = [
        ("refs/heads/main", "main"),
        ("heads/main", "main"),
        ("origin", "origin/main"),
        ("origin/HEAD", "origin/main"),
        ("remotes/origin/HEAD", "origin/main"),
        ("refs/remotes/origin/main", "origin/main"),
        ("remotes/origin/main", "origin/main"),
        ("@{u}", "origin/main"),
        ("main@{upstream}", "origin/main"),
    ];
    for (at, (spelling, name)) in spellings.into_iter().enumerate() {
        // What was fetched for the one before must not help.
        world.git(&["update-ref", "refs/remotes/origin/main", "main"]);
        let made = world.treehand(&["--json", "new", &format!("w{at}"), "--base", spelling]).expect(0).json();
        let base = &made["base"];
        assert_eq!((&base["commit"], &base["ref"]), (&newest.clone().into(), &name.into()), "{spelling}");
        assert_eq!((&base["proof"], &base["freshness"]), (&"ls-remote".into(), &"fresh".into()), "{spelling}");
    }
    // The default branch of a remote is what it is now; a commit stays a commit.
    world.git_in(&world.up(), &["branch", "trunk", "main~1"]);
    world.git_in(&world.up(), &["symbolic-ref", "HEAD", "refs/heads/trunk"]);
    let made = world.treehand(&["--json", "new", "trunk", "--base", "origin"]).expect(0).json();
    assert_eq!(made["base"]["ref"], "origin/trunk");
    let made = world.treehand(&["--json", "new", "fixed", "--base", "origin/main~1"]).expect(0).json();
    assert_eq!((&made["base"]["ref"], &made["base"]["proof"]), (&"origin/main~1".into(), &"local".into()));
    world.treehand(&["new", "none", "--base", "refs/heads/nothing"]).expect(3);
}

#[test]
fn a_name_that_means_a_branch_here_is_not_taken_for_the_remotes() {
    let world = World::with_remote();
    world.git(&["branch", "origin"]);
    world.commit_upstream("theirs", "new.txt", "new\n");
    let of = |name: &str, base: &str| {
        world.treehand(&["--json", "new", name, "--base", base]).expect(0).json()["base"]["ref"].clone()
    };
    assert_eq!(of("a", "origin"), "origin");
    world.git(&["branch", "-m", "origin", "origin/main"]);
    assert_eq!(of("b", "origin/main"), "origin/main");
    assert_eq!(of("c", "refs/remotes/origin/main"), "refs/remotes/origin/main");
    assert!(world.tree("c").join("new.txt").exists() && !world.tree("b").join("new.txt").exists());
    assert_eq!(world.fresh("c")["base"]["freshness"], "fresh");
}

#[test]
fn a_base_that_was_deleted_at_the_remote_is_unknown() {
    let world = World::with_remote();
    world.git_in(&world.up(), &["branch", "topic", "main"]);
    world.git_in(&world.up(), &["update-ref", "refs/pull/7/head", "main"]);
    world.git(&["fetch", "-q"]);
    world.treehand(&["new", "branch", "--base", "origin/topic"]).expect(0);
    world.treehand(&["new", "request", "--from-pr", "7"]).expect(0);
    world.treehand(&["fresh", "--check"]).expect(0);
    world.git_in(&world.up(), &["branch", "-D", "topic"]);
    world.git_in(&world.up(), &["update-ref", "-d", "refs/pull/7/head"]);
    let reasons = [("branch", "origin has no branch `topic`"), ("request", "origin has no pull request `#7`")];
    for (name, reason) in reasons {
        let told = world.treehand(&["--json", "fresh", name, "--check"]).expect(0).json()["workspaces"][0].clone();
        let base = &told["base"];
        assert_eq!((&base["freshness"], &told["reason"]), (&"unknown".into(), &reason.into()));
        assert_eq!((&base["proof"], &base["remote_commit"]), (&"ls-remote".into(), &Value::Null));
    }
    let block = world.treehand(&["new", "again", "--base", "origin/topic", "--stale", "block"]).expect(6);
    assert!(block.stderr.contains("is unknown: origin has no branch `topic`"), "{}", block.stderr);
}
