//! What a repository left that was deleted, or moved and not used since: put away after a while, and deleted after another one.
//!
//! `scan` finds what is provably its, `decide` says whether the time has come, `act` puts away and deletes. The way back is
//! `worktree::departed`'s.

mod act;
mod decide;
mod scan;

pub use act::{Attended, attend, linger};
pub use decide::Policy;
