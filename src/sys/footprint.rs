//! One walk over a directory: what it takes on the disk, and a print of everything in it.
//!
//! The print is made of the names, modes, inodes, sizes and times of change of all files and directories but the repository
//! at the top: as long as none of them changed, it is the same. It says nothing about contents, and keeps no list. Links are
//! not followed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::walk::is_trap;

/// What a walk found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes on disk, of what can be read.
    pub bytes: u64,
    /// The same as long as nothing changed.
    pub print: u64,
    /// When something changed last, in seconds of the file system's clock.
    pub changed_at: i64,
    /// There is another repository, or a worktree of one, inside.
    pub nested: bool,
    /// Something could not be read, so that the print does not speak for it.
    pub partial: bool,
    /// Something that is no file has the name of one that git reads.
    pub trap: bool,
}

/// Walks over everything below this directory, itself included.
pub fn footprint(root: &Path) -> Footprint {
    let mut found = Footprint::default();
    for entry in walkdir::WalkDir::new(root).follow_links(false) {
        let Some((meta, entry)) = entry.ok().and_then(|entry| Some((entry.metadata().ok()?, entry))) else {
            found.partial = true;
            continue;
        };
        let name = entry.path().strip_prefix(root).unwrap_or(entry.path());
        found.bytes += meta.blocks() * 512;
        if name.starts_with(".git") {
            continue;
        }
        // Added up, so that the order in which a directory is read does not matter.
        found.print = found.print.wrapping_add(hash(name, Some(&meta)));
        found.changed_at = found.changed_at.max(meta.mtime()).max(meta.ctime());
        found.nested |= entry.file_name() == ".git";
        found.trap |= is_trap(entry.file_name(), entry.file_type());
    }
    found
}

/// A print of one file, wherever a link to it leads; also of its absence.
pub fn stamp(path: &Path) -> u64 {
    hash(path, std::fs::metadata(path).ok().as_ref())
}

/// When a file changed last, in seconds of the file system's clock; 0 for one that is not there.
pub fn changed_at(path: &Path) -> i64 {
    std::fs::metadata(path).map_or(0, |meta| meta.mtime().max(meta.ctime()))
}

fn hash(name: &Path, meta: Option<&std::fs::Metadata>) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.as_os_str().as_bytes().hash(&mut hasher);
    if let Some(meta) = meta {
        (meta.dev(), meta.ino(), meta.mode(), meta.size()).hash(&mut hasher);
        (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_changes_with_whatever_changes_and_with_nothing_else() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let root = dir.path();
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::fs::write(root.join("a/b/file"), "one").expect("written");
        let mut last = footprint(root);
        assert_eq!(footprint(root), last);
        assert!(last.bytes > 0 && !last.nested && !last.partial);
        let mut changed = |what: &str| {
            let now = footprint(root);
            assert_ne!(now.print, last.print, "{what}");
            last = now;
        };
        let file = root.join("a/b/file");
        std::fs::write(&file, "other").expect("written");
        changed("a size");
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(7);
        std::fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(later)).expect("set");
        changed("a time");
        std::fs::rename(&file, root.join("a/b/other")).expect("renamed");
        changed("a name");
        std::fs::create_dir(root.join("a/.git")).expect("made");
        changed("a directory");
        assert!(footprint(root).nested);
    }
}
