//! treehand: a git-worktree-centric workspace manager.
//!
//! The map of the house, its rooms and the rules that hold everywhere are in `docs/ARCHITECTURE.md`.

pub mod agent;
pub mod cleanup;
pub mod cli;
pub mod confine;
pub mod forge;
pub mod model;
pub mod orchestrator;
pub mod store;
pub mod sys;
pub mod worktree;
