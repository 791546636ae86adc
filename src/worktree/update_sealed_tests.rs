//! Updates of sealed workspaces that a process did not live to finish.
//! The branch has moved; the tree follows, and what it held in between is kept.

use std::time::Duration;

use super::fixture::Fixture;
use super::sealed_move::Still;
use super::update::{Foreign, KIND, UpdateRequest, Updated, recover, update};
use super::update_sealed::{states, swap};
use crate::model::UpdateBy;
use crate::model::operation::{PutBack, UndoData, UpdateRecord};
use crate::store::EntryDraft;

/// A sealed workspace that was brought up to its base, and what is on record of that.
fn updated() -> (Fixture, UpdateRecord) {
    let fixture = Fixture::new();
    let made = fixture.new_workspace("s", true);
    fixture.commit_in(&made.path, "mine", "mine\n");
    std::fs::write(made.path.join("loose"), "loose\n").expect("written");
    for name in ["b", "c"] {
        fixture.commit(name, "theirs\n");
    }
    let base = fixture.base();
    let foreign = Foreign::of(&made);
    let (by, lock_wait) = (UpdateBy::Rebase, Duration::ZERO);
    let request = UpdateRequest { record: &made, base: &base, foreign: &foreign, by, lock_wait };
    let done = update(&fixture.repo, &fixture.store, &request).expect("updated");
    assert!(matches!(done, Updated::Done { .. }), "{done:?}");
    let UndoData::Update(record) = fixture.store.operations().expect("read").remove(0).undo else { panic!("another") };
    (fixture, *record)
}

/// As if the process had died when the branch had moved, and these files with it.
fn die(fixture: &Fixture, record: &UpdateRecord, moved: &[&str]) {
    let workspace = fixture.store.workspace(&record.workspace).expect("read").expect("there");
    let (before, _) = states(record).expect("a sealed one");
    let still = Still::capture(&fixture.repo, &workspace).expect("captured");
    assert_eq!(still.obstacle(&before).expect("looked"), None);
    still.move_to(&before).expect("moved");
    for name in moved {
        std::fs::write(workspace.path.join(name), "theirs\n").expect("written");
    }
    fixture.store.mark_undone(1, PutBack::default(), None).expect("written");
    let mut data = serde_json::json!(record);
    data["owner"] = serde_json::json!({"pid": 1, "start_time": 1, "boot_id": "gone"});
    let _stays_open = fixture.store.intend(&EntryDraft::new(KIND, data)).expect("written");
}

#[test]
fn the_tree_follows_a_branch_that_has_moved() {
    for (moved, kept) in [(&[][..], 0), (&["b"][..], 1), (&["b", "c"][..], 1)] {
        let (fixture, record) = updated();
        die(&fixture, &record, moved);
        let recovered = recover(&fixture.repo, &fixture.store).expect("recovered");
        assert_eq!((recovered.settled, recovered.blocked), (vec!["update of s: completed".to_owned()], vec![]));
        let tree = &fixture.store.workspace(&record.workspace).expect("read").expect("there").path;
        assert_eq!(fixture.run_in(tree, &["status", "--porcelain"]), "?? loose");
        assert_eq!(fixture.run_in(tree, &["log", "--format=%s"]), "change mine\nchange c\nchange b\nfirst");
        assert_eq!(fixture.refs("refs/treehand/salvage/").len(), kept, "{moved:?}");
        assert_eq!(fixture.store.open_intents().expect("read"), []);
    }
}

#[test]
fn a_branch_that_never_moved_lets_the_update_fall() {
    let (fixture, record) = updated();
    die(&fixture, &record, &[]);
    swap(&fixture.repo, &fixture.store, &record, (&record.after, &record.before), "back").expect("moved");
    let recovered = recover(&fixture.repo, &fixture.store).expect("recovered");
    assert_eq!(recovered.settled, ["update of s: the branch never moved"]);
    let tree = &fixture.store.workspace(&record.workspace).expect("read").expect("there").path;
    assert_eq!(fixture.run_in(tree, &["log", "--format=%s"]), "change mine\nfirst");
    assert_eq!(fixture.store.open_intents().expect("read"), []);
}
