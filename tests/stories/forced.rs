//! Stories of bases that were forced elsewhere: what they gave up does not come back with an update or a new workspace.

use crate::support;

use support::World;

/// A workspace with a commit of its own on a `main` that a colleague's commit, pulled here, is on.
fn on_a_secret(world: &World) -> String {
    let before = world.git(&["rev-parse", "main"]);
    world.commit_upstream("secret", "secret.txt", "secret\n");
    world.git(&["pull", "-q"]);
    world.treehand(&["new", "w"]).expect(0);
    world.commit_in("w", "own.txt", "own\n");
    before
}

#[test]
fn what_was_forced_away_at_the_remote_and_is_still_here_does_not_come_back() {
    let world = World::with_remote();
    let before = on_a_secret(&world);
    let forced = world.force_upstream(&before, "instead", &[("instead.txt", "instead\n")]);
    let told = world.fresh("w");
    let reason = told["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("`main` here still has what was forced away from `origin`: "), "{reason}");
    assert!(reason.ends_with(" secret"), "{reason}");
    let updated = world.treehand(&["fresh", "w", "--update", "rebase"]).expect(0);
    assert!(updated.stderr.contains("left out what `main` does not have any more: "), "{}", updated.stderr);
    assert_eq!(world.git(&["log", "--format=%s", "w"]), "w changes own.txt\ninstead\nfirst");
    let made = world.treehand(&["--json", "new", "n", "--stale", "block"]).expect(0);
    assert!(made.stderr.contains("forced away"), "{}", made.stderr);
    assert_eq!(made.json()["base"]["commit"], forced);
    // With a commit of one's own on top of it the branch has diverged, and nothing of it is dropped.
    world.commit("mine", &[("mine.txt", "mine\n")]);
    let mixed = world.treehand(&["--json", "new", "d"]).expect(0);
    assert_eq!(mixed.json()["base"]["freshness"], "diverged");
    assert!(mixed.stderr.contains("1 of 2 commits that are not there"), "{}", mixed.stderr);
    world.git(&["rebase", "-q", "--fork-point", "origin/main"]);
    assert_eq!(world.git(&["log", "--format=%s", "main"]), "mine\ninstead\nfirst");
}

#[test]
fn a_remote_that_went_back_takes_what_it_had_out_of_a_workspace() {
    for by in ["rebase", "merge"] {
        let world = World::with_remote();
        let before = on_a_secret(&world);
        world.force_upstream(&before, "back", &[]);
        let told = world.treehand(&["--json", "fresh", "w", "--check"]).expect(6).json();
        assert_eq!(told["workspaces"][0]["base"]["freshness"], "diverged");
        let updated = world.treehand(&["fresh", "w", "--update", by]).expect(0);
        assert!(updated.stderr.contains("left out what `main` does not have any more: "), "{}", updated.stderr);
        assert!(world.tree("w").join("own.txt").exists() && !world.tree("w").join("secret.txt").exists(), "{by}");
        world.treehand(&["fresh", "w", "--check"]).expect(0);
        world.treehand(&["undo"]).expect(0);
        assert!(world.tree("w").join("secret.txt").exists(), "{by}");
    }
}

#[test]
fn without_a_log_of_the_remotes_branch_what_is_on_record_tells_that_it_was_forced() {
    let world = World::with_remote();
    let before = on_a_secret(&world);
    std::fs::remove_file(world.repo().join(".git/logs/refs/remotes/origin/main")).expect("a log");
    world.git(&["config", "core.logAllRefUpdates", "false"]);
    world.force_upstream(&before, "instead", &[("instead.txt", "instead\n")]);
    world.treehand(&["fresh", "w", "--update", "rebase"]).expect(0);
    assert_eq!(world.git(&["log", "--format=%s", "w"]), "w changes own.txt\ninstead\nfirst");
}

#[test]
fn what_had_landed_and_was_forced_away_stays_the_workspaces_own() {
    let world = World::with_remote();
    let before = world.git(&["rev-parse", "main"]);
    world.treehand(&["new", "w"]).expect(0);
    world.commit_in("w", "own.txt", "own\n");
    world.git(&["merge", "-q", "--ff-only", "w"]);
    world.git(&["push", "-q", "origin", "main"]);
    world.force_upstream(&before, "instead", &[("instead.txt", "instead\n")]);
    world.treehand(&["fresh", "w", "--update", "rebase"]).expect(0);
    assert_eq!(world.git(&["log", "--format=%s", "w"]), "w changes own.txt\ninstead\nfirst");
}
