//! Apply: removes a workspace as it was planned: looks again, saves what would be lost, takes it away, deletes its branch.
//!
//! Promises: what is not as planned stops it before anything is touched; what cannot be saved stops it; directories go to
//! the trash and `undo` brings them back. The work of a sealed workspace is captured and imported onto its branch first.

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use super::decide::RemoveOptions;
use super::decide::{self, BranchFate, RemovalPlan, RemoveFacts, TreeFact};
use super::scan::{self, Looked, Surroundings, dir_id, enclosure};
use crate::cleanup::batch::{Batch, StayingRef, Takeaway};
use crate::cleanup::doomed::{DoomedRef, KeptRef};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::integration::{self, Proof, Target};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::salvage::bundled::Holder;
use crate::cleanup::salvage::part::keep;
use crate::cleanup::salvage::sealed::{Onto, Sealed};
use crate::cleanup::salvage::{self, Source};
use crate::model::cause::chain;
use crate::model::record::{WorkspaceRecord, WorkspaceState};
use crate::model::{BranchName, CommitId, WorkspaceName};
use crate::store::Store;
use crate::sys::git::Reader;
use crate::sys::{fs, proc};
use crate::worktree::sealed::{SealedPaths, remove_if_empty};
use crate::worktree::{Repository, WorktreeError, import_submodules, plain, ports};

/// What became of the branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BranchOutcome {
    /// It is gone.
    Deleted,
    /// It is still there, or was gone already.
    Kept,
}

/// A removal that was done.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// The workspace.
    pub name: WorkspaceName,
    /// Where it was.
    pub path: PathBuf,
    /// Its branch.
    pub branch: BranchName,
    /// What became of the branch.
    pub branch_outcome: BranchOutcome,
    /// Why: the proof, or what keeps it.
    pub reason: String,
    /// Refs that hold what was saved.
    pub salvage: Vec<String>,
    /// The operation that `undo` takes back.
    pub op: Option<i64>,
}

/// How applying a removal came out.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// It is done.
    Done(Removed),
    /// Something is not as planned any more; nothing was touched.
    Skipped(String),
}

/// Plans a removal, or refuses it with the remedy.
pub fn plan(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    options: &RemoveOptions,
) -> Result<RemovalPlan> {
    Ok(decided(repo, store, record, options)?.0)
}

fn decided(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    options: &RemoveOptions,
) -> Result<(RemovalPlan, Looked)> {
    let busy = matches!(record.state, WorkspaceState::Creating | WorkspaceState::Removing);
    if let (true, Some(owner)) = (busy, record.owner.as_ref().filter(|owner| proc::is_alive(owner))) {
        let what = format!("workspace `{}`", record.name);
        return Err(WorktreeError::Busy { what, holder: format!("{owner} is working on it") }.into());
    }
    if store.workspace(&record.name)?.as_ref() != Some(record) {
        return Err(WorktreeError::NotFound { kind: "workspace", name: record.name.to_string() }.into());
    }
    let looked = scan::look(repo, record)?;
    let plan = decide::decide(&looked.facts, *options)
        .map_err(|refusal| CleanupError::Refused { message: refusal.message, hint: Some(refusal.hint) })?;
    Ok((plan, looked))
}

/// Removes a workspace as planned: looks again, for much may have happened since.
pub fn apply(repo: &Repository, store: &Store, plan: RemovalPlan, template: &str) -> Result<Removed> {
    let mut batch = Batch::new(repo, store, "rm")?;
    let removed = attempt(&mut batch, repo, store, &plan, template, &summary(&plan))?;
    done(&plan, removed)
}

/// Looks at a workspace, decides, and removes it at once. What it is decided on was found by one look, as young as the look is
/// that [`apply`] takes before it acts: a second one would prove nothing that this one does not.
pub fn remove(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    options: &RemoveOptions,
    template: &str,
) -> Result<Removed> {
    let (plan, looked) = decided(repo, store, record, options)?;
    let mut batch = Batch::new(repo, store, "rm")?;
    let removed = act(&mut batch, (repo, store), (&plan, &looked), template, &summary(&plan))?;
    done(&plan, removed)
}

fn summary(plan: &RemovalPlan) -> String {
    format!("removed workspace {}", plan.record.name)
}

fn done(plan: &RemovalPlan, attempt: Attempt) -> Result<Removed> {
    match attempt {
        Attempt::Done(removed) => Ok(removed),
        Attempt::Skipped(why) => {
            let message = format!("`{}` is not removed: {why}", plan.record.name);
            Err(CleanupError::refused(message, "look at it, then try again"))
        }
    }
}

/// Removes a workspace as one step of an operation.
pub fn attempt(
    batch: &mut Batch<'_>,
    repo: &Repository,
    store: &Store,
    plan: &RemovalPlan,
    template: &str,
    summary: &str,
) -> Result<Attempt> {
    let looked = scan::look(repo, &plan.record)?;
    match differs(plan, &looked.facts) {
        Some(why) => Ok(Attempt::Skipped(why)),
        None => act(batch, (repo, store), (plan, &looked), template, summary),
    }
}

/// Acts on a look that was just taken. The record is read once more: it says whether somebody else has begun with the workspace.
fn act(
    batch: &mut Batch<'_>,
    (repo, store): (&Repository, &Store),
    (plan, looked): (&RemovalPlan, &Looked),
    template: &str,
    summary: &str,
) -> Result<Attempt> {
    if store.workspace(&plan.record.name)?.as_ref() != Some(&plan.record) {
        return Ok(Attempt::Skipped("its record has changed".into()));
    }
    // What a forge said of exactly this commit stays true, and it is not asked again.
    if let (BranchFate::Delete { proof }, Some(tip)) = (&plan.branch, &plan.branch_tip)
        && proof.proof == Proof::ForgeAtTip
    {
        let others = integration::others(&plan.record.branch.full_ref(), &looked.targets);
        looked.around.proofs.learn((tip, Some(&plan.record.base.commit)), &others, &Ok(proof.clone()));
    }
    // One that is not whole yet must not be taken for one that is, should this process die now.
    let state = match plan.record.state {
        WorkspaceState::Creating => WorkspaceState::Creating,
        WorkspaceState::Ready | WorkspaceState::Removing => WorkspaceState::Removing,
    };
    let owned = WorkspaceRecord { state, owner: proc::own(), ..plan.record.clone() };
    store.put_workspace("workspace.removing", &owned)?;
    let (around, targets) = (&looked.around, &looked.targets);
    let removed = Removal { batch, repo, store, plan, around, targets }.run(template, summary);
    if removed.is_err()
        && let Some(now) = store.workspace(&plan.record.name)?.filter(|now| now.owner == owned.owner)
    {
        // What was imported meanwhile stays recorded; everything else is as it was.
        let (state, owner) = (plan.record.state, plan.record.owner.clone());
        store.put_workspace("workspace.kept", &WorkspaceRecord { state, owner, ..now })?;
    }
    removed.map(Attempt::Done)
}

/// What the plan expected and is not so any more.
fn differs(plan: &RemovalPlan, facts: &RemoveFacts) -> Option<String> {
    let now = match &facts.tree {
        TreeFact::Present(id) => Some(*id),
        TreeFact::Gone => None,
        TreeFact::Foreign(what) => return Some(format!("its directory has changed: {what}")),
    };
    let tip = facts.branch.as_ref().map(|branch| &branch.tip);
    if facts.here {
        Some("you stand in it".into())
    } else if now != plan.tree || facts.git_dir != plan.git_dir {
        Some("another directory is in its place".into())
    } else if tip != plan.branch_tip.as_ref() || facts.head != plan.head {
        Some("it has other commits now".into())
    } else if facts.dirty.is_empty() == plan.dirty {
        Some(if plan.dirty {
            "it is clean now".into()
        } else {
            format!("it has changes now: {}", facts.dirty.join(", "))
        })
    } else {
        facts.processes.first().map(|process| format!("{} (pid {}) works in it now", process.name, process.pid))
    }
}

struct Removal<'r, 'b, 'a> {
    batch: &'r mut Batch<'b>,
    repo: &'a Repository,
    store: &'a Store,
    plan: &'a RemovalPlan,
    around: &'a Surroundings,
    targets: &'a [Target],
}

/// The branch as it stands after what was saved.
struct Branch {
    tip: Option<CommitId>,
    fate: BranchFate,
}

impl Removal<'_, '_, '_> {
    fn run(mut self, template: &str, summary: &str) -> Result<Removed> {
        let record = &self.plan.record;
        let prefix = format!("{}{}/{}", SALVAGE_PREFIX, record.name, self.batch.stamp());
        let paths = if record.sealed { Some(sealed_paths(self.repo, record, template)?) } else { None };
        let directories = match &paths {
            Some(paths) => vec![paths.entry.clone(), paths.enclosure.clone(), paths.private.clone()],
            None => [Some(record.path.clone()), self.plan.git_dir.clone()].into_iter().flatten().collect(),
        };
        let mut there = Vec::new();
        for directory in &directories {
            if fs::exists(directory)? {
                there.push(directory.clone());
            }
        }
        let removed = self.save_and_take(paths.as_ref(), directories, &prefix, summary);
        // What was saved for a removal that did not happen is no news to anybody; the workspace has all of it.
        if removed.is_err()
            && !there.is_empty()
            && there.iter().all(|directory| fs::exists(directory).unwrap_or(false))
            && let Err(error) = salvage::forget(self.repo, &prefix)
        {
            tracing::warn!("what was saved under {prefix} stays: {}", chain(&error));
        }
        removed
    }

    fn save_and_take(
        &mut self,
        paths: Option<&SealedPaths>,
        directories: Vec<PathBuf>,
        prefix: &str,
        summary: &str,
    ) -> Result<Removed> {
        let record = &self.plan.record;
        let (branch, mut saved) = match paths {
            Some(paths) if self.plan.capture && fs::exists(&paths.private)? => self.import(paths, prefix)?,
            _ => (Branch { tip: self.plan.branch_tip.clone(), fate: self.plan.branch.clone() }, Vec::new()),
        };
        if let Some(git_dir) = &self.plan.git_dir {
            let tree = self.plan.tree.map(|_| record.path.as_path());
            let source = Source { git_dir, tree, prefix };
            let made = match self.plan.salvage {
                true => salvage::plain(self.repo, &source)?,
                false => salvage::ignored_alone(self.repo, &source)?,
            };
            saved.extend(made.into_iter().map(|saved| (saved.name, saved.commit)));
        }
        if let (BranchFate::DeleteUnmerged, Some(tip)) = (&branch.fate, &branch.tip)
            && saved.iter().all(|(_, commit)| commit != tip)
        {
            saved.push((keep(self.repo, prefix, "branch", tip)?.name, tip.clone()));
        }
        self.look_once_more(!saved.is_empty())?;
        let refs = doomed(record, &branch, &saved);
        let on = self.staying(&branch).filter(|on| refs.iter().all(|doomed| doomed.name != on.name));
        let known = self.store.workspace(&record.name)?.unwrap_or_else(|| record.clone());
        // One whose maker died comes back as that, so that `clean` can take it again.
        let was = match record.state {
            WorkspaceState::Creating => record.clone(),
            _ => WorkspaceRecord { state: WorkspaceState::Ready, owner: None, ..known },
        };
        let saved = saved.into_iter().map(|(name, _)| name).collect();
        let takeaway = Takeaway { directories, refs, on, workspace: Some(was), task: None, saved };
        let kept = self.batch.take_away(&takeaway, summary)?;
        if let (BranchFate::Delete { .. }, Some(tip)) = (&branch.fate, &branch.tip)
            && record.sealed
            && kept.is_empty()
        {
            import_submodules::reclaim(self.repo, &record.branch.full_ref(), tip)?;
        }
        ports::release(self.repo, &record.path);
        tidy_parents(self.repo, &record.path, paths.is_some());
        Ok(self.report(&branch, &kept, takeaway.saved))
    }

    /// The branch that the workspace is on: where its files and its index stand, and the work of a sealed one.
    fn staying(&self, branch: &Branch) -> Option<StayingRef> {
        let record = &self.plan.record;
        if record.sealed {
            return Some(StayingRef { name: record.branch.full_ref(), commit: branch.tip.clone()?, shared: true });
        }
        let git_dir = self.plan.git_dir.as_deref()?;
        let on = self.around.checkouts.iter().find(|checkout| checkout.git_dir == git_dir)?.branch.as_deref()?;
        let shared = self.around.used_elsewhere(on, Some(git_dir), &record.path).is_some();
        Some(StayingRef { name: format!("refs/heads/{on}"), commit: self.plan.head.clone()?, shared })
    }

    /// The last look before the directory goes. That it still is the one that was looked at, and on that commit, is asked whatever
    /// happened; what is in it only where time has passed since, for something was saved.
    fn look_once_more(&self, saved: bool) -> Result<()> {
        let plan = self.plan;
        let Some(git_dir) = plan.git_dir.as_deref().filter(|_| plan.tree.is_some()) else { return Ok(()) };
        if scan::is_unborn(&plan.record, git_dir)? {
            return Ok(());
        }
        let same = dir_id(&plan.record.path)? == plan.tree;
        let head = Reader::open(&self.repo.git, git_dir).revision("HEAD")?;
        let dirty = saved && !plan.dirty && !scan::dirty(self.repo, &plan.record, git_dir)?.is_empty();
        if !same || dirty || head != plan.head {
            let message = format!("`{}` changed while it was being removed", plan.record.name);
            return Err(CleanupError::refused(message, "look at it, then try again"));
        }
        Ok(())
    }

    /// Captures what a sealed workspace holds and imports it onto its branch, or beside it where the branch has moved.
    fn import(&self, paths: &SealedPaths, prefix: &str) -> Result<(Branch, Vec<(String, CommitId)>)> {
        let record = &self.plan.record;
        let base = &record.base.commit;
        let captured = match self.plan.tree {
            Some(_) => salvage::sealed::capture_sealed(self.repo, paths, &paths.private, base)?,
            // Its files are gone; what was committed in it is in its private git dir.
            None => salvage::sealed::commits_of_sealed(self.repo, paths, &paths.private, base)?,
        };
        let last = record.imported.as_ref().unwrap_or(base);
        let work = !salvage::sealed::is_same_work(self.repo, &captured, last)?;
        let sealed = Sealed { paths, captured: &captured, work, base, prefix };
        let (reference, name) = (record.branch.full_ref(), salvage::sealed::beside(prefix));
        // Where the files are gone, commits of submodules are recorded by none: they come in without work, too.
        let (kept, moved) =
            match salvage::sealed::save(self.repo, sealed, Onto { reference: &reference, expected: Some(last) }) {
                Err(CleanupError::Worktree(WorktreeError::Busy { holder, .. })) if work => {
                    salvage::forget(self.repo, prefix)?;
                    let beside = Onto { reference: &name, expected: None };
                    (salvage::sealed::save(self.repo, sealed, beside)?, Some(holder))
                }
                kept => (kept?, None),
            };
        if work && moved.is_none() && kept.holder == Holder::Refs {
            let imported = Some(captured.commit.clone());
            let owned = self.store.workspace(&record.name)?.unwrap_or_else(|| record.clone());
            self.store.put_workspace("workspace.imported", &WorkspaceRecord { imported, ..owned })?;
        }
        let saved = kept.saved.into_iter().map(|saved| (saved.name, saved.commit)).collect();
        let (own, work_in) = ((None, record.path.as_path()), (self.targets, Some(&record.base.commit)));
        let fact = scan::branch_fact(self.repo, self.around, &record.branch, own, work_in)?;
        let fate = match moved {
            Some(holder) => {
                BranchFate::Keep { why: format!("it is not where the workspace's work was put last: {holder}") }
            }
            None if work && kept.holder == Holder::Bundle && !self.plan.delete_unmerged => BranchFate::Keep {
                why: "the work is more than clean.salvage_max, and beside it: treehand salvage ls".into(),
            },
            None => decide::branch_fate(fact.as_ref(), self.plan.delete_unmerged),
        };
        Ok((Branch { tip: fact.map(|fact| fact.tip), fate }, saved))
    }

    fn report(&self, branch: &Branch, kept: &[KeptRef], salvage: Vec<String>) -> Removed {
        let record = &self.plan.record;
        let moved = kept.iter().find(|kept| kept.name == record.branch.full_ref());
        let (branch_outcome, reason) = match (&branch.fate, moved) {
            (_, Some(kept)) => (BranchOutcome::Kept, kept.why.clone()),
            (BranchFate::Keep { why }, None) => (BranchOutcome::Kept, why.clone()),
            (BranchFate::Delete { proof }, None) => (BranchOutcome::Deleted, proof.to_string()),
            (BranchFate::DeleteUnmerged, None) => (BranchOutcome::Deleted, "asked for; its commits were saved".into()),
        };
        Removed {
            name: record.name.clone(),
            path: record.path.clone(),
            branch: record.branch.clone(),
            branch_outcome,
            reason,
            salvage,
            op: self.batch.op(),
        }
    }
}

fn doomed(record: &WorkspaceRecord, branch: &Branch, saved: &[(String, CommitId)]) -> Vec<DoomedRef> {
    match (&branch.tip, &branch.fate) {
        (Some(tip), BranchFate::Delete { .. } | BranchFate::DeleteUnmerged) => {
            let held = decide::stays_reachable(&branch.fate) || saved.iter().any(|(_, commit)| commit == tip);
            vec![DoomedRef { name: record.branch.full_ref(), commit: tip.clone(), held }]
        }
        _ => Vec::new(),
    }
}

/// Where the parts of a sealed workspace are: by the template, or around its recorded tree if the template has changed.
pub fn sealed_paths(repo: &Repository, record: &WorkspaceRecord, template: &str) -> Result<SealedPaths> {
    let paths = plain::named_sealed(repo, template, &record.name)?;
    if paths.tree == record.path {
        return Ok(paths);
    }
    let enclosure = enclosure(record);
    let (home, tmp) = (enclosure.join("home"), enclosure.join("tmp"));
    Ok(SealedPaths { tree: record.path.clone(), home, tmp, enclosure, ..paths })
}

/// Removes the directories that held workspaces, as far as they are empty.
pub fn tidy_parents(repo: &Repository, tree: &Path, boxed: bool) {
    let parent = tree.parent();
    remove_if_empty(parent);
    if boxed || tree.file_name().is_some_and(|name| name.to_string_lossy() == repo.name) {
        remove_if_empty(parent.and_then(Path::parent));
    }
    plain::remove_entries_dir_if_empty(repo);
}
