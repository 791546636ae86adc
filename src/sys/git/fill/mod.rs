//! The files of a commit, written into an empty directory in process, with the index that goes with them.
//!
//! As many threads as there are processors read objects through libgit2 and write files; git does it with one, and looks at each
//! path several times. What takes more than writing bytes is git's: `decide` says what that is. Where files are somebody's already git moves
//! them, with as little of the index as that takes (`part`).

mod age;
#[cfg(test)]
mod age_tests;
mod apply;
mod decide;
mod difference;
mod files;
mod index;
mod outcome;
mod part;
#[cfg(test)]
mod part_tests;
mod shift;
#[cfg(test)]
mod shift_tests;
mod side;
#[cfg(test)]
mod tests;
mod verify;
#[cfg(test)]
mod verify_tests;

pub use age::{age, ages};
pub use apply::{BY_GIT, Beside, Place, beside_the_tree, fill};
pub use outcome::{Fill, FillError};
pub use part::{Part, part};
pub use shift::{Shifted, Way, shift};
pub use verify::{Looked, tree_of, untouched, verify};

use super::index::{Bytes, GITLINK};
use super::pack::id_of;
use super::tree;
