//! Cleanup: taking away what is no longer needed, and bringing back what was taken away.
//!
//! Promises: nothing is removed that is not saved or provably in the target; removal is a rename to the trash; every step
//! rechecks what it expects, and `undo` brings it back until the retention ends. Never uses the orchestrator.

pub mod batch;
mod branch_log;
pub mod clean;
mod clock_account;
pub mod clock_kept;
mod config_lock;
mod config_text;
pub mod departed;
mod done;
mod doomed;
pub mod error;
mod held;
pub mod integration;
mod named;
mod places;
mod proofs;
pub mod ref_names;
pub mod remove;
pub mod salvage;
pub mod schedule;
mod traces;
mod trash;
mod trunk;
pub mod undo;
pub mod uninstall;
pub mod verdict;

#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod traces_tests;

pub use error::{CleanupError, Result};
