//! Scan: in which submodules of a plain worktree something is changed.
//!
//! `git status` would enter each of them and do what the configuration there says, filters included. A confined command that
//! ran in the worktree may have put a repository of its own in the place of one. So git is kept out of them, and each is
//! looked at from its git dir outside the worktree, where no such command can write. What has its git dir elsewhere, or is
//! no repository any more although it holds files, counts as changed: nobody can know.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::repository::{Repository, bytes_path};
use super::result_policy::GITLINK;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::{Git, IndexFacts, Reader};

/// Keeps git out of them.
pub const KEEP_OUT: &str = "--ignore-submodules=all";

/// Most bytes of the link that says where a submodule's git dir is.
const LINK_MAX: u64 = 1 << 16;

/// A submodule with a change in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its path, as git says it.
    pub path: Vec<u8>,
    /// The index names another commit than HEAD does; else what is in it has changed.
    pub staged: bool,
}

/// The submodules of a worktree that are changed, in their index entry or within; `facts` are what its index says, if known.
pub fn changed(repo: &Repository, git_dir: &Path, tree: &Path, facts: Option<&IndexFacts>) -> Result<Vec<Changed>> {
    let gitlinks = match facts {
        Some(facts) => facts.gitlinks.clone(),
        None => recorded(&repo.git, git_dir, tree)?,
    };
    if gitlinks.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let staged = ["diff", "--cached", "--name-only", "-z", "--no-renames", "--no-ext-diff", "--ignore-submodules=none"];
    let staged = repo.git.tree(git_dir, tree, staged).run()?;
    let named: Vec<&[u8]> = staged.records().filter(|path| gitlinks.iter().any(|(known, _)| known == path)).collect();
    found.extend(named.into_iter().map(|path| Changed { path: path.to_vec(), staged: true }));
    let place = Place { git: &repo.git, git_dir, tree };
    for (path, commit) in gitlinks {
        if !place.is_as_recorded(&path, &commit)? {
            found.push(Changed { path, staged: false });
        }
    }
    Ok(found)
}

/// The gitlinks of an index that a sparse checkout does not leave out: paths, and the commits that they record.
pub fn recorded(git: &Git, git_dir: &Path, tree: &Path) -> Result<Vec<(Vec<u8>, CommitId)>> {
    let output = git.tree(git_dir, tree, ["ls-files", "--stage", "-t", "-z"]).run()?;
    // `TAG MODE COMMIT STAGE<tab>PATH`
    let entry = |record: &[u8]| {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        let mut fields = record[..tab].split(|byte| *byte == b' ');
        let (tag, mode, commit) = (fields.next()?, fields.next()?, fields.next()?);
        let commit = CommitId::parse(&String::from_utf8_lossy(commit)).ok()?;
        (tag != b"S" && mode == GITLINK.as_bytes()).then(|| (record[tab + 1..].to_vec(), commit))
    };
    Ok(output.records().filter_map(entry).collect())
}

/// A worktree whose submodules are looked at: the workspace's, or that of a submodule in it.
struct Place<'a> {
    git: &'a Git,
    git_dir: &'a Path,
    tree: &'a Path,
}

impl Place<'_> {
    /// True when a submodule is at the commit that is recorded, with nothing changed in it; or is not there.
    fn is_as_recorded(&self, path: &[u8], commit: &CommitId) -> Result<bool> {
        let relative = bytes_path(path);
        let tree = self.tree.join(&relative);
        let Some(git_dir) = self.own_git_dir(&relative)? else { return is_empty(&tree) };
        if !self.is_trusted(&git_dir)? || Reader::open(self.git, &git_dir).revision("HEAD")?.as_ref() != Some(commit) {
            return Ok(false);
        }
        let status = ["status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames", KEEP_OUT];
        if !self.git.tree(&git_dir, &tree, status).run()?.stdout.is_empty() {
            return Ok(false);
        }
        let below = Place { git: self.git, git_dir: &git_dir, tree: &tree };
        for (path, commit) in recorded(self.git, &git_dir, &tree)? {
            if !below.is_as_recorded(&path, &commit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the git dir of a submodule is, as the link in it says; `None` where it has none.
    fn own_git_dir(&self, path: &Path) -> Result<Option<PathBuf>> {
        let link = path.join(".git");
        match self.tree.join(&link).symlink_metadata() {
            Ok(meta) if !meta.is_file() => return Ok(Some(self.tree.join(link))),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Ok(_) | Err(_) => {}
        }
        let Some(text) = fs::read_beneath(self.tree, &link, LINK_MAX)? else { return Ok(None) };
        let target = bytes_path(text.strip_prefix(b"gitdir: ").unwrap_or(&text).trim_ascii_end());
        Ok(Some(self.tree.join(path).join(target)))
    }

    /// True for a git dir that is where git keeps those of this worktree's submodules.
    fn is_trusted(&self, git_dir: &Path) -> Result<bool> {
        let (Ok(place), Ok(modules)) = (git_dir.canonicalize(), self.git_dir.join("modules").canonicalize()) else {
            return Ok(false);
        };
        let link = git_dir.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        Ok(place.starts_with(modules) && !link && place.join("HEAD").is_file())
    }
}

/// True for a directory with nothing in it, as git leaves one for a submodule that is not here.
fn is_empty(directory: &Path) -> Result<bool> {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(fs::at("read", directory)(error).into()),
    }
}
