//! Scan: which submodules stand at another commit in a result than in what it started from, nested ones too, and whether the
//! repository's own clones have those commits.
//!
//! Looks and changes nothing. Of a submodule that is not initialised here, or was never cloned, nothing can be known.

use std::path::{Path, PathBuf};

use super::error::Result;
use super::originals::{Originals, names_in};
use super::repository::{Repository, bytes_path};
use super::result_policy::{GITLINK, RawChange, Refusal};
use crate::model::CommitId;
use crate::sys::git::{Git, Reader};

/// What is here of the commit that a submodule was moved to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A clone of it has it.
    Here,
    /// No clone has it.
    Nowhere,
    /// There is no clone to look in.
    Unknown,
}

/// A submodule that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Where it is, from the root of the repository.
    pub at: PathBuf,
    /// The commit that it is recorded at now.
    pub after: CommitId,
    /// Whether that is here.
    pub found: Found,
    /// A clone that has both it and the one before.
    pub within: Option<(PathBuf, CommitId)>,
}

/// The submodules that were moved between two commits that the repository has.
pub fn moves(repo: &Repository, base: &CommitId, commit: &CommitId) -> Result<Vec<Move>> {
    let mut found = Vec::new();
    let originals = Originals::of(repo);
    Level { git: &repo.git, git_dir: &repo.common_dir, originals }.walk(base, commit, &mut found)?;
    Ok(found)
}

/// Refuses a result that records a commit of a submodule that is nowhere here: whoever has it checked out could not update.
pub fn refuse_unknown(
    repo: &Repository,
    base: &CommitId,
    commit: &CommitId,
    changes: &[RawChange],
) -> Result<Option<Refusal>> {
    if !changes.iter().any(|change| change.new_mode == GITLINK) {
        return Ok(None);
    }
    let moves = moves(repo, base, commit)?;
    let lost = moves.into_iter().filter(|one| one.found == Found::Nowhere);
    let paths: Vec<String> = lost.map(|one| one.at.to_string_lossy().into_owned()).collect();
    let message = || "the result records commits of submodules that are nowhere here".to_owned();
    Ok((!paths.is_empty()).then(|| Refusal { message: message(), paths }))
}

struct Level<'a> {
    git: &'a Git,
    /// What reaches the commits.
    git_dir: &'a Path,
    originals: Originals,
}

impl Level<'_> {
    fn walk(&self, base: &CommitId, commit: &CommitId, found: &mut Vec<Move>) -> Result<()> {
        let gitlinks = self.gitlinks(base, commit)?;
        if gitlinks.is_empty() {
            return Ok(());
        }
        let mut names = names_in(self.git, self.git_dir, base)?;
        names.extend(names_in(self.git, self.git_dir, commit)?);
        for (path, before, after) in gitlinks {
            let at = self.originals.at().join(&path);
            let Some(name) = names.get(&path) else { continue };
            let clones = match self.originals.is_initialised(name)? {
                true => self.originals.all(name, &path)?,
                false => Vec::new(),
            };
            let mut here = None;
            for clone in &clones {
                if here.is_none() && Reader::open(self.git, clone).has_commit(&after)? {
                    here = Some(clone);
                }
            }
            let place = match here {
                Some(_) => Found::Here,
                None if clones.is_empty() => Found::Unknown,
                None => Found::Nowhere,
            };
            let both = match here {
                Some(clone) => {
                    Some(clone).filter(|_| Reader::open(self.git, clone).has_commit(&before).unwrap_or(false))
                }
                None => None,
            };
            let within = both.map(|clone| (clone.clone(), before.clone()));
            found.push(Move { at, after: after.clone(), found: place, within });
            if let Some(clone) = both {
                let originals = self.originals.below(clone, &path);
                Level { git: self.git, git_dir: clone, originals }.walk(&before, &after, found)?;
            }
        }
        Ok(())
    }

    /// Path, commit before and commit after of every gitlink that is another one.
    fn gitlinks(&self, base: &CommitId, commit: &CommitId) -> Result<Vec<(PathBuf, CommitId, CommitId)>> {
        let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", base.as_str(), commit.as_str()];
        let output = self.git.bare(self.git_dir, args).env("GIT_NO_REPLACE_OBJECTS", "1").run()?;
        let records: Vec<&[u8]> = output.records().collect();
        let entry = |pair: &[&[u8]]| {
            let [raw, path] = pair else { return None };
            let text = String::from_utf8_lossy(raw);
            let mut words = text.strip_prefix(':')?.split(' ');
            let gitlinks = words.next()? == GITLINK && words.next()? == GITLINK;
            let (before, after) = (CommitId::parse(words.next()?).ok()?, CommitId::parse(words.next()?).ok()?);
            gitlinks.then(|| (bytes_path(path), before, after))
        };
        Ok(records.chunks(2).filter_map(entry).collect())
    }
}
