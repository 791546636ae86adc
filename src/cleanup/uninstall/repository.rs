//! Apply: takes treehand out of a repository: looks, plans, saves what only it holds, and takes the rest for good.
//!
//! Promises: refused before anything is touched, or git can use the repository at each moment and a second call finishes what
//! a killed one began. What it saves itself ends on branches. The store goes last, and the user's registry after it.

use std::path::PathBuf;

use super::types::{Goes, Refusal, Stays, UninstallPlan};
use super::{decide, raze, scan};
use crate::cleanup::clean::types::{CleanAction, CleanPolicy, Kind, Outcome, Step};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::remove::{self, BranchOutcome, RemoveOptions};
use crate::cleanup::salvage::saved::Saved;
use crate::cleanup::{clean, salvage};
use crate::model::cause::chain;
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, ByteSize};
use crate::store::Store;
use crate::sys::fs;
use crate::sys::lock::FileLock;
use crate::worktree::store_place::UNINSTALLING;
use crate::worktree::{Repository, WorktreeError};

/// What the caller wants.
#[derive(Clone, Debug)]
pub struct Request {
    /// By which rules things go as `clean` takes them.
    pub policy: CleanPolicy,
    /// Let go of what was saved and of the trash before their time.
    pub discard: bool,
    /// Sockets of the runs.
    pub sockets: Vec<PathBuf>,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// What is gone.
    pub removed: Vec<Goes>,
    /// What stays.
    pub left: Vec<Stays>,
    /// Why it was not finished.
    pub refusal: Option<Refusal>,
}

/// True where nothing of treehand is left.
pub fn is_gone(repo: &Repository) -> Result<bool> {
    let nothing = !fs::exists(&repo.state_dir())? && scan::known(repo)?.is_empty();
    Ok(nothing && scan::refs(repo)?.is_empty())
}

/// Looks at everything and plans. `recovered`: what was half done has been settled as far as it could be.
pub fn plan(repo: &Repository, store: &Store, request: &Request, recovered: bool) -> Result<UninstallPlan> {
    let mut facts = scan::scan(repo, store, &request.policy, &request.sockets)?;
    facts.recovered = recovered;
    let mut plan = decide::decide(&facts, &request.policy, request.discard);
    for action in &plan.steps.actions {
        let goes = plan.goes.iter_mut().find(|goes| goes.item == action.item);
        if let (Some(goes), Step::Task { paths, .. }) = (goes, &action.step) {
            goes.bytes = fs::disk_usage(&paths.enclosure);
        }
    }
    for dir in &plan.beside {
        let item = dir.path.display().to_string();
        plan.goes.iter_mut().filter(|goes| goes.item == item).for_each(|goes| goes.bytes = fs::disk_usage(&dir.path));
    }
    Ok(plan)
}

/// How often it is looked again whether something came back that a removal had died in.
const ROUNDS: usize = 3;

/// Carries out a plan that refuses nothing.
pub fn apply(repo: &Repository, store: Store, request: &Request, plan: UninstallPlan) -> Result<Done> {
    // All that it saves ends on branches.
    let repo = &Repository { salvage_max: ByteSize(u64::MAX), ..repo.clone() };
    let holder = format!("treehand uninstall, pid {}", std::process::id());
    let _one_at_a_time = FileLock::try_acquire(&repo.lock("uninstall"), &holder)?;
    begin(repo, &plan)?;
    let mut done = Done { removed: plan.goes.clone(), left: plan.stays.clone(), refusal: None };
    let (mut now, operations) = (plan, store.operations()?.len());
    let stopped = |mut refusal: Refusal, done: Done| -> Result<Done> {
        if store.operations()?.len() > operations {
            refusal.reason.push_str("; what went already is in the trash, and comes back with: treehand undo");
        }
        Ok(Done { removed: Vec::new(), refusal: Some(refusal), ..done })
    };
    let mut skipped = None;
    for _ in 0..ROUNDS {
        match empty(repo, &store, &now, &mut done)? {
            Emptied::Wholly => {}
            Emptied::Skipped(why) => skipped = Some(why),
            Emptied::Refused(refusal) => return stopped(refusal, done),
        }
        for (saved, branches) in keep_what_was_saved(repo, &now)? {
            let why = format!("what only the workspace of {saved} held");
            done.left.extend(branches.into_iter().map(|item| Stays { kind: "branch", item, why: why.clone() }));
        }
        // Everything is looked at once more: from here on nothing can be taken back.
        now = self::plan(repo, &store, request, true)?;
        if let Some(refusal) = now.refusal {
            return stopped(refusal, done);
        }
        // What was put back, and what came into submodules, is news.
        let news = now.stays.iter().filter(|stays| done.left.iter().all(|left| left.item != stays.item));
        let news: Vec<Stays> = news.cloned().collect();
        done.left.extend(news);
        if !unfinished(&now, &done.left) {
            raze::raze(repo, store, &now, &request.sockets)?;
            return Ok(done);
        }
        let known = |goes: &Goes| done.removed.iter().any(|known| known.item == goes.item);
        let back: Vec<Goes> =
            now.goes.iter().filter(|goes| goes.kind == "workspace" && !known(goes)).cloned().collect();
        done.removed.extend(back);
    }
    let reason = skipped.unwrap_or_else(|| "workspaces come back again and again: somebody is at work".to_owned());
    stopped(Refusal { busy: false, reason }, done)
}

/// How taking boxes and sealed workspaces came out.
enum Emptied {
    /// All are gone.
    Wholly,
    /// One was not as it was looked at: what died half-way may just have been put back, so that the next look may help.
    Skipped(String),
    /// One stays.
    Refused(Refusal),
}

/// True where something is to be taken first; a branch that could not be taken stays, and is no reason to wait.
fn unfinished(plan: &UninstallPlan, left: &[Stays]) -> bool {
    let to_do = |action: &CleanAction| match action.step {
        Step::Task { .. } | Step::Orphans { .. } | Step::PutBack { .. } | Step::Workspace(_) => true,
        Step::Ref(_) => left.iter().all(|left| left.item != action.item),
        _ => false,
    };
    !plan.sealed.is_empty() || plan.steps.actions.iter().any(to_do)
}

/// Notes that it begins, and what was saved before that; what is noted already stays.
fn begin(repo: &Repository, plan: &UninstallPlan) -> Result<()> {
    let path = repo.state_dir().join(UNINSTALLING);
    if !fs::exists(&path)? {
        let text = serde_json::to_vec(&plan.known).map_err(std::io::Error::from).map_err(fs::at("write", &path))?;
        fs::create_dir_all(&repo.state_dir())?;
        fs::write_atomic(&path, &text)?;
    }
    Ok(())
}

/// Takes boxes of tasks and sealed workspaces, what they hold saved first.
fn empty(repo: &Repository, store: &Store, plan: &UninstallPlan, done: &mut Done) -> Result<Emptied> {
    let (report, mut emptied) = (clean::apply(repo, store, plan.steps.clone())?, Emptied::Wholly);
    for action in report.actions.into_iter().filter(|action| action.outcome != Outcome::Done) {
        let why = action.reason.unwrap_or_default();
        if action.kind == Kind::Branch {
            done.removed.retain(|goes| goes.item != action.item);
            done.left.push(Stays { kind: "branch", item: action.item, why });
        } else if action.outcome == Outcome::Skipped {
            emptied = Emptied::Skipped(format!("{}: {why}", action.item));
        } else {
            let reason = format!("{}: {why}", action.item);
            return Ok(Emptied::Refused(Refusal { busy: false, reason }));
        }
    }
    // As they are on record now: what died half-way was completed, or put back.
    for record in store.workspaces()?.iter().filter(|record| record.sealed) {
        if let Some(refusal) = unseal(repo, store, (record, plan), done)? {
            return Ok(Emptied::Refused(refusal));
        }
    }
    Ok(emptied)
}

/// Removes a sealed workspace, its work on its branch; why it stays.
fn unseal(
    repo: &Repository,
    store: &Store,
    (record, plan): (&WorkspaceRecord, &UninstallPlan),
    done: &mut Done,
) -> Result<Option<Refusal>> {
    let options = RemoveOptions { force_dirty: true, delete_unmerged: false };
    let removed = remove::remove(repo, store, record, &options, &plan.steps.template);
    let refusal =
        |busy: bool, error: &CleanupError| Refusal { busy, reason: format!("`{}`: {}", record.name, chain(error)) };
    match removed {
        Ok(removed) => {
            // Its branch goes as with `rm`: where its work is in its target.
            let gone = removed.branch_outcome == BranchOutcome::Deleted;
            done.left.retain(|stays| !gone || stays.item != removed.branch.full_ref());
            Ok(None)
        }
        Err(error @ CleanupError::Worktree(WorktreeError::Busy { .. })) => Ok(Some(refusal(true, &error))),
        Err(error @ (CleanupError::Refused { .. } | CleanupError::Worktree(WorktreeError::BadResult { .. }))) => {
            Ok(Some(refusal(false, &error)))
        }
        Err(error) => Err(error),
    }
}

/// Makes branches of what was saved since it began, as far as no branch holds it: where from, and their names.
fn keep_what_was_saved(repo: &Repository, plan: &UninstallPlan) -> Result<Vec<(String, Vec<String>)>> {
    let before = noted(repo, plan)?;
    let alone: Vec<String> = scan::refs(repo)?.into_iter().filter(|fact| fact.alone).map(|fact| fact.name).collect();
    let salvage = salvage::listed::scan(repo)?;
    let new =
        |saved: &&Saved| saved.parts().any(|part| alone.contains(&part.reference) && !before.contains(&part.reference));
    let mut made = Vec::new();
    for saved in salvage.saved.iter().filter(new) {
        let branch = BranchName::parse(&format!("salvaged/{}", saved.name)).map_err(WorktreeError::from)?;
        let branches = salvage.restore(repo, saved, &branch)?;
        made.push((saved.from.clone(), branches.into_iter().map(|made| made.branch.full_ref()).collect()));
    }
    Ok(made)
}

fn noted(repo: &Repository, plan: &UninstallPlan) -> Result<std::collections::BTreeSet<String>> {
    Ok(scan::before(repo)?.unwrap_or_else(|| plan.known.clone()))
}
