//! What a tree of files holds, to the bit: names, kinds, modes, targets of links and content.
//!
//! Times do not count. What `clean` keeps for itself, and git's objects, are left out: they grow.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every path with what is there.
pub type Digest = BTreeMap<PathBuf, String>;

/// A number that stands for these bytes.
pub fn number_of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// True for what may change at any time without anybody's loss.
fn is_volatile(entry: &walkdir::DirEntry) -> bool {
    let path = entry.path();
    let state = entry.depth() == 1 && path.ends_with("state");
    state || entry.depth() > 0 && [".git/treehand", ".git/objects"].iter().any(|end| path.ends_with(end))
}

/// Looks at everything below a directory, following nothing.
pub fn of(root: &Path) -> Digest {
    let all =
        walkdir::WalkDir::new(root).follow_root_links(false).into_iter().filter_entry(|entry| !is_volatile(entry));
    let mut found = Digest::new();
    for entry in all {
        let entry = entry.expect("everything can be looked at");
        let (path, kind) = (entry.path(), entry.file_type());
        let mode = std::fs::symlink_metadata(path).expect("there").mode();
        let content = if kind.is_symlink() {
            number_of(std::fs::read_link(path).expect("a link").as_os_str().as_bytes())
        } else if kind.is_file() {
            number_of(&std::fs::read(path).expect("it can be read"))
        } else {
            0
        };
        found.insert(path.to_owned(), format!("{mode:o} {content:x}"));
    }
    found
}

/// Every path at which two digests differ.
pub fn difference(before: &Digest, after: &Digest) -> Vec<PathBuf> {
    let differs = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let gone_or_other = before.keys().filter(differs);
    let new = after.keys().filter(|path| !before.contains_key(*path));
    gone_or_other.chain(new).cloned().collect()
}
