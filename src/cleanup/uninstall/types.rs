//! What `uninstall` finds, plans and reports: plain data.
//!
//! The facts are gathered once; what is printed is the value that is applied.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::cleanup::clean::facts::{DirFact, Facts};
use crate::cleanup::clean::types::CleanPlan;
use crate::model::record::WorkspaceRecord;

/// One thing that goes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Goes {
    /// What kind of thing: as of `clean`, or `refs`, `registry`, `socket`, `schedule`.
    pub kind: &'static str,
    /// What it is: a name, a prefix of refs, a path.
    pub item: String,
    /// How much disk it takes.
    pub bytes: u64,
}

/// One thing that stays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Stays {
    /// What kind of thing.
    pub kind: &'static str,
    /// What it is.
    pub item: String,
    /// Why it stays, and what one can do about it.
    pub why: String,
}

/// Why a repository keeps treehand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Somebody is at work; later it may go.
    pub busy: bool,
    /// In words, with the remedy.
    pub reason: String,
}

/// A ref of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefFact {
    /// Its full name.
    pub name: String,
    /// No branch, tag or remote branch holds what it holds.
    pub alone: bool,
}

/// An intent that nothing closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntentFact {
    /// Its number.
    pub seq: i64,
    /// What it is about.
    pub kind: String,
    /// Who wrote it lives, or may live.
    pub alive: bool,
}

/// A sealed workspace that has to go, and what is in the way of that.
#[derive(Clone, PartialEq, Debug)]
pub struct SealedFact {
    /// It.
    pub record: WorkspaceRecord,
    /// Why it cannot be removed.
    pub refused: Option<String>,
    /// Its branch is there.
    pub branched: bool,
    /// What it takes on disk.
    pub bytes: u64,
}

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub struct UninstallFacts {
    /// What `clean` looks at.
    pub clean: Facts,
    /// Workspaces on record.
    pub records: Vec<WorkspaceRecord>,
    /// Those that are sealed.
    pub sealed: Vec<SealedFact>,
    /// Open intents.
    pub intents: Vec<IntentFact>,
    /// Commands at work in workspaces, in words.
    pub working: Vec<String>,
    /// Every ref of ours.
    pub refs: Vec<RefFact>,
    /// What was saved or in the trash when an uninstall began that died; `None` where none did.
    pub before: Option<BTreeSet<String>>,
    /// Files and directories of ours, by fixed names.
    pub places: Vec<Goes>,
    /// What stays in any case.
    pub stays: Vec<Stays>,
    /// What is half done was completed or taken back as far as that is possible.
    pub recovered: bool,
}

/// What goes and what stays.
#[derive(Clone, Debug, Default)]
pub struct UninstallPlan {
    /// Why nothing goes.
    pub refusal: Option<Refusal>,
    /// What goes.
    pub goes: Vec<Goes>,
    /// What stays.
    pub stays: Vec<Stays>,
    /// What is taken as `clean` takes it.
    pub steps: CleanPlan,
    /// Sealed workspaces to be captured and removed.
    pub sealed: Vec<WorkspaceRecord>,
    /// Trash that lies beside workspaces on another file system.
    pub beside: Vec<DirFact>,
    /// `.keep` files of ours.
    pub keeps: Vec<PathBuf>,
    /// What is saved or in the trash now.
    pub known: BTreeSet<String>,
}
