//! Proof that a branch goes with its reflog and its configuration, and that both come back byte for byte.
//!
//! Whatever is in the way of that: a held lock, a process that died, a link, what was configured meanwhile.

use serde_json::json;

use super::clean::cleaning_tests::{clean, policy};
use super::undo::redo as redo_room;
use super::undo::redo_crash_tests::{cut, dead, die};
use super::undo::redo_tests::{redo, rm, undo};
use super::{config_lock, remove, undo as undo_room};
use crate::model::operation::{OperationRecord, RemovedItem, UndoData};
use crate::model::record::WorkspaceRecord;
use crate::sys::git::Version;
use crate::worktree::fixture::{Fixture, TEMPLATE};

/// What is known of the branch `w` besides its tip.
fn known(fixture: &Fixture) -> (String, Option<String>) {
    let log = std::fs::read_to_string(fixture.repo.common_dir.join("logs/refs/heads/w")).ok();
    (std::fs::read_to_string(fixture.repo.common_dir.join("config")).expect("read"), log)
}

/// A workspace whose branch has a past, a section between others, and a commit that only its reflog has.
fn configured(fixture: &Fixture) -> WorkspaceRecord {
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "two\n");
    fixture.run_in(&record.path, &["commit", "-q", "--amend", "-m", "said better"]);
    let config = fixture.repo.common_dir.join("config");
    let text = std::fs::read_to_string(&config).expect("read");
    let section = "[branch \"w\"]\n\tremote = .   ; here\n\tmerge = refs/heads/main\n# mine\n\ttreehandNote = x\n";
    let other = "[branch \"ww\"]\n\tremote = .\n";
    std::fs::write(&config, format!("{text}{section}{other}")).expect("written");
    record
}

fn is_bare_of(fixture: &Fixture) {
    let (config, log) = known(fixture);
    assert!(!config.contains("\"w\"") && config.contains("\"ww\""), "{config}");
    assert_eq!(log, None);
    assert!(fixture.find("refs/heads/w").is_none());
}

#[test]
fn a_branch_that_was_removed_left_its_configuration_behind_and_came_back_without_reflog() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    let (before, amended) = (known(&fixture), fixture.git(&["rev-parse", "w@{1}"]));
    for round in 0..3 {
        if round == 0 {
            rm(&fixture, &record);
        } else {
            redo(&fixture);
        }
        is_bare_of(&fixture);
        fixture.git(&["gc", "-q", "--prune=now"]);
        undo(&fixture);
        assert_eq!(known(&fixture), before, "round {round}");
        assert_eq!(fixture.git(&["rev-parse", "w@{1}"]), amended);
        fixture.git(&["fsck", "--strict"]);
    }
}

#[test]
fn what_was_configured_since_an_undo_goes_and_comes_back_with_a_redo() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    rm(&fixture, &record);
    undo(&fixture);
    fixture.git(&["config", "branch.w.description", "new"]);
    let before = known(&fixture);
    redo(&fixture);
    is_bare_of(&fixture);
    undo(&fixture);
    assert_eq!(known(&fixture), before);
}

#[test]
fn a_removal_does_not_fail_because_the_configuration_is_locked() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    let before = known(&fixture);
    let lock = fixture.repo.common_dir.join("config.lock");
    std::fs::write(&lock, "").expect("locked");
    rm(&fixture, &record);
    assert_eq!(known(&fixture), (before.0.clone(), None), "the section stays");
    // It is there, so that nothing has to be written.
    undo(&fixture);
    assert_eq!(known(&fixture), before);
    assert_eq!(std::fs::read(&lock).expect("it is not ours"), b"");
}

#[test]
fn an_undo_that_meets_a_locked_configuration_is_completed_by_the_next() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    let before = known(&fixture);
    let op = rm(&fixture, &record).op.expect("an operation");
    let lock = fixture.repo.common_dir.join("config.lock");
    std::fs::write(&lock, "").expect("locked");
    let error = undo_room::undo(&fixture.repo, &fixture.store, None).expect_err("it is locked");
    assert!(error.to_string().contains("config.lock"), "{error}");
    std::fs::remove_file(&lock).expect("let go");
    die(&fixture);
    assert_eq!(undo(&fixture), op);
    assert_eq!(known(&fixture), before);
    assert_eq!(fixture.store.open_intents().expect("read"), []);
}

#[test]
fn a_lock_of_the_configuration_that_a_dead_process_of_ours_left_is_broken() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    let lock = fixture.repo.common_dir.join("config.lock");
    let leave = |owner| std::fs::write(&lock, format!("treehand {}\n", json!(owner))).expect("left");
    leave(crate::sys::proc::own());
    config_lock::break_dead(&fixture.repo).expect("looked");
    assert!(lock.exists(), "its holder lives");
    leave(dead());
    let before = known(&fixture);
    rm(&fixture, &record);
    is_bare_of(&fixture);
    leave(dead());
    undo(&fixture);
    assert_eq!(known(&fixture), before);
    assert!(!lock.exists());
}

#[test]
fn a_configuration_that_is_a_link_stays_one() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    let (config, real) = (fixture.repo.common_dir.join("config"), fixture.dir.path().join("real"));
    std::fs::rename(&config, &real).expect("moved");
    std::os::unix::fs::symlink(&real, &config).expect("linked");
    let before = known(&fixture);
    rm(&fixture, &record);
    is_bare_of(&fixture);
    undo(&fixture);
    assert_eq!(known(&fixture), before);
    assert!(config.is_symlink());
}

#[test]
fn a_section_that_somebody_made_meanwhile_is_left() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    rm(&fixture, &record);
    fixture.git(&["config", "branch.w.remote", "elsewhere"]);
    undo(&fixture);
    assert_eq!(fixture.git(&["config", "--get-all", "branch.w.remote"]), "elsewhere");
    assert_eq!(fixture.git(&["config", "--get-all", "branch.ww.remote"]), ".");
}

/// Lets a removal die after its first steps: the refs it took are as they are, and its intent is open.
fn half_removed(fixture: &Fixture, record: &WorkspaceRecord) {
    let store = cut(fixture, 2);
    let options = remove::RemoveOptions { force_dirty: true, delete_unmerged: true };
    let plan = remove::plan(&fixture.repo, &fixture.store, record, &options).expect("planned");
    remove::apply(&fixture.repo, &store, plan, TEMPLATE).expect_err("it was cut");
    die(fixture);
}

#[test]
fn a_removal_that_died_before_it_was_recorded_is_put_back_with_everything() {
    let fixture = Fixture::new();
    let record = configured(&fixture);
    let before = known(&fixture);
    half_removed(&fixture, &record);
    is_bare_of(&fixture);
    clean(&fixture, &policy(0));
    assert_eq!(known(&fixture), before);
}

#[test]
fn a_redo_that_died_at_any_write_takes_reflog_and_configuration_in_the_end() {
    for writes in 0..4 {
        let fixture = Fixture::new();
        let record = configured(&fixture);
        let before = known(&fixture);
        rm(&fixture, &record);
        undo(&fixture);
        redo_room::redo(&fixture.repo, &cut(&fixture, writes)).expect_err("it was cut");
        die(&fixture);
        redo(&fixture);
        is_bare_of(&fixture);
        undo(&fixture);
        assert_eq!(known(&fixture), before, "after {writes} writes");
    }
}

#[test]
fn a_removal_of_before_is_undone_as_it_was_then() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    let op = rm(&fixture, &record).op.expect("an operation");
    let forget = |operation: &mut OperationRecord| {
        let UndoData::Removal { items } = &mut operation.undo else { return };
        for item in items {
            if let RemovedItem::Ref { traces, .. } = item {
                *traces = None;
            }
        }
    };
    fixture.store.edit_operations("test", json!({}), forget).expect("edited");
    assert_eq!(undo(&fixture), op);
    assert!(known(&fixture).1.is_some_and(|log| log.contains("treehand: put back")));
}

#[test]
fn where_refs_are_in_tables_the_reflog_comes_back_as_far_as_git_can_write_it() {
    let fixture = Fixture::new();
    crate::sys::fs::remove_tree(&fixture.repo.common_dir.join("logs")).expect("removed");
    let migrate = ["refs", "migrate", "--ref-format=reftable"];
    if !fixture.repo.git.within(&fixture.root, migrate).output().expect("run").status.success() {
        // This git has no tables, or cannot migrate to them.
        return;
    }
    let record = configured(&fixture);
    let log = || fixture.git(&["reflog", "show", "--date=raw", "--format=%H %gd %gn %gs", "w"]);
    let (before, config) = (log(), known(&fixture).0);
    assert_eq!(before.lines().count(), 3, "{before}");
    for _ in 0..2 {
        rm(&fixture, &record);
        assert!(!known(&fixture).0.contains("\"w\""));
        undo(&fixture);
        assert_eq!(known(&fixture).0, config);
        if fixture.repo.git.version() >= Version(2, 51, 0) {
            assert_eq!(log(), before);
        } else {
            assert!(log().ends_with("treehand: put back"), "{}", log());
        }
    }
}
