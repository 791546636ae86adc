//! Whether hooks of the repository run when treehand's own git operations would fire them.
//! The word of the configuration; what each means is done by `worktree::hooks`.

use serde::{Deserialize, Serialize};

/// When hooks run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hooks {
    /// Never.
    Never,
    /// In a sandbox.
    #[default]
    Confined,
    /// As git itself runs them, with all that the user can.
    Unconfined,
}

super::text_enum!(Hooks { Never = "never", Confined = "confined", Unconfined = "unconfined" });
