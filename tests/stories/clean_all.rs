//! Stories of `clean --all-repos`: what is done in each, what cannot be reached, and what takes too long.

use crate::support;

use serde_json::Value;
use support::World;

/// A repository beside the world's own with the box of a task that failed; its path.
fn used(world: &World, name: &str) -> String {
    let path = world.path().join(name).to_string_lossy().into_owned();
    world
        .shell(&format!("git init -q -b main '{path}' && cd '{path}' && git commit -q --allow-empty -m first"))
        .expect(0);
    let failing = ["-C", &path, "run", "--confine", "off", "--", "sh", "-c", "echo half > half; exit 1"];
    world.treehand(&failing).expect(1);
    path
}

fn clean(world: &World, args: &[&str], code: i32) -> Value {
    let all = [&["-C", "/", "clean", "--all-repos", "--json", "--min-age", "0s"], args].concat();
    world.treehand(&all).expect(code).json()
}

/// The outcome and the reason of one repository.
fn of<'a>(document: &'a Value, repo: &str) -> (&'a str, &'a str) {
    let all = document["repos"].as_array().expect("repositories");
    let one = all.iter().find(|one| one["repo"] == repo).unwrap_or_else(|| panic!("no {repo} in {document}"));
    (one["outcome"].as_str().expect("a word"), one["reason"].as_str().unwrap_or_default())
}

fn boxes(repo: &str) -> usize {
    std::fs::read_dir(format!("{repo}.trees")).map_or(0, Iterator::count)
}

#[test]
fn every_repository_is_cleaned_and_what_cannot_be_reached_is_kept() {
    let world = World::new();
    let [one, two, gone, disk] = ["one", "two", "gone", "disk/repo"].map(|name| {
        std::fs::create_dir_all(world.path().join("disk")).expect("made");
        used(&world, name)
    });
    let unplugged = world.path().join("unplugged");
    std::fs::rename(world.path().join("disk"), &unplugged).expect("renamed");
    std::fs::create_dir(world.path().join("disk")).expect("an empty mount point");
    std::fs::rename(&gone, world.path().join("moved")).expect("renamed");
    let plan = clean(&world, &[], 0);
    assert_eq!((of(&plan, &one).0, of(&plan, &two).0, plan["applied"].as_bool()), ("planned", "planned", Some(false)));
    let (word, why) = of(&plan, &disk);
    assert!(word == "kept" && why.contains("may not be mounted"), "{word}: {why}");
    let (word, why) = of(&plan, &gone);
    assert!(word == "kept" && why.contains("deleted or moved; what is left of its tasks stays in"), "{word}: {why}");
    assert_eq!((boxes(&one), boxes(&two)), (1, 1), "a plan changes nothing");
    let done = clean(&world, &["--yes"], 0);
    assert_eq!((of(&done, &one).0, of(&done, &two).0), ("done", "done"), "{done}");
    assert_eq!((boxes(&one), boxes(&two)), (0, 0));
    let kept = done["kept"].as_array().expect("a list");
    assert!(kept.iter().any(|kept| kept["kind"] == "repo" && kept["item"] == disk.as_str()), "{done}");
    assert!(done["freed_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{done}");
    assert_eq!(clean(&world, &["--yes"], 0)["actions"], serde_json::json!([]), "once more there is nothing to do");
    world.treehand(&["-C", &one, "undo"]).expect(0);
    assert_eq!(boxes(&one), 1, "each is an operation of its repository");
    std::fs::remove_dir(world.path().join("disk")).expect("removed");
    std::fs::rename(&unplugged, world.path().join("disk")).expect("renamed");
    assert_eq!(of(&clean(&world, &["--yes"], 0), &disk).0, "done");
    assert_eq!(boxes(&disk), 0);
}

#[test]
fn a_repository_that_was_deleted_is_known_no_longer_once_nothing_of_it_is_left() {
    let world = World::new();
    let path = world.path().join("short").to_string_lossy().into_owned();
    world
        .shell(&format!("git init -q -b main '{path}' && cd '{path}' && git commit -q --allow-empty -m first"))
        .expect(0);
    world.treehand(&["-C", &path, "new", "a"]).expect(0);
    world.shell(&format!("rm -rf '{path}'")).expect(0);
    assert_eq!(of(&clean(&world, &[], 0), &path), ("planned", "it was deleted or moved, and nothing of it is left"));
    assert_eq!(of(&clean(&world, &["--yes"], 0), &path).0, "done");
    assert_eq!(clean(&world, &[], 0)["repos"], serde_json::json!([]));
    let text = world.treehand(&["-C", "/", "clean", "--all-repos"]).expect(0).stdout;
    assert_eq!(text, "no repository is known yet\n");
}

#[test]
fn one_that_hangs_is_given_up_and_holds_up_no_other() {
    let world = World::new();
    let [stuck, free] = ["stuck", "free"].map(|name| used(&world, name));
    let lock = format!("{stuck}/.git/treehand/locks/clean");
    let held = std::fs::File::options().create(true).append(true).open(lock).expect("a lock");
    held.lock().expect("locked");
    let done = clean(&world, &["--yes", "--set", "clean.deadline=1500ms"], 1);
    assert_eq!(of(&done, &stuck), ("failed", "it took longer than clean.deadline"));
    assert_eq!((of(&done, &free).0, boxes(&free), boxes(&stuck)), ("done", 0, 1));
    drop(held);
    assert_eq!(of(&clean(&world, &["--yes"], 0), &stuck).0, "done");
    assert_eq!(boxes(&stuck), 0);
}

#[test]
fn clean_in_the_git_dir_took_the_workspaces_for_gone_and_left_them() {
    let world = World::new();
    let repo = used(&world, "one");
    let git_dir = format!("{repo}/.git");
    let plan = world.treehand(&["-C", &git_dir, "clean", "--json", "--min-age", "0s"]).expect(0).json();
    assert_eq!(plan["actions"][0]["repo"], repo.as_str(), "{plan}");
    world.treehand(&["-C", &git_dir, "clean", "--yes", "--min-age", "0s"]).expect(0);
    assert_eq!(boxes(&repo), 0);
}

/// It said that no repository was known, and the nightly job was content.
#[test]
fn without_a_home_it_is_refused() {
    let world = World::new();
    let mut command = world.command(&["clean", "--all-repos", "--json"]);
    let output = command.env_remove("HOME").env_remove("XDG_STATE_HOME").output().expect("started");
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("neither HOME nor XDG_STATE_HOME is set"));
}
