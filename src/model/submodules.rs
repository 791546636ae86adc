//! Whether submodules come along into new workspaces.
//! The word of the configuration; it is done by `worktree::submodules`.

use serde::{Deserialize, Serialize};

/// Which submodules a new workspace has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Submodules {
    /// Those that are initialised in the repository, from what is here of them.
    #[default]
    Local,
    /// None, as with `git worktree add`.
    Never,
}

super::text_enum!(Submodules { Local = "local", Never = "never" });
