//! Stories of taking a landing back by a commit, on real repositories.
//!
//! The commit takes away what the landing brought and nothing else, for each strategy; a conflict changes nothing.

use super::redo_tests::{land, landings, refusal};
use super::revert::{self, Begun, Reverted};
use super::{redo, taking_back};
use crate::cleanup::CleanupError;
use crate::model::operation::{UndoData, UpdateRecord};
use crate::model::{CommitId, ProcId, Timestamp};
use crate::store::EntryDraft;
use crate::sys::{clock, proc};
use crate::worktree::WorktreeError;
use crate::worktree::fixture::{self, Fixture};

fn revert(fixture: &Fixture, op: Option<i64>) -> Reverted {
    match revert::revert(&fixture.repo, &fixture.store, op).expect("reverted") {
        Begun::Whole(reverted) => reverted,
        Begun::ToLand(_) => panic!("nothing was pushed"),
    }
}

fn files(fixture: &Fixture, rev: &str) -> String {
    fixture.git(&["ls-tree", "-r", rev])
}

#[test]
fn a_landing_of_every_strategy_that_was_built_upon_is_taken_back_and_the_rest_stays() {
    for n in 0..3 {
        let fixture = Fixture::new();
        let (strategy, tip) = landings(&fixture).remove(n);
        let op = land(&fixture, &tip);
        let subject = fixture.git(&["show", "-s", "--format=%s", "main"]);
        let upon = fixture.commit("upon", "u\n");
        std::fs::write(fixture.root.join("mine"), "local\n").expect("written");
        let message = refusal(taking_back::undo(&fixture.repo, &fixture.store, Some(op)));
        assert!(message.contains("was built upon"), "{strategy}: {message}");
        let reverted = revert(&fixture, Some(op));
        assert_eq!(fixture.tip("refs/heads/main"), reverted.commit, "{strategy}");
        assert_eq!(fixture.git(&["rev-parse", "main^"]), upon.to_string(), "{strategy}");
        let names = fixture.git(&["ls-tree", "-r", "--name-only", "main"]);
        assert_eq!(names, ".gitignore\na\nm\nupon", "{strategy}");
        assert_eq!(fixture.git(&["show", "main:a"]), "one", "{strategy}");
        assert_eq!(fixture.git(&["status", "--porcelain"]), "?? mine", "{strategy}: the checkout came along");
        assert_eq!(files(&fixture, "main"), reverted_by_git(&fixture, strategy, &tip, &upon), "{strategy}");
        let text = fixture.git(&["show", "-s", "--format=%B", "main"]);
        assert!(
            text.starts_with(&format!("Revert \"{subject}\"\n\nThis takes back operation {op}: landed.")),
            "{text}"
        );
        let trailer = fixture.git(&["show", "-s", "--format=%(trailers:key=Treehand-Reverts,valueonly)", "main"]);
        assert!(trailer.trim().ends_with("/t"), "{text}");
        let known = fixture.store.operation(op).expect("read");
        assert_eq!((known.undone, known.taken_back.and_then(|how| how.by)), (true, Some(reverted.op)), "{strategy}");
        assert!(refusal(taking_back::undo(&fixture.repo, &fixture.store, Some(op))).contains("already, by operation"));
        back_and_forth(&fixture, &upon, &reverted);
        fixture.git(&["gc", "-q", "--prune=now"]);
        fixture.git(&["fsck", "--strict"]);
    }
}

/// The files that git's own revert of the landing gives.
fn reverted_by_git(fixture: &Fixture, strategy: &str, landed: &CommitId, upon: &CommitId) -> String {
    let spare = fixture.dir.path().join("by-git");
    fixture.git(&["worktree", "add", "-q", "--detach", &spare.to_string_lossy(), upon.as_str()]);
    let (tip, range) = (landed.to_string(), format!("{landed}~2..{landed}"));
    let which: &[&str] = match strategy {
        "merge" => &["-m", "1", &tip],
        "rebase" => &[&range],
        _ => &[&tip],
    };
    fixture.run_in(&spare, &[&["revert", "--no-edit"], which].concat());
    let files = fixture.run_in(&spare, &["ls-tree", "-r", "HEAD"]);
    fixture.git(&["worktree", "remove", "--force", &spare.to_string_lossy()]);
    files
}

/// A revert is an operation as any other.
fn back_and_forth(fixture: &Fixture, before: &CommitId, reverted: &Reverted) {
    let original = reverted.original.op;
    assert_eq!(taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone").op, reverted.op);
    assert_eq!(fixture.tip("refs/heads/main"), *before);
    assert!(!fixture.store.operation(original).expect("read").undone, "it is in effect again");
    assert_eq!(redo::redo(&fixture.repo, &fixture.store).expect("redone").op, reverted.op);
    assert_eq!(fixture.tip("refs/heads/main"), reverted.commit);
    assert!(fixture.store.operation(original).expect("read").undone);
    assert_eq!(fixture.store.open_intents().expect("read"), []);
}

#[test]
fn a_fast_forward_that_is_still_the_tip_is_taken_back_and_a_revert_of_that_brings_it_again() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let tip = fixture.commit_on("side", &[("new", "n\n"), ("a", "landed\n")]);
    let (before, after) = (files(&fixture, "main"), files(&fixture, "side"));
    land(&fixture, &tip);
    let first = revert(&fixture, None);
    assert_eq!(files(&fixture, "main"), before);
    let second = revert(&fixture, Some(first.op));
    assert_eq!(files(&fixture, "main"), after);
    assert_eq!(second.original.op, first.op);
}

#[test]
fn a_conflict_names_the_files_and_changes_nothing() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let to = fixture.commit_on("side", &[("a", "landed\n"), ("b", "b\n")]);
    let op = land(&fixture, &to);
    fixture.commit("a", "upon it\n");
    let before = (fixture.git(&["for-each-ref"]), fixture.picture(&fixture.root));
    match revert::revert(&fixture.repo, &fixture.store, Some(op)) {
        Err(CleanupError::Worktree(WorktreeError::Conflict { message, .. })) => {
            assert!(message.ends_with(": a"), "{message}")
        }
        other => panic!("no conflict: {other:?}"),
    }
    assert_eq!((fixture.git(&["for-each-ref"]), fixture.picture(&fixture.root)), before);
    assert!(!fixture.store.operation(op).expect("read").undone);
    assert_eq!(fixture.store.open_intents().expect("read"), []);
    let quarantine = fixture.repo.state_dir().join("quarantine");
    assert_eq!(std::fs::read_dir(quarantine).expect("there").count(), 0);
}

#[test]
fn local_changes_are_in_the_way_and_what_is_no_longer_there_is_not_reverted() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let to = fixture.commit_on("side", &[("a", "landed\n")]);
    let op = land(&fixture, &to);
    let upon = fixture.commit("upon", "u\n");
    std::fs::write(fixture.root.join("a"), "mine\n").expect("written");
    assert!(refusal(revert::revert(&fixture.repo, &fixture.store, Some(op))).contains("in the way: a"));
    assert_eq!(fixture.tip("refs/heads/main"), upon);
    fixture.git(&["checkout", "-q", "a"]);
    fixture.commit("a", "one\n");
    assert!(refusal(revert::revert(&fixture.repo, &fixture.store, Some(op))).contains("nothing of it is left"));
    fixture.git(&["reset", "-q", "--hard", "side~1"]);
    assert!(refusal(revert::revert(&fixture.repo, &fixture.store, Some(op))).contains("not on top of"));
    let record = fixture.workspace("w");
    let op = super::redo_tests::rm(&fixture, &record).op;
    assert!(refusal(revert::revert(&fixture.repo, &fixture.store, op)).contains("moved no branch"));
}

#[test]
fn commits_of_others_that_a_landing_brought_along_stay() {
    let fixture = Fixture::new();
    let behind = fixture.tip("refs/heads/main");
    fixture.git(&["branch", "up"]);
    let base = fixture.commit_on("up", &[("upstream", "others\n")]);
    let to = fixture.commit_on("up", &[("own", "t\n")]);
    let (mut run, task) = fixture::run(&fixture.base(), "landed", "t", "candidate");
    (run.before, run.base.commit) = (behind.clone(), base);
    fixture.store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
    fixture.git(&["merge", "-q", "--ff-only", "up"]);
    let (into, run, task) = (run.into, Some(run.id), Some(task.id));
    let undo = UndoData::Landing { into, before: behind, after: to, run, task };
    fixture.store.add_operation("land", Timestamp(1), "landed", undo).expect("recorded");
    revert(&fixture, None);
    assert_eq!(fixture.git(&["ls-tree", "-r", "--name-only", "main"]), ".gitignore\na\nupstream");
    let text = fixture.git(&["show", "-s", "--format=%B", "main"]);
    assert!(text.contains("change own") && !text.contains("change upstream"), "{text}");
}

#[test]
fn an_update_that_was_built_upon_is_taken_back_and_its_base_stays_on_record() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let before = fixture.commit_in(&record.path, "own", "w\n");
    fixture.commit("theirs", "m\n");
    fixture.run_in(&record.path, &["merge", "-q", "main"]);
    let (workspace, branch, after) = (record.name.clone(), record.branch.clone(), fixture.tip("refs/heads/w"));
    let (base_before, base_after) = (record.base.clone(), fixture.base());
    let update = UpdateRecord { workspace, branch, before, after, base_before, base_after, sealed: None };
    fixture.store.record_update(&update, clock::now(), "brought w up to main", None).expect("recorded");
    fixture.commit_in(&record.path, "upon", "u\n");
    revert(&fixture, None);
    assert_eq!(fixture.git(&["ls-tree", "-r", "--name-only", "w"]), ".gitignore\na\nown\nupon");
    assert_eq!(fixture.git(&["show", "-s", "--format=%s", "w"]), "Revert \"brought w up to main\"");
    let base = fixture.store.workspace(&record.name).expect("read").expect("there").base;
    assert_eq!(base, update.base_after, "its history has that base still");
}

#[test]
fn a_revert_that_died_is_completed_or_forgotten() {
    let dead = proc::own().map(|own| ProcId { start_time: own.start_time + 1, ..own });
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let to = fixture.commit_on("side", &[("a", "landed\n")]);
    let op = land(&fixture, &to);
    let upon = fixture.commit("upon", "u\n");
    let store = fixture.repo.store().expect("a second handle");
    store.cut_after(1);
    revert::revert(&fixture.repo, &store, Some(op)).expect_err("it was cut");
    let made = fixture.tip("refs/heads/main");
    assert!(made != upon && !fixture.store.operation(op).expect("read").undone);
    let entry = fixture.store.open_intents().expect("read").remove(0);
    let mut data = entry.data.clone();
    data["owner"] = serde_json::json!(dead);
    assert!(fixture.store.intend(&EntryDraft::new("revert", data.clone())).is_ok());
    fixture.store.failed(entry.intent(), serde_json::json!({})).expect("closed");
    let reverted = revert(&fixture, Some(op));
    assert_eq!((&reverted.commit, fixture.tip("refs/heads/main")), (&made, made.clone()), "it is done once");
    assert!(fixture.store.operation(op).expect("read").undone);
    assert_eq!(taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone").op, reverted.op);
    assert_eq!(fixture.tip("refs/heads/main"), upon);
    assert!(fixture.store.intend(&EntryDraft::new("revert", data)).is_ok());
    let again = revert(&fixture, Some(op));
    assert!(again.op > reverted.op, "the one that never moved the branch is forgotten");
    assert_eq!(fixture.store.open_intents().expect("read"), []);
}
