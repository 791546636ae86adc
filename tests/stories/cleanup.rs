//! Stories of removal, undo and cleanup: what goes comes back, and what is not provably landed or empty stays.

use crate::support;

use std::path::PathBuf;

use support::World;

fn workspace(world: &World, name: &str) -> PathBuf {
    let made = world.treehand(&["new", name, "--json"]).expect(0).json();
    PathBuf::from(made["path"].as_str().expect("a path"))
}

#[test]
fn a_dirty_workspace_is_refused_then_saved_removed_and_brought_back_exactly() {
    let world = World::new();
    let path = workspace(&world, "w");
    std::fs::write(path.join("staged"), "s\n").expect("written");
    world.git_in(&path, &["add", "staged"]);
    std::fs::write(path.join("staged"), "s2\n").expect("written");
    std::fs::write(path.join("untracked"), "u\n").expect("written");
    std::fs::write(path.join("a.txt"), "changed\n").expect("written");
    let before = world.git_in(&path, &["status", "--porcelain"]);
    world.treehand(&["rm", "w"]).expect(4);
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), before);
    let removed = world.treehand(&["rm", "w", "-f", "--json"]).expect(0).json();
    assert!(!path.exists());
    let saved = removed["removed"][0]["salvage"].as_array().expect("salvage").clone();
    assert!(!saved.is_empty(), "{removed}");
    for name in &saved {
        world.git(&["rev-parse", "--verify", "-q", name.as_str().expect("a ref")]);
    }
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git_in(&path, &["status", "--porcelain"]), before, "index, worktree and untracked files are back");
    assert_eq!(std::fs::read_to_string(path.join("untracked")).expect("back"), "u\n");
    world.treehand(&["path", "w"]).expect(0);
    world.git(&["fsck", "--full"]);
}

#[test]
fn an_unmerged_branch_is_kept_with_the_reason_and_a_merged_one_goes() {
    let world = World::new();
    let path = workspace(&world, "w");
    std::fs::write(path.join("new"), "n\n").expect("written");
    world.git_in(&path, &["add", "-A"]);
    world.git_in(&path, &["commit", "-q", "-m", "work"]);
    let removed = world.treehand(&["rm", "w", "--json"]).expect(0).json();
    assert_eq!(removed["removed"][0]["branch_outcome"], "kept", "{removed}");
    let tip = world.git(&["rev-parse", "w"]);
    world.treehand(&["undo"]).expect(0);
    world.treehand(&["rm", "w", "-D"]).expect(0);
    assert_ne!(world.try_git_in(&world.repo(), &["rev-parse", "--verify", "-q", "refs/heads/w"]).code, 0);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "w"]), tip, "the deleted branch is back where it was");
    world.git(&["merge", "-q", "--squash", "w"]);
    world.git(&["commit", "-q", "-m", "squashed"]);
    let removed = world.treehand(&["rm", "w", "--json"]).expect(0).json();
    assert_eq!(removed["removed"][0]["branch_outcome"], "deleted", "a squash merge counts: {removed}");
}

#[test]
fn a_squash_that_was_edited_since_counts_and_one_that_was_reverted_does_not() {
    let world = World::new();
    for name in ["edited", "reverted"] {
        let path = workspace(&world, name);
        std::fs::write(path.join(name), "n\n").expect("written");
        world.git_in(&path, &["add", "-A"]);
        world.git_in(&path, &["commit", "-q", "-m", name]);
        world.git(&["merge", "-q", "--squash", name]);
        world.git(&["commit", "-q", "-m", "squashed"]);
    }
    world.git(&["revert", "--no-edit", "HEAD"]);
    let by = world.git(&["rev-parse", "--short=12", "HEAD"]);
    world.commit("on", &[("edited", "again\n")]);
    let plan = world.treehand(&["clean", "--json", "--min-age", "0s"]).expect(0).json();
    assert_eq!(plan["actions"][0]["item"], "edited", "{plan}");
    assert_eq!(plan["actions"][0]["proof"], "clean, per-commit-patch-id of `main`");
    let reason = format!("`reverted`: its work was in `main` and was reverted by {by}");
    assert_eq!(plan["kept"][0]["reason"], reason.as_str(), "{plan}");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    assert_eq!(world.git(&["branch", "--format=%(refname:short)"]), "main\nreverted");
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["branch", "--format=%(refname:short)"]), "edited\nmain\nreverted");
}

#[test]
fn a_landing_is_taken_back_with_its_files_unless_others_built_on_it() {
    let world = World::new();
    let before = world.git(&["rev-parse", "main"]);
    let tasks = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo x > x; echo y >> a.txt\"]\n";
    world.run_tasks(tasks, &[]).expect(0);
    assert!(world.repo().join("x").exists());
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "main"]), before);
    assert!(!world.repo().join("x").exists());
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.treehand(&["undo"]).expect(3);
    world.run_tasks(tasks, &[]).expect(0);
    world.commit("built on it", &[("z", "z\n")]);
    let refused = world.treehand(&["undo", "--json"]).expect(4).json();
    assert!(refused["message"].as_str().is_some_and(|text| text.contains("built on it")), "{refused}");
    let log = world.treehand(&["log", "--json"]).expect(0).json();
    assert_eq!(log["operations"].as_array().map(Vec::len), Some(2));
    assert_eq!(log["operations"][1]["undone"], true);
}

#[test]
fn clean_plans_first_and_takes_only_what_is_proved() {
    let world = World::new();
    let landed = workspace(&world, "landed");
    std::fs::write(landed.join("l"), "l\n").expect("written");
    world.git_in(&landed, &["add", "-A"]);
    world.git_in(&landed, &["commit", "-q", "-m", "landed work"]);
    world.git(&["merge", "-q", "landed"]);
    let dirty = workspace(&world, "dirty");
    std::fs::write(dirty.join("d"), "d\n").expect("written");
    let open = workspace(&world, "open");
    std::fs::write(open.join("o"), "o\n").expect("written");
    world.git_in(&open, &["add", "-A"]);
    world.git_in(&open, &["commit", "-q", "-m", "open work"]);
    let young = world.treehand(&["clean", "--json"]).expect(0).json();
    assert_eq!(young["actions"], serde_json::json!([]), "nothing is old enough: {young}");
    let planned = world.treehand(&["clean", "--json", "--min-age", "0s"]).expect(0).json();
    assert!(landed.exists() && planned["applied"] == false);
    let items: Vec<&str> =
        planned["actions"].as_array().expect("actions").iter().filter_map(|a| a["item"].as_str()).collect();
    assert!(items.iter().any(|item| item.contains("landed")), "{planned}");
    assert!(!items.iter().any(|item| item.contains("dirty") || item.contains("open")), "{planned}");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    assert!(!landed.exists() && dirty.join("d").exists() && open.join("o").exists());
    world.treehand(&["undo"]).expect(0);
    assert!(landed.join("l").exists(), "what clean took comes back");
    assert_eq!(world.git_in(&landed, &["status", "--porcelain"]), "");
}

#[test]
fn clean_reclaims_what_a_rejected_task_left_but_keeps_its_work() {
    let world = World::new();
    let tasks = "[[task]]\nid = \"t\"\npaths = [\"src/**\"]\ncommand = [\"sh\", \"-c\", \"echo x > outside\"]\n";
    world.run_tasks(tasks, &[]).expect(4);
    assert!(world.trees().exists());
    let report = world.treehand(&["clean", "--yes", "--json", "--min-age", "0s"]).expect(0).json();
    assert!(!world.trees().exists(), "{report}");
    let branch = world.git(&["for-each-ref", "--format=%(refname)", "refs/heads/treehand"]);
    assert_eq!(world.show(&branch, "outside"), "x\n", "the work of the rejected task is on its branch");
    let again = world.treehand(&["clean", "--json", "--min-age", "0s"]).expect(0).json();
    assert_eq!(again["actions"], serde_json::json!([]), "a second plan is empty: {again}");
}

#[test]
fn a_landing_killed_between_branch_and_files_is_completed_and_can_be_undone() {
    let world = World::new();
    world.die_at_the_first_file(&world.repo());
    world.write("own.txt", "mine\n");
    let before = world.git(&["rev-parse", "main"]);
    let change = ["sh", "-c", "echo new > a.txt; echo b > b.txt; rm src/lib.txt"];
    let mut args = vec!["run", "--detach", "--confine", "off", "--"];
    args.extend(change);
    world.treehand(&args).expect(0);
    world.wait_unsupervised(&world.only_run());
    assert_ne!(world.git(&["rev-parse", "main"]), before, "the branch had moved");
    assert_ne!(world.git(&["status", "--porcelain"]), "?? own.txt", "the files had not");
    let doctor = world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).expect(1).json();
    let check = doctor["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "interrupted");
    assert!(check.expect("it is looked at")["remedy"].as_str().expect("a remedy").contains("doctor --repair"));
    let repaired = world.treehand(&["doctor", "--repair", "--json", "--set", "confine.level=off"]).expect(0).json();
    assert!(repaired["repaired"][0].as_str().expect("said").contains("completed"), "{repaired}");
    assert_eq!(world.git(&["status", "--porcelain"]), "?? own.txt");
    assert_eq!(world.show("main", "a.txt"), "new\n");
    let runs = world.treehand(&["ps", "--json"]).expect(0).json();
    let id = runs["runs"][0]["run"].as_str().expect("a run").to_owned();
    let run = world.treehand(&["show", &id, "--json"]).expect(0).json();
    assert_eq!(support::state(&run, run["tasks"][0]["id"].as_str().expect("an id")), "landed");
    world.treehand(&["cancel", &id]).expect(0);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "main"]), before);
    assert_eq!(world.git(&["status", "--porcelain"]), "?? own.txt");
    world.treehand(&["clean", "--yes", "--min-age", "0s"]).expect(0);
    world.git(&["fsck", "--full", "--strict"]);
}

#[test]
fn an_undo_killed_between_branch_and_files_is_completed_by_the_next() {
    let world = World::new();
    let land = |text: &str| {
        let script = format!("echo {text} > a.txt; echo b > b.txt");
        world.treehand(&["run", "--confine", "off", "--", "sh", "-c", &script]).expect(0);
        world.git(&["rev-parse", "main"])
    };
    world.die_at_the_first_file(&world.repo());
    std::fs::write(world.path().join("died"), "").expect("the trap is off");
    let (first, second) = (land("first"), land("second"));
    std::fs::remove_file(world.path().join("died")).expect("the trap is on");
    assert_ne!(world.treehand(&["undo"]).code, 0, "it was killed");
    assert_eq!(world.git(&["rev-parse", "main"]), first, "the branch had moved back from {second}");
    assert_ne!(world.git(&["status", "--porcelain"]), "", "the files had not");
    let undone = world.treehand(&["undo", "--json"]).expect(0).json();
    assert_eq!(undone["kind"], "land");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    assert_eq!(world.git(&["rev-parse", "main"]), first, "one undo was asked for, and one was done");
}

#[test]
fn a_redo_killed_between_branch_and_files_is_completed_by_the_next() {
    let world = World::new();
    world.die_at_the_first_file(&world.repo());
    std::fs::write(world.path().join("died"), "").expect("the trap is off");
    world.treehand(&["run", "--confine", "off", "--", "sh", "-c", "echo new > a.txt; echo b > b.txt"]).expect(0);
    let landed = world.git(&["rev-parse", "main"]);
    world.treehand(&["undo"]).expect(0);
    std::fs::remove_file(world.path().join("died")).expect("the trap is on");
    assert_ne!(world.treehand(&["redo"]).code, 0, "it was killed");
    assert_eq!(world.git(&["rev-parse", "main"]), landed, "the branch had moved");
    assert_ne!(world.git(&["status", "--porcelain"]), "", "the files had not");
    let redone = world.treehand(&["redo", "--json"]).expect(0).json();
    assert_eq!(redone["kind"], "land");
    assert_eq!(world.git(&["status", "--porcelain"]), "");
    world.treehand(&["redo"]).expect(3);
    world.treehand(&["undo"]).expect(0);
    assert_eq!(world.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_damaged_store_is_set_aside_with_what_can_be_read_carried_over() {
    let world = World::new();
    world.treehand(&["new", "x"]).expect(0);
    let path = world.repo().join(".git/treehand/state.db");
    std::fs::write(&path, vec![b'x'; 9000]).expect("damaged");
    for wal in ["-wal", "-shm"] {
        let _absent = std::fs::remove_file(format!("{}{wal}", path.display()));
    }
    let error = world.treehand(&["ls", "--json"]).expect(1).json();
    assert_eq!(error["kind"], "store_corrupt");
    assert!(error["hint"].as_str().expect("a hint").contains("doctor --repair"));
    world.treehand(&["doctor", "--set", "confine.level=off"]).expect(1);
    world.treehand(&["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    world.treehand(&["ls"]).expect(0);
    let kept = std::fs::read_dir(world.repo().join(".git/treehand")).expect("there").filter_map(Result::ok);
    assert!(kept.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("state.db.damaged-")));
}

#[test]
fn a_workspace_whose_maker_was_killed_leaves_nothing_behind_after_clean() {
    let world = World::new();
    world.die_at_the_first_file(&world.trees().join("x/repo"));
    assert_ne!(world.treehand(&["new", "x"]).code, 0, "it was killed");
    world.git(&["config", "--unset", "filter.trap.smudge"]);
    let done = world.treehand(&["clean", "--yes", "--json"]).expect(0).json();
    assert_eq!(done["actions"][0]["outcome"], "done", "{done}");
    assert_eq!(done["actions"][0]["repo"], world.repo().to_string_lossy().as_ref());
    assert_eq!(world.git(&["branch", "--list", "x"]), "");
    world.assert_nothing_left();
    let doctor = world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).expect(0).json();
    let check = doctor["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "interrupted");
    assert_eq!(check.expect("it is looked at")["detail"], "nothing");
}

#[test]
fn commits_of_a_sealed_workspace_whose_directory_is_gone_are_not_lost() {
    let world = World::new();
    world.treehand(&["new", "s", "--sealed"]).expect(0);
    let work = "echo c > c; git add c; git commit -q -m sealed-work";
    world.treehand(&["exec", "--confine", "off", "s", "--", "sh", "-c", work]).expect(0);
    world.shell("rm -r ../repo.trees/s").expect(0);
    world.treehand(&["diff", "s"]).expect(3);
    let removed = world.treehand(&["rm", "s", "--json"]).expect(0).json();
    assert_eq!(removed["removed"][0]["branch_outcome"], "kept", "{removed}");
    assert_eq!(world.show("s", "c"), "c\n");
}

#[test]
fn what_cannot_be_saved_stays_and_does_not_fail_the_others() {
    let world = World::new();
    let nested =
        "git init -q nested; cd nested; echo x > x; git add x; git -c user.name=x -c user.email=y commit -q -m x";
    world.treehand(&["run", "--confine", "off", "--name", "nested", "--", "sh", "-c", nested]).expect(4);
    world.treehand(&["run", "--confine", "off", "--name", "fails", "--", "sh", "-c", "echo y > y; exit 1"]).expect(1);
    let report = world.treehand(&["clean", "--yes", "--json", "--min-age", "0s"]).expect(0).json();
    let action = |end: &str| {
        let all = report["actions"].as_array().expect("actions");
        let found = all.iter().find(|action| action["item"].as_str().is_some_and(|item| item.ends_with(end)));
        found.unwrap_or_else(|| panic!("no {end} in {report}")).clone()
    };
    assert_eq!(action("/nested")["outcome"], "skipped");
    assert_eq!(action("/fails")["outcome"], "done");
    let saved = action("/fails")["salvage"][0].as_str().expect("a salvage ref").to_owned();
    assert_eq!(world.show(&saved, "y"), "y\n");
}
