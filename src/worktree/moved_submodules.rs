//! The links between the submodules of a worktree and their clones, after one of the two was moved: they are relative, and
//! the way between them is another now.
//!
//! Works on files alone, for git goes nowhere by a link that leads nowhere. Repeating it changes nothing.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::moved::LINK_MAX;
use super::repository::{Repository, bytes_path, lexical};
use super::sealed::link_line;
use super::submodules::{clones, relative};
use crate::sys::fs;

/// A worktree and its git dir.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a> {
    /// The tree.
    pub tree: &'a Path,
    /// Its git dir.
    pub git_dir: &'a Path,
}

/// Writes the links as they have to be for the new places, `will`, when they were made for those in `was`; the files are `at`
/// other places still, where they are in the trash. No link that somebody planted in tree or git dir is followed.
pub(super) fn mend(repo: &Repository, was: Pair<'_>, will: Pair<'_>, at: Pair<'_>) -> Result<()> {
    for (name, config) in configs(at.git_dir)? {
        let Some(known) = config.get(repo, "core.worktree")? else { continue };
        let place = |pair: Pair<'_>| pair.git_dir.join("modules").join(&name);
        let inside = |pair: Pair<'_>| {
            let tree = lexical(&place(pair).join(&known));
            let path = tree.strip_prefix(pair.tree).ok()?.to_owned();
            let link = fs::read_beneath(at.tree, &path.join(".git"), LINK_MAX).ok()??;
            link.starts_with(b"gitdir: ").then_some(path)
        };
        let Some(path) = inside(was).or_else(|| inside(will)) else { continue };
        let (tree, git_dir) = (will.tree.join(&path), place(will));
        config.set(repo, "core.worktree", &relative(&git_dir, &tree))?;
        fs::write_beneath(at.tree, &path.join(".git"), &link_line(&relative(&tree, &git_dir)), None)?;
    }
    Ok(())
}

/// Lets the clones find the content of LFS files where it is now: they name a place in the repository's own.
pub(super) fn mend_storage(repo: &Repository, git_dir: &Path, before: &Path) -> Result<()> {
    for (_, config) in configs(git_dir)? {
        let known = config.get(repo, "lfs.storage")?;
        if let Some(rest) = known.as_ref().and_then(|place| place.strip_prefix(before).ok()) {
            config.set(repo, "lfs.storage", &repo.common_dir.join(rest))?;
        }
    }
    Ok(())
}

/// Most bytes that the configuration of a submodule has.
const CONFIG_MAX: u64 = 1 << 20;

/// The configuration of a submodule's clone, in a git dir that others may write.
struct Config<'a> {
    root: &'a Path,
    beneath: PathBuf,
}

/// Those of the clones in a git dir, each with the submodule's name.
fn configs(git_dir: &Path) -> Result<Vec<(PathBuf, Config<'_>)>> {
    if !fs::is_directory_beneath(git_dir, Path::new("modules"))? {
        return Ok(Vec::new());
    }
    let config = |(name, _): (PathBuf, PathBuf)| {
        let beneath = Path::new("modules").join(&name).join("config");
        (name, Config { root: git_dir, beneath })
    };
    Ok(clones(git_dir)?.into_iter().map(config).collect())
}

impl Config<'_> {
    fn get(&self, repo: &Repository, key: &str) -> Result<Option<PathBuf>> {
        let Some((_scratch, copy)) = self.copy()? else { return Ok(None) };
        let output = repo.git.command(["config", "--file"]).arg(&copy).args(["-z", "--get", key]).output()?;
        Ok(output.records().next().filter(|_| output.status.success()).map(bytes_path))
    }

    fn set(&self, repo: &Repository, key: &str, value: &Path) -> Result<()> {
        let Some((_scratch, copy)) = self.copy()? else { return Ok(()) };
        repo.git.command(["config", "--file"]).arg(&copy).arg(key).arg(value).run()?;
        let content = std::fs::read(&copy).map_err(fs::at("read", &copy))?;
        Ok(fs::write_beneath(self.root, &self.beneath, &content, None)?)
    }

    /// A copy that nobody else can write: git follows links.
    fn copy(&self) -> Result<Option<(tempfile::TempDir, PathBuf)>> {
        let scratch = fs::temporary_dir()?;
        let copy = scratch.path().join("config");
        let there = fs::copy_beneath(self.root, &self.beneath, &copy, CONFIG_MAX)?;
        Ok(there.then_some((scratch, copy)))
    }
}
