//! What a person has in a repository, seen whole, so that it can be seen to be the same later.
//! Worktrees with the files in them, refs and configuration; not what git keeps for itself, nor what is treehand's own.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everything that must not change behind a person's back.
#[derive(PartialEq, Eq, Debug, Clone)]
pub struct Sight {
    pub trees: BTreeMap<PathBuf, Tree>,
    /// Refs, without treehand's own, with what they point to.
    pub refs: BTreeMap<String, String>,
    /// The shared configuration.
    pub config: Vec<u8>,
}

/// A worktree: where git is asked about it, what git says of it, and its files.
#[derive(PartialEq, Eq, Debug, Clone)]
pub struct Tree {
    pub from: PathBuf,
    pub status: Vec<String>,
    pub files: Files,
}

/// Files by path below their worktree, with mode and content.
pub type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// Fails with what is different, line by line.
pub fn assert_same(now: &Sight, expected: &Sight, what: &str) {
    let (now, expected) = (now.lines(), expected.lines());
    let lost: Vec<_> = expected.iter().filter(|line| !now.contains(line)).collect();
    let new: Vec<_> = now.iter().filter(|line| !expected.contains(line)).collect();
    assert!(
        lost.is_empty() && new.is_empty(),
        "{what}\nexpected, and not there: {lost:#?}\nthere, and not expected: {new:#?}"
    );
}

impl Sight {
    /// Leaves out refs whose names start so.
    pub fn forget(&mut self, refs: &str) {
        self.refs.retain(|name, _| !name.starts_with(refs));
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::from_utf8_lossy(&self.config).into_owned()];
        lines.extend(self.refs.iter().map(|(name, object)| format!("{name} {object}")));
        for (place, tree) in &self.trees {
            lines.extend(tree.status.iter().map(|line| format!("{}: {line}", place.display())));
            lines.extend(tree.files.iter().map(|(path, (mode, content))| {
                format!("{} {mode:o} {:?}", place.join(path).display(), String::from_utf8_lossy(content))
            }));
        }
        lines
    }
}

/// Every file below a directory but git's own: mode, and content or where a link points.
pub fn files(tree: &Path) -> Files {
    let walk = walkdir::WalkDir::new(tree).into_iter().filter_entry(|entry| entry.file_name() != ".git");
    let mut found = BTreeMap::new();
    for entry in walk.map(|entry| entry.expect("readable")).filter(|entry| !entry.file_type().is_dir()) {
        let path = entry.path();
        let content = match entry.file_type().is_symlink() {
            true => std::fs::read_link(path).expect("a link").as_os_str().as_bytes().to_vec(),
            false => std::fs::read(path).expect("a file"),
        };
        let mode = entry.metadata().expect("metadata").permissions().mode();
        found.insert(path.strip_prefix(tree).expect("below").to_owned(), (mode, content));
    }
    found
}
