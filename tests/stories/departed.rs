//! Stories of what a deleted repository left: when it is put away, when it is deleted, and how it all comes back to one that was
//! moved.
#![expect(clippy::disallowed_methods, reason = "a process that works in a box is what one of them is about")]

use crate::support;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::World;

/// A world whose repository has a sealed workspace with a commit, a plain one, and the box of a task that failed.
fn world() -> World {
    let world = World::new();
    world.treehand(&["new", "shut", "--sealed"]).expect(0);
    let make = ["exec", "shut", "--confine", "off", "--", "sh", "-c", "echo s > s; git add s; git commit -qm sealed"];
    world.treehand(&make).expect(0);
    let task = "[[task]]\nid = \"t\"\ncommand = [\"sh\", \"-c\", \"echo t > t.txt; exit 1\"]\n";
    world.run_tasks(task, &[]).expect(1);
    world.treehand(&["new", "plain"]).expect(0);
    world
}

fn state(world: &World, part: &str) -> PathBuf {
    world.path().join("state/treehand").join(part)
}

fn clean_at(world: &World, retention: &str, args: &[&str], code: i32) -> Value {
    let retention = format!("clean.retention={retention}");
    let all = [&["-C", "/", "clean", "--all-repos", "--json", "--set", &retention], args].concat();
    world.treehand_at(world.path(), &all).expect(code).json()
}

/// Each call is as if the time were over.
fn clean(world: &World, args: &[&str]) -> Value {
    clean_at(world, "0s", args, 0)
}

/// The word and the reason of the only repository.
fn only(document: &Value) -> (&str, &str) {
    assert_eq!(document["repos"].as_array().map(Vec::len), Some(1), "{document}");
    let one = &document["repos"][0];
    (one["outcome"].as_str().expect("a word"), one["reason"].as_str().unwrap_or_default())
}

fn actions(document: &Value) -> Vec<(&str, &str)> {
    let all = document["actions"].as_array().expect("a list").iter();
    all.map(|one| (one["outcome"].as_str().expect("a word"), one["item"].as_str().expect("an item"))).collect()
}

/// What is in the boxes and the private git dirs, by path.
fn content(world: &World) -> Vec<(PathBuf, Vec<u8>)> {
    let places = [world.trees(), state(world, "sealed")];
    let files = places.iter().flat_map(|place| walkdir::WalkDir::new(place).sort_by_file_name());
    let files = files.filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    files.map(|entry| (entry.path().to_owned(), std::fs::read(entry.path()).expect("read"))).collect()
}

fn boxes(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.trees()).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name != ".treehand-trash").collect();
    names.sort();
    names
}

fn at(world: &World, repo: &Path, args: &[&str]) -> support::Answer {
    world.treehand_at(world.path(), &[&["-C", &repo.to_string_lossy()], args].concat())
}

fn record(world: &World) -> PathBuf {
    let all = std::fs::read_dir(state(world, "departed")).expect("there").next().expect("one");
    all.expect("read").path().join("record.json")
}

#[test]
fn what_a_deleted_repository_left_is_noted_then_put_away_then_deleted() {
    let world = world();
    let (repo, left) = (world.repo(), boxes(&world));
    std::fs::remove_dir_all(&repo).expect("deleted");
    let before = content(&world);
    for _ in 0..2 {
        let plan = clean(&world, &[]);
        assert!(only(&plan).1.contains("what is left of its tasks stays in"), "{plan}");
        assert!(!state(&world, "departed").exists(), "a plan writes nothing");
    }
    assert_eq!(only(&clean(&world, &["--yes", "--only", "trash"])).0, "kept");
    assert!(!state(&world, "departed").exists(), "it is told to leave it alone");
    assert_eq!(only(&clean(&world, &["--yes"])).0, "kept");
    assert!(record(&world).exists());
    // Before its time nothing happens, however often.
    let waits = clean_at(&world, "14d", &["--yes"], 0);
    assert!(only(&waits).0 == "kept" && only(&waits).1.contains(" until 20"), "{waits}");
    let plan = clean(&world, &[]);
    assert_eq!(only(&plan).0, "planned", "{plan}");
    assert_eq!(content(&world), before);
    let away = clean(&world, &["--yes"]);
    assert_eq!(only(&away).0, "done", "{away}");
    assert_eq!(actions(&away).len(), 3, "the private git dirs and two boxes: {away}");
    let planned: Vec<&str> = actions(&plan).into_iter().map(|(_, item)| item).collect();
    assert_eq!(actions(&away), planned.iter().map(|item| ("done", *item)).collect::<Vec<_>>());
    for action in away["actions"].as_array().expect("a list") {
        assert_eq!((&action["kind"], &action["repo"]), (&"state".into(), &repo.to_string_lossy().as_ref().into()));
        assert!(
            action["bytes"].as_u64() > Some(0) && action["proof"].as_str().is_some_and(|why| why.contains("since"))
        );
    }
    assert_eq!(away["freed_bytes"], 0, "it lies on the disk still");
    assert_eq!(boxes(&world), ["plain"], "of {left:?}; that is a worktree of git, of which only git knows whose it is");
    let waits = clean_at(&world, "14d", &["--yes"], 0);
    assert!(only(&waits).0 == "kept" && only(&waits).1.contains("comes back when it is used again"), "{waits}");
    let plan = clean(&world, &[]);
    assert_eq!((only(&plan).0, actions(&plan).len()), ("planned", 3), "{plan}");
    let done = clean(&world, &["--yes"]);
    assert_eq!((only(&done).0, actions(&done).len()), ("done", 3), "{done}");
    assert!(done["freed_bytes"].as_u64() > Some(0), "{done}");
    assert_eq!(clean(&world, &["--yes"])["repos"], serde_json::json!([]), "it is known no longer");
    assert!(!state(&world, "departed").exists() && !state(&world, "sealed").exists());
    assert!(!world.trees().join(".treehand-trash").exists());
    let report = world.treehand_at(world.path(), &["-C", "/", "clean", "report", "--json"]).expect(0).json();
    let freed = |run: &Value| run["freed_bytes"].as_u64().expect("a number");
    assert!(report["runs"].as_array().is_some_and(|runs| runs.iter().any(|run| freed(run) > 0)), "{report}");
    assert_eq!(boxes(&world), ["plain"]);
}

#[test]
fn one_that_was_moved_finds_all_of_it_at_its_new_place() {
    let world = world();
    let (before, now) = (content(&world), world.path().join("elsewhere"));
    std::fs::rename(world.repo(), &now).expect("moved");
    clean(&world, &["--yes"]);
    assert_eq!(actions(&clean(&world, &["--yes"])).len(), 3);
    assert_ne!(content(&world), before);
    let listed = at(&world, &now, &["-v", "ls"]).expect(0);
    assert!(listed.stderr.contains("is back; it was put away"), "{}", listed.stderr);
    assert_eq!(content(&world), before);
    assert!(!state(&world, "departed").exists() && !world.trees().join(".treehand-trash").exists());
    let repaired = at(&world, &now, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0).stdout;
    assert!(!repaired.contains("not repaired"), "{repaired}");
    for workspace in at(&world, &now, &["--json", "ls"]).expect(0).json()["workspaces"].as_array().expect("a list") {
        assert_eq!((&workspace["present"], &workspace["error"]), (&true.into(), &().into()), "{workspace}");
    }
    assert!(at(&world, &now, &["diff", "shut"]).expect(0).stdout.contains("+s"));
    let run =
        at(&world, &now, &["--json", "ps"]).expect(0).json()["runs"][0]["run"].as_str().expect("a run").to_owned();
    assert!(at(&world, &now, &["diff", &format!("{run}/t")]).expect(0).stdout.contains("t.txt"));
    assert_eq!(only(&clean(&world, &[])).0, "planned", "it is a repository like any other");
}

#[test]
fn doctor_alone_brings_it_back_and_one_that_is_back_at_its_place_was_never_gone() {
    let world = world();
    let (before, now) = (content(&world), world.path().join("elsewhere"));
    std::fs::rename(world.repo(), &now).expect("moved");
    clean(&world, &["--yes"]);
    std::fs::rename(&now, world.repo()).expect("moved back");
    clean(&world, &["--min-age", "1d", "--yes", "--set", "clean.retention=14d"]);
    assert!(!state(&world, "departed").exists(), "that it was gone is forgotten");
    std::fs::rename(world.repo(), &now).expect("moved");
    clean(&world, &["--yes"]);
    clean(&world, &["--yes"]);
    assert!(record(&world).exists() && content(&world) != before);
    at(&world, &now, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    assert!(at(&world, &now, &["diff", "shut"]).expect(0).stdout.contains("+s"));
}

#[test]
fn what_a_call_that_died_had_begun_is_ended_by_the_next() {
    let world = world();
    std::fs::rename(world.repo(), world.path().join("elsewhere")).expect("moved");
    let before = content(&world);
    clean(&world, &["--yes"]);
    clean(&world, &["--yes"]);
    let written: Value = serde_json::from_slice(&std::fs::read(record(&world)).expect("read")).expect("a record");
    // As if it had died after the record and one rename.
    let back: Vec<(PathBuf, PathBuf)> = written["away"]["moves"].as_array().expect("a list")[..2]
        .iter()
        .map(|one| [&one["from"], &one["to"]].map(|path| PathBuf::from(path.as_str().expect("a path"))))
        .map(|[from, to]| (from, to))
        .collect();
    back.iter().for_each(|(from, to)| std::fs::rename(to, from).expect("renamed"));
    assert_eq!((only(&clean(&world, &[])).0, actions(&clean(&world, &[])).len()), ("planned", 2));
    let done = clean(&world, &["--yes"]);
    assert_eq!((only(&done).0, actions(&done).len()), ("done", 2), "{done}");
    assert!(back.iter().all(|(from, to)| !from.exists() && to.exists()));
    // And as if it had died there, and the repository were used next.
    back.iter().take(1).for_each(|(from, to)| std::fs::rename(to, from).expect("renamed"));
    let now = world.path().join("elsewhere");
    at(&world, &now, &["path", "shut"]);
    assert_eq!(content(&world), before);
    // One that died while it deleted goes to its end, for half of it is of no use.
    std::fs::rename(&now, world.path().join("again")).expect("moved");
    clean(&world, &["--yes"]);
    clean(&world, &["--yes"]);
    let written =
        std::fs::read_to_string(record(&world)).expect("read").replace("\"doomed\": false", "\"doomed\": true");
    std::fs::write(record(&world), written).expect("written");
    let told = at(&world, &world.path().join("again"), &["--json", "doctor", "--set", "confine.level=off"]).expect(1);
    assert!(told.stdout.contains("was being deleted"), "{}", told.stdout);
    at(&world, &world.path().join("again"), &["log"]).expect(0);
    let done = clean(&world, &["--yes", "--only", "locks"]);
    assert!(done["freed_bytes"].as_u64() > Some(0) && only(&done).0 == "done", "{done}");
    assert!(!state(&world, "departed").exists());
}

#[test]
fn what_cannot_come_back_stays_put_away_and_is_told() {
    let world = world();
    let now = world.path().join("elsewhere");
    std::fs::rename(world.repo(), &now).expect("moved");
    clean(&world, &["--yes"]);
    clean(&world, &["--yes"]);
    let shut = world.trees().join("shut");
    std::fs::create_dir(&shut).expect("something in the way");
    let listed = at(&world, &now, &["ls"]).expect(0);
    assert!(listed.stderr.contains("something else is at"), "{}", listed.stderr);
    let place = shut.to_string_lossy().into_owned();
    for code in [1, 1] {
        let doctor =
            at(&world, &now, &["--json", "doctor", "--repair", "--set", "confine.level=off"]).expect(code).json();
        assert!(doctor["repaired"][0].as_str().is_some_and(|said| said.contains(&place)), "{doctor}");
    }
    let told = clean(&world, &["--yes", "--only", "locks"]);
    let kept = told["kept"].as_array().expect("a list");
    assert!(kept.iter().any(|kept| kept["reason"].as_str().is_some_and(|why| why.contains(&place))), "{told}");
    at(&world, &now, &["uninstall", "--yes"]).expect(4);
    std::fs::remove_dir(&shut).expect("out of the way");
    at(&world, &now, &["doctor", "--repair", "--set", "confine.level=off"]).expect(0);
    assert!(at(&world, &now, &["diff", "shut"]).expect(0).stdout.contains("+s"));
}

#[test]
fn a_box_in_which_somebody_works_keeps_all_and_one_that_is_tied_to_nothing_is_not_touched() {
    let world = world();
    std::fs::remove_dir_all(world.repo()).expect("deleted");
    clean(&world, &["--yes"]);
    let before = content(&world);
    let tree = world.tree("shut");
    let mut works =
        std::process::Command::new("sleep").arg("600").current_dir(tree.join("src")).spawn().expect("started");
    let kept = clean(&world, &["--yes"]);
    works.kill().and_then(|()| works.wait()).expect("ended");
    assert!(only(&kept).0 == "kept" && only(&kept).1.contains("sleep (pid "), "{kept}");
    assert_eq!(content(&world), before);
    // Who could write in a tree, and in both, would have it take something else along.
    let precious = world.path().join("precious");
    std::fs::create_dir_all(precious.join("repo")).expect("made");
    std::fs::create_dir_all(precious.join("linked")).expect("made");
    std::fs::rename(tree.join(".git"), precious.join("linked/.git")).expect("moved");
    std::os::unix::fs::symlink(precious.join("linked/.git"), tree.join(".git")).expect("linked");
    let sealed = walkdir::WalkDir::new(state(&world, "sealed")).into_iter().filter_map(Result::ok);
    let admin = sealed.map(walkdir::DirEntry::into_path).find(|path| path.ends_with("t/common.git/worktrees/wt"));
    let admin = admin.expect("that of the task");
    std::fs::write(admin.join("gitdir"), format!("{}\n", precious.join("repo/.git").display())).expect("written");
    std::fs::write(precious.join("repo/.git"), format!("gitdir: {}\n", admin.display())).expect("written");
    let done = clean(&world, &["--yes"]);
    assert_eq!((only(&done).0, actions(&done).len()), ("done", 1), "the private git dirs: {done}");
    let kept: Vec<&str> =
        done["kept"].as_array().expect("a list").iter().filter_map(|kept| kept["item"].as_str()).collect();
    assert!(kept.iter().any(|item| Path::new(item) == precious), "{done}");
    assert!(kept.iter().any(|item| item.ends_with("named/shut")), "{done}");
    assert!(tree.join("s").exists() && precious.join("linked/.git").exists());
    assert!(precious.join("repo/.git").exists() && boxes(&world).len() == 3);
}

#[test]
fn a_disk_that_is_not_mounted_never_counts() {
    let world = world();
    let (disk, drawer) = (world.path().join("disk"), world.path().join("drawer"));
    std::fs::create_dir(&disk).expect("made");
    let repo = disk.join("r").to_string_lossy().into_owned();
    world
        .shell(&format!("git init -q -b main '{repo}' && cd '{repo}' && git commit -q --allow-empty -m first"))
        .expect(0);
    world.treehand(&["-C", &repo, "new", "w", "--sealed"]).expect(0);
    std::fs::rename(&disk, &drawer).expect("unplugged");
    std::fs::create_dir(&disk).expect("an empty mount point");
    for _ in 0..3 {
        let done = clean(&world, &["--yes", "--min-age", "1d"]);
        let all = done["repos"].as_array().expect("a list");
        let one = all.iter().find(|one| one["repo"] == *repo).expect("it is known");
        assert!(one["reason"].as_str().is_some_and(|why| why.contains("may not be mounted")), "{done}");
        assert!(!state(&world, "departed").exists());
    }
    std::fs::remove_dir(&disk).expect("removed");
    std::fs::rename(&drawer, &disk).expect("plugged in");
    assert!(at(&world, Path::new(&repo), &["ls"]).expect(0).stdout.contains('w'));
}

#[test]
fn an_account_is_not_left_with_what_may_be_the_only_copy() {
    let world = world();
    std::fs::remove_dir_all(world.repo()).expect("deleted");
    clean(&world, &["--yes"]);
    clean(&world, &["--yes"]);
    let left = ["-C", "/", "uninstall", "--account", "--yes", "--json"];
    let done = world.treehand_at(world.path(), &left).expect(0).json();
    assert_eq!(only(&done).0, "kept", "{done}");
    let place = record(&world).parent().expect("its directory").to_string_lossy().into_owned();
    let stays = done["left"].as_array().expect("a list");
    assert!(stays.iter().any(|stays| stays["item"] == *place && stays["kind"] == "state"), "{done}");
    assert!(record(&world).exists() && state(&world, "known").exists());
}
