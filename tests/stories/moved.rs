//! Stories of repositories that were moved or copied after workspaces were made.

use crate::support;

use std::path::Path;

use support::World;

/// A world with a plain workspace that has an untracked file, a sealed one with a commit, a removed one, a failed task.
fn world() -> World {
    let world = World::new();
    for name in ["plain", "gone"] {
        world.treehand(&["new", name]).expect(0);
    }
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    std::fs::write(world.trees().join("plain/repo/untracked"), "mine\n").expect("written");
    std::fs::write(world.trees().join("gone/repo/kept"), "kept\n").expect("written");
    let make = ["exec", "shut", "--confine", "off", "--", "sh", "-c", "echo s > s; git add s; git commit -qm sealed"];
    world.treehand(&make).expect(0);
    let task = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt; exit 1\"]\n";
    world.run_tasks(task, &[]).expect(1);
    world.treehand(&["rm", "-f", "gone"]).expect(0);
    world
}

fn at(world: &World, repo: &Path, args: &[&str]) -> support::Answer {
    let place = repo.to_string_lossy().into_owned();
    world.treehand_at(world.path(), &[&["-C", &place], args].concat())
}

fn works_as_before(world: &World, repo: &Path) {
    assert!(at(world, repo, &["ls"]).expect(0).stderr.contains("treehand doctor --repair"));
    let doctor = at(world, repo, &["--json", "doctor"]);
    assert!(doctor.stdout.contains("the repository was moved from"), "{}", doctor.stdout);
    let repaired = at(world, repo, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0).stdout;
    assert!(!repaired.contains("not repaired"), "{repaired}");
    let listed = at(world, repo, &["--json", "ls"]).expect(0);
    assert!(!listed.stderr.contains("moved"), "{}", listed.stderr);
    for workspace in listed.json()["workspaces"].as_array().expect("a list") {
        assert_eq!((&workspace["present"], &workspace["error"]), (&true.into(), &().into()), "{workspace}");
    }
    let plain = at(world, repo, &["path", "plain"]).expect(0).stdout;
    assert_eq!(world.git_in(Path::new(plain.trim()), &["status", "--porcelain"]), "?? untracked");
    assert_eq!(world.treehand_at(Path::new(plain.trim()), &["path", "@"]).expect(0).stdout, plain);
    assert!(at(world, repo, &["diff", "shut"]).expect(0).stdout.contains("+s"));
    assert_eq!(world.git_in(repo, &["log", "-1", "--format=%s", "shut"]), "sealed");
    let run = at(world, repo, &["--json", "ps"]).expect(0).json()["runs"][0]["run"].as_str().expect("a run").to_owned();
    assert!(at(world, repo, &["diff", &format!("{run}/t")]).expect(0).stdout.contains("t.txt"));
    at(world, repo, &["undo"]).expect(0);
    let gone = at(world, repo, &["path", "gone"]).expect(0).stdout;
    assert_eq!(std::fs::read_to_string(Path::new(gone.trim()).join("kept")).expect("back"), "kept\n");
    assert_eq!(world.git_in(Path::new(gone.trim()), &["status", "--porcelain"]), "?? kept");
    at(world, repo, &["rm", "-f", "-D", "plain", "shut", "gone"]).expect(0);
    world.git_in(repo, &["fsck", "--full", "--strict"]);
    assert_eq!(at(world, repo, &["doctor", "--set", "confine.level=off"]).expect(0).stderr, "");
}

#[test]
fn a_repository_that_moved_alone_is_mended() {
    let world = world();
    let now = world.path().join("elsewhere/renamed");
    std::fs::create_dir(now.parent().expect("a parent")).expect("made");
    std::fs::rename(world.repo(), &now).expect("moved");
    works_as_before(&world, &now);
}

#[test]
fn a_repository_that_moved_with_its_workspaces_is_mended() {
    let world = world();
    let place = world.path().join("elsewhere");
    std::fs::create_dir(&place).expect("made");
    for name in ["repo", "repo.trees"] {
        std::fs::rename(world.path().join(name), place.join(name)).expect("moved");
    }
    works_as_before(&world, &place.join("repo"));
}

#[test]
fn a_copy_leaves_the_originals_workspaces_alone() {
    let world = world();
    let copy = world.path().join("copy");
    world.shell(&format!("cp -a . {}", copy.display())).expect(0);
    let doctor = at(&world, &copy, &["--json", "doctor"]);
    assert!(doctor.stdout.contains("this is a copy of"), "{}", doctor.stdout);
    at(&world, &copy, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    assert!(
        at(&world, &copy, &["--json", "ls"]).expect(0).json()["workspaces"].as_array().is_some_and(Vec::is_empty)
            || at(&world, &copy, &["--json", "ls"]).expect(0).json()["workspaces"][0]["task"]
                != serde_json::Value::Null
    );
    let ids = [world.repo(), copy].map(|repo| std::fs::read(repo.join(".git/treehand/id")).expect("an id"));
    assert_ne!(ids[0], ids[1]);
    assert_eq!(world.git_in(&world.trees().join("plain/repo"), &["status", "--porcelain"]), "?? untracked");
    assert!(world.treehand(&["diff", "shut"]).expect(0).stdout.contains("+s"));
}

#[test]
fn a_copy_is_brought_in_order_before_anything_is_made_in_it() {
    let world = world();
    let copy = world.path().join("copy");
    world.shell(&format!("cp -a . {}", copy.display())).expect(0);
    for args in [&["new", "y"][..], &["run", "--confine", "off", "--", "true"], &["rm", "-f", "plain"], &["undo"]] {
        let refused = at(&world, &copy, args).expect(4).stderr;
        assert!(refused.contains("this is a copy of") && refused.contains("treehand doctor --repair"), "{refused}");
    }
    at(&world, &copy, &["ls"]).expect(0);
    at(&world, &copy, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    let made = at(&world, &copy, &["new", "y", "--json"]).expect(0).json();
    assert_eq!(made["path"].as_str().map(Path::new), Some(&*world.path().join("copy.trees/y/copy")), "{made}");
    assert_eq!(at(&world, &copy, &["undo"]).expect(3).stdout, "", "what the original removed is in its trash");
    let listed = world.git_in(&copy, &["worktree", "list"]);
    assert!(!listed.contains("repo.trees"), "the original's worktrees are none of the copy's: {listed}");
    at(&world, &copy, &["rm", "y"]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert!(world.trees().join("gone/repo/kept").exists());
    assert_eq!(world.git_in(&world.trees().join("plain/repo"), &["status", "--porcelain"]), "?? untracked");
}

#[test]
fn a_run_of_the_original_is_over_in_a_copy_and_goes_on_there() {
    let world = World::new();
    let place = world.path().to_string_lossy().into_owned();
    world.shell(&format!("mkfifo '{place}/started' '{place}/go'")).expect(0);
    let command = format!("echo > '{place}/started'; cat '{place}/go' > new.txt");
    let run = world.treehand(&["run", "--detach", "--json", "--confine", "off", "--", "sh", "-c", &command]);
    let run = run.expect(0).json()["run"].as_str().expect("a name").to_owned();
    world.shell(&format!("cat '{place}/started'")).expect(0);
    let copy = world.path().join("copy");
    world.shell(&format!("cp -a . {}", copy.display())).expect(0);
    at(&world, &copy, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    let here = at(&world, &copy, &["--json", "show", &run]).json();
    assert_eq!((&here["state"], &here["tasks"][0]["state"]), (&"cancelled".into(), &"cancelled".into()), "{here}");
    at(&world, &copy, &["cancel", &run]);
    at(&world, &copy, &["clean", "--yes", "--min-age", "0s"]).expect(0);
    // It waits for this as before.
    world.shell(&format!("echo done > '{place}/go'")).expect(0);
    world.treehand(&["wait", &run]).expect(0);
    assert_eq!(world.show("main", "new.txt"), "done\n");
}

#[test]
fn workspaces_that_were_made_in_a_copy_were_forgotten_with_the_originals() {
    let world = world();
    let copy = world.path().join("copy");
    world.shell(&format!("cp -a . {}", copy.display())).expect(0);
    // As it was when such a copy was not refused: it does not know that it is one while they are made.
    let place = copy.join(".git/treehand/place");
    let before = std::fs::read(&place).expect("a place");
    std::fs::write(&place, copy.join(".git").to_string_lossy().as_bytes()).expect("written");
    at(&world, &copy, &["new", "y"]).expect(0);
    at(&world, &copy, &["new", "z", "--sealed"]).expect(0);
    let make = ["exec", "z", "--confine", "off", "--", "sh", "-c", "echo z > z; git add z; git commit -qm inside"];
    at(&world, &copy, &make).expect(0);
    let task = world.path().join("task.toml");
    std::fs::write(&task, "[[task]]\nid = \"u\"\ncommand = [\"sh\", \"-c\", \"echo u > u.txt; exit 1\"]\n")
        .expect("written");
    at(&world, &copy, &["run", "--confine", "off", "--tasks", &task.to_string_lossy()]).expect(1);
    std::fs::write(&place, before).expect("written");

    let repaired = at(&world, &copy, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0).stdout;
    for stays in ["y", "z"] {
        assert!(repaired.contains(&format!("workspace {stays} was made in this copy and stays")), "{repaired}");
    }
    let listed = at(&world, &copy, &["--json", "ls"]).expect(0).json();
    let listed = listed["workspaces"].as_array().expect("a list").clone();
    for workspace in &listed {
        assert_eq!((&workspace["present"], &workspace["error"]), (&true.into(), &().into()), "{workspace}");
    }
    assert_eq!(listed.len(), 3, "y, z and the task: {listed:?}");
    assert!(at(&world, &copy, &["diff", "z"]).expect(0).stdout.contains("+z"));
    assert_eq!(world.git_in(&copy, &["log", "-1", "--format=%s", "z"]), "inside");
    let task = listed.iter().find(|workspace| workspace["task"] != serde_json::Value::Null).expect("the task's");
    let task = task["name"].as_str().expect("a name");
    assert!(at(&world, &copy, &["diff", task]).expect(0).stdout.contains("u.txt"));
    at(&world, &copy, &["exec", "z", "--confine", "off", "--", "git", "commit", "-q", "--allow-empty", "-m", "more"])
        .expect(0);
    at(&world, &copy, &["rm", "-f", "-D", "y", "z"]).expect(0);
    at(&world, &copy, &["clean", "--yes", "--min-age", "0s"]).expect(0);
    world.git_in(&copy, &["fsck", "--full", "--strict"]);
    assert_eq!(world.git_in(&world.trees().join("plain/repo"), &["status", "--porcelain"]), "?? untracked");
    assert!(world.treehand(&["diff", "shut"]).expect(0).stdout.contains("+s"));
    let run = world.treehand(&["--json", "ps"]).expect(0).json()["runs"][0]["run"].as_str().expect("a run").to_owned();
    assert!(world.treehand(&["diff", &format!("{run}/t")]).expect(0).stdout.contains("t.txt"));
}

#[test]
fn a_repository_that_moved_and_has_a_stranger_in_its_place_is_no_copy() {
    let world = World::new();
    world.treehand(&["new", "w"]).expect(0);
    let (stranger, now) = (world.path().join("stranger"), world.path().join("now"));
    world.git_in(world.path(), &["clone", "-q", "repo", "stranger"]);
    at(&world, &stranger, &["new", "theirs"]).expect(0);
    std::fs::rename(world.repo(), &now).expect("moved");
    std::fs::rename(&stranger, world.repo()).expect("moved");
    let doctor = at(&world, &now, &["--json", "doctor"]).stdout;
    assert!(doctor.contains("the repository was moved from"), "{doctor}");
    at(&world, &now, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    let mine = at(&world, &now, &["path", "w"]).expect(0).stdout;
    assert_eq!(world.git_in(Path::new(mine.trim()), &["status", "--porcelain"]), "");
}

/// A world with a submodule, a plain workspace that has it, and three that were removed: plain with it, sealed, a task's.
fn removed() -> World {
    let world = World::new();
    let lib = world.path().join("lib");
    world.git_in(world.path(), &["init", "-q", "-b", "main", "lib"]);
    std::fs::write(lib.join("l"), "l\n").expect("written");
    world.git_in(&lib, &["add", "l"]);
    world.git_in(&lib, &["commit", "-q", "-m", "lib"]);
    let address = lib.to_string_lossy().into_owned();
    world.git(&["-c", "protocol.file.allow=always", "submodule", "add", "-q", &address, "deep/lib"]);
    world.git(&["commit", "-q", "-m", "with lib"]);
    for name in ["plain", "gone"] {
        world.treehand(&["new", name]).expect(0);
        std::fs::write(world.trees().join(name).join("repo/deep/lib/mine"), "mine\n").expect("written");
    }
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    let make = ["exec", "shut", "--confine", "off", "--", "sh", "-c", "echo s > s; git add s; git commit -qm sealed"];
    world.treehand(&make).expect(0);
    let shut = world.trees().join("shut/repo");
    std::fs::write(shut.join("untracked"), "u\n").expect("written");
    let task = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt; exit 1\"]\n";
    world.run_tasks(task, &[]).expect(1);
    world.treehand(&["rm", "-f", "gone"]).expect(0);
    world.treehand(&["rm", "-f", "shut"]).expect(0);
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    world
}

fn comes_back(world: &World, repo: &Path) {
    let repaired = at(world, repo, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0).stdout;
    assert!(!repaired.contains("not repaired"), "{repaired}");
    let has_lib = |name: &str| {
        let tree = at(world, repo, &["path", name]).expect(0).stdout;
        let tree = Path::new(tree.trim());
        assert_eq!(world.git_in(&tree.join("deep/lib"), &["status", "--porcelain"]), "?? mine", "{name}");
        assert_eq!(world.git_in(tree, &["submodule", "status"]).chars().next(), Some(' '), "{name}");
        assert_eq!(world.git_in(tree, &["status", "--porcelain"]), " M deep/lib", "{name}");
    };
    has_lib("plain");
    for _ in 0..3 {
        at(world, repo, &["undo"]).expect(0);
    }
    has_lib("gone");
    let shut = at(world, repo, &["path", "shut"]).expect(0).stdout;
    let shut = Path::new(shut.trim());
    assert_eq!(world.git_in(shut, &["status", "--porcelain"]), "?? untracked");
    assert_eq!(world.git_in(shut, &["log", "-1", "--format=%s"]), "sealed");
    assert_eq!(world.git_in(shut, &["fsck", "--strict"]), "");
    assert!(at(world, repo, &["diff", "shut"]).expect(0).stdout.contains("+s"));
    let run = at(world, repo, &["--json", "ps"]).expect(0).json()["runs"][0]["run"].as_str().expect("a run").to_owned();
    let task = at(world, repo, &["path", &format!("{run}/t")]).expect(0).stdout;
    assert_eq!(world.git_in(Path::new(task.trim()), &["status", "--porcelain"]), "?? t.txt");
    let listed = at(world, repo, &["--json", "ls"]).expect(0).json();
    for workspace in listed["workspaces"].as_array().expect("a list") {
        assert_eq!((&workspace["present"], &workspace["error"]), (&true.into(), &().into()), "{workspace}");
    }
    assert_eq!(
        world.git_in(repo, &["worktree", "list"]).lines().count(),
        5,
        "{}",
        world.git_in(repo, &["worktree", "list"])
    );
    at(world, repo, &["exec", "shut", "--confine", "off", "--", "sh", "-c", "git commit -q --allow-empty -m more"])
        .expect(0);
    at(world, repo, &["rm", "-f", "-D", "plain", "shut", "gone"]).expect(0);
    assert_eq!(at(world, repo, &["doctor", "--set", "confine.level=off"]).expect(0).stderr, "");
}

#[test]
fn a_sealed_workspace_that_was_removed_before_a_move_did_not_come_back() {
    let world = removed();
    let now = world.path().join("elsewhere/renamed");
    std::fs::create_dir(now.parent().expect("a parent")).expect("made");
    std::fs::rename(world.repo(), &now).expect("moved");
    comes_back(&world, &now);
}

#[test]
fn what_was_removed_before_a_move_with_its_workspaces_comes_back() {
    let world = removed();
    let place = world.path().join("elsewhere");
    std::fs::create_dir(&place).expect("made");
    for name in ["repo", "repo.trees"] {
        if world.path().join(name).exists() {
            std::fs::rename(world.path().join(name), place.join(name)).expect("moved");
        }
    }
    comes_back(&world, &place.join("repo"));
}
