//! Whether a child keeps to its share of the disk. The kernel tells nobody when a directory grows; so it is measured,
//! but only when the file system has lost as much room as would be needed to pass the limit.

use std::path::Path;
use std::time::Duration;

use crate::confine::policy::DiskLimit;
use crate::sys::fs;

/// How often the file system is asked how much room it has.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// What is known of a directory's size.
#[derive(Debug)]
pub struct DiskWatch {
    limit: DiskLimit,
    /// The size when it was measured last.
    used: Option<u64>,
    /// What the file system had left then.
    free_then: u64,
}

impl DiskWatch {
    /// Begins to watch. Nothing is measured yet: most children end before the first look.
    pub fn new(limit: DiskLimit) -> DiskWatch {
        DiskWatch { limit, used: None, free_then: 0 }
    }

    /// Looks again; true when the limit is passed.
    pub fn is_over(&mut self) -> bool {
        let gone = self.free_then.saturating_sub(free(&self.limit.directory));
        if self.used.is_some_and(|used| used.saturating_add(gone) <= self.limit.bytes) {
            return false;
        }
        self.free_then = free(&self.limit.directory);
        let used = fs::disk_usage(&self.limit.directory);
        self.used = Some(used);
        used > self.limit.bytes
    }
}

/// Bytes that the file system has left; 0 when it does not say, so that the directory is measured.
fn free(directory: &Path) -> u64 {
    rustix::fs::statvfs(directory).map_or(0, |stat| stat.f_bfree.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_grew_beyond_its_limit_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let limit = DiskLimit { directory: dir.path().into(), bytes: 1 << 20 };
        let mut watch = DiskWatch::new(limit);
        assert!(!watch.is_over());
        std::fs::write(dir.path().join("big"), vec![1; 2 << 20]).expect("written");
        watch.free_then = u64::MAX;
        assert!(watch.is_over());
    }
}
