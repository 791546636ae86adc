//! Scan: runs and what is left of them: boxes, private directories, branches, pins, processes.
//!
//! A run that is at work is named and not looked into. Whether a run has a supervisor is asked of the kernel, by its lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ahead::Question;
use super::facts::{Facts, OrphanFact, RunFacts, RunStanding, StrayBranch, TaskBranch, TaskFacts};
use super::look::Scan;
use super::scan_unrecorded;
use super::types::{Kept, Kind};
use crate::cleanup::error::Result;
use crate::cleanup::integration::{self, Target};
use crate::cleanup::places::disk_there;
use crate::cleanup::remove::scan::dir_id;
use crate::model::cause::chain;
use crate::model::record::{AttemptRecord, RunRecord, TaskRecord};
use crate::model::{BranchName, CommitId, RunId, Standing, TaskId, Timestamp};
use crate::sys::lock::FileLock;
use crate::sys::marks::{Marked, Marks};
use crate::sys::{fs, proc};
use crate::worktree::sealed::SealedPaths;

/// A run that was only just recorded may get its supervisor at any moment.
const JUST_RECORDED: Duration = Duration::from_secs(60);

/// The runs, their tasks, the branches that have the form of a task's, and what pins bases.
pub struct Runs {
    runs: Vec<ListedRun>,
    branches: BTreeMap<String, CommitId>,
    pins: BTreeMap<String, CommitId>,
}

/// A run, and where its work belongs.
struct ListedRun {
    run: RunRecord,
    standing: RunStanding,
    tasks: Vec<TaskRecord>,
    into: Vec<Target>,
}

impl Runs {
    /// Lists them.
    pub fn list(scan: &mut Scan<'_>) -> Result<Runs> {
        let reader = scan.repo.reader();
        let branches = reader.refs_below("refs/heads/treehand/")?.into_iter().collect();
        let pins = reader.refs_below("refs/treehand/base/")?.into_iter().collect();
        let mut runs = Vec::new();
        for run in scan.store.runs()? {
            let standing = standing(scan, &run)?;
            let tasks = scan.store.tasks(&run.id)?;
            let into = if standing == RunStanding::AtWork { Vec::new() } else { scan.targets(run.into.as_str())? };
            runs.push(ListedRun { run, standing, tasks, into });
        }
        Ok(Runs { runs, branches, pins })
    }

    /// What will be asked about branches of tasks.
    pub fn questions(&self) -> impl Iterator<Item = Question> + '_ {
        let of_run = |run: &'_ ListedRun| -> Vec<Question> {
            let question = |task: &TaskRecord| {
                let name = task.branch.full_ref();
                let tip = self.branches.get(&name)?.clone();
                Some(Question { name, tip, base: task.base.clone(), targets: run.into.clone(), counted: false })
            };
            run.tasks.iter().filter_map(question).collect()
        };
        self.runs.iter().flat_map(of_run)
    }
}

/// Looks at all runs and at the branches below `treehand/`.
pub fn scan(scan: &mut Scan<'_>, listed: Runs, facts: &mut Facts) -> Result<()> {
    let Runs { runs, mut branches, mut pins } = listed;
    for ListedRun { run, standing, tasks, into } in runs {
        let mut found = RunFacts { run, standing, tasks: Vec::new(), private: None };
        for task in tasks {
            let tip = branches.remove(&task.branch.full_ref());
            if standing == RunStanding::AtWork {
                continue;
            }
            let item = format!("{}/{}", found.run.id, task.id);
            let pin = pins.remove_entry(&format!("refs/treehand/base/{}/{}", found.run.id, task.id));
            match task_facts(scan, &found.run, task, (tip, pin), &into) {
                Ok(task) => found.tasks.push(task),
                Err(error) => {
                    let reason = format!("it cannot be looked at: {}", chain(&error));
                    facts.unreadable.push(Kept { kind: Kind::Workspace, item, reason });
                    found.standing = RunStanding::AtWork;
                }
            }
        }
        if found.standing != RunStanding::AtWork && is_sealed_root(scan)? {
            let path = scan.repo.run_dir(&found.run.id)?;
            found.private = dir_id(&path)?.map(|id| (path, id));
        }
        facts.runs.push(found);
    }
    scan_unrecorded::scan(scan, facts)?;
    strays(scan, facts, branches)
}

fn standing(scan: &Scan<'_>, run: &RunRecord) -> Result<RunStanding> {
    if run.state.is_terminal() {
        return Ok(RunStanding::Over);
    }
    let at_work = match &run.supervisor {
        Some(supervisor) => proc::is_alive(supervisor),
        None => match recorded(run.created_at, scan.policy.now) {
            Recorded::JustNow => true,
            Recorded::Before => false,
            Recorded::InTheFuture => scan.store.creator(&run.id)?.as_ref().is_some_and(proc::is_alive),
        },
    };
    if at_work {
        return Ok(RunStanding::AtWork);
    }
    let lock = scan.repo.run_lock(&run.id);
    let free = match fs::exists(&lock) {
        Ok(false) => true,
        Ok(true) => FileLock::try_acquire(&lock, "treehand clean").is_ok(),
        Err(_) => false,
    };
    Ok(if free { RunStanding::Abandoned } else { RunStanding::AtWork })
}

/// When a run without a supervisor was recorded.
#[derive(Debug, PartialEq, Eq)]
enum Recorded {
    /// It may get its supervisor at any moment.
    JustNow,
    /// So long ago that it would have one.
    Before,
    /// The clock was set back since: it says nothing, but whoever starts a supervisor lives until that works.
    InTheFuture,
}

fn recorded(at: Timestamp, now: Timestamp) -> Recorded {
    match at <= now {
        true if now.since(at) < JUST_RECORDED => Recorded::JustNow,
        true => Recorded::Before,
        false => Recorded::InTheFuture,
    }
}

/// Without an id this repository never had anything sealed, and none is made by looking.
fn is_sealed_root(scan: &Scan<'_>) -> Result<bool> {
    Ok(fs::exists(&scan.repo.state_dir().join("id"))?)
}

fn task_facts(
    scan: &Scan<'_>,
    run: &RunRecord,
    task: TaskRecord,
    (tip, pin): (Option<CommitId>, Option<(String, CommitId)>),
    into: &[Target],
) -> Result<TaskFacts> {
    let paths = SealedPaths::of_task(scan.repo, &run.template, &run.id, &task.id)?;
    let enclosure = dir_id(&paths.enclosure)?;
    let (private, entry) = (fs::exists(&paths.private)?, fs::exists(&paths.entry)?);
    let processes = scan.around.processes.inside(&paths.enclosure);
    let mut orphans = Vec::new();
    for attempt in &task.attempts {
        orphans.extend(orphans_of(scan.marks()?, attempt));
    }
    let landed = task.landed.as_ref().map(|landed| landed.commit.clone());
    let branch = match tip {
        Some(tip) => Some(task_branch(scan, &task.branch, (tip, task.base.as_ref()), into, landed, Some(&paths))?),
        None => None,
    };
    let disk_there = disk_there(scan.repo, &paths.tree);
    let mounted = scan.around.mounts.below(&paths.enclosure);
    Ok(TaskFacts { task, paths, enclosure, private, entry, mounted, processes, orphans, branch, pin, disk_there })
}

/// What an attempt started and still lives, wherever it stands; `None` for nothing.
fn orphans_of(marks: &Marks, attempt: &AttemptRecord) -> Option<OrphanFact> {
    let standing = |marked: &Marked| Standing { pid: marked.process.pid, name: marked.name.clone() };
    let own: Vec<Standing> = marks.own(&attempt.token).map(standing).collect();
    let is_own = !own.is_empty();
    let processes: Vec<Standing> = marks.of(&attempt.token).map(standing).chain(own).collect();
    let holder = attempt.process.as_ref().filter(|holder| proc::is_alive(holder)).map(|holder| holder.pid);
    let fact = OrphanFact { attempt: attempt.n, token: attempt.token.clone(), processes, holder, is_own };
    (!fact.processes.is_empty()).then_some(fact)
}

/// How a branch stands; the worktree of `own` does not count as one that uses it.
pub(super) fn task_branch(
    scan: &Scan<'_>,
    branch: &BranchName,
    (tip, base): (CommitId, Option<&CommitId>),
    targets: &[Target],
    landed: Option<CommitId>,
    own: Option<&SealedPaths>,
) -> Result<TaskBranch> {
    let reader = &scan.around.reader;
    let mut landed_there = false;
    if let Some(landed) = &landed
        && reader.has_commit(landed)?
    {
        for target in targets {
            landed_there |= reader.is_ancestor(landed, &target.tip)?;
        }
    }
    let none = std::path::Path::new("");
    let (entry, tree) = own.map_or((None, none), |own| (Some(own.entry.as_path()), own.tree.as_path()));
    Ok(TaskBranch {
        name: branch.full_ref(),
        elsewhere: scan.around.used_elsewhere(branch.as_str(), entry, tree),
        integrated: integration::integrated(scan.repo, &scan.around.proofs, &branch.full_ref(), (&tip, base), targets)?,
        landed: landed.filter(|_| landed_there),
        protected: scan.protected(branch.as_str()),
        tip,
    })
}

/// True for `treehand/RUN/TASK`.
pub(super) fn is_named_like_a_tasks(branch: &str) -> bool {
    let parts: Vec<&str> = branch.split('/').collect();
    matches!(parts[..], ["treehand", run, task] if RunId::parse(run).is_ok() && TaskId::parse(task).is_ok())
}

/// Branches that have the form of a task's and no task: named `treehand/RUN/TASK`, and no person's workspace.
fn strays(scan: &mut Scan<'_>, facts: &mut Facts, branches: BTreeMap<String, CommitId>) -> Result<()> {
    let people: BTreeSet<String> = scan.records.iter().map(|w| w.branch.full_ref()).collect();
    for (name, tip) in branches.into_iter().filter(|(name, _)| !people.contains(name)) {
        let Some(short) = name.strip_prefix("refs/heads/") else { continue };
        if !is_named_like_a_tasks(short) {
            continue;
        }
        let Ok(branch) = BranchName::parse(short) else { continue };
        // No base is recorded: the default branch is where its work would be.
        let targets = scan.targets("")?;
        let committed_at = scan.committed_at(&tip)?;
        let mut boxes = facts.unrecorded_runs.iter().flat_map(|run| &run.boxes);
        let own = boxes.find(|one| one.branch == name).map(|one| &one.paths);
        let branch = task_branch(scan, &branch, (tip, None), &targets, None, own)?;
        facts.strays.push(StrayBranch { branch, committed_at });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_just_recorded_for_a_minute_and_not_until_a_clock_comes_back() {
        let now = Timestamp(1_800_000_000_000);
        let table = [
            (0, Recorded::JustNow),
            (-59_999, Recorded::JustNow),
            (-60_000, Recorded::Before),
            (-i64::MAX, Recorded::Before),
            (1, Recorded::InTheFuture),
            (86_400_000, Recorded::InTheFuture),
        ];
        for (later, expected) in table {
            assert_eq!(recorded(Timestamp(now.0.saturating_add(later)), now), expected, "{later}");
        }
    }
}
