//! The policy on bases that are not fresh: a refusal, a warning, or a base that was brought up to date first.
//!
//! Nothing of the user's moves; a commit that is made is on no ref until the caller's holds it.

use super::base::{self, ResolvedBase};
use super::error::{Result, WorktreeError};
use super::freshness::{self, Verdict};
use super::quarantine::Kept;
use super::repository::Repository;
use super::together::{Together, together};
use crate::model::{BaseReport, StalePolicy};

/// A base that the policy accepts, to start from.
#[derive(Debug)]
#[must_use = "what keeps the commit has to be released"]
pub struct Accepted {
    /// What is known of it, its commit included.
    pub report: BaseReport,
    /// What keeps a commit that was made for it until a ref holds it.
    pub kept: Option<Kept>,
    /// What is to be said about it.
    pub warnings: Vec<String>,
}

/// Applies the policy: a refusal, or a base with what is to be said about it.
pub fn enforce(repo: &Repository, resolved: &ResolvedBase, policy: StalePolicy) -> Result<Accepted> {
    let sentence = base::describe(&resolved.report, resolved.remote_error.as_deref());
    let mut warnings = resolved.notices.clone();
    let mut accepted = Together { report: resolved.report.clone(), kept: None };
    match freshness::verdict(resolved.report.freshness, policy) {
        Verdict::Proceed => {}
        Verdict::Warn => warnings.push(sentence),
        Verdict::Block => {
            return Err(WorktreeError::NotFresh { freshness: resolved.report.freshness, message: sentence });
        }
        Verdict::Update => {
            accepted = together(repo, resolved)?;
            warnings.push(format!("{sentence}; both sides were brought together"));
        }
    }
    Ok(Accepted { report: accepted.report, kept: accepted.kept, warnings })
}
