//! Scan: which branch an open result is to land on, and which commit of it the results are held against.
//!
//! A task lands where its run says; a workspace on the local branch of its base, or of what is below that where it is stacked; where
//! that is no branch, or gone, on the repository's default branch. Asks no remote.

use std::collections::BTreeMap;

use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, CommitId};
use crate::sys::fs;
use crate::sys::git::Reader;
use crate::worktree::base;
use crate::worktree::base_name::{BaseTarget, REQUESTS};
use crate::worktree::error::{Result, WorktreeError};
use crate::worktree::remote::Lookup;
use crate::worktree::repository::Repository;

/// Finds out what things land on, each name once.
pub struct Targets<'a> {
    repo: &'a Repository,
    main: Option<Repository>,
    reader: &'a Reader,
    lookup: Lookup,
    known: BTreeMap<Option<String>, Option<BranchName>>,
}

/// The branch that is asked about, and its tip.
#[derive(Clone, Debug)]
pub struct Target {
    /// The branch.
    pub branch: BranchName,
    /// Its tip as far as it is known here: that of its upstream where it is merely behind it.
    pub tip: CommitId,
}

impl<'a> Targets<'a> {
    /// With a reader that may know much already.
    pub fn new(repo: &'a Repository, reader: &'a Reader, lookup: Lookup) -> Self {
        Targets { repo, main: None, reader, lookup, known: BTreeMap::new() }
    }

    /// The branches that a workspace may be meant for: those below it, the nearest first.
    pub fn of(&mut self, record: &WorkspaceRecord) -> Result<Vec<BranchName>> {
        let own = &record.branch;
        let mut found = Vec::new();
        for reference in record.base.references().filter(|name| *name != own.as_str()) {
            let target = match self.named(Some(reference))? {
                Some(target) => Some(target),
                None => self.named(None)?,
            };
            found.extend(target.filter(|target| target != own));
        }
        Ok(found)
    }

    fn named(&mut self, name: Option<&str>) -> Result<Option<BranchName>> {
        let key = name.map(str::to_owned);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        // As the repository sees it, not as the worktree does that one stands in.
        let main = match self.main.take() {
            Some(main) => main,
            None => Repository::at_common_dir(&self.repo.git, &self.repo.common_dir)?,
        };
        let target = base::target(self.main.insert(main), self.reader, name, self.lookup);
        let branch = match target {
            Ok(target) => local(&target),
            // Without a default branch nothing lands there.
            Err(WorktreeError::NotFound { .. } | WorktreeError::Refused { .. } | WorktreeError::Unborn) => None,
            Err(error) => return Err(error),
        };
        self.known.insert(key, branch.clone());
        Ok(branch)
    }

    /// The target that is meant: the branch of this name, else that of the workspace one stands in, else the current branch
    /// or the default one.
    pub fn asked(&mut self, records: &[WorkspaceRecord], into: Option<&str>) -> Result<Target> {
        let here = self.repo.here.as_deref();
        let stands_in = |record: &&WorkspaceRecord| {
            here.is_some_and(|here| record.path == here || fs::without_links(&record.path) == here)
        };
        let of_workspace = match records.iter().find(stands_in).filter(|_| into.is_none()) {
            Some(record) => self.of(record)?.into_iter().next(),
            None => None,
        };
        let name = into.or(of_workspace.as_ref().map(BranchName::as_str));
        let target = base::target(self.repo, self.reader, name, self.lookup)?;
        let no_branch = || {
            let what = name.unwrap_or("what is checked out");
            WorktreeError::refused(format!("`{what}` is no branch that results land on"), "name one: --into BRANCH")
        };
        let branch = local(&target).ok_or_else(no_branch)?;
        let tip = self.tip(&target)?.ok_or_else(no_branch)?;
        Ok(Target { branch, tip })
    }

    fn tip(&self, target: &BaseTarget) -> Result<Option<CommitId>> {
        let BaseTarget::Branch { local, remote } = target else { return Ok(None) };
        let here = local.as_ref().map(|local| self.reader.ref_commit(&local.full_ref())).transpose()?.flatten();
        let there = remote.as_ref().map(|remote| self.reader.ref_commit(&remote.tracking)).transpose()?.flatten();
        Ok(match (here, there) {
            (Some(here), Some(there)) => Some(if self.reader.is_ancestor(&here, &there)? { there } else { here }),
            (here, there) => here.or(there),
        })
    }
}

/// The branch here that a base is, or would be.
fn local(target: &BaseTarget) -> Option<BranchName> {
    match target {
        BaseTarget::Branch { local: Some(local), .. } => Some(local.clone()),
        BaseTarget::Branch { remote: Some(remote), .. } if !remote.tracking.starts_with(REQUESTS) => {
            BranchName::parse(&remote.branch).ok()
        }
        _ => None,
    }
}
