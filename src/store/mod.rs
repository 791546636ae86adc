//! The journal of a repository and the tables derived from it, in one SQLite file.
//!
//! Promises: what a call returned is on disk (WAL, `synchronous=FULL`); a change and its journal entry are one
//! transaction; a task moves only along `TaskState::next`; readers are never blocked. A corrupt or newer file is an
//! error that says so and is never touched, but when a repair is asked for. Knows no git and no processes.

mod crash;
mod dropped;
#[cfg(test)]
pub mod fixture;
mod journal;
mod landings;
mod looking;
mod operations;
mod queue;
mod repair;
mod runs;
mod schema;
mod supervision;
mod updates;
mod workspaces;

pub use journal::{Entry, EntryDraft, Intent, Phase};
pub use landings::Landing;
pub use repair::Repaired;
pub use schema::{SCHEMA_VERSION, Store, StoreError};
