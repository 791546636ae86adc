//! Scan: commits of the submodules in a worktree that exist nowhere else: on no remote branch known there, and not in the
//! repository's own clone of the submodule.
//!
//! Looks and changes nothing. What cannot be read counts as such a commit.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::Result;
use super::repository::Repository;
use super::submodules;
use crate::model::CommitId;
use crate::sys::git::{Git, Reader};

/// The names of the submodules in a worktree that hold such commits, by its git dir.
pub fn in_submodules(repo: &Repository, git_dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, module) in submodules::clones(git_dir)? {
        let original = repo.common_dir.join("modules").join(&name);
        if !are_elsewhere(&repo.git, &module, &original).unwrap_or(false) {
            found.push(name.display().to_string());
        }
    }
    Ok(found)
}

fn are_elsewhere(git: &Git, module: &Path, original: &Path) -> Result<bool> {
    let listed = git.bare(module, ["for-each-ref", "--format=%(objectname)", "refs/heads/", "refs/stash"]).text()?;
    let mut tips: BTreeSet<CommitId> = listed.lines().filter_map(|line| CommitId::parse(line).ok()).collect();
    tips.extend(Reader::open(git, module).revision("HEAD")?);
    let here = original.join("HEAD").is_file().then(|| Reader::open(git, original));
    for tip in tips {
        if here.as_ref().map(|here| here.has_commit(&tip)).transpose()? == Some(true) {
            continue;
        }
        let args = ["rev-list", "--max-count=1", tip.as_str(), "--not", "--remotes", "--tags", "--"];
        if !git.bare(module, args).run()?.stdout.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
