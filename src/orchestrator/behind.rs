//! Scan: how the bases of tasks stand to the newest tips that are known here of the branch that their results are to land on: the
//! branch itself, and its counterpart on the remote.
//!
//! What counts is what came there since the run began; what a task has of it already (by its base, or because that landed which
//! it builds on) is not missing. Nothing is moved, and a remote is asked only where the caller says so.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::context::RunError;
use crate::model::freshness::MISSING_MAX;
use crate::model::record::{RunRecord, TaskRecord};
use crate::model::{BranchName, CommitId, Freshness, Proof, TaskFreshness, TaskId, TaskState};
use crate::store::{Store, StoreError};
use crate::sys::fs;
use crate::sys::git::Reader;
use crate::worktree::base;
use crate::worktree::base_name::BaseTarget;
use crate::worktree::freshness::{self, Relation};
use crate::worktree::remote::{self, Lookup, RemoteBranch};
use crate::worktree::sealed::SealedPaths;
use crate::worktree::{Repository, WorktreeError};

/// The files of so many of the missing commits are looked at, the newest first.
const LOOKED_INTO_MAX: usize = 500;

/// Most files that are named.
const NAMED_MAX: usize = 50;

/// A branch that results land on, as it is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its tip and that of its counterpart, where that has something of its own; none for one that is not there.
    pub tips: Vec<CommitId>,
    /// The newest; its own where each has something.
    pub newest: Option<CommitId>,
    /// How that is known.
    pub proof: Proof,
    /// The refs that this was read from, and where they were; its own is the first.
    pub refs: Vec<(String, Option<CommitId>)>,
    counterpart: Option<RemoteBranch>,
}

impl Target {
    /// Looks at a branch; what the remote said last counts as far as nothing has moved since.
    pub fn look(
        repo: &Repository,
        reader: &Reader,
        into: &BranchName,
        lookup: Lookup,
    ) -> Result<Target, WorktreeError> {
        let counterpart = match base::target(repo, reader, Some(into.as_str()), Lookup { offline: true, ..lookup }) {
            Ok(BaseTarget::Branch { remote, .. }) => remote,
            Ok(BaseTarget::Fixed(_)) | Err(WorktreeError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(branch) = counterpart.as_ref().filter(|_| !lookup.offline) {
            // Whether it answered is looked up below, as it is for all who only look.
            let _answer = remote::ask(repo, reader, branch, lookup)?;
        }
        Target::read(repo, reader, into.full_ref(), counterpart)
    }

    /// The same branch and counterpart once more: nothing is asked of git for that.
    pub fn again(&self, repo: &Repository, reader: &Reader) -> Result<Target, WorktreeError> {
        let own = self.refs.first().map(|(name, _)| name.clone()).unwrap_or_default();
        Target::read(repo, reader, own, self.counterpart.clone())
    }

    fn read(
        repo: &Repository,
        reader: &Reader,
        own: String,
        counterpart: Option<RemoteBranch>,
    ) -> Result<Target, WorktreeError> {
        let here = reader.ref_commit(&own)?;
        let (mut refs, mut there, mut proof) = (vec![(own, here.clone())], None, Proof::Local);
        if let Some(branch) = &counterpart {
            there = reader.ref_commit(&branch.tracking)?;
            refs.push((branch.tracking.clone(), there.clone()));
            proof = remote::last_answer(repo, reader, branch)?.map_or(Proof::None, |answer| answer.proof);
        }
        let tips = match (here, there) {
            (Some(here), Some(there)) => match reader.ahead_behind(&here, &there)? {
                (_, 0) => vec![here],
                (0, _) => vec![there],
                _ => vec![here, there],
            },
            (here, there) => here.into_iter().chain(there).collect(),
        };
        Ok(Target { newest: tips.first().cloned(), tips, proof, refs, counterpart })
    }

    /// Where the branch itself is.
    pub fn tip(&self) -> Option<&CommitId> {
        self.refs.first().and_then(|(_, commit)| commit.as_ref())
    }

    /// The branch without its counterpart.
    pub fn here(&self) -> Target {
        Target { tips: self.tip().cloned().into_iter().collect(), newest: self.tip().cloned(), ..self.clone() }
    }

    /// True when its refs are where they were.
    pub fn stands(&self, reader: &Reader) -> Result<bool, WorktreeError> {
        for (name, commit) in &self.refs {
            if reader.ref_commit(name)? != *commit {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What a task lacks of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacks {
    /// How that makes it stand.
    pub state: Freshness,
    /// The commits with their subjects, newest first; more than are named, but not all where these are many.
    pub commits: Vec<(CommitId, String)>,
}

/// What a task lacks. `known` are commits of the target that do not count.
pub fn lacks(
    reader: &Reader,
    target: &Target,
    (run, task): (&RunRecord, &TaskRecord),
    known: &BTreeSet<CommitId>,
) -> Result<Lacks, WorktreeError> {
    let base = task.base.as_ref().unwrap_or(&run.base.commit);
    let unknown = Lacks { state: Freshness::Unknown, commits: Vec::new() };
    if target.tips.is_empty() || !reader.has_commit(base)? {
        return Ok(unknown);
    }
    let mut has = vec![base];
    for other in task.commit.iter().chain([&run.before]) {
        if reader.has_commit(other)? {
            has.push(other);
        }
    }
    let tips: Vec<&CommitId> = target.tips.iter().collect();
    let mut commits = reader.commits(&tips, &has, LOOKED_INTO_MAX.saturating_add(known.len()))?;
    commits.retain(|(commit, _)| !known.contains(commit));
    let begun = &run.base.commit;
    let own = if commits.is_empty() || !reader.has_commit(begun)? {
        Vec::new()
    } else {
        reader.commits(&[begun], &tips, 1)?
    };
    let state = freshness::judge(Relation { ahead: own.len(), behind: commits.len() }, target.proof);
    Ok(Lacks { state, commits })
}

impl Lacks {
    /// As it is told.
    pub fn told(&self, touches: Option<Vec<String>>) -> TaskFreshness {
        let missing = self.commits.iter().take(MISSING_MAX).map(|(_, subject)| subject.clone()).collect();
        TaskFreshness { state: self.state, missing, touches }
    }

    /// The files that these commits change, and whether one of them adds it.
    fn files(&self, reader: &Reader) -> Result<BTreeMap<Vec<u8>, bool>, WorktreeError> {
        let mut files = BTreeMap::new();
        for (commit, _) in self.commits.iter().take(LOOKED_INTO_MAX) {
            for (path, added) in reader.changed_by(commit)? {
                *files.entry(path).or_insert(false) |= added;
            }
        }
        Ok(files)
    }

    /// Those of them that a result changes, too.
    pub fn touched_by(
        &self,
        reader: &Reader,
        base: &CommitId,
        commit: &CommitId,
    ) -> Result<Vec<String>, WorktreeError> {
        if self.commits.is_empty() || !reader.has_commit(base)? || !reader.has_commit(commit)? {
            return Ok(Vec::new());
        }
        let own = reader.changed_files(base, commit)?;
        Ok(named(self.files(reader)?.into_keys().filter(|path| own.contains(path))))
    }

    /// Those of them that a task at work has written since its command began, or that are gone in its tree. Only their times are
    /// looked at: what a task could write is read by nobody for that.
    pub fn written_in(&self, reader: &Reader, (tree, task): (&Path, &TaskRecord)) -> Result<Vec<String>, RunError> {
        let Some(begun) = task.attempts.last().map(|attempt| attempt.started_at) else { return Ok(Vec::new()) };
        if self.commits.is_empty() || !fs::exists(tree)? {
            return Ok(Vec::new());
        }
        let mut written = Vec::new();
        for (path, added) in self.files(reader)? {
            let changed = fs::changed_beneath(tree, Path::new(OsStr::from_bytes(&path)))?;
            if changed.map_or(!added, |changed| changed > begun) {
                written.push(path);
            }
        }
        Ok(named(written.into_iter()))
    }
}

fn named(paths: impl Iterator<Item = Vec<u8>>) -> Vec<String> {
    paths.take(NAMED_MAX).map(|path| String::from_utf8_lossy(&path).into_owned()).collect()
}

/// What of the target these tasks have brought there.
pub fn landed(reader: &Reader, tasks: &[TaskRecord]) -> Result<BTreeSet<CommitId>, WorktreeError> {
    let mut commits = BTreeSet::new();
    for landed in tasks.iter().filter_map(|task| task.landed.as_ref()) {
        commits.insert(landed.commit.clone());
        if let Some(before) = &landed.before
            && reader.has_commit(before)?
            && reader.has_commit(&landed.commit)?
        {
            let brought = reader.commits_between(before, &landed.commit, usize::MAX)?;
            commits.extend(brought.into_iter().map(|(commit, _)| commit));
        }
    }
    Ok(commits)
}

/// What a task builds on, directly or not.
pub fn needs(
    task: &TaskRecord,
    mut read: impl FnMut(&TaskId) -> Result<TaskRecord, StoreError>,
) -> Result<Vec<TaskRecord>, StoreError> {
    let (mut found, mut open): (BTreeMap<TaskId, TaskRecord>, Vec<TaskId>) = (BTreeMap::new(), task.spec.needs.clone());
    while let Some(id) = open.pop() {
        if let Entry::Vacant(place) = found.entry(id) {
            let need = read(place.key())?;
            open.extend(need.spec.needs.iter().cloned());
            place.insert(need);
        }
    }
    Ok(found.into_values().collect())
}

/// Looks at tasks of any runs, each target once.
pub struct Looks<'a> {
    repo: &'a Repository,
    store: &'a Store,
    reader: Reader,
    lookup: Lookup,
    targets: BTreeMap<BranchName, Target>,
    lacks: BTreeMap<(BranchName, [Option<CommitId>; 4]), Lacks>,
}

impl<'a> Looks<'a> {
    /// Begins to look.
    pub fn begin(repo: &'a Repository, store: &'a Store, lookup: Lookup) -> Result<Looks<'a>, WorktreeError> {
        let reader = if lookup.recall { repo.reader().remembering()? } else { repo.reader() };
        Ok(Looks { repo, store, reader, lookup, targets: BTreeMap::new(), lacks: BTreeMap::new() })
    }

    /// How a task stands that is at work, or whose result waits; `None` for any other. What one at work has written is looked
    /// for only `within` its tree.
    pub fn of(&mut self, run: &RunRecord, task: &TaskRecord, within: bool) -> Result<Option<TaskFreshness>, RunError> {
        use TaskState as S;
        if !matches!(task.state, S::Running | S::Waiting | S::Candidate | S::Rejected | S::NeedsAttention) {
            return Ok(None);
        }
        let lacks = self.lacks(run, task)?;
        let base = task.base.as_ref().unwrap_or(&run.base.commit);
        let touches = match &task.commit {
            _ if lacks.commits.is_empty() => Some(Vec::new()),
            Some(commit) => Some(lacks.touched_by(&self.reader, base, commit)?),
            None if within && task.workspace.is_some() => {
                let paths = SealedPaths::of_task(self.repo, &run.template, &run.id, &task.id)?;
                Some(lacks.written_in(&self.reader, (&paths.tree, task))?)
            }
            None => None,
        };
        Ok(Some(lacks.told(touches)))
    }

    /// The newest tip known of the branch that a run lands on.
    pub fn newest(&mut self, run: &RunRecord) -> Result<Option<CommitId>, WorktreeError> {
        Ok(self.target(run)?.newest)
    }

    fn target(&mut self, run: &RunRecord) -> Result<Target, WorktreeError> {
        if let Some(target) = self.targets.get(&run.into) {
            return Ok(target.clone());
        }
        let target = Target::look(self.repo, &self.reader, &run.into, self.lookup)?;
        if !self.lookup.offline {
            // What was asked for may have come only now.
            self.reader = self.repo.reader();
        }
        self.targets.insert(run.into.clone(), target.clone());
        Ok(target)
    }

    fn lacks(&mut self, run: &RunRecord, task: &TaskRecord) -> Result<Lacks, RunError> {
        let target = self.target(run)?;
        let begun = [Some(run.base.commit.clone()), Some(run.before.clone()), task.base.clone(), task.commit.clone()];
        let key = (run.into.clone(), begun);
        // What it builds on is a matter of the task alone.
        if let Some(known) = self.lacks.get(&key).filter(|_| task.spec.needs.is_empty()) {
            return Ok(known.clone());
        }
        let built_on = needs(task, |id| self.store.task(&run.id, id))?;
        let lacks = lacks(&self.reader, &target, (run, task), &landed(&self.reader, &built_on)?)?;
        if built_on.is_empty() {
            self.lacks.insert(key, lacks.clone());
        }
        Ok(lacks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::LandedRecord;
    use crate::model::{BaseReport, Timestamp};
    use crate::store::fixture;
    use crate::worktree::fixture::Fixture;

    fn looked(fixture: &Fixture, run: &RunRecord, task: &TaskRecord) -> TaskFreshness {
        let lookup = Lookup { offline: true, deadline: Default::default(), window: Default::default(), recall: true };
        let mut looks = Looks::begin(&fixture.repo, &fixture.store, lookup).expect("begun");
        looks.of(run, task, true).expect("looked").expect("it is looked at")
    }

    fn began(fixture: &Fixture) -> (RunRecord, TaskRecord) {
        fixture::run(&fixture.base(), "running", "t", "candidate")
    }

    #[test]
    fn what_came_since_the_run_began_is_missing_and_what_both_changed_is_named() {
        let fixture = Fixture::new();
        let (run, task) = began(&fixture);
        let none: Vec<String> = Vec::new();
        let fresh = TaskFreshness { state: Freshness::Fresh, missing: none.clone(), touches: Some(none.clone()) };
        assert_eq!(looked(&fixture, &run, &task), fresh);
        fixture.git(&["branch", "work"]);
        let commit = Some(fixture.commit_on("work", &[("a", "mine\n"), ("b", "mine\n")]));
        fixture.commit("a", "theirs\n");
        fixture.commit("c", "theirs\n");
        let told = looked(&fixture, &run, &TaskRecord { commit: commit.clone(), ..task.clone() });
        assert_eq!((told.state, told.missing), (Freshness::Stale, vec!["change c".to_owned(), "change a".to_owned()]));
        assert_eq!(told.touches, Some(vec!["a".to_owned()]));
        let brought = TaskRecord { base: Some(fixture.tip("refs/heads/main")), commit, ..task };
        assert_eq!(looked(&fixture, &run, &brought), fresh);
    }

    #[test]
    fn a_target_that_had_more_when_the_run_began_makes_nothing_stale() {
        let fixture = Fixture::new();
        let old = fixture.tip("refs/heads/main");
        let before = fixture.commit("a", "newer\n");
        let (run, task) = fixture::run(&BaseReport::fixed("old", old), "running", "t", "candidate");
        let run = RunRecord { before, ..run };
        assert_eq!(looked(&fixture, &run, &task).state, Freshness::Fresh);
        fixture.commit("a", "newest\n");
        assert_eq!(looked(&fixture, &run, &task).missing, ["change a"]);
    }

    #[test]
    fn what_a_task_builds_on_is_not_missing_when_it_has_landed_in_another_form() {
        let fixture = Fixture::new();
        let (run, need) = began(&fixture);
        fixture.git(&["branch", "work"]);
        let built = fixture.commit_on("work", &[("n", "need\n")]);
        let before = fixture.tip("refs/heads/main");
        fixture.commit("n", "nee\n");
        let commit = fixture.commit("n", "need\n");
        let landed = Some(LandedRecord { before: Some(before), commit, order: 1, at: Timestamp(0) });
        let need =
            TaskRecord { id: TaskId::parse("need").expect("an id"), landed, commit: Some(built.clone()), ..need };
        let mut task = TaskRecord { base: Some(built), ..began(&fixture).1 };
        task.spec.needs = vec![need.id.clone()];
        fixture.store.create_run(&run, &[need]).expect("stored");
        assert_eq!(looked(&fixture, &run, &task).state, Freshness::Fresh);
        fixture.commit("a", "theirs\n");
        assert_eq!(looked(&fixture, &run, &task).missing, ["change a"]);
        task.spec.needs.clear();
        assert_eq!(looked(&fixture, &run, &task).missing.len(), 3);
    }

    #[test]
    fn of_a_tree_counts_what_was_written_since_the_command_began() {
        let fixture = Fixture::new();
        for name in ["old", "gone"] {
            fixture.commit(name, "x\n");
        }
        let (run, task) = began(&fixture);
        let target = |fixture: &Fixture| {
            for name in ["a", "old", "gone", "new", "other"] {
                fixture.commit(name, "theirs\n");
            }
            let lookup =
                Lookup { offline: true, deadline: Default::default(), window: Default::default(), recall: true };
            Target::look(&fixture.repo, &fixture.repo.reader(), &run.into, lookup).expect("looked")
        };
        let reader = fixture.repo.reader();
        let lacks = lacks(&reader, &target(&fixture), (&run, &task), &BTreeSet::new()).expect("looked");
        let tree = fixture.dir.path().join("tree");
        std::fs::create_dir(&tree).expect("made");
        for name in ["a", "old", "new"] {
            std::fs::write(tree.join(name), "mine\n").expect("written");
        }
        let at = |at: Timestamp| {
            let mut task = task.clone();
            let attempt = serde_json::json!({"n": 1, "token": crate::sys::random::token().expect("random"), "process": null,
                "started_at": at, "ended_at": null, "exit": null, "signal": null, "error": null, "log": "log"});
            task.attempts = vec![serde_json::from_value(attempt).expect("an attempt")];
            lacks.written_in(&reader, (&tree, &task)).expect("looked")
        };
        let now = crate::sys::clock::now();
        assert_eq!(at(now.plus(std::time::Duration::from_secs(60))), ["gone"]);
        assert_eq!(at(Timestamp(0)), ["a", "gone", "new", "old"]);
    }
}
