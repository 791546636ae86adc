//! Scan: whether everything that a branch has beyond its targets is here, so that it could be pushed back.
//!
//! A partial clone lacks content that it was not asked for, a shallow one the commits below its edge. Fetches nothing.

use std::collections::BTreeSet;

use crate::cleanup::error::Result;
use crate::cleanup::verdict::Target;
use crate::model::CommitId;
use crate::sys::fs;
use crate::worktree::Repository;

/// True where nothing of a branch is missing, in a clone whose history ends at these commits.
pub(super) fn is_here(repo: &Repository, edge: &BTreeSet<String>, tip: &CommitId, targets: &[Target]) -> Result<bool> {
    let without = targets.iter().map(|target| format!("^{}", target.tip));
    let walk = repo.bare(["rev-list", "--objects", "--missing=print", tip.as_str()]).args(without).arg("--");
    let listed = walk.env("GIT_NO_LAZY_FETCH", "1").run()?.stdout;
    // The line of a commit is its id alone; of anything else it goes on with where that is, in whatever bytes.
    let is_lost = |line: &[u8]| line.starts_with(b"?") || std::str::from_utf8(line).is_ok_and(|id| edge.contains(id));
    Ok(!listed.split(|byte| *byte == b'\n').any(is_lost))
}

/// The commits whose parents a shallow clone does not have; none in one that is not.
pub(super) fn edge(repo: &Repository) -> Result<BTreeSet<String>> {
    let file = repo.common_dir.join("shallow");
    if !fs::exists(&file)? {
        return Ok(BTreeSet::new());
    }
    let text = std::fs::read_to_string(&file).map_err(fs::at("read", &file))?;
    Ok(text.lines().map(str::to_owned).collect())
}
