//! Slots: worktrees made before anybody asks for one, which a new workspace, a task or a gate takes over by a rename.
//!
//! `slot` is one of them on disk and the proof that nobody has changed it, `decide` says which is taken and what is missing, `claim`
//! takes one, `wanted` says what is kept ready, and `filler` makes that so, in a process of its own.

pub mod claim;
pub mod decide;
pub mod filler;
pub mod slot;
#[cfg(test)]
mod tests;
pub mod wanted;
