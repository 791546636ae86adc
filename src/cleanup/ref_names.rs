//! Where cleanup keeps refs of its own: what was saved before a removal, and the tips of before an operation.
//!
//! Decision file: names alone.

/// Where tips of deleted refs and undone landings stay until the retention ends.
pub const UNDO_PREFIX: &str = "refs/treehand/undo/";

/// Where everything that was saved is.
pub const SALVAGE_PREFIX: &str = "refs/treehand/salvage/";
