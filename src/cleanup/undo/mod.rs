//! Taking back what was done, making it again, and ending what a dead process had begun.
//!
//! `decide` says whether it can be; `taking_back`, `redo` and `revert` do it, `restore` and what it calls put things back.

pub mod decide;
mod dropped;
mod made_branch;
pub(super) mod print;
pub mod recover;
pub mod redo;
mod redo_scan;
mod refs_back;
mod refs_together;
pub(super) mod remote_back;
pub(super) mod removal_again;
pub(super) mod restore;
pub mod revert;
mod revert_message;
mod shift;
mod taking_back;
mod upon;

#[cfg(test)]
mod built_upon_tests;
#[cfg(test)]
mod made_branch_tests;
#[cfg(test)]
pub(super) mod redo_crash_tests;
#[cfg(test)]
pub(super) mod redo_tests;
#[cfg(test)]
mod revert_tests;

pub use taking_back::{Undone, undo};
