//! Apply: the index of a sealed workspace as it was before an update, kept byte for byte for the undo of that.
//!
//! The copy lies beside the private git dir, out of reach of what works in the workspace; what it names is kept by the private
//! store alone. git looks at it in the scratch dir of a capture. One that says no more than HEAD is not kept.

use std::path::{Path, PathBuf};

use super::capture::INDEX_MAX;
use super::error::{Result, WorktreeError};
use super::exact;
use super::result_policy::GITLINK;
use super::sealed::SealedPaths;
use crate::model::{CommitId, Token};
use crate::sys::git::GitCommand;
use crate::sys::{fs, random};

/// Where the index of the tree is, beneath the private git dir.
const INDEX: &str = "worktrees/wt/index";

/// An index as git is to look at it: the scratch dir of a capture, and its git with that as repository.
pub(super) struct Look<'a> {
    /// The scratch dir.
    pub(super) scratch: &'a Path,
    /// A git command in it.
    pub(super) git: &'a dyn Fn(&[&str]) -> GitCommand,
}

impl Look<'_> {
    fn place(&self) -> PathBuf {
        self.scratch.join("index-before")
    }

    fn git(&self, args: &[&str]) -> GitCommand {
        (self.git)(args).env("GIT_INDEX_FILE", self.place())
    }

    /// True when a part of it is in another file.
    fn is_split(&self) -> Result<bool> {
        let files = std::fs::read_dir(self.scratch).map_err(fs::at("read", self.scratch))?;
        let names = files.filter_map(|entry| Some(entry.ok()?.file_name()));
        Ok(names.into_iter().any(|name| name.to_string_lossy().starts_with("sharedindex.")))
    }

    /// True when it says more than a commit does: something is staged, or a flag is set. One that cannot be read says nothing.
    fn says_more_than(&self, head: &CommitId) -> Result<bool> {
        let differs = ["diff-index", "--cached", "--ita-visible-in-index", "--quiet", head.as_str(), "--"];
        match self.git(&differs).output()?.code() {
            0 => Ok(exact::hides(&self.git(&exact::LIST).run()?)),
            1 => Ok(true),
            _ => Ok(false),
        }
    }

    /// True when all that it names is there.
    fn is_whole(&self) -> Result<bool> {
        let listed = self.git(&["ls-files", "--stage", "-z"]).output()?;
        if listed.code() != 0 {
            return Ok(false);
        }
        let mut ids = Vec::new();
        for record in listed.records() {
            // Mode, object and stage, then the path. The commits of submodules are in their own stores.
            let mut words = record.split(|byte| *byte == b' ');
            if let (Some(mode), Some(id)) = (words.next(), words.next())
                && mode != GITLINK.as_bytes()
            {
                ids.extend([id, b"\n"].concat());
            }
        }
        let answered = self.git(&["cat-file", "--batch-check=%(objecttype)"]).stdin(ids).text()?;
        Ok(answered.lines().all(|line| !line.ends_with(" missing")))
    }
}

/// Keeps the index that the workspace has; the name it has from then on, or none where it says no more than HEAD.
pub(super) fn keep(paths: &SealedPaths, look: &Look<'_>, head: &CommitId) -> Result<Option<Token>> {
    fs::remove_file(&look.place())?;
    let copied = fs::copy_beneath(&paths.git_dir, INDEX.as_ref(), &look.place(), INDEX_MAX)?;
    // Half of one that is split says nothing alone, and git may take the other half away.
    if !copied || look.is_split()? || !look.says_more_than(head)? {
        return Ok(None);
    }
    let name = random::token().map_err(WorktreeError::Random)?;
    let kept = place_of(paths, &name);
    fs::create_private_dir_all(&paths.private.join("indexes"))?;
    fs::copy_keeping_time(&look.place(), &kept)?;
    Ok(Some(name))
}

/// Makes a kept index the workspace's own again. Where something that was staged is no longer there, it stays unstaged.
pub(super) fn put_back(paths: &SealedPaths, look: &Look<'_>, name: &Token) -> Result<()> {
    let kept = place_of(paths, name);
    if !fs::exists(&kept)? {
        return Ok(());
    }
    fs::remove_file(&look.place())?;
    fs::copy_keeping_time(&kept, &look.place())?;
    if !look.is_whole()? {
        tracing::warn!("what was staged in {} is no longer in its store: it is unstaged now", paths.tree.display());
        return Ok(());
    }
    let content = std::fs::read(&kept).map_err(fs::at("read", &kept))?;
    let modified = std::fs::metadata(&kept).and_then(|meta| meta.modified()).map_err(fs::at("read", &kept))?;
    Ok(fs::write_beneath(&paths.git_dir, INDEX.as_ref(), &content, Some(modified))?)
}

fn place_of(paths: &SealedPaths, name: &Token) -> PathBuf {
    paths.private.join("indexes").join(name.as_str())
}
