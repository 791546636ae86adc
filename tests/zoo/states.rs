//! Workspaces whose commits have landed, and that hold something else: changes, operations, other commits, other repositories.
//!
//! The work of each is merged first, so that only what is in its tree, its index or its git dir can keep it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::pen::{Goes, Kept, Pen, Specimen, Untouched, Verdict, dead_lock};
use crate::support::World;

fn landed(world: &World, name: &str) -> std::path::PathBuf {
    world.treehand(&["new", name]).expect(0);
    world.commit_in(name, &format!("{name}.txt"), "one\n");
    world.git(&["merge", "-q", "--no-ff", "-m", &format!("merged {name}"), name]);
    world.tree(name)
}

fn goes(name: &str) -> Vec<Verdict> {
    vec![Goes("workspace", name.into(), "clean, ancestor of `main`")]
}

fn kept(name: &str, reason: &'static str) -> Vec<Verdict> {
    vec![Kept("workspace", name.into(), reason)]
}

fn write(tree: &std::path::Path, name: impl AsRef<OsStr>, text: &str) {
    std::fs::write(tree.join(name.as_ref()), text).expect("written");
}

fn dirty(world: &World, name: &str) -> Vec<Verdict> {
    write(&landed(world, name), "a.txt", "changed\n");
    kept(name, "changes that are not committed: a.txt")
}

fn untracked(world: &World, name: &str) -> Vec<Verdict> {
    write(&landed(world, name), "new.txt", "new\n");
    kept(name, "changes that are not committed: new.txt")
}

fn untracked_below(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    std::fs::create_dir_all(tree.join("deep/er")).expect("made");
    write(&tree, "deep/er/new.txt", "new\n");
    kept(name, "changes that are not committed: deep/")
}

fn untracked_although_status_is_silent(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git(&["config", "status.showUntrackedFiles", "no"]);
    write(&tree, "silent.txt", "new\n");
    kept(name, "changes that are not committed: silent.txt")
}

fn ignored_only(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    std::fs::write(world.repo().join(".git/info/exclude"), "*.ignored\nbuild/\n").expect("written");
    write(&tree, "cache.ignored", "cached\n");
    goes(name)
}

fn staged_only(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    write(&tree, "a.txt", "staged\n");
    world.git_in(&tree, &["add", "a.txt"]);
    write(&tree, "a.txt", "one\ntwo\nthree\n");
    kept(name, "changes that are not committed: a.txt")
}

fn meant_to_be_added(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    write(&tree, "later.txt", "");
    world.git_in(&tree, &["add", "-N", "later.txt"]);
    kept(name, "changes that are not committed: later.txt")
}

fn file_deleted(world: &World, name: &str) -> Vec<Verdict> {
    std::fs::remove_file(landed(world, name).join("a.txt")).expect("removed");
    kept(name, "changes that are not committed: a.txt")
}

fn mode_changed(world: &World, name: &str) -> Vec<Verdict> {
    let file = landed(world, name).join("a.txt");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("set");
    kept(name, "changes that are not committed: a.txt")
}

fn link_for_a_file(world: &World, name: &str) -> Vec<Verdict> {
    let file = landed(world, name).join("a.txt");
    std::fs::remove_file(&file).expect("removed");
    symlink("src/lib.txt", file).expect("linked");
    kept(name, "changes that are not committed: a.txt")
}

fn assumed_unchanged(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git_in(&tree, &["update-index", "--assume-unchanged", "a.txt"]);
    write(&tree, "a.txt", "hidden from git\n");
    kept(name, "changes that are not committed: a.txt")
}

fn skipped_in_the_worktree(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git_in(&tree, &["update-index", "--skip-worktree", "a.txt"]);
    write(&tree, "a.txt", "hidden from git, too\n");
    kept(name, "changes that are not committed: a.txt")
}

fn names_that_are_hard(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    for file in [&b"line\nfeed"[..], b"sp ace ", b"caf\xe9", b"-rf", b"\"quoted\"", b"tab\there"] {
        write(&tree, OsStr::from_bytes(file), "hard\n");
    }
    kept(name, "line\\nfeed")
}

fn names_that_are_hard_and_committed(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    let tree = world.tree(name);
    for file in [&b"line\nfeed"[..], b"sp ace ", b"caf\xe9", b"-rf", b":(top)"] {
        write(&tree, OsStr::from_bytes(file), "hard\n");
    }
    world.commit_in(name, "plain.txt", "one\n");
    world.git(&["merge", "-q", "--no-ff", "-m", "hard names", name]);
    goes(name)
}

fn conflict(world: &World, name: &str) -> std::path::PathBuf {
    let tree = landed(world, name);
    world.git_in(&tree, &["branch", "-q", &format!("{name}-other"), "HEAD~1"]);
    tree
}

fn amid(world: &World, name: &str, git: &[&str]) -> std::path::PathBuf {
    let tree = conflict(world, name);
    let other = format!("{name}-other");
    world.git_in(&tree, &["switch", "-q", &other]);
    write(&tree, format!("{name}.txt"), "another\n");
    world.git_in(&tree, &["add", "--all"]);
    world.git_in(&tree, &["commit", "-q", "-m", "the other side"]);
    world.git_in(&tree, &["switch", "-q", name]);
    assert_ne!(world.try_git_in(&tree, &[git, &[&other]].concat()).code, 0, "it conflicts");
    tree
}

fn amid_a_merge(world: &World, name: &str) -> Vec<Verdict> {
    amid(world, name, &["merge"]);
    kept(name, "is in the middle of a merge")
}

fn amid_a_rebase(world: &World, name: &str) -> Vec<Verdict> {
    amid(world, name, &["rebase"]);
    kept(name, "is in the middle of a rebase")
}

fn amid_a_pick(world: &World, name: &str) -> Vec<Verdict> {
    amid(world, name, &["cherry-pick"]);
    kept(name, "is in the middle of a cherry-pick")
}

fn amid_a_bisection(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git_in(&tree, &["bisect", "start", "HEAD", "HEAD~1"]);
    world.git_in(&tree, &["checkout", "-q", name]);
    kept(name, "is in the middle of a bisect")
}

fn detached_with_commits(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    world.git_in(&tree, &["checkout", "-q", "--detach"]);
    world.commit_in(name, "loose.txt", "loose\n");
    kept(name, "is in no branch")
}

fn detached_at_the_target(world: &World, name: &str) -> Vec<Verdict> {
    world.git_in(&landed(world, name), &["checkout", "-q", "--detach", "main"]);
    kept(name, "is not checked out in it")
}

fn on_another_branch(world: &World, name: &str) -> Vec<Verdict> {
    world.git_in(&landed(world, name), &["switch", "-q", "-c", &format!("{name}-new")]);
    kept(name, "is not checked out in it")
}

fn branch_renamed(world: &World, name: &str) -> Vec<Verdict> {
    world.git_in(&landed(world, name), &["branch", "-q", "-m", &format!("{name}-renamed")]);
    kept(name, "is not checked out in it")
}

fn stashed(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    write(&tree, "a.txt", "stashed\n");
    world.git_in(&tree, &["stash", "-q"]);
    goes(name)
}

fn repository_inside(world: &World, name: &str) -> Vec<Verdict> {
    let inner = landed(world, name).join("inner");
    std::fs::create_dir(&inner).expect("made");
    world.git_in(&inner, &["init", "-q"]);
    world.git_in(&inner, &["commit", "-q", "--allow-empty", "-m", "inner"]);
    kept(name, "changes that are not committed: inner")
}

fn read_only_inside(world: &World, name: &str) -> Vec<Verdict> {
    let tree = landed(world, name);
    std::fs::create_dir_all(tree.join("build/ro")).expect("made");
    write(&tree, "build/ro/file", "built\n");
    for place in ["src", "build/ro", "build"] {
        std::fs::set_permissions(tree.join(place), std::fs::Permissions::from_mode(0o555)).expect("set");
    }
    goes(name)
}

fn loops_and_ways_out(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    let tree = world.tree(name);
    symlink("loop", tree.join("loop")).expect("linked");
    symlink(".", tree.join("again")).expect("linked");
    symlink(world.path().join("outside"), tree.join("out")).expect("linked");
    std::fs::create_dir(world.path().join("outside")).expect("made");
    std::fs::write(world.path().join("outside/precious"), "precious\n").expect("written");
    std::fs::create_dir(tree.join("build")).expect("made");
    symlink("/", tree.join("build/root")).expect("linked");
    world.commit_in(name, "work.txt", "one\n");
    world.git(&["merge", "-q", "--no-ff", "-m", "links", name]);
    goes(name)
}

/// By a git that died: one at work stands in the tree.
fn index_is_locked(world: &World, name: &str) -> Vec<Verdict> {
    landed(world, name);
    let entry = world.git_in(&world.tree(name), &["rev-parse", "--absolute-git-dir"]);
    let mut verdicts = goes(name);
    verdicts.push(dead_lock(std::path::Path::new(&entry).join("index.lock")));
    verdicts
}

fn others_worktree_inside(world: &World, name: &str) -> Vec<Verdict> {
    let inner = landed(world, name).join("build/worktrees/inner");
    world.git(&["worktree", "add", "-q", "-b", "inner", &inner.to_string_lossy()]);
    write(&inner, "precious", "precious\n");
    vec![Kept("workspace", name.into(), "holds what is not its own: build/worktrees/inner"), Untouched(inner)]
}

fn ignored_repository_inside(world: &World, name: &str) -> Vec<Verdict> {
    let inner = landed(world, name).join("build/inner");
    std::fs::create_dir_all(&inner).expect("made");
    world.git_in(&inner, &["init", "-q"]);
    world.git_in(&inner, &["commit", "-q", "--allow-empty", "-m", "nowhere else"]);
    vec![Kept("workspace", name.into(), "holds what is not its own: build/inner"), Untouched(inner)]
}

/// What can live in one repository.
pub const ALL: &[Specimen] = &[
    ("dirty", dirty),
    ("untracked", untracked),
    ("untracked-below", untracked_below),
    ("ignored-only", ignored_only),
    ("staged-only", staged_only),
    ("meant-to-be-added", meant_to_be_added),
    ("file-deleted", file_deleted),
    ("mode-changed", mode_changed),
    ("link-for-a-file", link_for_a_file),
    ("assumed-unchanged", assumed_unchanged),
    ("skip-worktree", skipped_in_the_worktree),
    ("hard-names", names_that_are_hard),
    ("hard-names-committed", names_that_are_hard_and_committed),
    ("amid-a-merge", amid_a_merge),
    ("amid-a-rebase", amid_a_rebase),
    ("amid-a-pick", amid_a_pick),
    ("amid-a-bisection", amid_a_bisection),
    ("detached-with-commits", detached_with_commits),
    ("detached-at-the-target", detached_at_the_target),
    ("on-another-branch", on_another_branch),
    ("branch-renamed", branch_renamed),
    ("stashed", stashed),
    ("repository-inside", repository_inside),
    ("others-worktree-inside", others_worktree_inside),
    ("ignored-repository-inside", ignored_repository_inside),
    ("read-only-inside", read_only_inside),
    ("loops-and-ways-out", loops_and_ways_out),
    ("index-is-locked", index_is_locked),
    ("untracked-silent", untracked_although_status_is_silent),
];

#[test]
fn what_is_nowhere_else_keeps_its_workspace() {
    Pen::fill(World::new(), ALL).judge(&["--min-age", "0s"]);
}
