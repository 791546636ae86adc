//! Apply: lets the submodules of a sealed workspace follow the commit around them, where nothing was done in them.
//!
//! As everything in a sealed tree: with the scratch dir of a capture, and index and HEAD replaced beneath the private dir. One that was
//! worked on, or that cannot follow, is an obstacle. HEAD is on no branch then, as after `git submodule update`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::capture::Captured;
use super::error::Result;
use super::exact;
use super::folding::folds;
use super::import::changes;
use super::in_the_way::in_the_way;
use super::index_lock::present;
use super::originals::{Originals, flat, registered};
use super::repository::Repository;
use super::result_policy::GITLINK;
use super::run_store::RunStore;
use super::sealed::SealedPaths;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::git::{Git, GitCommand};

/// A submodule that is to follow.
#[derive(Debug)]
pub(super) struct Follower {
    repo: Repository,
    /// Its git dir, beneath the private dir.
    git: Git,
    git_dir: PathBuf,
    private: PathBuf,
    tree: PathBuf,
    scratch: PathBuf,
    /// Where it is.
    from: CommitId,
    /// Where it goes.
    to: CommitId,
}

/// Those that follow from what was captured to a commit of the repository; else one sentence, and the path of what cannot.
pub(super) fn followers(
    repo: &Repository,
    paths: &SealedPaths,
    store: &RunStore,
    captured: &Captured,
    to: &CommitId,
) -> Result<std::result::Result<Vec<Follower>, (String, PathBuf)>> {
    let now = registered(captured.git(), &captured.scratch, &captured.commit)?;
    let mut found = Vec::new();
    for next in registered(&repo.git, &repo.common_dir, to)? {
        let Some(from) = now.iter().find(|one| one.path == next.path && one.name == next.name) else { continue };
        let git_dir = Path::new("worktrees/wt/modules").join(&next.name);
        let is_there = fs::is_directory_beneath(&paths.git_dir, &git_dir.join("objects"))?
            && fs::is_directory_beneath(&paths.tree, &next.path)?;
        if from.commit == next.commit || !is_there {
            continue;
        }
        if captured.submodules.iter().any(|one| one.at.starts_with(&next.path)) {
            return Ok(Err(("a submodule that is to follow was worked on".into(), next.path)));
        }
        let place = store.git_dir().join("modules").join(flat(&next.name));
        let original = Originals::of(repo).with(&next.name, &next.path, &next.commit);
        let (true, Ok(original)) = (place.is_dir(), original) else {
            let message = format!("the commit {} of a submodule is not here", next.commit.short());
            return Ok(Err((message, next.path)));
        };
        let home = Repository::at_common_dir(&repo.git, &original)?;
        RunStore::of_submodule(&home, store.git_dir(), &next.name, &next.commit)?.fetch(&original, &next.commit)?;
        let scratch = captured.scratch.join("modules").join(flat(&next.name));
        let tree = paths.tree.join(&next.path);
        let (from, to, private) = (from.commit.clone(), next.commit, paths.git_dir.clone());
        let follower =
            Follower { repo: repo.clone(), git: captured.git().clone(), git_dir, private, tree, scratch, from, to };
        if let Some(why) = follower.obstacle()? {
            return Ok(Err((why, next.path)));
        }
        found.push(follower);
    }
    Ok(Ok(found))
}

impl Follower {
    fn obstacle(&self) -> Result<Option<String>> {
        let raw = changes(self.git([]), &self.from, &self.to)?.raw;
        if raw.iter().any(|change| change.old_mode == GITLINK || change.new_mode == GITLINK) {
            return Ok(Some("a submodule has other commits of its own submodules by now".into()));
        }
        let blocked = in_the_way(&raw, &BTreeSet::new(), folds(&self.repo)?, |path| present(&self.tree, path));
        if !blocked.is_empty() {
            return Ok(Some("local changes in a submodule are in the way".into()));
        }
        let dry_run = self.move_files(&["-n"]).output()?;
        let stderr = String::from_utf8_lossy(&dry_run.stderr).trim().to_owned();
        Ok((!dry_run.status.success()).then(|| format!("git cannot move a submodule: {stderr}")))
    }

    /// Moves it; HEAD last.
    pub(super) fn follow(&self) -> Result<()> {
        self.move_files(&[]).run()?;
        replace_index(&self.scratch, &self.private, &self.git_dir)?;
        let head = format!("{}\n", self.to);
        Ok(fs::write_beneath(&self.private, &self.git_dir.join("HEAD"), head.as_bytes(), None)?)
    }

    fn move_files(&self, flags: &[&str]) -> GitCommand {
        let command = self.git(["read-tree", "-m", "-u", "--no-recurse-submodules"]).args(flags);
        command.args([self.from.as_str(), self.to.as_str()])
    }

    fn git<'s>(&self, args: impl IntoIterator<Item = &'s str>) -> GitCommand {
        let command = self.git.tree(&self.scratch, &self.tree, exact::SETTINGS);
        command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_LFS_SKIP_DOWNLOAD_ERRORS", "1").args(args)
    }
}

/// Puts the index of a scratch dir in the place of that of a git dir beneath the private one, with its time.
pub(super) fn replace_index(scratch: &Path, private: &Path, git_dir: &Path) -> Result<()> {
    let index = scratch.join("index");
    let modified = std::fs::metadata(&index).and_then(|meta| meta.modified()).map_err(fs::at("read", &index))?;
    let content = std::fs::read(&index).map_err(fs::at("read", &index))?;
    Ok(fs::write_beneath(private, &git_dir.join("index"), &content, Some(modified))?)
}
