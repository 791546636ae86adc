//! Decision file: the variables that tell a command in a workspace where it is.
//!
//! The same names for every command, a person's (`new -x`, `exec`) or a task's. A path that is not UTF-8 is left out, since a
//! changed one would lead elsewhere. Ports are leased by the caller, who knows whether the command is going to run.

use std::path::Path;

use super::repository::Repository;
use crate::model::record::WorkspaceRecord;
use crate::model::{BranchName, CommitId};

/// A workspace as a command in it knows it.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// Its name, or `RUN/TASK`.
    pub name: &'a str,
    /// Its branch.
    pub branch: &'a BranchName,
    /// The commit that it started from.
    pub base: &'a CommitId,
    /// Its tree.
    pub path: &'a Path,
    /// The name of its repository.
    pub repo: &'a str,
    /// The ports that are its alone.
    pub ports: &'a [u16],
}

impl Exported<'_> {
    /// Names and values.
    pub fn variables(&self) -> Vec<(String, String)> {
        let all = [
            ("TREEHAND_WORKSPACE", Some(self.name.to_owned())),
            ("TREEHAND_BRANCH", Some(self.branch.to_string())),
            ("TREEHAND_BASE", Some(self.base.to_string())),
            ("TREEHAND_PATH", self.path.to_str().map(str::to_owned)),
            ("TREEHAND_REPO", Some(self.repo.to_owned())),
        ];
        let all = all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        all.chain((1..).zip(self.ports).map(port)).collect()
    }
}

/// The variable of one port.
fn port((n, port): (usize, &u16)) -> (String, String) {
    let name = if n == 1 { "TREEHAND_PORT".to_owned() } else { format!("TREEHAND_PORT_{n}") };
    (name, port.to_string())
}

/// Those of a person's workspace with these ports; the main worktree is theirs, too.
pub fn variables(repo: &Repository, record: &WorkspaceRecord, ports: &[u16]) -> Vec<(String, String)> {
    let WorkspaceRecord { name, branch, base, path, .. } = record;
    let exported = Exported { name: name.as_str(), branch, base: &base.commit, path, repo: &repo.name, ports };
    let mut variables = exported.variables();
    let main = repo.main_tree.as_deref().and_then(Path::to_str);
    variables.extend(main.map(|main| ("TREEHAND_MAIN".to_owned(), main.to_owned())));
    variables
}
