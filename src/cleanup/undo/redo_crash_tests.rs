//! Redos whose process died, at each of its steps: the next command completes them, or puts everything back.
//!
//! A process that died is one whose owner's start time is another.

use serde_json::json;

use super::redo_tests::{everything, land, redo, refused, rm, undo, write};
use super::{recover, redo};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::remove::workspace_tests::make_a_mess;
use crate::model::operation::{RemovedItem, UndoData};
use crate::model::record::WorkspaceRecord;
use crate::model::{CommitId, ProcId};
use crate::store::{EntryDraft, Store};
use crate::sys::proc;
use crate::worktree::fixture::Fixture;

pub fn dead() -> Option<ProcId> {
    proc::own().map(|own| ProcId { start_time: own.start_time + 1, ..own })
}

/// Makes what this process left open look as if the process had died.
pub fn die(fixture: &Fixture) {
    for entry in fixture.store.open_intents().expect("read") {
        let mut data = entry.data.clone();
        data["owner"] = json!(dead());
        assert!(fixture.store.intend(&EntryDraft::new(&entry.kind, data)).is_ok());
        fixture.store.failed(entry.intent(), json!({})).expect("closed");
    }
    for record in fixture.store.workspaces().expect("read").into_iter().filter(|record| record.owner.is_some()) {
        fixture.store.put_workspace("test", &WorkspaceRecord { owner: dead(), ..record }).expect("stored");
    }
}

pub fn cut(fixture: &Fixture, writes: u64) -> Store {
    let store = fixture.repo.store().expect("a second handle");
    store.cut_after(writes);
    store
}

#[test]
fn a_redo_of_a_removal_cut_at_any_write_is_completed_by_the_next() {
    for writes in 0..4 {
        let fixture = Fixture::new();
        let record = fixture.workspace("w");
        make_a_mess(&fixture, &record.path);
        let before = everything(&fixture, &record.path);
        let op = rm(&fixture, &record).op.expect("an operation");
        undo(&fixture);
        redo::redo(&fixture.repo, &cut(&fixture, writes)).expect_err("it was cut");
        assert_eq!(record.path.exists(), writes < 2, "after {writes} writes");
        die(&fixture);
        assert_eq!(redo(&fixture).op, op);
        assert!(!record.path.exists() && fixture.find("refs/heads/w").is_none());
        assert_eq!(fixture.store.open_intents().expect("read"), []);
        undo(&fixture);
        assert_eq!(everything(&fixture, &record.path), before, "after {writes} writes");
    }
}

#[test]
fn what_is_in_the_way_of_an_interrupted_redo_is_named_until_it_is_gone() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    make_a_mess(&fixture, &record.path);
    let before = fixture.picture(&record.path);
    rm(&fixture, &record);
    undo(&fixture);
    redo::redo(&fixture.repo, &cut(&fixture, 2)).expect_err("it was cut");
    let other = fixture.commit("later", "l\n");
    fixture.git(&["branch", "w", other.as_str()]);
    die(&fixture);
    for _ in 0..2 {
        assert!(refused(&fixture).contains("refs/heads/w is there again"));
    }
    assert_eq!(fixture.store.open_intents().expect("read").len(), 1, "what is in the trash is not forgotten");
    fixture.git(&["branch", "-q", "-D", "w"]);
    recover::recover(&fixture.repo, &fixture.store).expect("recovered");
    assert_eq!(fixture.store.open_intents().expect("read"), []);
    undo(&fixture);
    assert_eq!(fixture.picture(&record.path), before);
}

#[test]
fn an_interrupted_redo_puts_back_what_went_when_the_rest_has_changed() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    make_a_mess(&fixture, &record.path);
    rm(&fixture, &record);
    undo(&fixture);
    let before = everything(&fixture, &record.path);
    redo::redo(&fixture.repo, &cut(&fixture, 2)).expect_err("it was cut");
    // As it stands when it dies after the git dir went, and a person writes into the tree then.
    let data = fixture.store.open_intents().expect("read").remove(0).data;
    let trash = data["items"][0]["trash"].as_str().expect("a place").to_owned();
    std::fs::create_dir_all(record.path.parent().expect("a parent")).expect("made");
    std::fs::rename(trash, &record.path).expect("moved");
    write(&record.path, "both", "three\n");
    die(&fixture);
    assert!(refused(&fixture).contains("put back"));
    assert_eq!(fixture.store.open_intents().expect("read"), []);
    write(&record.path, "both", "two\n");
    assert_eq!(everything(&fixture, &record.path), before);
    assert_eq!(fixture.refs(SALVAGE_PREFIX).len(), 3, "it is saved once");
}

#[test]
fn an_undo_that_died_before_a_renamed_git_dir_was_linked_links_it() {
    let fixture = Fixture::new();
    let record = fixture.workspace("one");
    make_a_mess(&fixture, &record.path);
    let before = fixture.picture(&record.path);
    let op = rm(&fixture, &record).op.expect("an operation");
    let other = fixture.dir.path().join("x/work");
    fixture.git(&["worktree", "add", "-q", "--detach", &other.to_string_lossy()]);
    let UndoData::Removal { items } = fixture.store.operation(op).expect("read").undo else { panic!("no removal") };
    for item in &items {
        if let RemovedItem::Directory { from, trash } = item {
            let taken = from.exists();
            let to = if taken { from.with_file_name("work1") } else { from.clone() };
            std::fs::create_dir_all(to.parent().expect("a parent")).expect("made");
            std::fs::rename(trash, to).expect("moved");
        }
    }
    let draft = EntryDraft::new("undo", json!({"op": op, "owner": dead()}));
    assert!(fixture.store.intend(&draft).is_ok());
    assert_eq!(undo(&fixture), op);
    assert_eq!(fixture.picture(&record.path), before);
    assert_eq!(fixture.run_in(&other, &["status", "--porcelain"]), "");
    assert_eq!(redo(&fixture).op, op);
    assert!(!record.path.exists() && other.exists());
    assert_eq!(fixture.run_in(&other, &["status", "--porcelain"]), "");
    undo(&fixture);
    assert_eq!(fixture.picture(&record.path), before);
}

#[test]
fn a_redo_and_an_undo_of_a_landing_that_died_with_the_files_behind_are_completed() {
    let fixture = Fixture::new();
    fixture.git(&["branch", "side"]);
    let (before, to) = (fixture.tip("refs/heads/main"), fixture.commit_on("side", &[("a", "landed\n")]));
    let op = land(&fixture, &to);
    undo(&fixture);
    let die = |kind: &str, tip: &CommitId| {
        let draft = EntryDraft::new(kind, json!({"op": op, "owner": dead()}));
        assert!(fixture.store.intend(&draft).is_ok());
        fixture.git(&["update-ref", "refs/heads/main", tip.as_str()]);
    };
    die("redo", &to);
    assert_eq!(redo(&fixture).op, op);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    assert_eq!(fixture.git(&["show", "main:a"]), "landed");
    assert!(!fixture.store.operation(op).expect("read").undone);
    die("undo", &before);
    assert_eq!(undo(&fixture), op);
    assert_eq!(fixture.git(&["status", "--porcelain"]), "");
    // One that died before the branch moved is forgotten, and done when it is asked for again.
    let draft = EntryDraft::new("redo", json!({"op": op, "owner": dead()}));
    assert!(fixture.store.intend(&draft).is_ok());
    assert_eq!(redo(&fixture).op, op);
    assert_eq!(fixture.tip("refs/heads/main"), to);
    assert_eq!(fixture.store.open_intents().expect("read"), []);
}
