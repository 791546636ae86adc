//! Stories of what others built upon, or use: what an undo may not take from under them, and what it has to find as it was.
//!
//! Each has its repository and its state directory to itself.

use super::{revert, taking_back};
use crate::cleanup::CleanupError;
use crate::cleanup::remove::{self, BranchOutcome, RemoveOptions};
use crate::model::operation::UndoData;
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, Timestamp};
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::fixture::{Fixture, TEMPLATE};

fn rm(fixture: &Fixture, record: &WorkspaceRecord) -> BranchOutcome {
    let options = RemoveOptions { force_dirty: true, delete_unmerged: false };
    let plan = remove::plan(&fixture.repo, &fixture.store, record, &options).expect("planned");
    remove::apply(&fixture.repo, &fixture.store, plan, TEMPLATE).expect("removed").branch_outcome
}

/// A workspace with a commit of its own and a staged file, removed; its branch stays.
fn removed(fixture: &Fixture) -> WorkspaceRecord {
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "one\n");
    std::fs::write(record.path.join("staged"), "s\n").expect("written");
    fixture.run_in(&record.path, &["add", "staged"]);
    assert_eq!(rm(fixture, &record), BranchOutcome::Kept);
    record
}

fn refused(fixture: &Fixture) -> (String, String) {
    let refs = fixture.git(&["for-each-ref"]);
    let error = taking_back::undo(&fixture.repo, &fixture.store, None).expect_err("refused");
    assert_eq!(fixture.git(&["for-each-ref"]), refs);
    assert_eq!(fixture.store.open_intents().expect("read"), []);
    match error {
        CleanupError::Refused { message, hint } => (message, hint.expect("a hint")),
        other => panic!("not refused: {other}"),
    }
}

#[test]
fn a_workspace_came_back_to_a_branch_that_had_moved_with_an_index_that_reverted_the_work() {
    let fixture = Fixture::new();
    let record = removed(&fixture);
    let tip = fixture.tip("refs/heads/w");
    fixture.commit_on("w", &[("c", "two\n")]);
    let (message, hint) = refused(&fixture);
    assert!(message.contains("`w` was built upon: ") && message.ends_with(" change c"), "{message}");
    assert!(hint.contains("treehand new NAME --base"), "{hint}");
    fixture.git(&["branch", "-f", "w", "main"]);
    assert!(refused(&fixture).0.contains("which is not on top of"));
    fixture.git(&["branch", "-f", "w", tip.as_str()]);
    taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.run_in(&record.path, &["status", "--porcelain"]), "A  staged");
}

#[test]
fn a_branch_that_is_checked_out_elsewhere_by_now_was_checked_out_twice() {
    let check = |delete: bool| {
        let fixture = Fixture::new();
        let record = removed(&fixture);
        let tip = fixture.tip("refs/heads/w");
        if delete {
            taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
            let options = RemoveOptions { force_dirty: true, delete_unmerged: true };
            let plan = remove::plan(&fixture.repo, &fixture.store, &record, &options).expect("planned");
            remove::apply(&fixture.repo, &fixture.store, plan, TEMPLATE).expect("removed");
            fixture.git(&["branch", "w", tip.as_str()]);
        }
        fixture.git(&["checkout", "-q", "w"]);
        let place = fixture.root.display().to_string();
        assert!(refused(&fixture).0.contains(&format!("refs/heads/w is in use in {place}")));
        fixture.git(&["checkout", "-q", "main"]);
        taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
        assert_eq!(fixture.run_in(&record.path, &["status", "--porcelain"]), "A  staged");
    };
    check(false);
    check(true);
}

#[test]
fn a_branch_that_was_checked_out_twice_before_is_no_obstacle() {
    let fixture = Fixture::new();
    let record = fixture.workspace("w");
    fixture.commit_in(&record.path, "b", "one\n");
    fixture.git(&["checkout", "-q", "--ignore-other-worktrees", "w"]);
    assert_eq!(rm(&fixture, &record), BranchOutcome::Kept);
    taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.run_in(&record.path, &["status", "--porcelain"]), "");
}

#[test]
fn a_branch_that_stayed_and_is_gone_by_now_comes_back_where_it_was() {
    let fixture = Fixture::new();
    let record = removed(&fixture);
    let tip = fixture.tip("refs/heads/w");
    fixture.git(&["branch", "-q", "-D", "w"]);
    let undone = taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert!(undone.restored.iter().any(|what| what == "refs/heads/w"), "{undone:?}");
    assert_eq!(fixture.tip("refs/heads/w"), tip);
    assert_eq!(fixture.run_in(&record.path, &["status", "--porcelain"]), "A  staged");
    // A branch that needs the same directory is in its way.
    assert_eq!(rm(&fixture, &record), BranchOutcome::Kept);
    fixture.git(&["branch", "-q", "-D", "w"]);
    fixture.git(&["branch", "w/x"]);
    assert!(refused(&fixture).0.contains("cannot come back beside refs/heads/w/x"));
}

#[test]
fn the_work_of_a_sealed_workspace_comes_back_to_its_branch_or_not_at_all() {
    let fixture = Fixture::new();
    let record = fixture.new_workspace("s", true);
    fixture.commit_in(&record.path, "b", "one\n");
    assert_eq!(rm(&fixture, &record), BranchOutcome::Kept);
    let tip = fixture.tip("refs/heads/s");
    fixture.git(&["checkout", "-q", "s"]);
    fixture.commit("c", "two\n");
    assert!(refused(&fixture).0.contains("`s` was built upon"));
    fixture.git(&["checkout", "-q", "main"]);
    fixture.git(&["branch", "-q", "-D", "s"]);
    taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
    assert_eq!(fixture.tip("refs/heads/s"), tip);
}

/// A landing on main.
fn landed(fixture: &Fixture) -> i64 {
    fixture.git(&["branch", "side"]);
    let (into, before) = (BranchName::parse("main").expect("a name"), fixture.tip("refs/heads/main"));
    let after = fixture.commit_on("side", &[("landed", "x")]);
    let lock_wait = std::time::Duration::from_secs(5);
    let request = Advance { branch: &into, from: &before, to: &after, message: "land", lock_wait };
    assert_eq!(advance(&fixture.repo, &request).expect("advanced"), Advanced::Done);
    let undo = UndoData::Landing { into, before, after, run: None, task: None };
    fixture.store.add_operation("land", Timestamp(1), "landed", undo).expect("recorded")
}

#[test]
fn a_landing_was_taken_from_under_the_work_of_other_workspaces() {
    let fixture = Fixture::new();
    let before = fixture.workspace("before");
    fixture.commit_in(&before.path, "own", "own\n");
    let op = landed(&fixture);
    let (idle, busy, loose) = (fixture.workspace("idle"), fixture.workspace("busy"), fixture.workspace("loose"));
    std::fs::write(idle.path.join("dirty"), "d\n").expect("written");
    fixture.commit_in(&busy.path, "more", "m\n");
    fixture.run_in(&loose.path, &["checkout", "-q", "--detach"]);
    fixture.commit_in(&loose.path, "on no branch", "m\n");
    let (message, hint) = refused(&fixture);
    assert!(message.contains("in the workspace `busy`: ") && message.contains(" change more"), "{message}");
    assert!(message.contains("in the workspace `loose`: ") && message.contains("change on no branch"), "{message}");
    assert!(!message.contains("idle") && !message.contains("before"), "{message}");
    assert!(hint.contains(&format!("treehand undo {op} --revert")), "{hint}");
    for record in [busy, loose] {
        fixture.run_in(&record.path, &["checkout", "-q", "--detach", "main"]);
        fixture.git(&["branch", "-f", record.branch.as_str(), "main"]);
    }
    taking_back::undo(&fixture.repo, &fixture.store, None).expect("nobody built upon it");
}

#[test]
fn work_that_a_sealed_workspace_has_not_given_yet_counts() {
    let fixture = Fixture::new();
    landed(&fixture);
    let record = fixture.new_workspace("s", true);
    fixture.commit_in(&record.path, "b", "one\n");
    let message = refused(&fixture).0;
    assert!(message.contains("in the workspace `s`: ") && message.contains("(not on its branch yet)"), "{message}");
}

#[test]
fn a_landing_that_was_pushed_was_taken_back_without_a_word() {
    let fixture = Fixture::new();
    let op = landed(&fixture);
    fixture.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    fixture.git(&["symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"]);
    let (message, hint) = refused(&fixture);
    assert!(message.ends_with(" was pushed: origin/main has it"), "{message}");
    assert!(hint.contains(&format!("treehand undo {op} --revert")), "{hint}");
    revert::revert(&fixture.repo, &fixture.store, Some(op)).expect("a commit takes it back");
    assert!(!fixture.root.join("landed").exists());
    taking_back::undo(&fixture.repo, &fixture.store, None).expect("the revert is nowhere else");
}
