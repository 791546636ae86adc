//! Advisory lock files: held by the kernel for as long as the holder lives, so that no lock outlives its owner.
//!
//! The file names its holder for messages only; whether it is held is asked of the kernel. The file itself stays, unless whoever
//! holds the lock takes it away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A held lock; dropping it (or dying) releases it.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Says something else about the holder.
    pub fn sign_anew(&mut self, holder: &str) {
        sign(&self.file, holder);
    }

    /// False where the file was taken away, or another put in its place, while this lock was waited for: who comes now does not
    /// meet it. To be asked of locks whose files go when nobody needs them.
    pub fn is_at(&self, path: &Path) -> Result<bool, LockError> {
        let fail = |source| LockError::Io { path: path.to_owned(), source };
        let own = self.file.metadata().map_err(fail)?;
        match std::fs::metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fail(error)),
        }
    }

    /// What the holder of a lock says of itself; nothing where nobody ever held it.
    pub fn signature(path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }
}

impl Drop for FileLock {
    /// A process that was just forked off has the same open file until it becomes another program: closing ours alone
    /// would leave the lock held by it for that moment.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a lock is released by closing its file");
        }
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("{} is held by {holder}", .path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The file could not be opened or locked.
    #[error("cannot lock {}", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl FileLock {
    /// Takes the lock, or says at once who holds it.
    pub fn try_acquire(path: &Path, holder: &str) -> Result<FileLock, LockError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {
                sign(&file, holder);
                Ok(FileLock { file })
            }
            Err(TryLockError::WouldBlock) => {
                // An unreadable signature only makes the message poorer; that it is held is known.
                let holder = holder_of(&file).ok().filter(|text| !text.is_empty());
                let holder = holder.unwrap_or_else(|| "another process".to_owned());
                Err(LockError::Held { path: path.to_owned(), holder })
            }
            Err(TryLockError::Error(source)) => Err(LockError::Io { path: path.to_owned(), source }),
        }
    }

    /// Takes the lock for whoever has the file open: it lasts until the last of them closes it, in whatever process. `None`
    /// when somebody has it.
    pub fn try_hold(path: &Path, holder: &str) -> Result<Option<File>, LockError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(LockError::Io { path: path.to_owned(), source }),
        }
        sign(&file, holder);
        Ok(Some(file))
    }

    /// True while somebody holds it. Makes and writes nothing; who looks at the same time does not disturb.
    pub fn is_held(path: &Path) -> Result<bool, LockError> {
        let fail = |source| LockError::Io { path: path.to_owned(), source };
        let file = match File::open(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(fail)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(fail(source)),
        }
    }

    /// Takes the lock, waiting for at most this long: for locks that others take for a moment, to look.
    pub fn acquire_within(path: &Path, holder: &str, wait: Duration) -> Result<FileLock, LockError> {
        let deadline = Instant::now() + wait;
        let mut pause = Duration::from_millis(1);
        loop {
            match FileLock::try_acquire(path, holder) {
                Err(LockError::Held { .. }) if Instant::now() < deadline => std::thread::sleep(pause),
                other => return other,
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// Takes the lock, waiting for as long as it takes: only for sections that are known to be short.
    pub fn acquire(path: &Path, holder: &str) -> Result<FileLock, LockError> {
        let file = open(path)?;
        file.lock().map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        sign(&file, holder);
        Ok(FileLock { file })
    }
}

fn open(path: &Path) -> Result<File, LockError> {
    let fail = |source| LockError::Io { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(fail)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fail)
}

/// The signature is for messages alone: a full disk that does not take it takes nothing of the lock.
fn sign(file: &File, holder: &str) {
    if let Err(error) = write_signature(file, holder) {
        tracing::debug!(%holder, %error, "a lock is not signed");
    }
}

/// Who holds a lock that was taken for whoever has the file open.
pub fn holder_of(held: &File) -> std::io::Result<String> {
    let (mut file, mut text) = (held, String::new());
    file.seek(SeekFrom::Start(0))?;
    file.take(512).read_to_string(&mut text)?;
    Ok(text)
}

/// Gives a lock back that was taken for whoever has the file open, for all of them; who watches its directory wakes.
pub fn give_back(held: &File) -> std::io::Result<()> {
    held.unlock()?;
    // What wakes them is that a file is closed that was open for writing; where there is no such name, nobody watches.
    let again = Path::new("/proc/self/fd").join(held.as_raw_fd().to_string());
    if let Err(error) = OpenOptions::new().write(true).open(again) {
        tracing::debug!(%error, "nobody is told that a lock is free");
    }
    Ok(())
}

/// Takes a lock again that was given back, waiting for as long as it takes.
pub fn take_again(held: &File, holder: &str) -> std::io::Result<()> {
    held.lock()?;
    sign(held, holder);
    Ok(())
}

/// In place, and cut off after: where an earlier one was, no room is needed.
fn write_signature(mut file: &File, holder: &str) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(holder.as_bytes())?;
    file.set_len(holder.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_names_its_holder_and_is_free_after_drop() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("locks/one");
        let held = FileLock::try_acquire(&path, "pid 7, run x").expect("free at first");
        assert!(FileLock::is_held(&path).expect("looked"));
        match FileLock::try_acquire(&path, "me") {
            Err(LockError::Held { holder, .. }) => assert_eq!(holder, "pid 7, run x"),
            other => panic!("a held lock was given away: {other:?}"),
        }
        drop(held);
        assert!(FileLock::try_acquire(&path, "me").is_ok());
    }

    #[test]
    fn a_lock_knows_whether_others_meet_it() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("one");
        let held = FileLock::try_acquire(&path, "me").expect("free");
        assert!(held.is_at(&path).expect("looked"));
        std::fs::remove_file(&path).expect("removed");
        assert!(!held.is_at(&path).expect("looked"));
        let other = FileLock::try_acquire(&path, "you").expect("free");
        assert!(!held.is_at(&path).expect("looked") && other.is_at(&path).expect("looked"));
    }

    #[test]
    fn a_lock_that_is_held_for_others_ends_with_the_last_of_them() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("one");
        let held = FileLock::try_hold(&path, "me").expect("tried").expect("free");
        let other = held.try_clone().expect("another descriptor");
        assert!(FileLock::try_hold(&path, "you").expect("tried").is_none());
        drop(held);
        assert!(FileLock::is_held(&path).expect("looked"));
        assert_eq!(FileLock::signature(&path).as_deref(), Some("me"));
        drop(other);
        assert!(!FileLock::is_held(&path).expect("looked"));
    }

    #[test]
    fn a_lock_that_is_held_for_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("one");
        let held = FileLock::try_acquire(&path, "looking").expect("free at first");
        assert!(FileLock::acquire_within(&path, "me", Duration::ZERO).is_err());
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| FileLock::acquire_within(&path, "me", Duration::from_secs(60)).map(|_| ()));
            drop(held);
            waiter.join().expect("no panic").expect("it was given up");
        });
    }
}
