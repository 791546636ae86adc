//! What is not treehand's, and what treehand's own died over: other people's worktrees, entries and directories.
//!
//! git's own list is never pruned: an entry that is not ours goes only where no git ever takes it away.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::pen::{Goes, Kept, Pen, Specimen, Untouched, Verdict, entries};
use crate::support::{self, World};

/// A worktree that somebody added by git, with its entry.
fn added(world: &World, name: &str, at: &Path) -> (PathBuf, PathBuf) {
    std::fs::create_dir_all(at.parent().expect("a parent")).expect("made");
    let mut command = std::process::Command::new("git");
    world.clean(&mut command);
    command.args(["worktree", "add", "-q", "-b", name]).arg(at).current_dir(world.repo());
    support::answer(command).expect(0);
    let (entry, tree) = entries(&world.repo()).into_iter().find(|(_, tree)| tree == at).expect("git lists it");
    (tree, entry)
}

fn untouched((tree, entry): (PathBuf, PathBuf)) -> Vec<Verdict> {
    vec![Untouched(tree), Untouched(entry)]
}

fn by_git(world: &World, name: &str) -> Vec<Verdict> {
    untouched(added(world, name, &world.path().join("by-git")))
}

fn beside_the_repository(world: &World, name: &str) -> Vec<Verdict> {
    untouched(added(world, name, &world.path().join("repo.feature")))
}

fn of_a_crew(world: &World, name: &str) -> Vec<Verdict> {
    untouched(added(world, name, &world.repo().join(".crew/worktrees/run/agent")))
}

fn of_an_agent(world: &World, name: &str) -> Vec<Verdict> {
    untouched(added(world, name, &world.repo().join(".claude/worktrees/brave-fox")))
}

fn where_ours_are(world: &World, name: &str) -> Vec<Verdict> {
    untouched(added(world, name, &world.trees().join("guest/repo")))
}

fn with_a_name_like_ours(world: &World, name: &str) -> Vec<Verdict> {
    let (tree, entry) = added(world, name, &world.path().join("treehand-guest"));
    vec![
        Kept("entry", "/worktrees/treehand-guest".into(), "its directory is there, and nothing is recorded of it"),
        Untouched(tree),
        Untouched(entry),
    ]
}

fn with_a_name_in_two_lines(world: &World, name: &str) -> Vec<Verdict> {
    let tree = world.path().join("two\nlines and spaces");
    world.git(&["worktree", "add", "-q", "-b", name, &tree.to_string_lossy()]);
    vec![Untouched(tree)]
}

fn with_a_name_that_is_no_text(world: &World, name: &str) -> Vec<Verdict> {
    untouched(added(world, name, &world.path().join(OsStr::from_bytes(b"caf\xe9"))))
}

fn prunable(world: &World, name: &str) -> Vec<Verdict> {
    let (tree, entry) = added(world, name, &world.path().join("prunable"));
    std::fs::remove_dir_all(tree).expect("removed");
    vec![Untouched(entry)]
}

fn prunable_and_locked(world: &World, name: &str) -> Vec<Verdict> {
    let (tree, entry) = added(world, name, &world.path().join("prunable-locked"));
    world.git(&["worktree", "lock", "--reason", "on a stick", &tree.to_string_lossy()]);
    std::fs::remove_dir_all(tree).expect("removed");
    vec![Untouched(entry)]
}

fn without_a_commit(world: &World, _: &str) -> Vec<Verdict> {
    let tree = world.path().join("orphaned");
    world.git(&["worktree", "add", "-q", "--orphan", "-b", "orphaned", &tree.to_string_lossy()]);
    vec![Untouched(tree)]
}

fn entry_of(world: &World, name: &str, files: &[(&str, &str)], age: &str) -> PathBuf {
    let entry = world.repo().join(".git/worktrees").join(name);
    std::fs::create_dir_all(&entry).expect("made");
    for (file, text) in files {
        std::fs::write(entry.join(file), text).expect("written");
    }
    world.shell(&format!("touch -d '{age}' '{0}' '{0}'/* || true", entry.display())).expect(0);
    entry
}

fn stillborn(world: &World, name: &str) -> Vec<Verdict> {
    entry_of(world, name, &[("locked", "initializing")], "2 hours ago");
    vec![Goes("entry", format!("/worktrees/{name}"), "its directory is gone")]
}

fn born_just_now(world: &World, name: &str) -> Vec<Verdict> {
    vec![Untouched(entry_of(world, name, &[("locked", "initializing")], "now"))]
}

fn died_a_moment_later(world: &World, name: &str) -> Vec<Verdict> {
    let place = world.path().join("never-there/.git").display().to_string();
    let files = [("locked", "initializing"), ("gitdir", place.as_str()), ("HEAD", "ref: refs/heads/main\n")];
    vec![Untouched(entry_of(world, name, &files, "2 hours ago"))]
}

fn ours_without_a_tree(world: &World, name: &str) -> Vec<Verdict> {
    let (tree, _) = added(world, name, &world.path().join("treehand-lost"));
    std::fs::remove_dir_all(tree).expect("removed");
    vec![Goes("entry", "/worktrees/treehand-lost".into(), "its directory is gone")]
}

fn ours_on_a_disk_that_is_away(world: &World, name: &str) -> Vec<Verdict> {
    let (tree, entry) = added(world, name, &world.path().join("disk/far/treehand-away"));
    std::fs::remove_dir_all(tree.parent().and_then(Path::parent).expect("a disk")).expect("removed");
    let back = entry.join("gitdir");
    std::fs::write(back, "/no-such-disk/far/treehand-away/.git\n").expect("written");
    vec![Kept("entry", "/worktrees/treehand-away".into(), "its disk may not be mounted"), Untouched(entry)]
}

fn nothing_is_known_of(world: &World, name: &str) -> Vec<Verdict> {
    let place = world.trees().join(name).join("repo");
    std::fs::create_dir_all(&place).expect("made");
    std::fs::write(place.join("mine"), "mine\n").expect("written");
    vec![Untouched(place)]
}

fn link_among_ours(world: &World, name: &str) -> Vec<Verdict> {
    std::fs::create_dir_all(world.trees()).expect("made");
    let place = world.trees().join(name);
    std::os::unix::fs::symlink(world.repo(), &place).expect("linked");
    vec![Untouched(place)]
}

fn clone_among_ours(world: &World, name: &str) -> Vec<Verdict> {
    let place = world.trees().join(name).join("repo");
    world.git(&["clone", "-q", ".", &place.to_string_lossy()]);
    vec![Untouched(place)]
}

fn workspace_whose_record_is_lost(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    let store = rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store");
    store.execute("DELETE FROM workspace WHERE name = ?1", [name]).expect("forgotten");
    vec![Untouched(world.tree(name))]
}

/// What can live in one repository.
pub const ALL: &[Specimen] = &[
    ("by-git", by_git),
    ("beside", beside_the_repository),
    ("of-a-crew", of_a_crew),
    ("of-an-agent", of_an_agent),
    ("where-ours-are", where_ours_are),
    ("like-ours", with_a_name_like_ours),
    ("two-lines", with_a_name_in_two_lines),
    ("no-text", with_a_name_that_is_no_text),
    ("prunable", prunable),
    ("prunable-locked", prunable_and_locked),
    ("without-a-commit", without_a_commit),
    ("stillborn", stillborn),
    ("born-just-now", born_just_now),
    ("died-later", died_a_moment_later),
    ("lost", ours_without_a_tree),
    ("away", ours_on_a_disk_that_is_away),
    ("unknown", nothing_is_known_of),
    ("link", link_among_ours),
    ("clone", clone_among_ours),
    ("forgotten", workspace_whose_record_is_lost),
];

#[test]
fn what_is_not_ours_is_not_even_mentioned() {
    let world = World::new();
    std::fs::write(world.repo().join(".git/info/exclude"), ".crew/\n.claude/\n").expect("written");
    world.treehand(&["new", "first"]).expect(0);
    world.treehand(&["rm", "first"]).expect(0);
    Pen::fill(world, ALL).judge(&["--min-age", "0s"]);
}
