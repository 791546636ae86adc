//! Whether a child keeps to its share of the disk. The kernel tells nobody when a directory grows; so it is measured,
//! but only when the file systems have lost as much room as would be needed to pass the limit.
//!
//! Promises: depth and names of what a child makes do not hide anything. What cannot be looked at counts as all the room that
//! was lost since the child began.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// How often the file systems are asked how much room they have, where the limit is near or nothing is known yet.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// How often they are asked at least.
const RARELY: Duration = Duration::from_secs(10);

/// More than what a child writes in a second: one that has room left for longer cannot pass its limit sooner.
const FASTEST: u64 = 2 << 30;

/// How deep is looked: each level takes a descriptor.
const DEPTH_MAX: usize = 500;

/// What is known of what a child takes.
#[derive(Debug)]
pub struct DiskWatch {
    bytes: u64,
    directories: Vec<PathBuf>,
    /// What it took when it was measured last.
    used: Option<u64>,
    /// What the file systems had left then, and when it began.
    free_then: u64,
    free_at_first: u64,
    /// What it could take more at the last look.
    left: u64,
}

impl DiskWatch {
    /// Begins to watch these. Nothing is measured yet: most children end before the first look.
    pub fn new(bytes: u64, directories: Vec<PathBuf>) -> DiskWatch {
        let free = free(&directories);
        DiskWatch { bytes, directories, used: None, free_then: free, free_at_first: free, left: 0 }
    }

    /// Looks again; true when the limit is passed. `nameless` is what open files without a name take.
    pub fn is_over(&mut self, nameless: impl FnOnce() -> u64) -> bool {
        let free = free(&self.directories);
        let gone = self.free_then.saturating_sub(free);
        if let Some(left) = self.used.and_then(|used| self.bytes.checked_sub(used.saturating_add(gone))) {
            self.left = left;
            return false;
        }
        self.free_then = free;
        let mut tally = Tally::default();
        for directory in &self.directories {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat(CWD, directory, flags, Mode::empty()) {
                Ok(opened) => tally.begin(&opened),
                Err(errno) => tally.miss(errno),
            }
        }
        let unseen = if tally.whole { 0 } else { self.free_at_first.saturating_sub(free) };
        let used = tally.bytes.saturating_add(nameless()).saturating_add(unseen);
        (self.used, self.left) = (Some(used), self.bytes.saturating_sub(used));
        used > self.bytes
    }

    /// How long until it has to be looked at again: many children that wait are not to keep the machine awake.
    pub fn again(&self) -> Duration {
        Duration::from_secs(self.left / FASTEST).clamp(INTERVAL, RARELY)
    }
}

/// What was found.
struct Tally {
    bytes: u64,
    /// Everything could be looked at.
    whole: bool,
    /// What has several names or places counts once.
    seen: BTreeSet<(u64, u64)>,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally { bytes: 0, whole: true, seen: BTreeSet::new() }
    }
}

impl Tally {
    /// One that was met before, also below another, was counted there.
    fn begin(&mut self, directory: &OwnedFd) {
        match rustix::fs::fstat(directory) {
            Ok(stat) if self.seen.insert((stat.st_dev, stat.st_ino)) => self.add(directory, 0),
            Ok(_) => {}
            Err(errno) => self.miss(errno),
        }
    }

    fn add(&mut self, directory: &OwnedFd, depth: usize) {
        if let Err(errno) = self.entries(directory, depth) {
            self.miss(errno);
        }
    }

    /// What is gone meanwhile takes nothing.
    fn miss(&mut self, errno: Errno) {
        self.whole &= errno == Errno::NOENT;
    }

    fn entries(&mut self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<()> {
        if depth > DEPTH_MAX {
            return Err(Errno::MFILE);
        }
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if [b".".as_slice(), b".."].contains(&name.to_bytes()) {
                continue;
            }
            let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(errno) => {
                    self.miss(errno);
                    continue;
                }
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if (is_directory || stat.st_nlink > 1) && !self.seen.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
            if is_directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match openat(directory.as_fd(), name, flags, Mode::empty()) {
                    Ok(below) => self.add(&below, depth + 1),
                    Err(errno) => self.miss(errno),
                }
            }
        }
        Ok(())
    }
}

/// Bytes that the file systems of these have left, each counted once; 0 for one that does not say, so that it is measured.
fn free(directories: &[PathBuf]) -> u64 {
    let mut seen = BTreeSet::new();
    let of = |directory: &PathBuf| -> io::Result<u64> {
        let (stat, room) = (rustix::fs::stat(directory)?, rustix::fs::statvfs(directory)?);
        Ok(if seen.insert(stat.st_dev) { room.f_bfree.saturating_mul(room.f_frsize) } else { 0 })
    };
    directories.iter().map(of).map(|free| free.unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn watched(dir: &std::path::Path) -> DiskWatch {
        DiskWatch::new(1 << 20, vec![dir.to_owned(), dir.to_owned()])
    }

    #[test]
    fn a_directory_that_grew_beyond_its_limit_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watch = watched(dir.path());
        assert!(!watch.is_over(|| 0));
        std::fs::write(dir.path().join("big"), vec![1; 900 << 10]).expect("written");
        watch.free_then = u64::MAX;
        assert!(!watch.is_over(|| 0), "what has two places counts once");
        watch.free_then = u64::MAX;
        assert!(watch.is_over(|| 200 << 10), "files without a name count");
    }

    #[test]
    fn who_is_far_from_its_limit_is_looked_at_less_often() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watch = DiskWatch::new(12 << 30, vec![dir.path().to_owned()]);
        assert_eq!(watch.again(), INTERVAL, "nothing is known yet");
        assert!(!watch.is_over(|| 0));
        assert!(watch.again() > INTERVAL * 2 && watch.again() < RARELY, "{:?}", watch.again());
        assert!(!watch.is_over(|| 0));
        assert!(watch.again() > INTERVAL * 2, "told again without a walk");
        watch.free_then = u64::MAX;
        assert!(!watch.is_over(|| 11 << 30));
        assert_eq!(watch.again(), INTERVAL);
    }

    #[test]
    fn names_that_are_too_long_together_hide_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let name = "n".repeat(250);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at = openat(CWD, dir.path(), flags, Mode::empty()).expect("opened");
        for _ in 0..20 {
            rustix::fs::mkdirat(&at, &name, Mode::RWXU).expect("made");
            at = openat(&at, &name, flags, Mode::empty()).expect("opened");
        }
        let file = openat(&at, "big", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).expect("made");
        io::Write::write_all(&mut std::fs::File::from(file), &vec![1; 2 << 20]).expect("written");
        assert!(watched(dir.path()).is_over(|| 0));
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_the_room_that_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let shut = dir.path().join("shut");
        std::fs::create_dir(&shut).expect("made");
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o0)).expect("set");
        let mut watch = DiskWatch::new(1 << 20, vec![dir.path().to_owned(), dir.path().join("gone")]);
        assert!(!watch.is_over(|| 0));
        let mut tally = Tally::default();
        tally.miss(Errno::ACCESS);
        assert!(!tally.whole);
        std::fs::set_permissions(&shut, std::fs::Permissions::from_mode(0o700)).expect("set");
    }
}
