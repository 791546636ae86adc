//! Removing one workspace.
//!
//! `scan` gathers, `decide` decides, `workspace` acts.

pub(super) mod decide;
pub(super) mod scan;
mod workspace;

#[cfg(test)]
pub(super) mod workspace_tests;

pub use workspace::{
    Attempt, BranchOutcome, RemoveOptions, Removed, apply, attempt, plan, remove, sealed_paths, tidy_parents,
};
