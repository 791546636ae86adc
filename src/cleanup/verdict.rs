//! What is said of whether work is in a target: in which, by which proof, or why not.
//! Plain data; who finds it out is `integration`, who remembers it `proofs`.

use std::fmt;

use crate::model::CommitId;
use crate::worktree::landed::Proof;

/// A place where work may have landed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its name for people.
    pub name: String,
    /// Its ref in full; none for a fixed commit.
    pub reference: Option<String>,
    /// Its tip.
    pub tip: CommitId,
}

/// A proof and the target it was found in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Integration {
    /// How it is known.
    pub proof: Proof,
    /// Where it is.
    pub target: String,
}

impl fmt::Display for Integration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of `{}`", self.proof.word(), self.target)
    }
}

/// Why work is not known to be in a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotIntegrated {
    /// No rung holds.
    Unproved,
    /// It was there, and was taken back.
    TakenBack {
        /// The commit that took it back.
        by: CommitId,
        /// Where.
        target: String,
    },
}

impl fmt::Display for NotIntegrated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproved => f.write_str("its work is in no target"),
            Self::TakenBack { by, target } => {
                write!(f, "its work was in `{target}` and was reverted by {}", by.short())
            }
        }
    }
}

/// Whether work is in a target, as far as that can be proved.
pub type Verdict = std::result::Result<Integration, NotIntegrated>;
