//! The files of a commit, written into an empty directory in process, with the index that goes with them.
//!
//! As many threads as there are processors read objects through libgit2 and write files; git does it with one, and looks at each
//! path several times. What takes more than writing bytes is git's: `decide` says what that is.

mod apply;
mod decide;
mod difference;
mod files;
mod index;
mod outcome;
mod shift;
#[cfg(test)]
mod shift_tests;
#[cfg(test)]
mod tests;
mod verify;

pub use apply::{BY_GIT, Place, beside_the_tree, fill};
pub use outcome::{Fill, FillError};
pub use shift::{Shifted, Way, shift};
pub use verify::{Looked, verify};

use super::index::Bytes;
use super::tree;
