//! Scan: which submodules a commit has, and where the repository's own clones of them are.
//!
//! Looks and changes nothing. Names come from `.gitmodules`, which anybody may have written: one that would lead out of the
//! directory of clones is none.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::error::{Result, WorktreeError};
use super::repository::{Repository, bytes_path};
use super::result_policy::GITLINK;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::{Git, GitCommand, Reader};

/// What brings what did not come along.
pub(super) const HINT: &str = "git submodule update --init --recursive";

/// A submodule as a commit has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its name in `.gitmodules`.
    pub name: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// The commit of it that is recorded.
    pub commit: CommitId,
}

/// The submodules of a commit that have a name, in the order of their paths; `git_dir` reaches the commit.
pub fn registered(git: &Git, git_dir: &Path, commit: &CommitId) -> Result<Vec<Registered>> {
    let names = names_in(git, git_dir, commit)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let listed =
        git.bare(git_dir, ["ls-tree", "-r", "-z", commit.as_str()]).env("GIT_NO_REPLACE_OBJECTS", "1").run()?;
    // `MODE TYPE OBJECT<tab>PATH`
    let entry = |record: &[u8]| {
        let record = record.strip_prefix(GITLINK.as_bytes())?.strip_prefix(b" commit ")?;
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        let (commit, path) = (CommitId::parse(&String::from_utf8_lossy(&record[..tab])).ok()?, &record[tab + 1..]);
        let (path, name) = names.get_key_value(&bytes_path(path))?;
        Some(Registered { name: name.clone(), path: path.clone(), commit })
    };
    Ok(listed.records().filter_map(entry).collect())
}

/// The names of the submodules by their paths, as a commit's `.gitmodules` has them.
pub fn names_in(git: &Git, git_dir: &Path, commit: &CommitId) -> Result<BTreeMap<PathBuf, PathBuf>> {
    if !Reader::open(git, git_dir).may_have(commit, ".gitmodules") {
        return Ok(BTreeMap::new());
    }
    let blob = format!("{commit}:.gitmodules");
    names(git.bare(git_dir, ["config", "--blob", &blob]).env("GIT_NO_REPLACE_OBJECTS", "1"))
}

/// The same from what `git config FROM` reads; without the file, or in one that git cannot read, there are none.
pub fn names(config: GitCommand) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let output = config.args(["--no-includes", "-z", "--get-regexp", "^submodule\\..*\\.path$"]).output()?;
    let entry = |record: &[u8]| {
        let end = record.iter().position(|byte| *byte == b'\n')?;
        let name = bytes_path(record[..end].strip_prefix(b"submodule.")?.strip_suffix(b".path")?);
        is_plain(&name).then(|| (bytes_path(&record[end + 1..]), name))
    };
    Ok(output.records().filter_map(entry).collect())
}

/// True for a name that leads nowhere else: it becomes a path.
fn is_plain(name: &Path) -> bool {
    let mut parts = name.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(part) if part != OsStr::new(".git")))
}

/// A name as one part of a path: where stores of ours are, no name is in the way of another.
pub fn flat(name: &Path) -> PathBuf {
    let mut flat = Vec::new();
    for byte in name.as_os_str().as_bytes() {
        match byte {
            b'/' => flat.extend_from_slice(b"%2f"),
            b'%' => flat.extend_from_slice(b"%25"),
            byte => flat.push(*byte),
        }
    }
    flat.extend_from_slice(b".git");
    bytes_path(&flat)
}

/// Where the clones are of the submodules of one worktree: the repository's, or that of a submodule in it.
#[derive(Clone, Debug)]
pub struct Originals {
    git: Git,
    /// The git dir whose submodules they are.
    git_dir: PathBuf,
    /// Where that worktree is, from the root of the repository's.
    at: PathBuf,
    /// The repository's main worktree.
    main: Option<PathBuf>,
}

impl Originals {
    /// Those of the repository itself.
    pub fn of(repo: &Repository) -> Originals {
        let (git, git_dir, main) = (repo.git.clone(), repo.common_dir.clone(), repo.main_tree.clone());
        Originals { git, git_dir, at: PathBuf::new(), main }
    }

    /// Those of a submodule of it, by its own clone and its path.
    pub fn below(&self, original: &Path, path: &Path) -> Originals {
        Originals { git_dir: original.to_owned(), at: self.at.join(path), ..self.clone() }
    }

    /// Where the worktree is, from the root of the repository's.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// As git sees it: what is said of it counts, else whether its address is known.
    pub fn is_initialised(&self, name: &Path) -> Result<bool> {
        let key = |variable: &str| format!("submodule.{}.{variable}", name.display());
        let active = self.git.bare(&self.git_dir, [] as [&str; 0]).flag(&key("active"))?;
        Ok(active != Some(false) && Reader::open(&self.git, &self.git_dir).config(&key("url"))?.is_some())
    }

    /// The clone of a submodule that is here and has this commit.
    pub fn with(&self, name: &Path, path: &Path, commit: &CommitId) -> Result<PathBuf> {
        let mut why = "it was never cloned here".to_owned();
        for candidate in self.present(name, path)? {
            if !self.is_usable(&candidate)? {
                why = format!("the worktree of {} is not there, and git does not use it then", candidate.display());
            } else if Reader::open(&self.git, &candidate).has_commit(commit)? {
                return Ok(candidate);
            } else {
                why = format!("its commit {} is not here", commit.short());
            }
        }
        Err(WorktreeError::refused(why, HINT))
    }

    /// All clones of a submodule that are here and that git can use.
    pub fn all(&self, name: &Path, path: &Path) -> Result<Vec<PathBuf>> {
        let mut usable = Vec::new();
        for candidate in self.present(name, path)? {
            if self.is_usable(&candidate)? {
                usable.push(candidate);
            }
        }
        Ok(usable)
    }

    /// False for a clone whose worktree is gone: git does nothing at all in one.
    fn is_usable(&self, clone: &Path) -> Result<bool> {
        Ok(self.git.bare(clone, ["rev-parse", "--git-dir"]).output()?.status.success())
    }

    /// Those that are here: the repository's own first; then the one in the main worktree itself, as git
    /// once kept them, and those of other worktrees, as in a bare repository.
    fn present(&self, name: &Path, path: &Path) -> Result<Vec<PathBuf>> {
        let admin = self.git_dir.join("worktrees");
        let mut candidates = vec![self.git_dir.join("modules").join(name)];
        candidates.extend(self.main.as_ref().map(|main| main.join(&self.at).join(path).join(".git")));
        if fs::exists(&admin)? {
            for entry in std::fs::read_dir(&admin).map_err(fs::at("read", &admin))? {
                let git_dir = entry.map_err(fs::at("read", &admin))?.path();
                candidates.push(git_dir.join("modules").join(name));
            }
        }
        Ok(candidates.into_iter().filter(|candidate| candidate.join("HEAD").is_file()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_none() {
        let check = |name: &str, plain: bool| assert_eq!(is_plain(Path::new(name)), plain, "{name}");
        check("lib", true);
        check("libs/lib", true);
        for bad in ["", "..", "../x", "a/../../x", "/x", ".git", "a/.git/b"] {
            check(bad, false);
        }
    }

    #[test]
    fn no_flat_name_is_that_of_another() {
        let names = ["a", "a/b", "a%2fb", "a%b", "a.git"];
        let flat: std::collections::BTreeSet<PathBuf> = names.iter().map(|name| flat(Path::new(name))).collect();
        assert_eq!(flat.len(), names.len());
        assert!(flat.iter().all(|name| name.components().count() == 1));
    }
}
