//! What is said about submodules that came along into a new workspace, and those that did not.
//!
//! What did not come along is said with its remedy: git asks the remote for it.

use serde_json::{Value, json};

use super::document::shorten_list;
use super::output::{Output, plain};
use crate::worktree::submodules::Submodule;

/// Says what came along and what did not.
pub fn say(out: &Output, submodules: &[Submodule]) {
    let here: Vec<String> =
        submodules.iter().filter(|one| one.missing.is_none()).map(|one| one.path.display().to_string()).collect();
    if !here.is_empty() {
        out.say(format!("brought submodules along: {}", plain(&shorten_list(&here))));
    }
    for one in submodules {
        if let Some(why) = &one.missing {
            let path = one.path.display();
            let hint = "git submodule update --init --recursive";
            out.warn(plain(&format!("the submodule {path} did not come along: {why}; in the workspace: {hint}")));
        }
    }
}

/// The `submodules` of `treehand/workspace/v1`.
pub fn document(submodules: &[Submodule]) -> Value {
    let one = |one: &Submodule| json!({"path": one.path.to_string_lossy(), "missing": one.missing});
    Value::Array(submodules.iter().map(one).collect())
}
