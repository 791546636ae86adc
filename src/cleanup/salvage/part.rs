//! Apply: what every salvage is made of: a commit that says what it holds, and a ref that holds it.
//!
//! Decides nothing, and takes nothing away.

use crate::cleanup::error::Result;
use crate::model::CommitId;
use crate::sys::git::GitCommand;
use crate::worktree::Repository;
use crate::worktree::import::update_ref;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::sealed::Identity;

/// What was saved under a name: a ref that was made, or what a bundle holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// Its full name.
    pub name: String,
    /// What it holds.
    pub commit: CommitId,
}

/// Makes a ref for a commit that is in the repository already.
pub fn keep(repo: &Repository, prefix: &str, part: &str, commit: &CommitId) -> Result<Saved> {
    let name = format!("{prefix}/{part}");
    update_ref(repo, &name, Some(commit), None, "treehand: saved before a removal")?;
    Ok(Saved { name, commit: commit.clone() })
}

/// A commit of a tree on HEAD, which says what it is.
pub fn commit_tree(
    repo: &Repository,
    quarantine: &Quarantine,
    head: Option<&CommitId>,
    tree: &CommitId,
    what: &str,
) -> Result<CommitId> {
    let command = quarantine.command(["commit-tree", tree.as_str()]);
    let command = command.args(head.into_iter().flat_map(|head| ["-p", head.as_str()]));
    Ok(signed(command, &identity(repo)).stdin(format!("treehand: {what} before a removal\n")).object_id()?)
}

/// Who commits what is saved: the user, or a stand-in where git knows no user.
pub fn identity(repo: &Repository) -> Identity {
    let stand_in = || Identity { name: "treehand".into(), email: "treehand@localhost".into() };
    Identity::of_user(repo).unwrap_or_else(|_| stand_in())
}

fn signed(command: GitCommand, identity: &Identity) -> GitCommand {
    let command = command.env("GIT_AUTHOR_NAME", &identity.name).env("GIT_AUTHOR_EMAIL", &identity.email);
    command.env("GIT_COMMITTER_NAME", &identity.name).env("GIT_COMMITTER_EMAIL", &identity.email)
}
