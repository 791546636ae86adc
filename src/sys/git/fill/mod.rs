//! The files of a commit, written into an empty directory in process, with the index that goes with them.
//!
//! As many threads as there are processors read objects through libgit2 and write files; git does it with one, and looks at each
//! path several times. What takes more than writing bytes is git's: `decide` says what that is.

mod apply;
mod decide;
mod index;
#[cfg(test)]
mod tests;

pub use apply::{BY_GIT, Fill, FillError, Place, fill};
