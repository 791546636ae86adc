//! Decision file: whether a landing can be taken back or made again, and which operation is meant.
//!
//! A branch moves back only from exactly where the landing put it, and forward again only from where the undo left it; what
//! was built on either is never dropped.

use crate::model::operation::OperationRecord;
use crate::model::{CommitId, WorkspaceName};

/// A commit that lies on top of a landing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnTop {
    /// The commit.
    pub commit: CommitId,
    /// Its subject.
    pub subject: String,
    /// The task that it landed, if it did.
    pub task: Option<String>,
}

/// What to do with the branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Move it.
    Move,
    /// It is there already.
    Already,
    /// Leave it, for this reason.
    Refuse(String),
}

/// The operation that is meant: the named one, or the last that was not taken back.
pub fn pick(operations: &[OperationRecord], named: Option<i64>) -> Option<&OperationRecord> {
    match named {
        Some(op) => operations.iter().find(|operation| operation.op == op),
        None => operations.iter().filter(|operation| !operation.undone).max_by_key(|operation| operation.op),
    }
}

/// What there is to be made again.
#[derive(Clone, PartialEq, Debug)]
pub enum Next<'a> {
    /// Nothing was taken back.
    Nothing,
    /// This one: it was taken back last.
    Redo(&'a OperationRecord),
    /// Something else was done since; both operations.
    Superseded(&'a OperationRecord, &'a OperationRecord),
}

/// What `redo` would make again: as in an editor, what was taken back last, and nothing once something else was done.
pub fn next(operations: &[OperationRecord]) -> Next<'_> {
    let order = |operation: &OperationRecord| {
        operation.taken_back.as_ref().filter(|how| how.by.is_none()).map(|how| (how.order, how.newest))
    };
    let undone = operations.iter().filter(|operation| operation.undone);
    let last = undone.filter_map(|operation| Some((order(operation)?, operation))).max_by_key(|(order, _)| *order);
    let Some(((_, newest), operation)) = last else { return Next::Nothing };
    match operations.iter().filter(|other| other.op > newest).min_by_key(|other| other.op) {
        Some(newer) => Next::Superseded(operation, newer),
        None => Next::Redo(operation),
    }
}

/// Decides on a landing that is to be made again; `gone` says that the undo left no branch at all.
pub fn judge_again(branch: &str, tip: Option<&CommitId>, before: &CommitId, after: &CommitId, gone: bool) -> Verdict {
    match (tip, gone) {
        (None, true) => Verdict::Move,
        (None, false) => Verdict::Refuse(format!("the branch `{branch}` is gone")),
        (Some(tip), _) if tip == after => Verdict::Already,
        (Some(tip), false) if tip == before => Verdict::Move,
        (Some(tip), true) => Verdict::Refuse(format!("there is a branch `{branch}` again, at {}", tip.short())),
        (Some(tip), false) => {
            let (tip, before) = (tip.short(), before.short());
            Verdict::Refuse(format!("`{branch}` is at {tip}, not at {before} where the undo left it"))
        }
    }
}

/// Decides on a landing.
pub fn judge(branch: &str, tip: Option<&CommitId>, before: &CommitId, after: &CommitId, on_top: &[OnTop]) -> Verdict {
    match tip {
        None => Verdict::Refuse(format!("the branch `{branch}` is gone")),
        Some(tip) if tip == after => Verdict::Move,
        Some(tip) if tip == before => Verdict::Already,
        Some(tip) => Verdict::Refuse(moved_on(branch, tip, after, on_top)),
    }
}

/// Says of a branch that is no longer where an operation left it what was built upon that, or that something else is there.
pub fn moved_on(branch: &str, tip: &CommitId, left: &CommitId, on_top: &[OnTop]) -> String {
    if on_top.is_empty() {
        return format!("`{branch}` is at {}, which is not on top of {}", tip.short(), left.short());
    }
    format!("`{branch}` was built upon: {}", list(on_top))
}

fn list(commits: &[OnTop]) -> String {
    let line = |commit: &OnTop| {
        let task = commit.task.as_ref().map(|task| format!(" (task {task})")).unwrap_or_default();
        format!("{} {}{task}", commit.commit.short(), commit.subject)
    };
    commits.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Who has a landing besides its own branch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Upon {
    /// Workspaces with commits of their own on top of it.
    pub workspaces: Vec<(WorkspaceName, Vec<OnTop>)>,
    /// Branches of remotes that have it.
    pub remotes: Vec<String>,
}

impl Upon {
    /// Why a landing stays that its branch could go back from.
    pub fn refusal(&self, branch: &str, after: &CommitId) -> Option<String> {
        let workspace = |(name, commits): &(WorkspaceName, Vec<OnTop>)| {
            format!("`{branch}` was built upon in the workspace `{name}`: {}", list(commits))
        };
        let mut found: Vec<String> = self.workspaces.iter().map(workspace).collect();
        if !self.remotes.is_empty() {
            found.push(format!("{} was pushed: {} has it", after.short(), self.remotes.join(", ")));
        }
        (!found.is_empty()).then(|| found.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::operation::{PutBack, TakenBack, UndoData};
    use crate::store::Store;
    use proptest::prelude::*;

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    #[test]
    fn a_branch_moves_back_only_from_where_the_landing_put_it() {
        let on_top = [OnTop { commit: id('c'), subject: "more".into(), task: Some("b".into()) }];
        let check = |tip: Option<char>, on_top: &[OnTop], expected: &str| {
            let tip = tip.map(id);
            let shown = match judge("main", tip.as_ref(), &id('a'), &id('b'), on_top) {
                Verdict::Move => "back".to_owned(),
                Verdict::Already => "already".to_owned(),
                Verdict::Refuse(why) => why,
            };
            assert_eq!(shown, expected);
        };
        check(Some('b'), &[], "back");
        check(Some('a'), &[], "already");
        check(None, &[], "the branch `main` is gone");
        check(Some('c'), &[], "`main` is at cccccccccccc, which is not on top of bbbbbbbbbbbb");
        check(Some('c'), &on_top, "`main` was built upon: cccccccccccc more (task b)");
    }

    #[test]
    fn a_landing_that_a_workspace_or_a_remote_has_stays() {
        let check = |workspaces: &[&str], remotes: &[&str], expected: Option<&str>| {
            let on_top = || vec![OnTop { commit: id('c'), subject: "more".into(), task: None }];
            let named = |name: &&str| (WorkspaceName::parse(name).expect("a name"), on_top());
            let upon = Upon {
                workspaces: workspaces.iter().map(named).collect(),
                remotes: remotes.iter().map(|name| (*name).to_owned()).collect(),
            };
            assert_eq!(upon.refusal("main", &id('b')).as_deref(), expected);
        };
        check(&[], &[], None);
        check(&["w"], &[], Some("`main` was built upon in the workspace `w`: cccccccccccc more"));
        check(&[], &["origin/main", "up/x"], Some("bbbbbbbbbbbb was pushed: origin/main, up/x has it"));
    }

    #[test]
    fn a_branch_moves_forward_again_only_from_where_the_undo_left_it() {
        let check = |tip: Option<char>, gone: bool, expected: &str| {
            let tip = tip.map(id);
            let shown = match judge_again("main", tip.as_ref(), &id('a'), &id('b'), gone) {
                Verdict::Move => "forward".to_owned(),
                Verdict::Already => "already".to_owned(),
                Verdict::Refuse(why) => why,
            };
            assert_eq!(shown, expected);
        };
        check(Some('a'), false, "forward");
        check(Some('b'), false, "already");
        check(Some('c'), false, "`main` is at cccccccccccc, not at aaaaaaaaaaaa where the undo left it");
        check(None, false, "the branch `main` is gone");
        check(None, true, "forward");
        check(Some('a'), true, "there is a branch `main` again, at aaaaaaaaaaaa");
    }

    fn operation(op: i64, undone: bool) -> OperationRecord {
        OperationRecord {
            op,
            kind: "rm".into(),
            at: Timestamp(op),
            summary: String::new(),
            undone,
            undo: UndoData::Removal { items: Vec::new() },
            stamp: None,
            saved: Vec::new(),
            reverts: None,
            taken_back: None,
        }
    }

    #[test]
    fn the_last_that_was_not_taken_back_is_meant() {
        let all = [operation(3, true), operation(2, false), operation(1, false)];
        let check = |named, expected: Option<i64>| assert_eq!(pick(&all, named).map(|o| o.op), expected, "{named:?}");
        check(None, Some(2));
        check(Some(1), Some(1));
        check(Some(3), Some(3));
        check(Some(9), None);
    }

    #[test]
    fn what_was_taken_back_last_is_made_again_first_until_something_else_is_done() {
        let taken = |op: i64, order: i64, newest: i64, by: Option<i64>| {
            let at = Timestamp(order);
            let how = TakenBack { order, newest, at, by, put_back: PutBack::default() };
            OperationRecord { taken_back: Some(how), ..operation(op, true) }
        };
        let check = |all: &[OperationRecord], expected: &str| {
            let shown = match next(all) {
                Next::Nothing => "nothing".to_owned(),
                Next::Redo(operation) => operation.op.to_string(),
                Next::Superseded(operation, newer) => format!("{} not after {}", operation.op, newer.op),
            };
            assert_eq!(shown, expected);
        };
        check(&[], "nothing");
        check(&[operation(1, false)], "nothing");
        check(&[operation(1, true)], "nothing");
        check(&[taken(2, 10, 2, None), taken(1, 20, 2, None)], "1");
        check(&[operation(3, false), taken(2, 10, 2, None), taken(1, 20, 2, None)], "1 not after 3");
        check(&[operation(3, false), taken(2, 10, 3, Some(3))], "nothing");
        check(&[operation(3, false), taken(2, 10, 3, Some(3)), taken(1, 30, 3, None)], "1");
    }

    /// What an editor does: two stacks, and something new empties the second.
    #[derive(Default)]
    struct Editor {
        done: Vec<i64>,
        undone: Vec<i64>,
    }

    /// Does one thing in the editor and in the store; both name the operation that it was about.
    fn step(editor: &mut Editor, store: &Store, what: u8) -> (Option<i64>, Option<i64>) {
        let operations = store.operations().expect("read");
        match what {
            0 => {
                let undo = UndoData::Removal { items: Vec::new() };
                let op = store.add_operation("rm", Timestamp(0), "", undo).expect("stored");
                editor.done.push(op);
                editor.undone.clear();
                (None, None)
            }
            1 => {
                let expected = editor.done.pop();
                editor.undone.extend(expected);
                let found = pick(&operations, None).map(|operation| operation.op);
                if let Some(op) = found {
                    store.mark_undone(op, PutBack::default(), None).expect("undone");
                }
                (expected, found)
            }
            _ => {
                let expected = editor.undone.pop();
                editor.done.extend(expected);
                let found = match next(&operations) {
                    Next::Redo(operation) => Some(operation.op),
                    Next::Nothing | Next::Superseded(..) => None,
                };
                if let Some(op) = found {
                    store.mark_redone(op, None, None).expect("redone");
                }
                (expected, found)
            }
        }
    }

    proptest! {
        #[test]
        fn any_order_of_undo_and_redo_is_that_of_an_editor(steps in proptest::collection::vec(0u8..3, 0..40)) {
            let (mut editor, store) = (Editor::default(), Store::in_memory().expect("a store"));
            for what in steps {
                let (expected, found) = step(&mut editor, &store, what);
                prop_assert_eq!(expected, found);
            }
        }
    }
}
