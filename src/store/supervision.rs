//! Who may act for a run: each supervisor has a number that is higher than those before it, and every write of one that was
//! superseded is refused.
//!
//! The kernel lock on the run's lock file keeps two from acting at once; this is for where a lock does not hold. Knows
//! nothing of processes.

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde_json::{Value, json};

use super::runs::edit_run;
use super::{Store, StoreError};
use crate::model::record::RunRecord;
use crate::model::{ProcId, RunId, RunState, Timestamp};

/// What the writes of a supervisor are good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    run: RunId,
    epoch: u64,
}

impl Fence {
    /// An error when the run has a later supervisor.
    pub(super) fn require(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        match read(transaction, &self.run)? {
            now if now == self.epoch => Ok(()),
            _ => Err(StoreError::Superseded { run: self.run.to_string(), epoch: self.epoch }),
        }
    }
}

fn read(connection: &Connection, run: &RunId) -> Result<u64, StoreError> {
    let sql = "SELECT epoch FROM supervision WHERE run = ?1";
    let epoch: Option<i64> = connection.prepare_cached(sql)?.query_row([run.as_str()], |row| row.get(0)).optional()?;
    Ok(epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0))
}

impl Store {
    /// The number of the last supervisor of a run; zero when it had none.
    pub fn epoch(&self, run: &RunId) -> Result<u64, StoreError> {
        read(&self.connection, run)
    }

    /// Makes a process, which is in this scope, the supervisor of a run. Its number is in the answer, and what this store writes from now on is
    /// refused once there is a later one. A run that is over stays as it is.
    pub fn take_over(
        &self,
        run: &RunId,
        (process, scope): (Option<ProcId>, &Value),
        now: Timestamp,
    ) -> Result<(RunRecord, u64), StoreError> {
        let taken = self.write(|transaction| {
            let epoch = read(transaction, run)?.saturating_add(1);
            let sql = "INSERT OR REPLACE INTO supervision (run, epoch) VALUES (?1, ?2)";
            transaction.execute(sql, params![run.as_str(), i64::try_from(epoch).unwrap_or(i64::MAX)])?;
            let data = json!({"process": process, "epoch": epoch, "scope": scope});
            let record = edit_run(transaction, run, "run.supervised", data, |run| {
                run.supervisor = process;
                run.started_at.get_or_insert(now);
                if !run.state.is_terminal() {
                    run.state = RunState::Running;
                }
            })?;
            Ok((record, epoch))
        })?;
        self.fence.replace(Some(Fence { run: run.clone(), epoch: taken.1 }));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BaseReport, CommitId, TaskEvent};
    use crate::store::fixture;

    #[test]
    fn who_was_superseded_writes_nothing_any_more() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let (first, second) = (Store::open(dir.path()).expect("open"), Store::open(dir.path()).expect("open"));
        let base = BaseReport::fixed("main", CommitId::parse(&"a".repeat(40)).expect("an id"));
        let (run, task) = fixture::run(&base, "running", "t", "queued");
        first.create_run(&run, std::slice::from_ref(&task)).expect("stored");
        let at = Timestamp(7);
        assert_eq!(first.take_over(&run.id, (None, &Value::Null), at).expect("taken").1, 1);
        let lease = |store: &Store| store.move_task(&run.id, &task.id, TaskEvent::Lease, json!({}), |_| {});
        lease(&first).expect("it is the supervisor");
        assert_eq!(second.take_over(&run.id, (None, &Value::Null), at).expect("taken").1, 2);
        let refused = first.move_task(&run.id, &task.id, TaskEvent::Cancel, json!({}), |_| {});
        assert!(matches!(refused, Err(StoreError::Superseded { epoch: 1, .. })), "{refused:?}");
        second.move_task(&run.id, &task.id, TaskEvent::Cancel, json!({}), |_| {}).expect("it is the supervisor now");
        let started = second.run(&run.id).expect("read").started_at;
        assert_eq!(started, run.started_at, "it began when its first supervisor did");
    }
}
