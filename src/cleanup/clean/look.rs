//! Scan: what the parts of `clean`'s scan share: where they look, by which rules, and what was looked up already.
//!
//! Looks up each target once. Decides nothing.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use globset::GlobSet;

use super::types::CleanPolicy;
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::integration::{self, Target};
use crate::cleanup::proofs::Proofs;
use crate::cleanup::remove::scan::Surroundings;
use crate::cleanup::trunk::{self, Trunk};
use crate::model::record::WorkspaceRecord;
use crate::model::{BaseReport, CommitId, Timestamp};
use crate::store::Store;
use crate::sys::fs;
use crate::sys::marks::Marks;
use crate::worktree::{Repository, result_policy};

/// What the parts of the scan share.
pub struct Scan<'a> {
    /// The repository.
    pub repo: &'a Repository,
    /// Its store.
    pub store: &'a Store,
    /// What may be taken.
    pub policy: &'a CleanPolicy,
    /// Worktrees and processes.
    pub around: Surroundings,
    /// Workspaces on record.
    pub records: Vec<WorkspaceRecord>,
    marks: OnceCell<Marks>,
    main: Repository,
    protect: GlobSet,
    targets: BTreeMap<String, Vec<Target>>,
}

impl<'a> Scan<'a> {
    /// Begins to look.
    pub fn begin(repo: &'a Repository, store: &'a Store, policy: &'a CleanPolicy) -> Result<Self> {
        let protect = result_policy::compile(&policy.protect).map_err(|message| {
            let message = format!("`clean.protect` cannot be read: {message}");
            CleanupError::refused(message, "write patterns like `release/*`")
        })?;
        let mut around = Surroundings::scan(repo)?;
        around.proofs = Proofs::open(repo);
        // As the repository sees it, not as the worktree one stands in does: that one may be the workspace in question.
        let main = repo.itself();
        around.reader = main.reader().remembering()?;
        let (records, marks, targets) = (store.workspaces()?, OnceCell::new(), BTreeMap::new());
        Ok(Scan { repo, store, policy, around, records, marks, main, protect, targets })
    }

    /// Where a branch, local or tracked, is.
    pub fn tip(&self, name: &str) -> Result<Option<CommitId>> {
        Ok(self.around.reader.ref_commit(name)?)
    }

    /// Processes of attempts; looked up when there is an attempt to ask for.
    pub fn marks(&self) -> Result<&Marks> {
        if let Some(marks) = self.marks.get() {
            return Ok(marks);
        }
        let marks = Marks::scan().map_err(fs::at("read", "/proc".as_ref()))?;
        Ok(self.marks.get_or_init(|| marks))
    }

    /// The pattern that protects a branch.
    pub fn protected(&self, branch: &str) -> Option<String> {
        let first = self.protect.matches(branch).first().copied()?;
        self.policy.protect.get(first).cloned()
    }

    /// When a commit was made.
    pub fn committed_at(&self, commit: &CommitId) -> Result<Timestamp> {
        self.around.proofs.date(commit, || {
            let seconds = self.repo.bare(["show", "-s", "--format=%ct", commit.as_str(), "--"]).text()?;
            Ok(Timestamp(seconds.trim().parse::<i64>().unwrap_or(i64::MAX / 1000).saturating_mul(1000)))
        })
    }

    /// Where finished work comes to.
    pub fn trunk(&self) -> Result<Trunk> {
        trunk::trunk(&self.main, &self.around.reader)
    }

    /// Where the work of a workspace belongs; see [`integration::targets_of`].
    pub fn targets_of(&mut self, base: &BaseReport) -> Result<Vec<Target>> {
        let mut found = Vec::new();
        for reference in base.references() {
            found.extend(self.targets(reference)?);
        }
        Ok(found)
    }

    /// Where work on this base belongs.
    pub fn targets(&mut self, reference: &str) -> Result<Vec<Target>> {
        if let Some(known) = self.targets.get(reference) {
            return Ok(known.clone());
        }
        let found = integration::targets_by(&self.main, &self.around.reader, reference)?;
        self.targets.insert(reference.to_owned(), found.clone());
        Ok(found)
    }
}
