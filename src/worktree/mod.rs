//! Workspaces: their bases and freshness, their trees and git dirs, what was done in them and how it comes back.
//!
//! Promises: what is half made is unmade; the user's worktrees and branches are touched only where a function says so;
//! bytes that an agent could write are never trusted. Knows nothing of runs, queues or the command line.

pub mod abandoned;
pub mod accept;
pub mod advance;
pub mod apart;
pub mod base;
pub mod base_name;
pub mod capture;
pub mod capture_submodules;
pub mod changes;
pub mod checkouts;
mod conflict_paths;
pub mod conversion;
pub mod copy;
pub mod copy_plan;
pub mod error;
pub mod exact;
pub mod exported;
#[cfg(test)]
pub(crate) mod fixture;
pub mod folding;
pub mod former;
pub mod freshness;
pub mod gitlinks;
pub mod head;
pub mod hooks;
pub mod housekeeping;
pub mod import;
pub mod import_submodules;
pub mod in_the_way;
pub mod index_copy;
pub mod index_lock;
pub mod inside;
pub mod landed;
mod lfs_content;
pub mod links;
pub mod merge;
pub mod moved;
mod moved_submodules;
mod moved_trash;
mod narrated;
pub mod originals;
pub mod overlap;
pub mod parted;
pub mod patience;
pub mod place;
pub mod plain;
pub mod quarantine;
pub mod reach;
pub mod registry;
pub mod remote;
pub mod replay;
pub mod repository;
pub mod result_policy;
pub mod resume;
pub mod run_store;
pub mod sealed;
mod sealed_index;
pub mod sealed_move;
mod sealed_submodules;
mod secret_names;
pub mod seen;
pub mod sensitive;
pub mod sensitive_paths;
pub mod setup;
mod spelling;
pub mod stack;
pub mod stamp;
pub mod status;
pub mod store_place;
pub mod submodule_moves;
pub mod submodules;
pub mod ties;
pub mod together;
pub mod unpushed;
pub mod update;
pub mod update_lock;
pub mod update_sealed;
#[cfg(test)]
mod update_sealed_tests;
#[cfg(test)]
mod update_tests;

pub use error::WorktreeError;
pub use repository::Repository;
