//! Cleanup: taking away what is no longer needed, and bringing back what was taken away.
//!
//! Promises: nothing is removed that is not saved or provably in the target; removal is a rename to the trash; every step
//! rechecks what it expects, and `undo` brings it back until the retention ends. Never uses the orchestrator.

pub mod batch;
mod branch_move;
pub mod clean;
mod clean_apply;
mod clean_look;
pub mod clean_plan;
mod clean_runs;
mod clean_scan;
mod clean_scan_runs;
pub mod clean_types;
pub mod error;
pub mod integration;
mod places;
pub mod recover;
pub mod redo;
pub mod remove;
pub mod remove_plan;
mod remove_scan;
mod restore;
pub mod revert;
pub mod salvage;
pub mod salvaged;
pub mod saved;
mod trash;
pub mod undo;
mod undo_plan;

#[cfg(test)]
mod clean_tests;
#[cfg(test)]
mod remove_tests;

pub use error::{CleanupError, Result};
