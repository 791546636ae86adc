//! What cannot be taken at the moment: a ref that is locked, a directory that cannot be moved, a file that cannot be deleted.
//!
//! It is told, nothing of it is lost or half gone, the others go, and when it can be taken the next `clean` takes it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::digest;
use crate::pen::{Goes, Kept, Pen, Specimen, Verdict};
use crate::support::World;

fn landed(world: &World, name: &str) {
    world.treehand(&["new", name]).expect(0);
    world.commit_in(name, &format!("{name}.txt"), "one\n");
    world.git(&["merge", "-q", "--no-ff", "-m", &format!("merged {name}"), name]);
}

fn clean(world: &World, flags: &[&str]) -> (i32, Value) {
    let flags = [&["clean", "--json", "--yes", "--min-age", "0s", "--set", "merge.lock_wait=0s"], flags].concat();
    let answer = world.treehand(&flags);
    (answer.code, answer.json())
}

fn outcome<'a>(document: &'a Value, item: &str) -> &'a str {
    let all = document["actions"].as_array().expect("a list").iter();
    let found = all.into_iter().find(|action| action["item"].as_str().is_some_and(|name| name.ends_with(item)));
    found.unwrap_or_else(|| panic!("no {item} in {document}"))["outcome"].as_str().expect("a word")
}

#[test]
fn a_locked_branch_stays_until_the_lock_is_gone() {
    let world = World::new();
    landed(&world, "stuck");
    landed(&world, "free");
    let lock = world.repo().join(".git/refs/heads/stuck.lock");
    // Whoever has it open holds it.
    let held = std::fs::File::create(&lock).expect("made");
    let (tree, tip) = (digest::of(&world.tree("stuck")), world.git(&["rev-parse", "stuck"]));
    let (_, document) = clean(&world, &[]);
    assert_eq!(outcome(&document, "free"), "done");
    assert_ne!(outcome(&document, "stuck"), "done", "{document}");
    let changed = digest::difference(&tree, &digest::of(&world.tree("stuck")));
    assert!(changed.is_empty(), "{document}\n{changed:#?}");
    assert_eq!(world.git_in(&world.tree("stuck"), &["status", "--porcelain"]), "");
    world.treehand(&["path", "stuck"]).expect(0);
    assert_eq!(world.git(&["rev-parse", "stuck"]), tip, "its branch is where it was");
    drop(held);
    std::fs::remove_file(&lock).expect("removed");
    let (code, document) = clean(&world, &[]);
    assert_eq!((code, outcome(&document, "stuck")), (0, "done"), "{document}");
    assert!(!world.tree("stuck").exists());
    let doctor = world.treehand(&["doctor", "--json", "--set", "confine.level=off"]).json();
    let check = doctor["checks"].as_array().expect("checks").iter().find(|check| check["name"] == "interrupted");
    assert_eq!(check.expect("it is looked at")["detail"], "nothing");
    world.git(&["fsck", "--full", "--strict"]);
}

#[test]
fn locked_packed_refs_keep_everything_until_the_lock_is_gone() {
    let lock = |world: &World| world.repo().join(".git/packed-refs.lock");
    let world = World::new();
    landed(&world, "stuck");
    world.git(&["pack-refs", "--all"]);
    let held = std::fs::File::create(lock(&world)).expect("made");
    let tree = digest::of(&world.tree("stuck"));
    let (_, document) = clean(&world, &[]);
    assert_ne!(outcome(&document, "stuck"), "done");
    assert!(digest::difference(&tree, &digest::of(&world.tree("stuck"))).is_empty(), "{document}");
    drop(held);
    std::fs::remove_file(lock(&world)).expect("removed");
    // What could not even be put back is, and goes then.
    let (code, document) = clean(&world, &[]);
    assert_eq!((code, outcome(&document, "stuck")), (0, "done"), "{document}");
}

/// Makes a place immutable, or free again; false where nobody may.
fn immutable(world: &World, place: &Path, on: bool) -> bool {
    let sign = if on { "+i" } else { "-i" };
    world.shell(&format!("chattr {sign} '{}'", place.display())).code == 0
}

/// Makes a directory one from which nothing can be moved, by whatever works here.
fn hold(world: &World, directory: &Path) {
    if immutable(world, directory, true) {
        return;
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o555)).expect("set");
    if world.shell("test $(id -u) = 0").code == 0 {
        writeln!(std::io::stderr(), "NOT RUN: root may do everything, and nothing can be made immutable here")
            .expect("stderr is open");
    }
}

fn let_go(world: &World, directory: &Path) {
    // Where nobody may make it immutable, it is not.
    let _it_is_not = immutable(world, directory, false);
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).expect("set");
}

#[test]
fn a_workspace_that_cannot_be_moved_stays_until_it_can() {
    let world = World::new();
    landed(&world, "stuck");
    landed(&world, "free");
    hold(&world, &world.trees().join("stuck"));
    let held = std::fs::File::create(world.trees().join("stuck/probe")).is_err();
    let tree = digest::of(&world.tree("stuck"));
    let (code, document) = clean(&world, &[]);
    let_go(&world, &world.trees().join("stuck"));
    assert_eq!(outcome(&document, "free"), "done", "{document}");
    if held {
        assert_eq!((code, outcome(&document, "stuck")), (1, "failed"), "{document}");
        let changed = digest::difference(&tree, &digest::of(&world.tree("stuck")));
        assert!(changed.is_empty(), "{document}\n{changed:#?}");
        assert_eq!(clean(&world, &[]).0, 0);
    }
    assert!(!world.trees().exists());
    world.treehand(&["undo"]).expect(0);
}

#[test]
fn a_file_that_cannot_be_deleted_stays_in_the_trash_until_it_can() {
    let world = World::new();
    landed(&world, "stuck");
    let is_held = immutable(&world, &world.tree("stuck").join("a.txt"), true);
    assert_eq!(clean(&world, &[]).0, 0);
    let expire = ["--set", "clean.retention=0s"];
    let (code, document) = clean(&world, &expire);
    let trash = world.repo().join(".git/treehand/trash");
    if is_held {
        assert_eq!(code, 1, "{document}");
        world.shell(&format!("chattr -R -i '{}'", trash.display())).expect(0);
        assert_eq!(clean(&world, &expire).0, 0);
    }
    assert_eq!(std::fs::read_dir(&trash).map_or(0, Iterator::count), 0, "{document}");
}

fn with_submodule(world: &World) {
    world
        .shell("git init -q -b main ../lib && cd ../lib && echo l > l.txt && git add . && git commit -q -m lib")
        .expect(0);
    world.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../lib", "lib"]);
    world.git(&["commit", "-q", "-m", "with a submodule"]);
}

fn submodule_is_clean(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    vec![Goes("workspace", name.into(), "clean, ancestor of `main`")]
}

fn submodule_is_dirty(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    std::fs::write(world.tree(name).join("lib/l.txt"), "changed\n").expect("written");
    vec![Kept("workspace", name.into(), "changes that are not committed: lib")]
}

fn submodule_has_something_untracked(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    std::fs::write(world.tree(name).join("lib/new.txt"), "new\n").expect("written");
    vec![Kept("workspace", name.into(), "changes that are not committed: lib")]
}

fn submodule_went_on(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    world.git_in(&world.tree(name).join("lib"), &["commit", "-q", "--allow-empty", "-m", "went on"]);
    vec![Kept("workspace", name.into(), "changes that are not committed: lib")]
}

fn submodule_has_a_branch_of_its_own(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    let lib = world.tree(name).join("lib");
    world.git_in(&lib, &["switch", "-q", "-c", "own"]);
    world.git_in(&lib, &["commit", "-q", "--allow-empty", "-m", "own"]);
    world.git_in(&lib, &["switch", "-q", "--detach", "own~1"]);
    vec![Kept("workspace", name.into(), "commits that are nowhere else: lib")]
}

fn submodule_has_a_stash(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    let lib = world.tree(name).join("lib");
    std::fs::write(lib.join("l.txt"), "stashed\n").expect("written");
    world.git_in(&lib, &["stash", "-q"]);
    vec![Kept("workspace", name.into(), "commits that are nowhere else: lib")]
}

const WITH_SUBMODULES: &[Specimen] = &[
    ("clean", submodule_is_clean),
    ("dirty", submodule_is_dirty),
    ("untracked", submodule_has_something_untracked),
    ("went-on", submodule_went_on),
    ("own-branch", submodule_has_a_branch_of_its_own),
    ("stash", submodule_has_a_stash),
];

#[test]
fn what_is_only_in_a_submodule_keeps_its_workspace() {
    let world = World::new();
    with_submodule(&world);
    Pen::fill(world, WITH_SUBMODULES).judge(&["--min-age", "0s"]);
}
