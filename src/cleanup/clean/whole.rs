//! Scan: whether everything that a branch has beyond its targets is here, so that it could be pushed back.
//!
//! A partial clone lacks content that it was not asked for, a shallow one the commits below its edge. Fetches nothing.

use std::collections::BTreeSet;

use crate::cleanup::error::Result;
use crate::cleanup::verdict::Target;
use crate::model::CommitId;
use crate::sys::fs;
use crate::worktree::Repository;

/// True where nothing of it is missing.
pub(super) fn is_here(repo: &Repository, tip: &CommitId, targets: &[Target]) -> Result<bool> {
    let without = || targets.iter().map(|target| format!("^{}", target.tip));
    let edge = edge(repo)?;
    if !edge.is_empty() {
        let walk = repo.bare(["rev-list", tip.as_str()]).args(without()).arg("--").text()?;
        if walk.lines().any(|commit| edge.contains(commit)) {
            return Ok(false);
        }
    }
    let walk = repo.bare(["rev-list", "--objects", "--missing=print", tip.as_str()]).args(without()).arg("--");
    let listed = walk.env("GIT_NO_LAZY_FETCH", "1").run()?.stdout;
    Ok(!listed.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"?")))
}

/// The commits whose parents a shallow clone does not have.
fn edge(repo: &Repository) -> Result<BTreeSet<String>> {
    let file = repo.common_dir.join("shallow");
    if !fs::exists(&file)? {
        return Ok(BTreeSet::new());
    }
    let text = std::fs::read_to_string(&file).map_err(fs::at("read", &file))?;
    Ok(text.lines().map(str::to_owned).collect())
}
