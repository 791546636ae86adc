//! Scan: what the parts of `clean`'s scan share: where they look, by which rules, and what was looked up already.
//!
//! Looks up each target once. Decides nothing.

use std::collections::BTreeMap;

use globset::GlobSet;

use super::clean_types::CleanPolicy;
use super::error::{CleanupError, Result};
use super::integration::{self, Target};
use super::proofs::Proofs;
use super::remove_scan::Surroundings;
use crate::model::BaseReport;
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
    /// Processes of attempts.
    pub marks: Marks,
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
        let around = Surroundings { proofs: Proofs::open(repo), ..Surroundings::scan(repo)? };
        let marks = Marks::scan().map_err(fs::at("read", "/proc".as_ref()))?;
        Ok(Scan { repo, store, policy, around, marks, protect, targets: BTreeMap::new() })
    }

    /// The pattern that protects a branch.
    pub fn protected(&self, branch: &str) -> Option<String> {
        let first = self.protect.matches(branch).first().copied()?;
        self.policy.protect.get(first).cloned()
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
        let found = integration::targets(self.repo, reference)?;
        self.targets.insert(reference.to_owned(), found.clone());
        Ok(found)
    }
}
