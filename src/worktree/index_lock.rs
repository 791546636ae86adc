//! Apply: git's own `index.lock` of a worktree, held while its branch moves, and the copy of the index that replaces it.
//!
//! The lock names its holder, so that one that a dead process left is known as ours by its content. Nothing else than the
//! rename of the finished copy changes the index; dropping an unfinished lock leaves index and files as they are.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::checkouts::Checkout;
use super::error::{Result, WorktreeError};
use super::exact;
use super::in_the_way::{Present, directories, in_the_way};
use super::patience::Waiting;
use super::quarantine::quote_alternate;
use super::repository::{Repository, bytes_path};
use super::result_policy::RawChange;
use crate::model::cause::chain;
use crate::model::{CommitId, ProcId};
use crate::sys::git::fill::{Part, part};
use crate::sys::git::{GitCommand, GitOutput};
use crate::sys::lock::FileLock;
use crate::sys::{fs, proc};

/// The copy of the index, beside it. Only the holder of the lock touches it.
const COPY: &str = "treehand-index";

/// How a lock of ours begins; the holder's identity follows. (An index begins with `DIRC`.)
const SIGNATURE: &str = "treehand ";

/// For an index that is smaller, git takes no longer than it takes to look for what a move is about.
const WORTH: u64 = 512 << 10;

/// A worktree whose index is locked by us; dropping it gives the lock up.
pub struct IndexLock<'a> {
    repo: &'a Repository,
    git_dir: PathBuf,
    tree: PathBuf,
    /// What of the copy a move is about, once git has said that it can be made.
    part: Option<(Part, tempfile::TempDir)>,
}

/// Something of the user's that keeps a worktree from being moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One sentence.
    pub message: String,
    /// The files.
    pub paths: Vec<String>,
}

impl<'a> IndexLock<'a> {
    /// Takes the lock of a worktree, waiting for whoever holds it until the deadline; `None` when it is still held then.
    pub fn take(repo: &'a Repository, git_dir: &Path, tree: &Path, deadline: Instant) -> Result<Option<Self>> {
        let (index, lock) = (git_dir.join("index"), lock_path(git_dir));
        let (scratch, signature) = (repo.scratch()?, signature());
        let mut waiting = Waiting::until(&repo.patience, deadline);
        loop {
            // From the moment it exists no git process writes the index; and it never exists without our name in it.
            match fs::write_new_whole(&lock, &signature, scratch.path()) {
                Ok(()) => break,
                Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                Err(_) if !waiting.moment(&lock) => return Ok(None),
                Err(_) => {}
            }
        }
        let taken = IndexLock { repo, git_dir: git_dir.to_owned(), tree: tree.to_owned(), part: None };
        remove_copy(git_dir)?;
        if fs::exists(&index)? {
            fs::copy_keeping_time(&index, &taken.copy())?;
        }
        Ok(Some(taken))
    }

    fn copy(&self) -> PathBuf {
        self.git_dir.join(COPY)
    }

    /// A place for another index, which goes with the lock.
    pub fn probe(&self) -> PathBuf {
        self.git_dir.join(format!("{COPY}.probe"))
    }

    /// The worktree's root.
    pub fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The worktree.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// A git command in the worktree, with the copy as its index.
    pub fn git<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> GitCommand {
        self.repo.git.tree(&self.git_dir, &self.tree, args).env("GIT_INDEX_FILE", self.copy())
    }

    /// What of the user's is in the way of moving these paths between two commits.
    pub fn obstacle(&mut self, from: &CommitId, to: &CommitId, moving: &[RawChange]) -> Result<Option<Obstacle>> {
        let (settings, tree) = (self.settings()?, self.tree.clone());
        let folds = settings.folds;
        let blocked = |local: &BTreeSet<Vec<u8>>| in_the_way(moving, local, folds, |path| present(&tree, path));
        // git finds out about the last when half of the files are moved.
        let is_free = blocked(&BTreeSet::new()).is_empty() && self.unwritable(moving)?.is_none();
        // What moves is all that git looks at then: nearly always that is enough, and it is a third of what all files take.
        if is_free && (self.part_moves(from, to, &settings)? || self.dry_run(from, to)?.status.success()) {
            return Ok(None);
        }
        // Exit 1 means that files differ, which is what is asked about next.
        self.git(["update-index", "-q", "--refresh"]).output()?;
        let staged = self.git(["diff-index", "--cached", "-z", "--name-only", from.as_str(), "--"]).run()?;
        // Where a submodule's own worktree stands is not touched by the move, as little as by git's own.
        let unstaged = self.git(["diff-files", "-z", "--name-only", "--ignore-submodules=all"]).run()?;
        let local: BTreeSet<Vec<u8>> = staged.records().chain(unstaged.records()).map(<[u8]>::to_vec).collect();
        let blocked = blocked(&local);
        if !blocked.is_empty() {
            return Ok(Some(self.local_changes(&blocked)));
        }
        if let Some(obstacle) = self.unwritable(moving)? {
            return Ok(Some(obstacle));
        }
        // What was only touched is known to be as it was by now.
        let dry_run = self.dry_run(from, to)?;
        if dry_run.status.success() {
            return Ok(None);
        }
        let stderr = String::from_utf8_lossy(&dry_run.stderr).trim().to_owned();
        Ok(Some(Obstacle { message: format!("git cannot move {}: {stderr}", self.tree.display()), paths: Vec::new() }))
    }

    /// Lays out what of the copy the move is about; true when git can move that.
    fn part_moves(&mut self, from: &CommitId, to: &CommitId, settings: &Settings) -> Result<bool> {
        self.part = None;
        let is_large = std::fs::metadata(self.copy()).is_ok_and(|meta| meta.len() >= WORTH);
        if !is_large || settings.filters || fs::exists(&self.git_dir.join("info/sparse-checkout"))? {
            return Ok(false);
        }
        let lay = || -> Result<_> {
            let scratch = self.repo.scratch()?;
            let laid = part(&self.repo.common_dir, &self.copy(), (from, to), scratch.path())?;
            Ok(laid.map(|part| (part, scratch)))
        };
        let why = match lay() {
            Ok(Ok((part, scratch))) => {
                let moves = self.move_part(&part, &["-n"]).output()?.status.success();
                self.part = moves.then_some((part.durable(settings.syncs), scratch));
                return Ok(moves);
            }
            Ok(Err(why)) => why,
            Err(error) => chain(&error),
        };
        tracing::debug!(tree = %self.tree.display(), why, "git reads the whole index");
        Ok(false)
    }

    fn settings(&self) -> Result<Settings> {
        let keys = r"^(core\.(ignorecase|fsync)|filter\..*\.(smudge|clean|process))$";
        let told = self.git(["config", "-z", "--get-regexp", keys]).output()?;
        Ok(settings(told.records()))
    }

    fn move_part(&self, part: &Part, also: &[&str]) -> GitCommand {
        let [from, to] = part.trees();
        let objects = part.objects();
        let objects = OsString::from_vec(quote_alternate(objects.as_os_str().as_bytes()));
        // Without settings that would have git write more into it, or another form of it.
        let plain = self.git(exact::SETTINGS).args(["-c", "core.sparseCheckout=false"]);
        let command = plain.args(["read-tree", "-m", "-u"]).args(also).args([from, to]);
        command.env("GIT_INDEX_FILE", part.index()).env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects)
    }

    /// What git would say to the move.
    fn dry_run(&self, from: &CommitId, to: &CommitId) -> Result<GitOutput> {
        Ok(self.git(["read-tree", "-m", "-u", "-n", from.as_str(), to.as_str()]).output()?)
    }

    /// Directories that may not be written, as an obstacle; one that is to be made needs the right to the one around it.
    fn unwritable(&self, moving: &[RawChange]) -> Result<Option<Obstacle>> {
        let mut paths = Vec::new();
        for directory in directories(moving) {
            let there = self.tree.join(bytes_path(directory));
            // What is a link there gives way, or is in the way already.
            let is_directory = |place: &&Path| place.symlink_metadata().is_ok_and(|meta| meta.is_dir());
            let there = there.ancestors().take_while(|place| place.starts_with(&self.tree)).find(is_directory);
            if let Some(there) = there
                && !fs::can_change(there)?
            {
                let inside = there.strip_prefix(&self.tree).unwrap_or(there);
                let name = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
                paths.push(name.to_string_lossy().into_owned());
            }
        }
        paths.dedup();
        let message = format!("directories in {} may not be written", self.tree.display());
        Ok((!paths.is_empty()).then_some(Obstacle { message, paths }))
    }

    /// Local changes to these paths, as an obstacle.
    pub fn local_changes(&self, paths: &[Vec<u8>]) -> Obstacle {
        let paths = paths.iter().map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Obstacle { message: format!("local changes in {} are in the way", self.tree.display()), paths }
    }

    /// Moves the files and the copy from one commit to the other, then makes the copy the index and gives the lock up.
    pub fn update(mut self, from: &CommitId, to: &CommitId) -> Result<()> {
        match self.part.take() {
            Some((part, _scratch)) if part.is_of(&self.copy()) => {
                all_moved(&self.move_part(&part, &[]).run()?)?;
                if !part.join(&self.copy(), &self.git_dir.join(format!("{COPY}.joined")))? {
                    let message = format!("git has moved other files in {} than it was to", self.tree.display());
                    return Err(WorktreeError::refused(message, "treehand doctor --repair"));
                }
            }
            _ => all_moved(&self.git(["read-tree", "-m", "-u", from.as_str(), to.as_str()]).run()?)?,
        }
        let index = self.git_dir.join("index");
        std::fs::rename(self.copy(), &index).map_err(fs::at("replace", &index))?;
        Ok(())
    }
}

/// git only warns of a file that it cannot take away, and goes on as if it were gone.
fn all_moved(moved: &GitOutput) -> Result<()> {
    let said = String::from_utf8_lossy(&moved.stderr).into_owned();
    let left: Vec<&str> = said.lines().filter_map(|line| line.trim().strip_prefix("warning: ")).collect();
    let left: Vec<&str> = left.into_iter().filter(|line| line.starts_with("unable to unlink")).collect();
    if left.is_empty() {
        return Ok(());
    }
    let hint = "let its directory be written to, then: treehand doctor --repair";
    Err(WorktreeError::refused(left.join("; "), hint))
}

/// What of git's settings matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Settings {
    /// Names that differ in case alone are one.
    folds: bool,
    /// Programs are between files and objects that may want to read the index, which has to be whole then. That of LFS does not.
    filters: bool,
    /// Somebody has said what is to be on disk before it counts.
    syncs: bool,
}

/// Keys and their values, as `git config -z` prints them; the last of one key counts.
fn settings<'a>(records: impl Iterator<Item = &'a [u8]>) -> Settings {
    let mut settings = Settings::default();
    for record in records {
        let text = String::from_utf8_lossy(record).into_owned();
        // A key alone is as good as true.
        let (key, value) = text.split_once('\n').unwrap_or((&text, "true"));
        match key {
            "core.ignorecase" => {
                settings.folds = !["false", "no", "off", "0", ""].contains(&value.to_lowercase().as_str());
            }
            "core.fsync" => settings.syncs = true,
            _ => settings.filters |= !(value.starts_with("git-lfs ") || value.starts_with("git lfs ")),
        }
    }
    settings
}

fn signature() -> Vec<u8> {
    let owner = serde_json::to_string(&proc::own()).unwrap_or_default();
    format!("{SIGNATURE}{owner}\n").into_bytes()
}

impl Drop for IndexLock<'_> {
    fn drop(&mut self) {
        // The lock last: until it is gone nobody else makes a copy.
        if let Err(error) = remove_copy(&self.git_dir).and_then(|()| Ok(fs::remove_file(&lock_path(&self.git_dir))?)) {
            tracing::warn!(git_dir = %self.git_dir.display(), %error, "an index lock stays behind");
        }
    }
}

/// Removes the lock of a worktree if it is ours and its holder is dead.
pub fn break_dead(repo: &Repository, checkout: &Checkout) -> Result<()> {
    let lock = lock_path(&checkout.git_dir);
    if !is_dead(&lock)? {
        return Ok(());
    }
    // Looked at again under a lock of the kernel's: of two who find it dead, the later one may see a new holder's.
    let ours = repo.lock("dead-index-locks");
    let _one_at_a_time = FileLock::acquire(&ours, &format!("pid {}", std::process::id()))?;
    if is_dead(&lock)? {
        remove_copy(&checkout.git_dir)?;
        fs::remove_file(&lock)?;
    }
    Ok(())
}

fn is_dead(lock: &Path) -> Result<bool> {
    let text = match std::fs::read(lock) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(fs::at("read", lock)(error).into()),
    };
    let owner = text.strip_prefix(SIGNATURE).and_then(|text| serde_json::from_str::<ProcId>(text).ok());
    Ok(proc::is_known_dead(owner.as_ref()))
}

fn lock_path(git_dir: &Path) -> PathBuf {
    git_dir.join("index.lock")
}

fn remove_copy(git_dir: &Path) -> Result<()> {
    // git writes an index through a lock file of its own beside it.
    for suffix in [".probe.lock", ".probe", ".joined", ".lock", ""] {
        fs::remove_file(&git_dir.join(format!("{COPY}{suffix}")))?;
    }
    Ok(())
}

/// What lies at a place in a worktree.
pub(super) fn present(tree: &Path, path: &[u8]) -> Present {
    let full = tree.join(bytes_path(path));
    match std::fs::symlink_metadata(&full) {
        Err(_) => Present::Nothing,
        Ok(meta) if !meta.is_dir() => Present::File,
        Ok(_) => {
            let entries =
                walkdir::WalkDir::new(&full).follow_links(false).into_iter().filter_map(std::result::Result::ok);
            let files = entries
                .filter(|entry| !entry.file_type().is_dir())
                .filter_map(|entry| Some(entry.path().strip_prefix(tree).ok()?.as_os_str().as_bytes().to_vec()));
            Present::Directory(files.collect())
        }
    }
}

#[cfg(test)]
#[path = "index_lock_tests.rs"]
mod tests;
