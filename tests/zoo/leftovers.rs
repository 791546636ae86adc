//! What treehand keeps for itself: quarantines, `.keep` files, trash and saved refs, old and new; and what died half-way.
//!
//! What is deleted for good is never undone, so only its time decides, and only what is ours by its form or content counts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::pen::{Goes, Kept, Pen, Specimen, Untouched, Verdict, dead_lock};
use crate::support::World;

/// The beginning of this century's second year in milliseconds, and a token: a name in the trash.
const OLD: &str = "1000000000000-0123abcd";

fn state(world: &World) -> PathBuf {
    world.repo().join(".git/treehand")
}

fn aged(world: &World, path: &Path, age: &str) {
    world.shell(&format!("touch -d '{age}' '{}'", path.display())).expect(0);
}

fn directory(path: &Path) {
    std::fs::create_dir_all(path.join("inside")).expect("made");
    std::fs::write(path.join("inside/file"), "something\n").expect("written");
}

/// A stamp of now.
fn new_stamp() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    format!("{}-0123abcd", now.as_millis())
}

fn quarantine(world: &World, name: &str, age: &str) -> PathBuf {
    let path = state(world).join("quarantine").join(name);
    directory(&path);
    aged(world, &path, age);
    path
}

fn quarantine_of_the_dead(world: &World, _: &str) -> Vec<Verdict> {
    quarantine(world, "00aa", "3 days ago");
    vec![Goes("temp", "/quarantine/00aa".into(), "a quarantine that nothing uses")]
}

fn quarantine_of_the_living(world: &World, _: &str) -> Vec<Verdict> {
    let own = std::fs::read_to_string("/proc/self/stat").expect("own");
    let start = own.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).expect("a start time");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("a boot");
    let name = format!("00cc.{}.{start}.{}", std::process::id(), boot.trim());
    vec![Untouched(quarantine(world, &name, "3 days ago"))]
}

fn young_quarantine(world: &World, _: &str) -> Vec<Verdict> {
    vec![Untouched(quarantine(world, "00bb", "now"))]
}

fn keep(world: &World, name: &str, text: &str, age: &str) -> PathBuf {
    let path = world.repo().join(".git/objects/pack").join(format!("pack-{name}.keep"));
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(&path, text).expect("written");
    aged(world, &path, age);
    path
}

fn keep_of_ours(world: &World, name: &str) -> Vec<Verdict> {
    keep(world, name, "treehand\n", "3 days ago");
    vec![Goes("lock", format!("/pack-{name}.keep"), "it was to last until a ref was made")]
}

fn young_keep_of_ours(world: &World, name: &str) -> Vec<Verdict> {
    vec![Untouched(keep(world, name, "treehand\n", "now"))]
}

fn keep_of_a_person(world: &World, name: &str) -> Vec<Verdict> {
    vec![Untouched(keep(world, name, "", "3 days ago")), Untouched(keep(world, "words", "mine\n", "3 days ago"))]
}

fn keep_of_a_fetch(world: &World, name: &str) -> Vec<Verdict> {
    vec![Untouched(keep(world, name, "fetch-pack 17 on host\n", "3 days ago"))]
}

fn old_trash(world: &World, _: &str) -> Vec<Verdict> {
    let path = state(world).join("trash").join(OLD);
    directory(&path);
    std::os::unix::fs::symlink(world.repo(), path.join("out")).expect("linked");
    std::os::unix::fs::symlink("loop", path.join("loop")).expect("linked");
    std::fs::set_permissions(path.join("inside"), std::fs::Permissions::from_mode(0o555)).expect("set");
    vec![Goes("trash", format!("/trash/{OLD}"), "older than 14d"), Untouched(world.repo().join("a.txt"))]
}

fn young_trash(world: &World, _: &str) -> Vec<Verdict> {
    let path = state(world).join("trash").join(new_stamp());
    directory(&path);
    vec![Untouched(path)]
}

fn saved(world: &World, name: &str, stamp: &str) -> String {
    let reference = format!("refs/treehand/salvage/{name}/{stamp}/worktree");
    world.git(&["update-ref", &reference, "main"]);
    reference
}

fn old_salvage(world: &World, name: &str) -> Vec<Verdict> {
    vec![Goes("state", saved(world, name, OLD), "older than 14d")]
}

fn young_salvage(world: &World, name: &str) -> Vec<Verdict> {
    saved(world, name, &new_stamp());
    Vec::new()
}

fn salvage_without_a_stamp(world: &World, name: &str) -> Vec<Verdict> {
    saved(world, name, "of-a-person");
    Vec::new()
}

fn bundle(world: &World, name: &str, stamp: &str) -> PathBuf {
    let path = state(world).join("salvage").join(name).join(stamp);
    std::fs::create_dir_all(&path).expect("made");
    world.git(&["bundle", "create", "-q", &path.join("saved.bundle").to_string_lossy(), "main"]);
    world.git(&["update-ref", &format!("refs/treehand/salvage/{name}/{stamp}/base"), "main"]);
    path
}

fn old_bundle(world: &World, name: &str) -> Vec<Verdict> {
    bundle(world, name, OLD);
    vec![Goes("state", format!("/salvage/{name}/{OLD}"), "a bundle of what was saved, older than 14d")]
}

fn young_bundle(world: &World, name: &str) -> Vec<Verdict> {
    vec![Untouched(bundle(world, name, &new_stamp()))]
}

fn bundle_without_a_stamp(world: &World, name: &str) -> Vec<Verdict> {
    vec![Untouched(bundle(world, name, "of-a-person"))]
}

fn old_undo(world: &World, _: &str) -> Vec<Verdict> {
    let reference = format!("refs/treehand/undo/{OLD}/heads/gone");
    world.git(&["update-ref", &reference, "main"]);
    vec![Goes("state", reference, "older than 14d")]
}

fn merged_of_nobody(world: &World, _: &str) -> Vec<Verdict> {
    world.git(&["update-ref", "refs/treehand/merged/0w253tzej6/lost", "main"]);
    Vec::new()
}

fn request_of_nobody(world: &World, _: &str) -> Vec<Verdict> {
    world.git(&["update-ref", "refs/treehand/pull/origin/7", "main"]);
    vec![Goes("state", "refs/treehand/pull/origin/7".into(), "nothing is based on it any more")]
}

fn ref_of_a_newer_treehand(world: &World, _: &str) -> Vec<Verdict> {
    world.git(&["update-ref", "refs/treehand/of-later/x", "main"]);
    Vec::new()
}

/// What can live in one repository.
pub const ALL: &[Specimen] = &[
    ("quarantine-of-the-dead", quarantine_of_the_dead),
    ("quarantine-of-the-living", quarantine_of_the_living),
    ("young-quarantine", young_quarantine),
    ("keep-of-ours", keep_of_ours),
    ("young-keep-of-ours", young_keep_of_ours),
    ("keep-of-a-person", keep_of_a_person),
    ("keep-of-a-fetch", keep_of_a_fetch),
    ("old-trash", old_trash),
    ("young-trash", young_trash),
    ("old-salvage", old_salvage),
    ("young-salvage", young_salvage),
    ("unstamped-salvage", salvage_without_a_stamp),
    ("old-bundle", old_bundle),
    ("young-bundle", young_bundle),
    ("unstamped-bundle", bundle_without_a_stamp),
    ("old-undo", old_undo),
    ("merged-of-nobody", merged_of_nobody),
    ("request-of-nobody", request_of_nobody),
    ("ref-of-later", ref_of_a_newer_treehand),
];

#[test]
fn what_is_over_goes_and_what_is_not_provably_so_stays() {
    let world = World::new();
    world.treehand(&["new", "first"]).expect(0);
    world.treehand(&["rm", "first"]).expect(0);
    let pen = Pen::fill(world, ALL);
    let ours = |pen: &Pen| pen.world.git(&["for-each-ref", "--format=%(refname)", "refs/treehand"]);
    let before = ours(&pen);
    pen.judge_what_is_not_undone(&[]);
    let gone = |line: &&str| line.contains(OLD) || line.ends_with("/pull/origin/7");
    let left: Vec<&str> = before.lines().filter(|line| !gone(line)).collect();
    assert_eq!(ours(&pen), left.join("\n"));
}

#[test]
fn a_workspace_whose_maker_died_goes_and_one_with_something_in_it_stays() {
    Pen::fill(World::new(), HALF).judge(&["--min-age", "0s"]);
}

/// What processes died over.
pub const HALF: &[Specimen] =
    &[("half-made", half_made), ("half-made-dirty", half_made_and_used), ("half-removed", half_removed)];

fn half_made(world: &World, name: &str) -> Vec<Verdict> {
    world.die_at_the_first_file(&world.tree(name));
    assert_ne!(world.treehand(&["new", name]).code, 0, "it was killed");
    world.git(&["config", "--unset", "filter.trap.smudge"]);
    let lock = world.repo().join(".git/worktrees/repo/index.filled.lock");
    vec![dead_lock(lock), Goes("workspace", name.into(), "who made it died before it was ready")]
}

fn half_made_and_used(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    set_state(world, name, "creating");
    std::fs::write(world.tree(name).join("mine"), "mine\n").expect("written");
    vec![Kept("workspace", name.into(), "it was not finished, and there are changes in it: mine")]
}

fn half_removed(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    std::fs::write(world.tree(name).join("mine"), "mine\n").expect("written");
    set_state(world, name, "removing");
    vec![Goes("state", name.into(), "its removal died before it began")]
}

/// As a process that is dead left it in the records.
fn set_state(world: &World, name: &str, state: &str) {
    let store = rusqlite::Connection::open(state_db(world)).expect("a store");
    let owner = r#"{"pid": 4000000, "start_time": 1, "boot_id": "gone"}"#;
    let sql = "UPDATE workspace SET state = ?2, \
               record = json_set(record, '$.state', ?2, '$.owner', json(?3)) WHERE name = ?1";
    assert_eq!(store.execute(sql, [name, state, owner]).expect("written"), 1);
}

fn state_db(world: &World) -> PathBuf {
    state(world).join("state.db")
}
