//! Recording landings: operations, runs, tasks and journal in one transaction for all that one move of a branch landed, so
//! that no crash leaves a landing that cannot be taken back or a task that landed twice. Repeating it changes nothing.

use rusqlite::Transaction;
use serde_json::json;

use super::journal::{Intent, Phase, append_closing};
use super::operations::{find, insert_operation, insert_revert};
use super::runs::{edit, edit_run, read_task};
use super::{Store, StoreError};
use crate::model::operation::UndoData;
use crate::model::record::{LandedRecord, TaskRecord};
use crate::model::{BranchName, CommitId, RunId, TaskEvent, TaskId, Timestamp};

/// A landing that has happened.
#[derive(Clone, Debug)]
pub struct Landing<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The task.
    pub task: &'a TaskId,
    /// The branch it landed on.
    pub into: &'a BranchName,
    /// Where the branch was.
    pub before: &'a CommitId,
    /// Where it is; the same when there was nothing left to land.
    pub after: &'a CommitId,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Records what one move of a branch has landed, in its order, and closes the intent, if it is whole.
    pub fn record_landings(
        &self,
        landings: &[Landing<'_>],
        intent: Option<&Intent>,
    ) -> Result<Vec<TaskRecord>, StoreError> {
        self.write(|transaction| {
            let mut tasks = Vec::new();
            for landing in landings {
                let known = read_task(transaction, landing.run, landing.task)?;
                tasks.push(if known.landed.is_none() { record(transaction, landing, known.reverts)? } else { known });
            }
            if let (Some(intent), Some(last)) = (intent, landings.last()) {
                append_closing(transaction, intent, Phase::Done, &json!({"after": last.after}))?;
            }
            Ok(tasks)
        })
    }
}

/// How many tasks of a run have landed. Counted by the database: a run has thousands, and this is asked for each of them.
fn count_landed(transaction: &Transaction<'_>, run: &RunId) -> Result<u32, StoreError> {
    let sql = "SELECT count(*) FROM task WHERE run = ?1 AND json_extract(record, '$.landed') IS NOT NULL";
    Ok(transaction.prepare_cached(sql)?.query_row([run.as_str()], |row| row.get(0))?)
}

fn record(
    transaction: &Transaction<'_>,
    landing: &Landing<'_>,
    reverts: Option<i64>,
) -> Result<TaskRecord, StoreError> {
    let Landing { run, task, into, before, after, at } = *landing;
    if before != after {
        let (before, after) = (before.clone(), after.clone());
        let undo = UndoData::Landing {
            into: into.clone(),
            before,
            after: after.clone(),
            run: Some(run.clone()),
            task: Some(task.clone()),
        };
        let reverted = reverts.map(|op| find(transaction, op)).transpose()?.flatten();
        match reverted.filter(|original| !original.undone) {
            Some(original) => {
                insert_revert(transaction, original.op, at, &original.taken_back_on(into), undo)?;
            }
            None => {
                insert_operation(transaction, "land", at, &format!("landed {run}/{task} on {into}"), undo)?;
            }
        }
        edit_run(transaction, run, "run.advanced", json!({"after": after}), |run| run.after = Some(after.clone()))?;
    }
    let order = count_landed(transaction, run)?.saturating_add(1);
    let landed = LandedRecord { before: Some(before.clone()), commit: after.clone(), order, at };
    edit(transaction, run, task, |record| {
        // A task whose run was ended meanwhile stays ended, but what landed has landed.
        record.state = record.state.next(TaskEvent::Land).unwrap_or(record.state);
        record.landed = Some(landed);
        Ok(("task.land".to_owned(), json!({"state": record.state, "commit": after})))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BaseReport;
    use crate::store::EntryDraft;
    use crate::store::fixture;

    #[test]
    fn what_lands_to_take_back_an_operation_does_so_once_and_in_the_same_step() {
        let store = Store::in_memory().expect("a store");
        let id = |digit: &str| CommitId::parse(&digit.repeat(40)).expect("an id");
        let (run, task) = fixture::run(&BaseReport::fixed("main", id("a")), "running", "t", "candidate");
        let original = {
            let (into, run, task) = (run.into.clone(), None, None);
            let undo = UndoData::Landing { into, before: id("a"), after: id("b"), run, task };
            store.add_operation("land", Timestamp(1), "landed it", undo).expect("recorded")
        };
        let tasks: Vec<TaskRecord> = ["t", "u"]
            .map(|name| TaskRecord {
                id: TaskId::parse(name).expect("an id"),
                reverts: Some(original),
                ordinal: u32::from(name == "u"),
                ..task.clone()
            })
            .into();
        store.create_run(&run, &tasks).expect("stored");
        assert_eq!(store.being_reverted(original).expect("read"), Some(run.id.clone()));
        let (into, at, [b, c, d]) = (&run.into, Timestamp(7), [id("b"), id("c"), id("d")]);
        let land = |task: &TaskRecord, before: &CommitId, after: &CommitId| {
            let landing = Landing { run: &run.id, task: &task.id, into, before, after, at };
            store.record_landings(std::slice::from_ref(&landing), None)
        };
        store.cut_after(0);
        assert!(matches!(land(&tasks[0], &b, &c), Err(StoreError::Cut)));
        assert!(!store.operation(original).expect("read").undone);
        store.cut_after(99);
        land(&tasks[0], &b, &c).expect("recorded");
        land(&tasks[0], &b, &c).expect("once more");
        land(&tasks[1], &c, &d).expect("recorded, after it was taken back already");
        let all = store.operations().expect("read");
        let told: Vec<(&str, Option<i64>)> = all.iter().map(|one| (one.kind.as_str(), one.reverts)).collect();
        assert_eq!(told, [("land", None), ("revert", Some(original)), ("land", None)]);
        assert_eq!(all[1].summary, format!("reverted operation {original} on main: landed it"));
        assert_eq!(all[2].taken_back.as_ref().and_then(|how| how.by), Some(all[1].op));
        assert_eq!(store.being_reverted(original).expect("read"), None);
    }

    #[test]
    fn a_landing_is_recorded_once_and_with_its_operation_or_not_at_all() {
        let store = Store::in_memory().expect("a store");
        let id = |digit: &str| CommitId::parse(&digit.repeat(40)).expect("an id");
        let (before, after) = (id("a"), id("b"));
        let (run, task) = fixture::run(&BaseReport::fixed("main", before.clone()), "running", "t", "candidate");
        store.create_run(&run, std::slice::from_ref(&task)).expect("stored");
        let (into, at) = (&run.into, Timestamp(7));
        let landing = Landing { run: &run.id, task: &task.id, into, before: &before, after: &after, at };
        let intent = store.intend(&EntryDraft::new("land", json!({})).of_task(&run.id, &task.id)).expect("written");
        store.cut_after(0);
        let record = || store.record_landings(std::slice::from_ref(&landing), Some(&intent));
        assert!(matches!(record(), Err(StoreError::Cut)));
        assert_eq!(store.operations().expect("read").len(), 0);
        store.cut_after(2);
        for _ in 0..2 {
            let landed = record().expect("recorded").remove(0).landed.expect("landed");
            assert_eq!((landed.order, &landed.commit), (1, &after));
        }
        assert_eq!(store.operations().expect("read").len(), 1);
        assert_eq!(store.open_intents().expect("read"), []);
        assert_eq!(store.run(&run.id).expect("read").after, Some(after));
    }
}
