//! Stories of what was saved before removals: looked at, brought back, dropped.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::World;

fn saved(world: &World) -> Vec<serde_json::Value> {
    let document = world.treehand(&["--json", "salvage", "ls"]).expect(0).json();
    assert_eq!(document["schema"], "treehand/salvage/v1");
    document["salvage"].as_array().expect("a list").clone()
}

fn name(salvaged: &serde_json::Value) -> String {
    salvaged["name"].as_str().expect("a name").to_owned()
}

/// A workspace with a commit, staged, changed, untracked, executable and linked files, removed by force.
fn removed() -> World {
    let world = World::new();
    world.treehand(&["new", "feature/x"]).expect(0);
    let tree = world.trees().join("feature~x/repo");
    let write = |file: &str, text: &str| std::fs::write(tree.join(file), text).expect("written");
    write("committed", "committed\n");
    world.git_in(&tree, &["add", "committed"]);
    world.git_in(&tree, &["commit", "-q", "-m", "my commit"]);
    write("staged", "staged\n");
    world.git_in(&tree, &["add", "staged"]);
    write("a.txt", "changed\n");
    write("run.sh", "#!/bin/sh\n");
    std::fs::set_permissions(tree.join("run.sh"), std::fs::Permissions::from_mode(0o755)).expect("set");
    std::os::unix::fs::symlink("a.txt", tree.join("link")).expect("linked");
    world.treehand(&["rm", "-f", "-D", "feature/x"]).expect(0);
    world
}

#[test]
fn what_was_saved_is_listed_shown_and_brought_back_whole() {
    let world = removed();
    let [only] = &saved(&world)[..] else { panic!("one piece") };
    assert_eq!(only["from"], "feature/x");
    assert!(only["expires_at"].as_str() > only["at"].as_str());
    let parts: Vec<_> = only["parts"].as_array().expect("parts").iter().map(|part| part["part"].clone()).collect();
    assert_eq!(parts, ["head", "index", "worktree"]);
    let shown = world.treehand(&["--json", "salvage", "show", "feature"]).expect(0).json()["salvage"][0].clone();
    assert_eq!(shown["commits"][0]["subject"], "my commit");
    let files: Vec<_> = shown["files"].as_array().expect("files").iter().map(|file| file["path"].clone()).collect();
    assert_eq!(files, ["a.txt", "committed", "link", "run.sh", "staged"]);
    assert!(world.treehand(&["salvage", "show", &name(only)]).expect(0).stdout.contains("+changed"));

    world.treehand(&["salvage", "restore", "feature"]).expect(0);
    let listed = world.git(&["ls-tree", "-r", "salvaged/feature/x"]);
    for line in ["100755 blob", "120000 blob", "\tstaged", "\tcommitted"] {
        assert!(listed.contains(line), "{line} is missing: {listed}");
    }
    assert_eq!(world.show("salvaged/feature/x", "a.txt"), "changed\n");
    let tip = world.git(&["rev-parse", "salvaged/feature/x"]);
    let refused = world.treehand(&["salvage", "restore", "feature"]).expect(4).stderr;
    assert!(refused.contains("--branch"), "{refused}");
    assert_eq!(world.git(&["rev-parse", "salvaged/feature/x"]), tip);
    world.treehand(&["salvage", "restore", "feature", "--branch", "other"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "other"]), tip);
}

#[test]
fn dropping_asks_for_a_word_and_loses_nothing_before() {
    let world = removed();
    let piece = name(&saved(&world)[0]);
    assert!(world.treehand(&["salvage", "drop", &piece]).expect(4).stderr.contains("--yes"));
    assert_eq!(world.treehand(&["--json", "salvage", "drop", &piece, "nothing", "--yes"]).expect(3).json()["code"], 3);
    assert_eq!(saved(&world).len(), 1, "all names are looked up before anything goes");
    world.treehand(&["salvage", "drop", &piece, "--yes"]).expect(0);
    assert!(saved(&world).is_empty());
    assert_eq!(world.git(&["for-each-ref", "refs/treehand/salvage"]), "");
    // The removal itself still comes back whole.
    world.treehand(&["undo"]).expect(0);
    let tree = world.trees().join("feature~x/repo");
    assert_eq!(world.git_in(&tree, &["status", "--porcelain"]), " M a.txt\nA  staged\n?? link\n?? run.sh");
}

#[test]
fn work_of_sealed_workspaces_and_failed_tasks_is_listed_and_expires() {
    let world = World::new();
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    world.treehand(&["exec", "shut", "--confine", "off", "--", "sh", "-c", "echo s > s"]).expect(0);
    world.treehand(&["rm", "-f", "-D", "shut"]).expect(0);
    world.run_tasks("[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt; exit 1\"]\n", &[]).expect(1);
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    let all = saved(&world);
    assert_eq!(all.len(), 2, "{all:?}");
    let task =
        all.iter().find(|piece| piece["from"].as_str().is_some_and(|from| from.ends_with("/t"))).expect("a task's");
    let shown = world.treehand(&["--json", "salvage", "show", &name(task)]).expect(0).json();
    assert_eq!(shown["salvage"][0]["files"][0]["path"], "t.txt");
    world.treehand(&["clean", "--yes", "--set", "clean.retention=0s"]).expect(0);
    assert!(saved(&world).is_empty());
}
