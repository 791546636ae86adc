//! git: the only place that starts it, and the only place that reads repositories through libgit2.
//!
//! Promises: every git process has the same hardened environment, no prompt, a checked minimum version, and its
//! machine-readable output is returned whole; prose is never parsed. Knows nothing of workspaces or runs.

mod brought;
mod command;
mod differing;
pub mod fill;
#[cfg(test)]
mod fixture;
mod index;
mod line;
mod making;
mod pack;
mod read;
mod serve;
mod settings;
mod stream;
mod tree;

pub use brought::CommitText;
pub use command::{Git, GitCommand, GitError, GitOutput, MINIMUM_VERSION, Version, is_program};
pub use index::{IndexFacts, index_facts};
pub use line::Line;
pub use making::Maker;
pub use read::{ReadError, Reader, RefLog, user_file};
pub use serve::serve;
pub use settings::Settings;
pub use stream::GitStream;
