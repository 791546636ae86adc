//! Workspaces whose directory is not where or what it was, that are locked, in use, protected, or sealed.
//!
//! Absence is a proof only where one can look; whatever else is in the place of a workspace is somebody's.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use crate::pen::{Goes, Kept, Pen, Specimen, Untouched, Verdict};
use crate::support::World;

fn landed(world: &World, name: &str) -> PathBuf {
    world.treehand(&["new", name]).expect(0);
    world.commit_in(name, &format!("{name}.txt"), "one\n");
    world.git(&["merge", "-q", "--no-ff", "-m", &format!("merged {name}"), name]);
    world.tree(name)
}

fn gone(name: &str) -> Vec<Verdict> {
    vec![Goes("workspace", name.into(), "its directory is gone")]
}

fn kept(name: &str, reason: &'static str) -> Vec<Verdict> {
    vec![Kept("workspace", name.into(), reason)]
}

fn deleted_by_hand(world: &World, name: &str) -> Vec<Verdict> {
    std::fs::remove_dir_all(landed(world, name)).expect("removed");
    gone(name)
}

fn deleted_with_what_was_around_it(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    std::fs::remove_dir_all(world.trees().join(name)).expect("removed");
    gone(name)
}

fn deleted_with_open_work(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    world.commit_in(name, "open-work.txt", "open\n");
    std::fs::remove_dir_all(world.tree(name)).expect("removed");
    gone(name)
}

fn deleted_with_a_loose_head(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git_in(&tree, &["checkout", "-q", "--detach"]);
    world.commit_in(name, "loose.txt", "loose\n");
    std::fs::remove_dir_all(tree).expect("removed");
    kept(name, "is in no branch")
}

fn deleted_with_something_staged(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    std::fs::write(tree.join("staged.txt"), "only in the index\n").expect("written");
    world.git_in(&tree, &["add", "staged.txt"]);
    std::fs::remove_dir_all(tree).expect("removed");
    gone(name)
}

fn pruned_by_git(world: &World, name: &str) -> Vec<Verdict> {
    std::fs::remove_dir_all(landed(world, name)).expect("removed");
    world.git(&["worktree", "prune"]);
    gone(name)
}

fn replaced(world: &World, name: &str, by: impl FnOnce(&PathBuf)) -> Vec<Verdict> {
    let tree = landed(world, name);
    std::fs::remove_dir_all(&tree).expect("removed");
    by(&tree);
    vec![Kept("workspace", name.into(), "is not the workspace"), Untouched(tree)]
}

fn replaced_by_a_file(world: &World, name: &str) -> Vec<Verdict> {
    replaced(world, name, |tree| std::fs::write(tree, "a file\n").expect("written"))
}

fn replaced_by_a_clone(world: &World, name: &str) -> Vec<Verdict> {
    replaced(world, name, |tree| {
        world.git(&["clone", "-q", ".", &tree.to_string_lossy()]);
    })
}

fn replaced_by_plain_files(world: &World, name: &str) -> Vec<Verdict> {
    replaced(world, name, |tree| {
        std::fs::create_dir(tree).expect("made");
        std::fs::write(tree.join("mine"), "mine\n").expect("written");
    })
}

fn replaced_by_an_empty_directory(world: &World, name: &str) -> Vec<Verdict> {
    replaced(world, name, |tree| std::fs::create_dir(tree).expect("made"))
}

fn replaced_by_a_link(world: &World, name: &str) -> Vec<Verdict> {
    let elsewhere = world.path().join("linked-to");
    std::fs::create_dir(&elsewhere).expect("made");
    std::fs::write(elsewhere.join("mine"), "mine\n").expect("written");
    replaced(world, name, |tree| symlink(&elsewhere, tree).expect("linked"))
}

fn replaced_by_a_link_to_itself(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    let aside = world.path().join("aside");
    std::fs::rename(&tree, &aside).expect("renamed");
    symlink(&aside, &tree).expect("linked");
    vec![Kept("workspace", name.into(), "is not the workspace"), Untouched(aside)]
}

fn replaced_by_another_worktree(world: &World, name: &str) -> Vec<Verdict> {
    let other = world.path().join("other-worktree");
    world.git(&["worktree", "add", "-q", "-b", "other-worktree", &other.to_string_lossy()]);
    replaced(world, name, |tree| std::fs::rename(&other, tree).expect("renamed"))
}

fn swapped(world: &World, name: &str) -> Vec<Verdict> {
    let (one, other) = (landed(world, name), landed(world, "swapped-other"));
    let aside = world.path().join("swap");
    std::fs::rename(&one, &aside).expect("renamed");
    std::fs::rename(&other, &one).expect("renamed");
    std::fs::rename(&aside, &other).expect("renamed");
    let said = |name: &str| Kept("workspace", name.into(), "is not the workspace");
    vec![said(name), said("swapped-other"), Untouched(one), Untouched(other)]
}

fn moved_by_hand(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    std::fs::write(tree.join("mine"), "mine\n").expect("written");
    let place = world.path().join("moved-by-hand");
    std::fs::rename(&tree, &place).expect("renamed");
    vec![Goes("workspace", name.into(), "its directory is gone"), Untouched(place)]
}

fn moved_by_git(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    let place = world.path().join("moved-by-git");
    let from = world.tree(name);
    world.git(&["worktree", "move", &from.to_string_lossy(), &place.to_string_lossy()]);
    std::fs::write(place.join("mine"), "mine\n").expect("written");
    vec![Goes("workspace", name.into(), "its directory is gone"), Untouched(place)]
}

fn locked_by_a_person(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git(&["worktree", "lock", "--reason", "on a stick", &tree.to_string_lossy()]);
    kept(name, "is locked (on a stick)")
}

fn locked_without_a_reason(world: &World, name: &str) -> Vec<Verdict> {
    world.git(&["worktree", "lock", &landed(world, name).to_string_lossy()]);
    kept(name, "is locked")
}

fn locked_by_the_dead(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    let reason = "claude session x (pid 4000000 start 1)";
    world.git(&["worktree", "lock", "--reason", reason, &tree.to_string_lossy()]);
    kept(name, "is locked (claude session")
}

fn locked_and_deleted(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git(&["worktree", "lock", "--reason", "on a stick", &tree.to_string_lossy()]);
    std::fs::remove_dir_all(tree).expect("removed");
    kept(name, "is locked (on a stick)")
}

fn checked_out_twice(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    let twice = world.path().join("twice");
    world.git(&["worktree", "add", "-q", "--force", &twice.to_string_lossy(), name]);
    vec![Kept("workspace", name.into(), "it is in use in "), Untouched(twice)]
}

fn guarded(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    kept(name, "is protected by `guard*`")
}

fn sealed(world: &World, name: &str, script: &str) {
    world.treehand(&["new", name, "--sealed"]).expect(0);
    world.treehand(&["exec", "--confine", "off", name, "--", "sh", "-c", script]).expect(0);
}

fn sealed_with_work(world: &World, name: &str) -> Vec<Verdict> {
    sealed(world, name, "echo s > s; git add s; git commit -q -m sealed");
    kept(name, "work that was not imported")
}

fn sealed_with_files(world: &World, name: &str) -> Vec<Verdict> {
    sealed(world, name, "echo s > s");
    kept(name, "work that was not imported")
}

fn sealed_without_work(world: &World, name: &str) -> Vec<Verdict> {
    sealed(world, name, "true");
    kept(name, "no work yet")
}

fn sealed_and_landed(world: &World, name: &str) -> Vec<Verdict> {
    sealed(world, name, "echo s > sealed.txt; git add --all; git commit -q -m sealed");
    world.treehand(&["diff", name]).expect(0);
    world.git(&["merge", "-q", "--no-ff", "-m", "sealed", name]);
    vec![Goes("workspace", name.into(), "clean, ancestor of `main`")]
}

/// What can live in one repository.
fn sealed_with_another_branch(world: &World, name: &str) -> Vec<Verdict> {
    let script = "git switch -q -c other; echo o > o; git add o; git commit -q -m other; git switch -q -; \
                  echo s > sealed-too.txt; git add --all; git commit -q -m sealed";
    sealed(world, name, script);
    world.treehand(&["diff", name]).expect(0);
    world.git(&["merge", "-q", "--no-ff", "-m", "sealed, too", name]);
    vec![Goes("workspace", name.into(), "clean, ancestor of `main`")]
}

fn sealed_with_a_stash(world: &World, name: &str) -> Vec<Verdict> {
    let script =
        "echo s > sealed-three.txt; git add --all; git commit -q -m sealed; echo t > t; git add t; git stash -q";
    sealed(world, name, script);
    world.treehand(&["diff", name]).expect(0);
    world.git(&["merge", "-q", "--no-ff", "-m", "sealed, three", name]);
    vec![Goes("workspace", name.into(), "clean, ancestor of `main`")]
}

fn sealed_files_and_landed(world: &World, name: &str) -> Vec<Verdict> {
    sealed(world, name, "echo s > sealed-files.txt");
    world.treehand(&["diff", name]).expect(0);
    world.git(&["merge", "-q", "--no-ff", "-m", "sealed files", name]);
    vec![Goes("workspace", name.into(), "clean, ancestor of `main`")]
}

pub const ALL: &[Specimen] = &[
    // First: it takes every entry whose directory is gone by then.
    ("pruned", pruned_by_git),
    ("deleted", deleted_by_hand),
    ("deleted-around", deleted_with_what_was_around_it),
    ("deleted-open", deleted_with_open_work),
    ("deleted-loose", deleted_with_a_loose_head),
    ("deleted-staged", deleted_with_something_staged),
    ("is-a-file", replaced_by_a_file),
    ("is-a-clone", replaced_by_a_clone),
    ("is-plain-files", replaced_by_plain_files),
    ("is-empty", replaced_by_an_empty_directory),
    ("is-a-link", replaced_by_a_link),
    ("is-a-link-to-itself", replaced_by_a_link_to_itself),
    ("is-another", replaced_by_another_worktree),
    ("swapped", swapped),
    ("moved-by-hand", moved_by_hand),
    ("moved-by-git", moved_by_git),
    ("locked-by-a-person", locked_by_a_person),
    ("locked-without-a-reason", locked_without_a_reason),
    ("locked-by-the-dead", locked_by_the_dead),
    ("locked-and-deleted", locked_and_deleted),
    ("checked-out-twice", checked_out_twice),
    ("guarded", guarded),
    ("sealed-with-work", sealed_with_work),
    ("sealed-with-files", sealed_with_files),
    ("sealed-without-work", sealed_without_work),
    ("sealed-and-landed", sealed_and_landed),
    ("sealed-other-branch", sealed_with_another_branch),
    ("sealed-stash", sealed_with_a_stash),
    ("sealed-files-landed", sealed_files_and_landed),
];

#[test]
fn only_what_is_provably_the_workspace_or_provably_gone_goes() {
    Pen::fill(World::new(), ALL).judge(&["--min-age", "0s", "--set", "clean.protect=guard*"]);
}
