//! What becomes of a result that conflicts with the branch that it is to land on.
//! Plain data: how the conflict is laid out is in `worktree::unresolved`, what follows from it in `orchestrator::resolve`.

use serde::{Deserialize, Serialize};

use super::record::ChangeCount;
use super::{CommitId, Reason};

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictPolicy {
    /// It is rejected, and kept as it is.
    #[default]
    Keep,
    /// Its agent gets the conflict to resolve.
    Agent,
}

super::text_enum!(ConflictPolicy { Keep = "keep", Agent = "agent" });

/// A result whose conflict is being resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolving {
    /// The result as it was refused.
    pub commit: CommitId,
    /// What it was on top of.
    pub base: CommitId,
    /// What it changes against that.
    pub changes: Option<ChangeCount>,
    /// Why it was refused.
    pub reason: Reason,
}

impl Resolving {
    /// Why a task is rejected whose conflict could not be resolved: for the conflict, and why nothing came of that.
    pub fn in_vain(&self, why: &str) -> Reason {
        let message = format!("{}; to resolve it was tried in vain: {why}", self.reason.message);
        Reason { message, ..self.reason.clone() }
    }
}
