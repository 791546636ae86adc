//! Workspaces whose work came to the target in every way that there is, and those whose work did not.
//!
//! Every one is clean and its branch is checked out in it: only its commits decide.

use crate::pen::{Goes, Kept, Pen, Specimen, Verdict};
use crate::support::World;

/// A workspace with one commit that adds a file of its name.
fn with_work(world: &World, name: &str) {
    world.treehand(&["new", name]).expect(0);
    world.commit_in(name, &format!("{name}.txt"), "one\n");
}

fn goes(name: &str, proof: &'static str) -> Vec<Verdict> {
    vec![Goes("workspace", name.into(), proof)]
}

fn kept(name: &str, reason: &'static str) -> Vec<Verdict> {
    vec![Kept("workspace", name.into(), reason)]
}

fn squash(world: &World, name: &str) {
    world.git(&["merge", "-q", "--squash", name]);
    world.git(&["commit", "-q", "-m", &format!("squashed {name}")]);
}

fn merge(world: &World, name: &str) {
    world.git(&["merge", "-q", "--no-ff", "-m", &format!("merged {name}"), name]);
}

fn fast_forward(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.git(&["merge", "-q", "--ff-only", name]);
    goes(name, "clean, ancestor of `main`")
}

fn merged(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    merge(world, name);
    goes(name, "clean, ancestor of `main`")
}

fn squashed(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit_in(name, "second.txt", "two\n");
    squash(world, name);
    goes(name, "clean, merge-adds-nothing of `main`")
}

fn rebased(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit_in(name, "rebased-too.txt", "two\n");
    world.commit("main goes on", &[("onward.txt", "on\n")]);
    world.git(&["switch", "-q", "-c", "scratch", name]);
    world.git(&["rebase", "-q", "main"]);
    world.git(&["switch", "-q", "main"]);
    world.git(&["merge", "-q", "--ff-only", "scratch"]);
    world.git(&["branch", "-q", "-D", "scratch"]);
    goes(name, "clean, merge-adds-nothing of `main`")
}

fn picked_then_edited(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit_in(name, &format!("{name}.txt"), "one\ntwo\n");
    world.commit("main goes on, too", &[("onward.txt", "on and on\n")]);
    world.git(&["cherry-pick", &format!("{name}~1"), name]);
    world.commit("edits what was picked", &[("picked-then-edited.txt", "other\n")]);
    goes(name, "clean, per-commit-patch-id of `main`")
}

fn squashed_then_edited(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit_in(name, &format!("{name}.txt"), "one\ntwo\n");
    squash(world, name);
    world.commit("edits what was squashed", &[("squashed-then-edited.txt", "other\n")]);
    goes(name, "clean, patch-id of `main`")
}

fn squashed_then_deleted(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    squash(world, name);
    world.git(&["rm", "-q", "squashed-then-deleted.txt"]);
    world.git(&["commit", "-q", "-m", "a later change has no use for it"]);
    goes(name, "clean, per-commit-patch-id of `main`")
}

fn merged_then_reverted(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    merge(world, name);
    world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    kept(name, "its work was in `main` and was reverted by")
}

fn reverted_twice(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    merge(world, name);
    world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    goes(name, "clean, ancestor of `main`")
}

fn no_work(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    kept(name, "no work yet")
}

fn back_at_its_base(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.git_in(&world.tree(name), &["reset", "-q", "--hard", "HEAD~1"]);
    kept(name, "no work yet")
}

fn amended_since(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    merge(world, name);
    std::fs::write(world.tree(name).join("amended-since.txt"), "amended\n").expect("written");
    world.git_in(&world.tree(name), &["commit", "-q", "-a", "--amend", "--no-edit"]);
    kept(name, "it has 1 commit that is not in `main`")
}

fn went_on(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    squash(world, name);
    world.commit_in(name, "further.txt", "more\n");
    kept(name, "2 commits that are not in `main`")
}

fn open(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    kept(name, "it has 1 commit that is not in `main`")
}

fn landed_elsewhere(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.git(&["branch", "next", name]);
    kept(name, "it has 1 commit that is not in `main`")
}

fn takes_itself_back(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.git_in(&world.tree(name), &["revert", "--no-edit", "HEAD"]);
    goes(name, "clean, no-diff of `main`")
}

fn says_something_only(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    world.git_in(&world.tree(name), &["commit", "-q", "--allow-empty", "-m", "only words"]);
    goes(name, "clean, no-diff of `main`")
}

fn same_by_another_hand(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit("somebody else wrote the same", &[("same-by-another-hand.txt", "one\n")]);
    goes(name, "clean, merge-adds-nothing of `main`")
}

fn partly_landed(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit_in(name, "partly-second.txt", "two\n");
    world.commit("main goes on, again", &[("onward.txt", "on, on, and on\n")]);
    world.git(&["cherry-pick", &format!("{name}~1")]);
    kept(name, "2 commits that are not in `main`")
}

fn of_a_history_of_its_own(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    let tree = world.tree(name);
    world.git_in(&tree, &["switch", "-q", "--orphan", "roots"]);
    std::fs::write(tree.join("root.txt"), "root\n").expect("written");
    world.git_in(&tree, &["add", "--all"]);
    world.git_in(&tree, &["commit", "-q", "-m", "another root"]);
    world.git_in(&tree, &["branch", "-q", "-M", "roots", name]);
    kept(name, "1 commit that is not in `main`")
}

/// What can live in one repository.
pub const ALL: &[Specimen] = &[
    ("fast-forward", fast_forward),
    ("merged", merged),
    ("squashed", squashed),
    ("rebased", rebased),
    ("picked-then-edited", picked_then_edited),
    ("squashed-then-edited", squashed_then_edited),
    ("squashed-then-deleted", squashed_then_deleted),
    ("merged-then-reverted", merged_then_reverted),
    ("reverted-twice", reverted_twice),
    ("no-work", no_work),
    ("back-at-its-base", back_at_its_base),
    ("amended-since", amended_since),
    ("went-on", went_on),
    ("open", open),
    ("landed-elsewhere", landed_elsewhere),
    ("takes-itself-back", takes_itself_back),
    ("says-something-only", says_something_only),
    ("same-by-another-hand", same_by_another_hand),
    ("partly-landed", partly_landed),
    ("a-root-of-its-own", of_a_history_of_its_own),
];

#[test]
fn only_what_is_provably_in_its_target_goes() {
    Pen::fill(World::new(), ALL).judge(&["--min-age", "0s"]);
}

/// Names of workspaces that a second pen has to itself: each commit of the remote ends the work of one.
const UPSTREAM: &[Specimen] = &[("landed-upstream", landed_upstream), ("squashed-upstream", squashed_upstream)];

fn landed_upstream(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.git(&["push", "-q", "origin", &format!("{name}:main")]);
    world.git(&["fetch", "-q", "origin"]);
    goes(name, "clean, ancestor of `origin/main`")
}

fn squashed_upstream(world: &World, name: &str) -> Vec<Verdict> {
    with_work(world, name);
    world.commit_upstream("squashed by the forge", "squashed-upstream.txt", "one\n");
    world.git(&["fetch", "-q", "origin"]);
    goes(name, "clean, same-tree of `origin/main`")
}

#[test]
fn what_landed_upstream_only_has_landed() {
    Pen::fill(World::with_remote(), UPSTREAM).judge(&["--min-age", "0s"]);
}

#[test]
fn what_is_young_stays_whatever_became_of_its_work() {
    Pen::fill(World::new(), &[("young-merged", young_merged), ("young-gone", young_gone)]).judge(&[]);
}

fn young_merged(world: &World, name: &str) -> Vec<Verdict> {
    merged(world, name);
    kept(name, "younger than 1d")
}

fn young_gone(world: &World, name: &str) -> Vec<Verdict> {
    world.treehand(&["new", name]).expect(0);
    std::fs::remove_dir_all(world.trees().join(name)).expect("removed");
    kept(name, "younger than 1d")
}
