//! The conflict radar: which open results would conflict with each other, and which with the target.
//!
//! Each result is first brought onto the target in memory, as landing would; two of them are merged only where `interact`
//! cannot rule out that there is something between them. Looks only: no ref, index or worktree is touched.

mod brought;
mod compare;
mod hunks;
mod interact;
mod kept;
mod kin;
mod names;
mod open;
mod target;
#[cfg(test)]
mod tests;

mod look;

pub use hunks::{ConflictFile, count as count_hunks};
pub use look::{Against, Clash, Radar, Unreadable, look};
