//! Capture of what is in the submodules of a sealed workspace: each becomes a commit of its own, which the commit around it
//! records.
//!
//! A submodule is one that the base records and whose git dir is where git puts it in the private dir; its `.git` file and its
//! configuration are never read. Every other repository in the tree is what it is for `git add`, but git does not run `git
//! status` in it. One that stands where it stood at the start is untouched: then what the index records of it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::capture::{CaptureRequest, Place, bad};
use super::error::{Result, WorktreeError};
use super::head::HeadPlace;
use super::originals::{self, Registered, flat};
use super::repository::{Repository, bytes_path};
use super::result_policy::GITLINK;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::Git;

/// Largest `.gitmodules` that is read.
const MODULES_MAX: u64 = 16 << 20;

/// The commit that a submodule was captured as.
#[derive(Clone, Debug)]
pub struct CapturedModule {
    /// Where it is, from the root of the workspace.
    pub at: PathBuf,
    /// The git for the scratch dir.
    pub git: Git,
    /// The repository's own clone of it; where there is none, what its objects are kept in instead.
    pub home: Repository,
    /// `home` is a clone of it.
    pub cloned: bool,
    /// The commit that it stood at when the workspace was made.
    pub base: CommitId,
    /// The captured one.
    pub commit: CommitId,
    /// The scratch git dir that reaches its objects.
    pub scratch: PathBuf,
}

impl<'a> Place<'a> {
    /// Captures the submodules and records them in the copy of the index. The answer is what `git add` must stay out of.
    pub(super) fn take_submodules(
        &self,
        request: &CaptureRequest<'_>,
        taken: &mut Vec<CapturedModule>,
    ) -> Result<Vec<PathBuf>> {
        let links = self.links()?;
        let known = self.known(&links)?;
        let (mut lines, mut left_out) = (Vec::new(), Vec::new());
        let paths: BTreeSet<&PathBuf> = links.keys().chain(known.keys()).collect();
        // What is no directory any more git sees as it is: gone, or another kind of file.
        for path in paths {
            if !fs::is_directory_beneath(self.root, &self.at.join(path))? {
                continue;
            }
            let recorded = links.get(path);
            if let Some(place) = known.get(path).map(|registered| self.below(registered, path)).transpose()?.flatten() {
                let commit = place.take(recorded, request, taken).map_err(|error| within(error, &place.at))?;
                lines.extend(line(GITLINK, commit.as_str(), path));
            } else if let Some(recorded) = recorded {
                if fs::exists(&self.files().join(path).join(".git"))? {
                    // As new to git it is read and not entered.
                    lines.extend(line("0", &recorded.zero_like(), path));
                    continue;
                }
            } else {
                continue;
            }
            left_out.push(path.clone());
        }
        if !lines.is_empty() {
            self.tree(["update-index", "-z", "--index-info"]).stdin(lines).run()?;
        }
        Ok(left_out)
    }

    /// The commits that the HEADs of the submodules name, where there are no files any more.
    pub(super) fn take_commits(&self, taken: &mut Vec<CapturedModule>) -> Result<()> {
        for (path, registered) in self.known_by(&BTreeMap::new())? {
            if let Some(place) = self.below(&registered, &path)? {
                let commit = place.open().map_err(|error| within(error, &place.at))?;
                place.take_commits(taken)?;
                taken.extend((commit != place.base).then(|| place.captured(commit)));
            }
        }
        Ok(())
    }

    /// Captures this submodule; what is to be recorded of it is the answer.
    fn take(
        &self,
        recorded: Option<&CommitId>,
        request: &CaptureRequest<'_>,
        taken: &mut Vec<CapturedModule>,
    ) -> Result<CommitId> {
        let commit = self.capture(request, taken)?;
        let commit = match recorded {
            Some(recorded) if commit == self.base => recorded.clone(),
            _ => commit,
        };
        // Who moved the recorded commit alone may have brought it, too.
        if commit != self.base && self.has(&commit)? {
            taken.push(self.captured(commit.clone()));
        }
        Ok(commit)
    }

    fn captured(&self, commit: CommitId) -> CapturedModule {
        CapturedModule {
            at: self.at.clone(),
            git: self.git.clone(),
            home: self.home.clone(),
            cloned: self.cloned,
            base: self.base.clone(),
            commit,
            scratch: self.scratch.clone(),
        }
    }

    fn has(&self, commit: &CommitId) -> Result<bool> {
        Ok(self.bare(["cat-file", "-e", &format!("{commit}^{{commit}}")]).output()?.status.success())
    }

    /// The gitlinks of the index.
    fn links(&self) -> Result<BTreeMap<PathBuf, CommitId>> {
        let listed = self.tree(["ls-files", "--stage", "-z"]).run();
        let listed = listed.map_err(|error| bad(format!("the workspace's index cannot be read: {error}")))?;
        // `MODE COMMIT STAGE<tab>PATH`
        let entry = |record: &[u8]| {
            let record = record.strip_prefix(GITLINK.as_bytes())?.strip_prefix(b" ")?;
            let (space, tab) = (record.iter().position(|b| *b == b' ')?, record.iter().position(|b| *b == b'\t')?);
            let commit = CommitId::parse(&String::from_utf8_lossy(&record[..space])).ok()?;
            Some((bytes_path(&record[tab + 1..]), commit))
        };
        Ok(listed.records().filter_map(entry).collect())
    }

    /// The submodules of the base by the paths where they are now: one may have been moved to where the index records it.
    fn known(&self, links: &BTreeMap<PathBuf, CommitId>) -> Result<BTreeMap<PathBuf, Registered>> {
        let (copy, name) = (self.scratch.join("gitmodules"), self.at.join(".gitmodules"));
        // What is not as git wants it says nothing.
        let there = fs::copy_beneath(self.root, &name, &copy, MODULES_MAX).unwrap_or(false);
        let mut now = match there {
            true => originals::names(self.git.command(["config", "--file"]).arg(&copy))?,
            false => BTreeMap::new(),
        };
        now.retain(|path, _| links.contains_key(path));
        self.known_by(&now)
    }

    fn known_by(&self, now: &BTreeMap<PathBuf, PathBuf>) -> Result<BTreeMap<PathBuf, Registered>> {
        if !self.has(&self.base)? {
            return Ok(BTreeMap::new());
        }
        let mut known = BTreeMap::new();
        for registered in originals::registered(&self.git, &self.scratch, &self.base)? {
            let moved = now.iter().find(|(_, name)| **name == registered.name).map(|(path, _)| path);
            known.insert(moved.unwrap_or(&registered.path).clone(), registered);
        }
        Ok(known)
    }

    /// The submodule at a path, if it has a git dir in the private dir.
    fn below(&self, registered: &Registered, path: &Path) -> Result<Option<Place<'a>>> {
        let Registered { name, path: original_path, commit } = registered;
        let git_dir = self.git_dir.join("modules").join(name);
        if !fs::is_directory_beneath(self.private, &git_dir.join("objects"))? {
            let full = self.private.join(&git_dir);
            let is_link = full.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
            return match is_link || fs::exists(&full.join("HEAD"))? {
                true => Err(within(bad("the git dir of a submodule is not as git makes it"), &self.at.join(path))),
                false => Ok(None),
            };
        }
        let original = match &self.originals {
            // One that lacks the commit is still where the person has it.
            Some(originals) if originals.is_initialised(name)? => match originals.with(name, original_path, commit) {
                Ok(original) => Some(original),
                Err(_) => originals.all(name, original_path)?.into_iter().next(),
            },
            _ => None,
        };
        let home = match &original {
            Some(original) => Repository::at_common_dir(&self.home.git, original)?,
            None => self.home.clone(),
        };
        let below = self.originals.as_ref().zip(original.as_ref());
        let originals = below.map(|(originals, original)| originals.below(original, original_path));
        let of_store = |objects: &PathBuf| Some(objects.parent()?.join("modules").join(flat(name)).join("objects"));
        let lenders = self.lenders.iter().filter_map(of_store).filter(|objects| objects.is_dir()).collect();
        Ok(Some(Place {
            git: self.git.clone(),
            home,
            cloned: original.is_some(),
            originals,
            private: self.private,
            head: HeadPlace::of_submodule(&git_dir),
            objects: git_dir.join("objects"),
            git_dir,
            lenders,
            root: self.root,
            at: self.at.join(path),
            scratch: self.scratch.join("modules").join(flat(name)),
            base: commit.clone(),
        }))
    }
}

/// A line for `update-index --index-info -z`.
fn line(mode: &str, commit: &str, path: &Path) -> Vec<u8> {
    [format!("{mode} {commit}\t").as_bytes(), path.as_os_str().as_bytes(), b"\0"].concat()
}

/// Says which submodule it is about.
pub(super) fn within(error: WorktreeError, at: &Path) -> WorktreeError {
    match error {
        WorktreeError::BadResult { message, paths } if paths.is_empty() => {
            WorktreeError::BadResult { message, paths: vec![at.to_string_lossy().into_owned()] }
        }
        error => error,
    }
}
