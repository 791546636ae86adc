//! Decision file: the variables that tell a command in a workspace where it is.
//!
//! The same for every command that a person starts there (`new -x`, `exec`). A path that is not UTF-8 is left out, since a
//! changed one would lead elsewhere.

use std::path::Path;

use super::repository::Repository;
use crate::model::record::WorkspaceRecord;

/// Names and values.
pub fn variables(repo: &Repository, record: &WorkspaceRecord) -> Vec<(String, String)> {
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let all = [
        ("TREEHAND_WORKSPACE", Some(record.name.to_string())),
        ("TREEHAND_BRANCH", Some(record.branch.to_string())),
        ("TREEHAND_BASE", Some(record.base.commit.to_string())),
        ("TREEHAND_PATH", text(&record.path)),
        ("TREEHAND_MAIN", repo.main_tree.as_deref().and_then(text)),
        ("TREEHAND_REPO", Some(repo.name.clone())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
