//! Ports that are a workspace's alone: leased once, kept for as long as its tree is there, told to every command in it.
//!
//! `decide` says which block of ports comes next, `probe` whether something listens on one, and `leases` keeps what is leased, of all
//! repositories of a user in one file.

pub mod decide;
mod leases;
#[cfg(test)]
mod leases_tests;
mod probe;

pub use leases::{FILES, all, foreseen, lease, release, release_all, release_gone};
