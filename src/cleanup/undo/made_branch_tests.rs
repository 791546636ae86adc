//! Stories of the target branch that a run made for its results, when its first landing is undone and made again.
//!
//! It goes only when nothing but that run has to do with it.

use std::time::Duration;

use super::redo_tests::{redo, refused, undo};
use super::taking_back;
use crate::model::operation::UndoData;
use crate::model::{BranchName, Timestamp};
use crate::worktree::advance::{Advance, Advanced, advance};
use crate::worktree::fixture::{self, Fixture};
use crate::worktree::import::update_ref;

/// A landing of a run on a branch that the run has made.
fn land_on_new(fixture: &Fixture, made: bool) -> (i64, BranchName) {
    let branch = BranchName::parse("fresh").expect("a name");
    let (mut run, task) = fixture::run(&fixture.base(), "landed", "t", "candidate");
    run.into = branch.clone();
    let message = if made { "treehand: workspace created" } else { "branch: Created from main" };
    update_ref(&fixture.repo, "refs/heads/fresh", Some(&run.before), None, message).expect("made");
    fixture.store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
    fixture.git(&["branch", "side"]);
    let to = fixture.commit_on("side", &[("new", "n\n")]);
    let message = format!("treehand: land {}/t", run.id);
    let lock_wait = Duration::from_secs(5);
    let request = Advance { branch: &branch, from: &run.before, to: &to, message: &message, lock_wait };
    assert_eq!(advance(&fixture.repo, &request).expect("advanced"), Advanced::Done);
    let (into, before, run, task) = (branch.clone(), run.before, Some(run.id), Some(task.id));
    let undo = UndoData::Landing { into, before, after: to, run, task };
    (fixture.store.add_operation("land", Timestamp(1), "landed", undo).expect("recorded"), branch)
}

#[test]
fn a_branch_that_a_run_made_goes_with_its_first_landing_and_comes_back_with_it() {
    let fixture = Fixture::new();
    let (op, branch) = land_on_new(&fixture, true);
    let tip = fixture.tip("refs/heads/fresh");
    for _ in 0..2 {
        let undone = taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
        assert_eq!((undone.op, undone.removed, undone.restored), (op, vec![branch.to_string()], Vec::new()));
        assert_eq!(fixture.find("refs/heads/fresh"), None);
        assert_eq!(redo(&fixture).op, op);
        assert_eq!(fixture.tip("refs/heads/fresh"), tip);
    }
    undo(&fixture);
    fixture.git(&["branch", "fresh"]);
    assert!(refused(&fixture).contains("there is a branch `fresh` again"));
}

#[test]
fn a_branch_that_somebody_else_has_to_do_with_stays_at_its_base() {
    let check = |made: bool, touch: &dyn Fn(&Fixture)| {
        let fixture = Fixture::new();
        land_on_new(&fixture, made);
        touch(&fixture);
        let undone = taking_back::undo(&fixture.repo, &fixture.store, None).expect("undone");
        assert_eq!(undone.removed, [] as [String; 0]);
        assert_eq!(fixture.tip("refs/heads/fresh"), fixture.tip("refs/heads/main"));
        redo(&fixture);
    };
    check(false, &|_| {});
    check(true, &|fixture| drop(fixture.git(&["checkout", "-q", "fresh"])));
    check(true, &|fixture| drop(fixture.git(&["config", "branch.fresh.remote", "origin"])));
    check(true, &|fixture| {
        let tip = fixture.tip("refs/heads/fresh");
        fixture.git(&["update-ref", "-m", "by hand", "refs/heads/fresh", "main"]);
        fixture.git(&["update-ref", "-m", "by hand", "refs/heads/fresh", tip.as_str()]);
    });
    check(true, &|fixture| {
        let (mut run, task) = fixture::run(&fixture.base(), "running", "t", "running");
        run.into = BranchName::parse("fresh").expect("a name");
        fixture.store.create_run(&run, &[task]).expect("stored");
    });
}
