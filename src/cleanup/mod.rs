//! What is let go, saved and brought back: removal, undo, cleanup.
//!
//! Promises: nothing with content goes before it is saved and verified; what is removed was proved to be as expected at
//! the instant of acting; unknown is never absent. Touches nothing but what is treehand's own in this repository.

pub mod clean;
pub mod clean_facts;
pub mod error;
pub mod integration;
pub mod remove;
pub mod salvage;
pub mod trash;
pub mod undo;

pub use error::CleanupError;
