//! Cleanup: taking away what is no longer needed, and bringing back what was taken away.
//!
//! Promises: nothing is removed that is not saved or provably in the target; removal is a rename to the trash; every step
//! rechecks what it expects, and `undo` brings it back until the retention ends. Never uses the orchestrator.

pub mod batch;
mod branch_log;
mod bundled;
mod bundles;
pub mod clean;
mod clean_ahead;
mod clean_apply;
mod clean_branches;
mod clean_locks;
mod clean_look;
pub mod clean_plan;
mod clean_refs;
mod clean_remote;
mod clean_remote_apply;
mod clean_runs;
mod clean_scan;
mod clean_scan_branches;
mod clean_scan_remote;
mod clean_scan_runs;
pub mod clean_types;
mod clock_account;
pub mod clock_kept;
mod config_lock;
mod config_text;
mod done;
mod doomed;
pub mod error;
mod held;
pub mod integration;
mod made_branch;
mod named;
mod places;
mod print;
mod proofs;
pub mod recover;
pub mod redo;
mod redo_scan;
pub mod ref_names;
mod refs_back;
mod refs_together;
mod remote_asked;
mod remote_back;
mod remote_grace;
mod removal_again;
pub mod remove;
pub mod remove_plan;
mod remove_scan;
pub mod report;
pub mod report_files;
mod restore;
pub mod revert;
mod revert_message;
pub mod salvage;
mod salvage_ignored;
mod salvage_sealed;
pub mod salvaged;
pub mod saved;
mod saved_part;
pub mod schedule;
pub mod schedule_units;
pub mod schedule_when;
mod shift;
mod sides;
mod traces;
mod trash;
mod trunk;
pub mod undo;
pub mod undo_plan;
pub mod uninstall;
pub mod uninstall_account;
mod uninstall_plan;
mod uninstall_raze;
mod uninstall_scan;
pub mod uninstall_types;
mod upon;
pub mod verdict;

#[cfg(test)]
mod built_upon_tests;
#[cfg(test)]
mod bundles_tests;
#[cfg(test)]
mod clean_remote_tests;
#[cfg(test)]
mod clean_tests;
#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod made_branch_tests;
#[cfg(test)]
mod redo_crash_tests;
#[cfg(test)]
mod redo_tests;
#[cfg(test)]
mod remove_tests;
#[cfg(test)]
mod revert_tests;
#[cfg(test)]
mod traces_tests;

pub use error::{CleanupError, Result};
