//! Apply: the repository's configuration file, rewritten under git's own lock.
//!
//! The lock names its holder, so that one that a dead process left is known as ours by its content. The file is replaced by
//! a whole one or left as it was; where it is a link, what that leads to, as git does it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::Result;
use crate::model::ProcId;
use crate::sys::lock::FileLock;
use crate::sys::{fs, proc};
use crate::worktree::{Repository, WorktreeError};

/// How long another holder is waited for: git holds it for a moment.
const WAIT: Duration = Duration::from_secs(2);

/// How a lock of ours begins; the holder's identity follows. (A configuration begins with no such word.)
const SIGNATURE: &str = "treehand ";

/// The configuration file of all worktrees; what it leads to, where it is a link.
fn file(repo: &Repository) -> PathBuf {
    let path = repo.common_dir.join("config");
    path.canonicalize().unwrap_or(path)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    file.with_file_name(name)
}

/// What the file says; nothing when there is none.
pub fn read(repo: &Repository) -> Result<Vec<u8>> {
    let file = file(repo);
    if !fs::exists(&file)? {
        return Ok(Vec::new());
    }
    Ok(std::fs::read(&file).map_err(fs::at("read", &file))?)
}

/// Rewrites the file as `change` says; where that is `None`, it stays as it is.
pub fn edit(repo: &Repository, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<()> {
    let file = file(repo);
    let held = Held::take(repo, &file)?;
    let Some(text) = change(&read(repo)?) else { return Ok(()) };
    let fresh = &held.fresh;
    let write = || {
        let mut copy = std::fs::File::create(fresh)?;
        copy.write_all(&text)?;
        copy.set_permissions(std::fs::metadata(&file)?.permissions())?;
        copy.sync_all()
    };
    write().map_err(fs::at("write", fresh))?;
    Ok(std::fs::rename(fresh, &file).map_err(fs::at("replace", &file))?)
}

/// Removes a lock that a dead process of ours left.
pub fn break_dead(repo: &Repository) -> Result<()> {
    let file = file(repo);
    let lock = beside(&file, ".lock");
    if !is_dead(&lock)? {
        return Ok(());
    }
    // Looked at again under a lock of the kernel's: of two who find it dead, the later one may see a new holder's.
    let ours = repo.lock("dead-config-lock");
    let _one_at_a_time = FileLock::acquire(&ours, &format!("pid {}", std::process::id()))?;
    if is_dead(&lock)? {
        fs::remove_file(&beside(&file, ".treehand"))?;
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

/// git's lock of the file, held by us; dropping it gives it up.
struct Held {
    lock: PathBuf,
    /// What becomes the file; only the holder touches it.
    fresh: PathBuf,
}

impl Held {
    fn take(repo: &Repository, file: &Path) -> Result<Held> {
        break_dead(repo)?;
        let (lock, fresh) = (beside(file, ".lock"), beside(file, ".treehand"));
        let name = serde_json::to_string(&proc::own()).unwrap_or_default();
        let signature = format!("{SIGNATURE}{name}\n");
        let (deadline, mut pause) = (Instant::now() + WAIT, Duration::from_millis(5));
        // Made beside the file, which may be on another file system than the repository.
        let scratch = file.parent().unwrap_or(&repo.common_dir);
        loop {
            match fs::write_new_whole(&lock, signature.as_bytes(), scratch) {
                Ok(()) => return Ok(Held { lock, fresh }),
                Err(error) if error.source.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
                Err(_) if Instant::now() >= deadline => return Err(busy(&lock)),
                // git's lock files give no event when they go; git itself waits for them in the same way.
                Err(_) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}

fn busy(lock: &Path) -> super::CleanupError {
    WorktreeError::Busy { what: lock.display().to_string(), holder: "a git process holds it".into() }.into()
}

impl Drop for Held {
    fn drop(&mut self) {
        // The lock last: until it is gone nobody else writes a copy.
        if let Err(error) = fs::remove_file(&self.fresh).and_then(|()| fs::remove_file(&self.lock)) {
            tracing::warn!(lock = %self.lock.display(), %error, "a lock stays behind");
        }
    }
}
