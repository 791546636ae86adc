//! Taking treehand out of a repository, or out of the user's account.
//!
//! `scan` gathers, `decide` decides, `raze` takes away; `repository` and `account` are the two courses of it.

pub mod account;
mod decide;
mod raze;
mod repository;
pub(super) mod scan;
pub mod types;

pub use repository::{Done, Request, apply, is_gone, plan};
