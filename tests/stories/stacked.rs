//! Stories of workspaces that stand on each other: what the lower one brought goes with it where that is proved, and only there.

use crate::support;

use support::World;

#[test]
fn a_stacked_workspace_goes_on_against_the_base_below_when_the_lower_one_has_landed() {
    let world = World::new();
    world.treehand(&["new", "lower"]).expect(0);
    let fresh = world.treehand(&["--json", "new", "early", "--base", "lower"]).expect(0).json();
    assert_eq!((&fresh["base"]["ref"], &fresh["base"]["stack"]), (&"lower".into(), &serde_json::json!(["main"])));
    world.commit_in("lower", "a.txt", "one\nlower\nthree\n");
    world.treehand(&["new", "upper", "--base", "lower"]).expect(0);
    world.commit_in("upper", "upper.txt", "upper\n");
    assert_eq!(world.fresh("early")["base"]["freshness"], "stale");

    // The lower one is amended: only what is the upper one's own is put on the new commit.
    std::fs::write(world.tree("lower").join("a.txt"), "one\nLOWER\nthree\n").expect("written");
    world.git_in(&world.tree("lower"), &["commit", "-q", "-a", "--amend", "-m", "lower, amended"]);
    assert_eq!(world.fresh("upper")["base"]["freshness"], "diverged");
    world.treehand(&["fresh", "upper", "--update", "rebase"]).expect(0);
    assert_eq!(world.git(&["log", "--format=%s", "main..upper"]), "upper changes upper.txt\nlower, amended");

    // It lands by squash, and is cleaned away.
    world.git(&["merge", "-q", "--squash", "lower"]);
    world.git(&["commit", "-q", "-m", "lower, squashed"]);
    let told = world.fresh("upper");
    assert_eq!((&told["base"]["ref"], &told["base"]["stack"]), (&"main".into(), &serde_json::json!([])));
    assert_eq!(told["reason"], "its base `lower` has landed on `main`, where it stands now");
    world.treehand(&["rm", "lower"]).expect(0);
    assert!(world.fresh("upper")["reason"].as_str().is_some_and(|why| why.contains("`lower` is gone")));
    world.treehand(&["fresh", "upper", "--update", "rebase"]).expect(0);
    assert_eq!(world.git(&["log", "--format=%s", "main..upper"]), "upper changes upper.txt");
    assert_eq!(world.fresh("upper")["base"]["freshness"], "fresh");
}

/// A workspace `upper` on a workspace `lower`, each with a commit of its own, and the news of a colleague on `main`.
fn stacked(world: &World) {
    world.treehand(&["new", "lower"]).expect(0);
    world.commit_in("lower", "lower.txt", "lower\n");
    world.treehand(&["new", "upper", "--base", "lower"]).expect(0);
    world.commit_in("upper", "upper.txt", "upper\n");
}

/// The commits of the upper workspace beyond the remote's, newest first.
fn upper_of(world: &World) -> String {
    world.git(&["log", "--format=%s", "origin/main..upper"])
}

#[test]
fn the_commits_of_a_lower_branch_that_was_renamed_or_removed_are_kept_by_an_update() {
    for gone in [&["branch", "-m", "lower", "other"][..], &["rm", "-D", "lower"]] {
        let world = World::with_remote();
        stacked(&world);
        match gone[0] {
            "rm" => world.treehand(gone).expect(0).stdout,
            _ => world.git(gone),
        };
        world.commit_upstream("theirs", "new.txt", "new\n");
        let told = world.fresh("upper");
        let kept = "its base `lower` is gone and is not known to have landed on `main`, where it stands now: the commits that it \
                    was based on are kept";
        assert_eq!((&told["base"]["ref"], &told["reason"]), (&"main".into(), &kept.into()));
        let updated = world.treehand(&["fresh", "upper", "--update", "rebase"]).expect(0);
        assert!(updated.stderr.contains(kept), "{}", updated.stderr);
        assert_eq!(upper_of(&world), "upper changes upper.txt\nlower changes lower.txt");
        assert_eq!(world.fresh("upper")["base"]["stack"], serde_json::json!([]));
    }
}

#[test]
fn a_lower_branch_that_was_removed_and_made_again_takes_nothing_of_the_former_one_away() {
    let world = World::with_remote();
    stacked(&world);
    world.treehand(&["rm", "-D", "lower"]).expect(0);
    world.treehand(&["new", "lower"]).expect(0);
    world.commit_in("lower", "again.txt", "again\n");
    world.treehand(&["fresh", "upper", "--update", "rebase"]).expect(0);
    assert_eq!(upper_of(&world), "upper changes upper.txt\nlower changes lower.txt\nlower changes again.txt");
}

#[test]
fn a_lower_branch_that_was_brought_together_with_its_remote_is_the_one_it_was_based_on() {
    let world = World::with_remote();
    world.treehand(&["new", "lower"]).expect(0);
    world.git(&["push", "-q", "-u", "origin", "lower"]);
    world.git_in(&world.up(), &["symbolic-ref", "HEAD", "refs/heads/lower"]);
    let theirs = world.commit_upstream("theirs", "theirs.txt", "theirs\n");
    world.git_in(&world.up(), &["update-ref", "refs/heads/lower", &theirs]);
    world.commit_in("lower", "lower.txt", "lower\n");
    world.treehand(&["new", "upper", "--base", "lower", "--stale", "update"]).expect(0);
    world.commit_in("upper", "upper.txt", "upper\n");
    let told = world.fresh("upper");
    assert_eq!((&told["base"]["ref"], &told["base"]["behind"]), (&"lower".into(), &0.into()));
    assert!(!told["reason"].as_str().unwrap_or_default().contains("made again"), "{told}");
}

#[test]
fn a_squash_at_the_remote_is_seen_while_the_branch_here_is_behind() {
    let world = World::with_remote();
    stacked(&world);
    world.git(&["push", "-q", "origin", "lower"]);
    let squash = world.commit_upstream("lower, squashed", "lower.txt", "lower\n");
    world.git(&["push", "-q", "origin", ":lower"]);
    let told = world.treehand(&["--json", "fresh", "upper", "--check"]).expect(6).json();
    assert_eq!(told["workspaces"][0]["reason"], "its base `lower` has landed on `main`, where it stands now");
    world.treehand(&["fresh", "upper", "--update", "rebase"]).expect(0);
    assert_eq!(world.git(&["log", "-2", "--format=%s", "upper"]), "upper changes upper.txt\nlower, squashed");
    assert_eq!(world.git(&["rev-parse", "upper~1"]), squash);
}

#[test]
fn a_branch_made_again_on_what_stood_on_it_is_its_base_no_more() {
    let world = World::with_remote();
    stacked(&world);
    world.treehand(&["rm", "-D", "lower"]).expect(0);
    let made = world.treehand(&["--json", "new", "lower", "--base", "upper"]).expect(0).json();
    assert_eq!((&made["base"]["ref"], &made["base"]["stack"]), (&"upper".into(), &serde_json::json!(["main"])));
    assert_eq!(world.fresh("lower")["base"]["ref"], "upper");
    let upper = world.fresh("upper");
    assert_eq!((&upper["base"]["ref"], &upper["base"]["behind"]), (&"main".into(), &0.into()));
    let reason = upper["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("its base `lower` was made again on top of it"), "{reason}");
    world.treehand(&["fresh", "--update", "rebase"]).expect(0);
    assert_eq!(upper_of(&world), "upper changes upper.txt\nlower changes lower.txt");
    assert_eq!(world.fresh("upper")["reason"], serde_json::Value::Null);
}
