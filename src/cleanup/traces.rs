//! Apply: a branch goes with its reflog and its section of the configuration, as with git, and comes back with both.
//!
//! What goes is on record before it goes. A section that changed since, or that cannot be taken because git's lock is held,
//! stays where it is: that is no reason not to remove a workspace. Each step can be repeated.

use super::error::Result;
use super::ref_names::UNDO_PREFIX;
use super::{branch_log, config_lock, config_text};
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::model::operation::{BranchTraces, RefFate, RemovedItem};
use crate::worktree::Repository;
use crate::worktree::import::update_ref;

const BRANCHES: &str = "refs/heads/";

/// The ref that keeps what a ref was at, of those that go under this stamp.
pub fn kept_as(stamp: &str, name: &str) -> String {
    format!("{UNDO_PREFIX}{stamp}/{}", name.strip_prefix("refs/").unwrap_or(name))
}

/// The items for these refs, which are to go together, with what goes with each.
pub fn items(repo: &Repository, stamp: &str, refs: &[(String, CommitId)]) -> Result<Vec<RemovedItem>> {
    if refs.iter().all(|(name, _)| !name.starts_with(BRANCHES)) {
        let item = |(name, commit): &(String, CommitId)| RemovedItem::Ref {
            name: name.clone(),
            commit: commit.clone(),
            fate: RefFate::Deleted,
            traces: None,
        };
        return Ok(refs.iter().map(item).collect());
    }
    let (mut text, mut items) = (config_lock::read(repo)?, Vec::new());
    for (name, commit) in refs {
        let traces = name.strip_prefix(BRANCHES).map(|branch| {
            let mut sections = Vec::new();
            if let Some((rest, cut)) = config_text::cut(&text, branch) {
                (text, sections) = (rest, cut);
            }
            Box::new(BranchTraces { log: kept_as(stamp, name), sections })
        });
        items.push(RemovedItem::Ref { name: name.clone(), commit: commit.clone(), fate: RefFate::Deleted, traces });
    }
    Ok(items)
}

/// True when something is configured for a branch.
pub fn is_configured(repo: &Repository, branch: &str) -> Result<bool> {
    Ok(config_text::cut(&config_lock::read(repo)?, branch).is_some())
}

/// Keeps the reflog of a branch that is about to be deleted.
pub fn keep_log(repo: &Repository, stamp: &str, name: &str, commit: &CommitId) -> Result<()> {
    if name.starts_with(BRANCHES) { branch_log::keep(repo, name, &kept_as(stamp, name), commit) } else { Ok(()) }
}

/// Takes the sections of branches that are gone out of the configuration.
pub fn take_sections(repo: &Repository, items: &[RemovedItem]) -> Result<()> {
    for item in items {
        let RemovedItem::Ref { name, traces: Some(traces), .. } = item else { continue };
        let Some(branch) = name.strip_prefix(BRANCHES).filter(|_| !traces.sections.is_empty()) else { continue };
        if repo.reader().ref_commit(name)?.is_some() {
            continue;
        }
        let taken = config_lock::edit(repo, |text| {
            let (rest, sections) = config_text::cut(text, branch)?;
            let same = sections.iter().map(|cut| &cut.text).eq(traces.sections.iter().map(|known| &known.text));
            same.then_some(rest)
        });
        if let Err(error) = taken {
            tracing::warn!("what is configured for the branch `{branch}` stays: {}", chain(&error));
        }
    }
    Ok(())
}

/// Makes a branch again with what went with it. What is there already stays as it is.
pub fn put_back(repo: &Repository, name: &str, commit: &CommitId, traces: Option<&BranchTraces>) -> Result<()> {
    let Some(traces) = traces else {
        if repo.reader().ref_commit(name)?.is_none() {
            update_ref(repo, name, Some(commit), None, "treehand: put back")?;
        }
        return Ok(());
    };
    branch_log::put_back(repo, name, &traces.log, commit)?;
    let Some(branch) = name.strip_prefix(BRANCHES).filter(|_| !traces.sections.is_empty()) else { return Ok(()) };
    // Nobody is waited for where there is nothing to do.
    if config_text::cut(&config_lock::read(repo)?, branch).is_some() {
        return Ok(());
    }
    config_lock::edit(repo, |text| match config_text::cut(text, branch) {
        None => Some(config_text::put_in(text, &traces.sections)),
        Some(_) => None,
    })
}
