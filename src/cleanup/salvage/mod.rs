//! Saving what a removal would lose, and what was saved: listed, shown, brought back, let go.
//!
//! `saved` and `bundled` decide; `plain` and `sealed` save, `bundles` keep what is too much for the repository, `listed` brings back.

pub(super) mod bundled;
pub(super) mod bundles;
mod ignored;
pub mod listed;
pub(super) mod part;
mod plain;
pub mod saved;
pub(super) mod sealed;
mod sides;

#[cfg(test)]
mod bundles_tests;

pub use plain::{Source, forget, ignored_alone, of_stamp, plain, refs_of_stamp};
