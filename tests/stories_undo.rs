//! Stories of taking back and doing again: undo, redo, and reverting what others built upon.

mod support;

use support::World;

fn task(id: &str, script: &str) -> String {
    format!("[[task]]\nid = \"{id}\"\ncommand = [\"sh\", \"-c\", \"{script}\"]\n")
}

fn tip(world: &World) -> String {
    world.git(&["rev-parse", "main"])
}

#[test]
fn undo_and_redo_walk_back_and_forth_as_in_an_editor() {
    let world = World::new();
    world.write("own.txt", "mine\n");
    let mut tips = vec![tip(&world)];
    for n in ["one", "two"] {
        world.run_tasks(&task(n, &format!("echo {n} > {n}.txt")), &[]).expect(0);
        tips.push(tip(&world));
    }
    assert_eq!(world.treehand(&["redo"]).expect(3).stdout, "");
    for back in [1, 0] {
        world.treehand(&["undo"]).expect(0);
        assert_eq!(tip(&world), tips[back]);
    }
    for forth in [1, 2] {
        let told = world.treehand(&["--json", "redo"]).expect(0).json();
        assert_eq!((&told["op"], tip(&world)), (&forth.into(), tips[forth].clone()));
        assert_eq!(world.git(&["status", "--porcelain"]), "?? own.txt");
    }
    world.treehand(&["redo"]).expect(3);
    // Something new was done since the undo: the way forth is closed, and said to be.
    world.treehand(&["undo"]).expect(0);
    world.run_tasks(&task("three", "echo three > three.txt"), &[]).expect(0);
    let refused = world.treehand(&["redo"]).expect(4).stderr;
    assert!(refused.contains("operation 3 came after the undo"), "{refused}");
    // A branch that a person moved since is not where the undo left it.
    world.treehand(&["undo"]).expect(0);
    world.commit("by hand", &[("hand.txt", "hand\n")]);
    assert!(world.treehand(&["redo"]).expect(4).stderr.contains("no longer at"));
    assert_eq!(world.git(&["log", "-1", "--format=%s"]), "by hand");
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
fn what_others_built_upon_is_reverted_by_a_commit_whatever_the_strategy() {
    for strategy in ["squash", "merge", "rebase"] {
        let world = World::new();
        let script = "echo one > t.txt; git add t.txt; git commit -qm first; echo two >> t.txt";
        world.run_tasks(&task("t", script), &["--strategy", strategy]).expect(0);
        world.commit("built upon it", &[("other.txt", "other\n")]);
        world.write("a.txt", "mine\n");
        let refused = world.treehand(&["undo"]).expect(4).stderr;
        assert!(refused.contains("treehand undo --revert"), "{strategy}: {refused}");
        let built = tip(&world);
        world.treehand(&["undo", "--revert"]).expect(0);
        assert_eq!(world.git(&["rev-parse", "main~1"]), built);
        assert_eq!(world.git(&["ls-tree", "--name-only", "main"]), "a.txt\nother.txt\nsrc", "{strategy}");
        assert_eq!(world.git(&["status", "--porcelain"]), " M a.txt", "{strategy}");
        let message = world.git(&["log", "-1", "--format=%B", "main"]);
        assert!(message.starts_with("Revert \"") && message.contains("\nTreehand-Reverts: "), "{message}");
        world.treehand(&["undo"]).expect(0);
        assert_eq!(tip(&world), built, "{strategy}: the revert was not taken back");
    }
}

#[test]
fn a_revert_that_conflicts_or_has_nothing_to_do_changes_nothing() {
    let world = World::new();
    world.run_tasks(&task("t", "echo one > t.txt"), &[]).expect(0);
    world.commit("changed the same", &[("t.txt", "other\n")]);
    let built = tip(&world);
    let conflict = world.treehand(&["--json", "undo", "--revert"]).expect(5).json();
    assert!(conflict["message"].as_str().is_some_and(|message| message.contains("t.txt")), "{conflict}");
    world.git(&["rm", "-q", "t.txt"]);
    world.git(&["commit", "-q", "-m", "gone"]);
    assert!(world.treehand(&["undo", "--revert"]).expect(4).stderr.contains("nothing of operation 1 is left"));
    assert_eq!(world.git(&["rev-parse", "main~1"]), built);
    world.git(&["fsck", "--full", "--strict"]);
}
