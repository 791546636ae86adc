//! What is under way and changes the files that a task would change: results that wait to land on the same branch, and tasks that
//! other runs have at work for it. From what is on record and in the repository alone; into the tree of a task at work nobody looks.
//!
//! Also what a task that waited for them starts from: the target with what they brought there. It would meet them again at the
//! landing otherwise, however long it had waited.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use globset::GlobSet;
use serde_json::json;

use super::behind;
use super::context::{Context, RunError};
use super::overlap::{pairs, patterns};
use super::queue::order::{self, Obstacle};
use super::queue::scan;
use crate::model::cause::chain;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{CommitId, Delay, OverlapPolicy, QueueEntry, RunId, TaskId, TaskState};
use crate::store::{Store, StoreError};
use crate::sys::git::Reader;
use crate::sys::{clock, proc};
use crate::worktree::WorktreeError;
use crate::worktree::result_policy;

/// How a task is said to wait on account of files.
const KEY: &str = "(supervise.overlap)";

/// What results change.
type Files = Arc<BTreeSet<Vec<u8>>>;

/// What results that wait change, by base and commit: a result is read once.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<(CommitId, CommitId), Files>>);

/// Writes down for which task of its own run one waits, or that it does so no more.
pub fn note(store: &Store, run: &RunId, id: &TaskId, by: Option<&TaskId>) -> Result<(), StoreError> {
    let known = store.task(run, id)?.delay;
    let why = by.map(|by| format!("waits for {run}/{by}, which may change the same files {KEY}"));
    let ours = known.as_ref().filter(|delay| is_ours(delay)).map(|delay| &delay.why);
    if ours == why.as_ref() {
        return Ok(());
    }
    let delay = why.map(|why| Delay { why, since: clock::now(), until: None });
    let data = json!({"delay": delay});
    store.edit_task(run, id, "task.waits", data, |task| task.delay = delay).map(drop)
}

/// Whether a task waits on account of files.
pub fn is_ours(delay: &Delay) -> bool {
    delay.why.ends_with(KEY)
}

/// The results of this run in the queue that wait for a person: their branch is paused, they are held back, or something that has
/// to land first is.
pub fn obstructed(context: &Context) -> Result<BTreeSet<TaskId>, RunError> {
    let queue = context.store(|store| scan::queue(store, &context.run.into))?;
    let line = order::line(&queue.waiting);
    let is_over = |obstacle: &Option<Obstacle>| matches!(obstacle, None | Some(Obstacle::Refused));
    let waits = |place: &&order::Place<'_>| queue.pause.is_some() || !is_over(&place.obstacle);
    let own = line.iter().filter(waits).filter(|place| place.entry.run == context.run.id);
    Ok(own.map(|place| place.entry.task.clone()).collect())
}

/// What a task would have to wait for before it starts, in words: the first result that lands by itself, or task of another run, that
/// changes what it may change. What waits for anything but its own end is none of that.
pub fn met(context: &Context, task: &TaskRecord) -> Result<Option<String>, RunError> {
    if context.run.overlap() != OverlapPolicy::Wait || task.spec.paths.is_empty() {
        return Ok(None);
    }
    match met_in_queue(context, task)? {
        None => met_at_work(context, task),
        met => Ok(met),
    }
}

fn met_in_queue(context: &Context, task: &TaskRecord) -> Result<Option<String>, RunError> {
    let queue = context.store(|store| scan::queue(store, &context.run.into))?;
    if queue.pause.is_some() || queue.waiting.is_empty() {
        return Ok(None);
    }
    let allowed = allowed(task)?;
    let needs = behind::needs(task, |id| context.task(id))?;
    let builds_on = |entry: &QueueEntry| entry.run == context.run.id && needs.iter().any(|need| need.id == entry.task);
    let line = order::line(&queue.waiting);
    let entries: Vec<&QueueEntry> = line
        .iter()
        .filter(|place| place.obstacle.is_none() && !builds_on(place.entry))
        .map(|place| place.entry)
        .collect();
    let changed = changed(context, &entries);
    Ok(entries.iter().zip(changed).find_map(|(entry, files)| {
        let path = first_match(&allowed, &files)?;
        Some(format!("waits for {}, which changes {path}, too {KEY}", entry.name()))
    }))
}

/// What these change; nothing is known of one that cannot be read, and the queue will say so when it comes to it.
fn changed(context: &Context, entries: &[&QueueEntry]) -> Vec<Files> {
    let mut known = context.changed_files.0.lock().unwrap_or_else(PoisonError::into_inner);
    let reader = context.repo.reader();
    let mut files = HashMap::with_capacity(entries.len());
    let mut read = |entry: &&QueueEntry| {
        let key = (entry.base.clone(), entry.commit.clone());
        let found = known.get(&key).cloned().unwrap_or_else(|| Arc::new(files_of(&reader, entry)));
        files.insert(key, Arc::clone(&found));
        found
    };
    let found = entries.iter().map(&mut read).collect();
    // What has left the queue is forgotten.
    *known = files;
    found
}

fn files_of(reader: &Reader, entry: &QueueEntry) -> BTreeSet<Vec<u8>> {
    reader.changed_files(&entry.base, &entry.commit).unwrap_or_else(|error| {
        tracing::warn!(entry = entry.name(), error = chain(&error), "it is not known what it changes");
        BTreeSet::new()
    })
}

fn met_at_work(context: &Context, task: &TaskRecord) -> Result<Option<String>, RunError> {
    let elsewhere = |run: &RunRecord| {
        let supervised = run.supervisor.as_ref().is_some_and(proc::is_alive);
        run.into == context.run.into && run.id != context.run.id && supervised
    };
    let runs = context.store(Store::runs_under_way)?;
    let ours = patterns(&task.spec.paths);
    for run in runs.iter().filter(|run| elsewhere(run)) {
        let tasks = context.store(|store| store.tasks(&run.id))?;
        for other in tasks.iter().filter(|other| other.state.is_active()) {
            let met = pairs(&ours, &patterns(&other.spec.paths));
            if let Some((_, theirs)) = met.first() {
                let pattern = &other.spec.paths[*theirs];
                return Ok(Some(format!("waits for {}/{}, which may change {pattern}, too {KEY}", run.id, other.id)));
            }
        }
    }
    Ok(None)
}

fn allowed(task: &TaskRecord) -> Result<GlobSet, RunError> {
    // They were compiled when the tasks file was read.
    result_policy::compile(&task.spec.paths).map_err(|message| RunError::Usage { message })
}

fn first_match(allowed: &GlobSet, files: &BTreeSet<Vec<u8>>) -> Option<String> {
    let path = files.iter().find(|path| allowed.is_match(OsStr::from_bytes(path)))?;
    Some(String::from_utf8_lossy(path).into_owned())
}

/// The tip of the target, where a task is to start from that and not from the base of its run: since the run began something came
/// there that the task may change, too. `None` where its base was older than the target from the beginning (that was wanted), where
/// the target no longer has the base, or has not all that the task needs.
pub fn newer_base(context: &Context, task: &TaskRecord) -> Result<Option<CommitId>, RunError> {
    let (run, reader) = (&context.run, context.repo.reader());
    if run.overlap() == OverlapPolicy::Ignore || task.spec.paths.is_empty() {
        return Ok(None);
    }
    let begun = &run.base.commit;
    let Some(tip) = reader.ref_commit(&run.into.full_ref()).map_err(WorktreeError::from)? else { return Ok(None) };
    if tip == *begun || !holds(&reader, begun, &run.before)? || !holds(&reader, &tip, begun)? {
        return Ok(None);
    }
    for need in behind::needs(task, |id| context.task(id))? {
        let is_there = match (need.state, &need.landed) {
            (TaskState::NoChange, _) => true,
            (TaskState::Landed, Some(landed)) => holds(&reader, &tip, &landed.commit)?,
            _ => false,
        };
        if !is_there {
            return Ok(None);
        }
    }
    let files = reader.changed_files(begun, &tip).map_err(WorktreeError::from)?;
    Ok(first_match(&allowed(task)?, &files).map(|_| tip))
}

/// True when a commit has another in its history, and that is here.
pub fn holds(reader: &Reader, commit: &CommitId, other: &CommitId) -> Result<bool, WorktreeError> {
    Ok(reader.has_commit(other)? && reader.is_ancestor(other, commit)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::granted::Granted;
    use crate::model::record::{ConfineLevel, LandedRecord};
    use crate::model::{BranchName, QueuePause, RunState, Strategy, Timestamp};
    use crate::orchestrator::queue::attend::entry_of;
    use crate::worktree::Repository;
    use crate::worktree::fixture::{Fixture, run};
    use crate::worktree::sealed::Identity;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).expect("a task id")
    }

    /// A run that waits for what changes the same files, with one task of the first commit; beside it the fixture goes on.
    fn waiting(
        fixture: &Fixture,
        paths: &[&str],
        change: impl Fn(&mut RunRecord, &mut TaskRecord),
    ) -> (Context, TaskRecord) {
        let (mut record, mut task) = run(&fixture.base(), "running", "t", "queued");
        record.admission.overlap = OverlapPolicy::Wait;
        task.spec.paths = paths.iter().map(|path| (*path).to_owned()).collect();
        task.base = None;
        change(&mut record, &mut task);
        fixture.store.create_run(&record, std::slice::from_ref(&task)).expect("recorded");
        (context_of(fixture, record), task)
    }

    fn context_of(fixture: &Fixture, record: RunRecord) -> Context {
        let identity = Identity { name: "Someone".into(), email: "someone@example.org".into() };
        let repo = Repository::discover(&fixture.repo.git, &fixture.root).expect("found");
        let store = fixture.repo.store().expect("a store");
        Context::new(repo, (record, 1), identity, Granted::on_record(ConfineLevel::Off), store, None)
    }

    /// A result of another run that waits to land on the same branch.
    fn result(fixture: &Fixture, base: &CommitId, commit: &CommitId, change: impl Fn(&mut QueueEntry)) -> RunRecord {
        let (other, mut task) = run(&fixture.base(), "running", "other", "candidate");
        (task.base, task.commit) = (Some(base.clone()), Some(commit.clone()));
        fixture.store.create_run(&other, std::slice::from_ref(&task)).expect("recorded");
        let mut entry = entry_of(&other, &task).expect("a result");
        change(&mut entry);
        fixture.store.enter_queue(&entry).expect("entered");
        other
    }

    #[test]
    fn a_result_that_changes_what_a_task_declares_is_waited_for_unless_it_waits_for_a_person_or_nobody() {
        let fixture = Fixture::new();
        let base = fixture.base().commit;
        fixture.git(&["branch", "side"]);
        let commit = fixture.commit_on("side", &[("b.rs", "new\n")]);
        let asks = |fixture: &Fixture, paths: &[&str]| {
            let (context, task) = waiting(fixture, paths, |_, _| {});
            met(&context, &task).expect("looked")
        };
        assert_eq!(asks(&fixture, &["**"]), None);
        let other = result(&fixture, &base, &commit, |_| {});
        let expected = format!("waits for {}/other, which changes b.rs, too (supervise.overlap)", other.id);
        assert_eq!(asks(&fixture, &["x", "*.rs"]), Some(expected));
        assert_eq!((asks(&fixture, &["a"]), asks(&fixture, &[])), (None, None));
        let (context, task) = waiting(&fixture, &["**"], |run, _| run.admission.overlap = OverlapPolicy::Prefer);
        assert_eq!(met(&context, &task).expect("looked"), None);
        let pause = QueuePause { target: other.into.clone(), reason: "later".into(), at: Timestamp(1) };
        fixture.store.pause_queue(&pause).expect("paused");
        assert_eq!(asks(&fixture, &["**"]), None, "a person has it wait");
        for change in [
            (|entry| entry.held = Some("later".into())) as fn(&mut QueueEntry),
            |entry| entry.owner = None,
            |entry| entry.needs = vec![id("other")],
        ] {
            let fixture = Fixture::new();
            let base = fixture.base().commit;
            fixture.git(&["branch", "side"]);
            let commit = fixture.commit_on("side", &[("b.rs", "new\n")]);
            result(&fixture, &base, &commit, change);
            assert_eq!(asks(&fixture, &["**"]), None);
        }
    }

    #[test]
    fn a_task_of_another_run_for_the_same_branch_is_waited_for_by_what_it_declares_while_its_supervisor_lives() {
        let fixture = Fixture::new();
        let (context, task) = waiting(&fixture, &["src/**"], |_, _| {});
        let at_work = |change: fn(&mut RunRecord)| {
            let (mut other, mut theirs) = run(&fixture.base(), "running", "other", "running");
            (other.supervisor, theirs.spec.paths) = (proc::own(), vec!["src/lib.rs".into()]);
            change(&mut other);
            fixture.store.create_run(&other, &[theirs]).expect("recorded");
            other
        };
        at_work(|other| other.supervisor = None);
        at_work(|other| other.state = RunState::Failed);
        at_work(|other| other.into = BranchName::parse("elsewhere").expect("a name"));
        assert_eq!(met(&context, &task).expect("looked"), None);
        let other = at_work(|_| {});
        let expected = format!("waits for {}/other, which may change src/lib.rs, too (supervise.overlap)", other.id);
        assert_eq!(met(&context, &task).expect("looked"), Some(expected));
    }

    #[test]
    fn a_task_starts_from_the_target_where_that_has_got_something_that_it_may_change() {
        let fixture = Fixture::new();
        let (context, task) = waiting(&fixture, &["a"], |_, _| {});
        let (other, elsewhere) = waiting(&fixture, &["b"], |_, _| {});
        let (merges, as_well) = waiting(&fixture, &["a"], |run, _| run.strategy = Strategy::Merge);
        let (ignores, also) = waiting(&fixture, &["a"], |run, _| run.admission.overlap = OverlapPolicy::Ignore);
        assert_eq!(newer_base(&context, &task).expect("looked"), None, "there is nothing new");
        let tip = fixture.commit("a", "two\n");
        assert_eq!(newer_base(&context, &task).expect("looked"), Some(tip.clone()));
        assert_eq!(newer_base(&other, &elsewhere).expect("looked"), None);
        assert_eq!(newer_base(&ignores, &also).expect("looked"), None);
        assert_eq!(newer_base(&merges, &as_well).expect("looked"), None, "it lands with its history");
        // The base was an old one from the beginning.
        let (older, old) = waiting(&fixture, &["a"], |run, _| run.base = context.run.base.clone());
        fixture.commit("a", "three\n");
        assert_eq!(newer_base(&older, &old).expect("looked"), None);
        // What it began with was taken back.
        fixture.git(&["checkout", "-q", "--orphan", "anew"]);
        fixture.git(&["commit", "-q", "-m", "anew"]);
        fixture.git(&["branch", "-M", "anew", "main"]);
        assert_eq!(newer_base(&context, &task).expect("looked"), None);
    }

    #[test]
    fn a_task_starts_from_the_target_only_when_all_that_it_needs_is_there() {
        let fixture = Fixture::new();
        let (context, task) = waiting(&fixture, &["a"], |_, task| task.spec.needs = vec![id("need")]);
        let tip = fixture.commit("a", "two\n");
        let with_need = |state: TaskState, landed: Option<&CommitId>| {
            let landed =
                landed.cloned().map(|commit| LandedRecord { before: None, commit, order: 1, at: Timestamp(1) });
            let (another, need) = run(&fixture.base(), "running", "need", "queued");
            let need = TaskRecord { state, landed, ordinal: 1, ..need };
            let record = RunRecord { id: another.id, ..context.run.clone() };
            fixture.store.create_run(&record, &[task.clone(), need]).expect("recorded");
            newer_base(&context_of(&fixture, record), &task).expect("looked")
        };
        assert_eq!(with_need(TaskState::Candidate, None), None);
        assert_eq!(with_need(TaskState::Landed, Some(&tip)), Some(tip.clone()));
        assert_eq!(with_need(TaskState::NoChange, None), Some(tip.clone()));
        fixture.git(&["branch", "side", "HEAD"]);
        let elsewhere = fixture.commit_on("side", &[("c", "c\n")]);
        assert_eq!(with_need(TaskState::Landed, Some(&elsewhere)), None, "it was taken back");
    }

    #[test]
    fn for_whom_a_task_waits_is_written_down_once_and_nothing_else_is_taken_for_that() {
        let fixture = Fixture::new();
        let (record, task) = run(&fixture.base(), "running", "t", "queued");
        fixture.store.create_run(&record, &[task]).expect("recorded");
        let written = || fixture.store.count_entries(&record.id).expect("counted");
        let why = || fixture.store.task(&record.id, &id("t")).expect("read").delay.map(|delay| delay.why);
        let noted = |by: Option<&str>| {
            note(&fixture.store, &record.id, &id("t"), by.map(id).as_ref()).expect("written");
            (why(), written())
        };
        let before = written();
        let other = format!("waits for {}/other, which may change the same files (supervise.overlap)", record.id);
        assert_eq!(noted(None), (None, before));
        assert_eq!(noted(Some("other")), (Some(other.clone()), before + 1));
        assert_eq!(noted(Some("other")), (Some(other), before + 1));
        assert_eq!(noted(None), (None, before + 2));
        let place = Delay { why: "waits for a place".into(), since: Timestamp(1), until: None };
        let data = json!({});
        let told = |task: &mut TaskRecord| task.delay = Some(place);
        fixture.store.edit_task(&record.id, &id("t"), "task.waits", data, told).expect("written");
        assert_eq!(noted(None), (Some("waits for a place".into()), before + 3));
    }
}
