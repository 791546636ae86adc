//! Decision file: whether a landing can be taken back, and which operation is meant.
//!
//! A branch moves back only from exactly where the landing put it; what was built on it is never dropped.

use crate::model::CommitId;
use crate::model::record::OperationRecord;

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
    /// Move it back.
    MoveBack,
    /// It is back already.
    AlreadyBack,
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

/// Which operation `redo` means, or why none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Redo {
    /// This one: the last that was taken back.
    Operation(i64),
    /// Nothing was taken back.
    Nothing,
    /// This one came after the undo.
    Overtaken(i64),
}

/// The operation that `redo` does again: the one whose undo was last, unless something new was done since.
pub fn pick_redo(operations: &[OperationRecord]) -> Redo {
    let undone = operations.iter().filter_map(|operation| Some((operation.undone_seq?, operation.op)));
    let Some((undone_at, op)) = undone.max() else { return Redo::Nothing };
    match operations.iter().filter(|operation| operation.seq > undone_at).map(|operation| operation.op).min() {
        Some(newer) => Redo::Overtaken(newer),
        None => Redo::Operation(op),
    }
}

/// Decides on a landing.
pub fn judge(branch: &str, tip: Option<&CommitId>, before: &CommitId, after: &CommitId, on_top: &[OnTop]) -> Verdict {
    match tip {
        None => Verdict::Refuse(format!("the branch `{branch}` is gone")),
        Some(tip) if tip == after => Verdict::MoveBack,
        Some(tip) if tip == before => Verdict::AlreadyBack,
        Some(tip) if on_top.is_empty() => {
            let (tip, after) = (tip.short(), after.short());
            Verdict::Refuse(format!("`{branch}` is at {tip}, which is not on top of {after}"))
        }
        Some(_) => {
            let line = |commit: &OnTop| {
                let task = commit.task.as_ref().map(|task| format!(" (task {task})")).unwrap_or_default();
                format!("{} {}{task}", commit.commit.short(), commit.subject)
            };
            let list: Vec<String> = on_top.iter().map(line).collect();
            Verdict::Refuse(format!("`{branch}` was built upon: {}", list.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::model::record::UndoData;

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    #[test]
    fn a_branch_moves_back_only_from_where_the_landing_put_it() {
        let on_top = [OnTop { commit: id('c'), subject: "more".into(), task: Some("b".into()) }];
        let check = |tip: Option<char>, on_top: &[OnTop], expected: &str| {
            let tip = tip.map(id);
            let shown = match judge("main", tip.as_ref(), &id('a'), &id('b'), on_top) {
                Verdict::MoveBack => "back".to_owned(),
                Verdict::AlreadyBack => "already".to_owned(),
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
    fn the_last_that_was_not_taken_back_is_meant() {
        let operation = |op: i64, undone: bool| OperationRecord {
            op,
            kind: "rm".into(),
            at: Timestamp(op),
            summary: String::new(),
            undone,
            seq: op,
            undone_seq: undone.then_some(10 - op),
            undo: UndoData::Removal { items: Vec::new() },
        };
        let all = [operation(3, true), operation(2, false), operation(1, false)];
        let check = |named, expected: Option<i64>| assert_eq!(pick(&all, named).map(|o| o.op), expected, "{named:?}");
        check(None, Some(2));
        check(Some(1), Some(1));
        check(Some(3), Some(3));
        check(Some(9), None);
    }

    #[test]
    fn redo_goes_back_the_way_that_undo_came_and_not_past_something_new() {
        let operation = |op: i64, seq: i64, undone_seq: Option<i64>| OperationRecord {
            op,
            kind: "land".into(),
            at: Timestamp(op),
            summary: String::new(),
            undone: undone_seq.is_some(),
            seq,
            undone_seq,
            undo: UndoData::Removal { items: Vec::new() },
        };
        let check = |operations: &[OperationRecord], expected| assert_eq!(pick_redo(operations), expected);
        check(&[], Redo::Nothing);
        check(&[operation(1, 1, None)], Redo::Nothing);
        let both = [operation(1, 1, Some(6)), operation(2, 3, Some(5))];
        check(&both, Redo::Operation(1));
        check(&[operation(1, 1, None), both[1].clone()], Redo::Operation(2));
        check(&[both[0].clone(), both[1].clone(), operation(3, 9, None)], Redo::Overtaken(3));
    }
}
