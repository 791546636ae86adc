//! Branches of people, for `--branches all`: those that go, one for each proof, and those that stay, one for each reason.
//!
//! The default branch is never mentioned; without `--branches all` none of these is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::pen::{Goes, Kept, Pen, Specimen, Untouched, Verdict};
use crate::support::{self, World};

fn goes(name: &str, proof: &'static str) -> Vec<Verdict> {
    vec![Goes("branch", format!("refs/heads/{name}"), proof)]
}

fn kept(name: &str, reason: &'static str) -> Vec<Verdict> {
    vec![Kept("branch", format!("refs/heads/{name}"), reason)]
}

/// A branch with commits that write these texts into a file of its name.
fn branch(world: &World, name: &str, texts: &[&str]) {
    world.git(&["switch", "-q", "-c", name]);
    let file = format!("{}.txt", name.replace('/', "-"));
    for (n, text) in texts.iter().enumerate() {
        world.commit(&format!("{name} {n}"), &[(&file, text)]);
    }
    world.git(&["switch", "-q", "main"]);
}

fn merge(world: &World, name: &str) {
    world.git(&["merge", "-q", "--no-ff", "-m", &format!("merged {name}"), name]);
}

fn squash(world: &World, name: &str) {
    world.git(&["merge", "-q", "--squash", name]);
    world.git(&["commit", "-q", "-m", &format!("squashed {name}")]);
}

fn ancestor(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n"]);
    merge(world, name);
    goes(name, "ancestor of `main`")
}

fn merge_adds_nothing(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n", "two\n"]);
    squash(world, name);
    goes(name, "merge-adds-nothing of `main`")
}

fn patch_id(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n", "two\n"]);
    squash(world, name);
    world.commit("edits it", &[("patch-id.txt", "three\n")]);
    goes(name, "patch-id of `main`")
}

fn per_commit(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n", "two\n"]);
    world.commit("between", &[("between.txt", "x\n")]);
    world.git(&["cherry-pick", &format!("{name}~1"), name]);
    world.commit("edits it, too", &[("per-commit.txt", "three\n")]);
    goes(name, "per-commit-patch-id of `main`")
}

fn no_diff(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n"]);
    world.git(&["switch", "-q", name]);
    world.git(&["revert", "--no-edit", "HEAD"]);
    world.git(&["switch", "-q", "main"]);
    goes(name, "no-diff of `main`")
}

fn at_its_base(world: &World, name: &str) -> Vec<Verdict> {
    world.git(&["branch", name]);
    kept(name, "no work yet")
}

fn behind(world: &World, name: &str) -> Vec<Verdict> {
    world.git(&["branch", name, "main~1"]);
    kept(name, "no work yet")
}

fn open(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n"]);
    kept(name, "its work is in no target")
}

fn reverted(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n"]);
    merge(world, name);
    world.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
    kept(name, "its work was in `main` and was reverted by ")
}

fn reverted_twice(world: &World, name: &str) -> Vec<Verdict> {
    reverted(world, name);
    world.git(&["revert", "--no-edit", "HEAD"]);
    goes(name, "ancestor of `main`")
}

fn alias_of_one_that_landed(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, "landed-alias");
    world.git(&["symbolic-ref", &format!("refs/heads/{name}"), "refs/heads/landed-alias"]);
    let mut said = kept(name, "it is another name of refs/heads/landed-alias");
    said.extend(kept("landed-alias", "another name"));
    said
}

fn alias_of_an_open_one(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, "aliased", &["one\n"]);
    world.git(&["symbolic-ref", &format!("refs/heads/{name}"), "refs/heads/aliased"]);
    let mut said = kept(name, "it is another name of refs/heads/aliased");
    said.extend(kept("aliased", "its work is in no target"));
    said
}

fn no_text(world: &World, _: &str) -> Vec<Verdict> {
    let mut command = std::process::Command::new("git");
    world.clean(&mut command);
    command.arg("branch").arg(OsStr::from_bytes(b"caf\xe9")).current_dir(world.repo());
    support::answer(command).expect(0);
    kept("caf\u{fffd}", "its name is not UTF-8")
}

fn guarded(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    kept(name, "protected by `guard*`")
}

fn base_of_a_workspace(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    world.treehand(&["new", "based", "--base", name]).expect(0);
    let mut said = kept(name, "the workspace `based` is based on it");
    said.push(Kept("workspace", "based".into(), "no work yet"));
    said
}

fn upstream_of_a_workspace(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    world.treehand(&["new", "tracks", "--base", "main"]).expect(0);
    world.git(&["branch", "-q", "--set-upstream-to", name, "tracks"]);
    let mut said = goes(name, "ancestor of `main`");
    said.push(Kept("workspace", "tracks".into(), "no work yet"));
    said
}

fn checked_out(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    let place = world.path().join("checked-out");
    world.git(&["worktree", "add", "-q", &place.to_string_lossy(), name]);
    let mut said = kept(name, "it is in use in ");
    said.push(Untouched(place));
    said
}

fn amid_a_rebase(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, "rebase-onto", &["one\n"]);
    world.git(&["switch", "-q", "-c", name]);
    world.commit("the other side", &[("rebase-onto.txt", "other\n")]);
    world.git(&["switch", "-q", "main"]);
    merge(world, name);
    let place = world.path().join("rebasing");
    world.git(&["worktree", "add", "-q", &place.to_string_lossy(), name]);
    assert_ne!(world.try_git_in(&place, &["rebase", "rebase-onto"]).code, 0, "it conflicts");
    let mut said = kept(name, "it is in use in ");
    said.extend(kept("rebase-onto", "its work is in no target"));
    said.push(Untouched(place));
    said
}

fn with_a_configuration(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    world.git(&["config", &format!("branch.{name}.description"), "of a person"]);
    world.git(&["config", &format!("branch.{name}.remote"), "nowhere"]);
    goes(name, "ancestor of `main`")
}

fn without_a_reflog(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    std::fs::remove_file(world.repo().join(".git/logs/refs/heads").join(name)).expect("removed");
    goes(name, "ancestor of `main`")
}

fn packed(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name);
    world.git(&["pack-refs", "--all"]);
    goes(name, "ancestor of `main`")
}

fn in_a_folder(world: &World, name: &str) -> Vec<Verdict> {
    ancestor(world, name).into_iter().chain(open(world, &format!("{name}-open"))).collect()
}

fn amended(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n"]);
    merge(world, name);
    world.git(&["switch", "-q", name]);
    world.write("amended.txt", "two\n");
    world.git(&["commit", "-q", "-a", "--amend", "--no-edit"]);
    world.git(&["switch", "-q", "main"]);
    kept(name, "its work is in no target")
}

fn task_of_nobody(world: &World, _: &str) -> Vec<Verdict> {
    ancestor(world, "treehand/0w253tzej6/lost");
    goes("treehand/0w253tzej6/lost", "no task is recorded for it, ancestor of `main`")
}

fn open_task_of_nobody(world: &World, _: &str) -> Vec<Verdict> {
    branch(world, "treehand/0w253tzej6/open", &["one\n"]);
    kept("treehand/0w253tzej6/open", "no task is recorded for it, and its work is in no target")
}

fn of_another_root(world: &World, name: &str) -> Vec<Verdict> {
    let tree = world.git(&["rev-parse", "main^{tree}"]);
    let root = world.git(&["commit-tree", &tree, "-m", "another root"]);
    world.git(&["branch", name, &root]);
    kept(name, "its work is in no target")
}

fn same_tree(world: &World, name: &str) -> Vec<Verdict> {
    branch(world, name, &["one\n"]);
    world.commit("the same by another hand", &[("same-tree.txt", "one\n")]);
    goes(name, "same-tree of `main`")
}

/// What can live in one repository.
pub const ALL: &[Specimen] = &[
    ("ancestor", ancestor),
    ("merge-adds-nothing", merge_adds_nothing),
    ("patch-id", patch_id),
    ("per-commit", per_commit),
    ("no-diff", no_diff),
    ("at-its-base", at_its_base),
    ("behind", behind),
    ("open", open),
    ("reverted", reverted),
    ("reverted-twice", reverted_twice),
    ("alias", alias_of_an_open_one),
    ("alias-of-landed", alias_of_one_that_landed),
    ("no-text", no_text),
    ("guarded", guarded),
    ("base-of-a-workspace", base_of_a_workspace),
    ("upstream-of-a-workspace", upstream_of_a_workspace),
    ("checked-out", checked_out),
    ("amid-a-rebase", amid_a_rebase),
    ("configured", with_a_configuration),
    ("unlogged", without_a_reflog),
    ("packed", packed),
    ("folder/branch", in_a_folder),
    ("amended", amended),
    ("task-of-nobody", task_of_nobody),
    ("open-task-of-nobody", open_task_of_nobody),
    ("another-root", of_another_root),
    // Last: what lands after it makes the trees different.
    ("same-tree", same_tree),
];

#[test]
fn every_branch_gets_its_verdict() {
    let flags = ["--branches", "all", "--min-age", "0s", "--set", "clean.protect=guard*"];
    Pen::fill(World::new(), ALL).judge(&flags);
}
