//! Scan and apply: ignored files that a removal saves, too, because the user's configuration names them (`clean.salvage_ignored`).
//!
//! They are a part of their own, a commit on HEAD that has them beside HEAD's files: no branch gets them by itself. What is in a repository
//! of its own there is not theirs.

use super::part::commit_tree;
use super::saved::IGNORED;
use crate::cleanup::error::{CleanupError, Result};
use crate::model::CommitId;
use crate::sys::git::GitCommand;
use crate::worktree::index_copy::IndexCopy;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::repository::bytes_path;
use crate::worktree::{Repository, result_policy};

/// Makes that commit in a quarantine; `None` where no ignored file has such a name. The copy of the index is as HEAD is then.
pub(super) fn commit(
    repo: &Repository,
    quarantine: &Quarantine,
    copy: &IndexCopy<'_>,
    head: Option<&CommitId>,
) -> Result<Option<(String, CommitId)>> {
    let files = files(repo, copy)?;
    if files.is_empty() {
        return Ok(None);
    }
    let git = |args: &[&str]| -> GitCommand { copy.git(args).env("GIT_OBJECT_DIRECTORY", quarantine.objects()) };
    git(&["read-tree", head.map_or("--empty", CommitId::as_str)]).run()?;
    let add = ["add", "--force", "--sparse", "--pathspec-from-file=-", "--pathspec-file-nul"];
    git(&add).env("GIT_LITERAL_PATHSPECS", "1").stdin(files).run()?;
    let tree = git(&["write-tree"]).object_id()?;
    Ok(Some((IGNORED.to_owned(), commit_tree(repo, quarantine, head, &tree, "what was ignored")?)))
}

/// The names of those files, each ended by a NUL.
fn files(repo: &Repository, copy: &IndexCopy<'_>) -> Result<Vec<u8>> {
    let wanted = result_policy::compile(&repo.salvage_ignored).map_err(|message| {
        let message = format!("`clean.salvage_ignored` cannot be read: {message}");
        CleanupError::refused(message, "write patterns like `.env*` or `local/**`")
    })?;
    let listed = copy.git(["ls-files", "--others", "--ignored", "--exclude-standard", "-z"]).run()?;
    // A name that ends like a directory's is a repository.
    let is_wanted = |name: &&[u8]| !name.is_empty() && !name.ends_with(b"/") && wanted.is_match(bytes_path(name));
    let mut found = Vec::new();
    for name in listed.stdout.split(|byte| *byte == 0).filter(is_wanted) {
        found.extend_from_slice(name);
        found.push(0);
    }
    Ok(found)
}
