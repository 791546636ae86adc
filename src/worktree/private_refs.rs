//! Scan: what a sealed workspace has committed beside its HEAD: other branches, tags and stashes of its private git dir.
//!
//! The files are read beneath that directory, without following links and capped, and git is not run there. What is no full
//! object id names nothing.

use std::collections::BTreeMap;
use std::path::Path;

use crate::model::CommitId;
use crate::sys::fs;

/// Most bytes of a ref, and of what lists many.
const REF_MAX: u64 = 4096;
const LIST_MAX: u64 = 16 << 20;

/// Most files that are looked at: a child may have made any number.
const FILES_MAX: usize = 10_000;

/// Commits and tags by what names them, such as `heads/other` or `stash-1`; each object once.
pub fn private_refs(git_dir: &Path) -> Vec<(String, CommitId)> {
    let mut found: BTreeMap<CommitId, String> = BTreeMap::new();
    let mut name_it = |name: &str, value: &str| {
        if let (Ok(id), Some(short)) = (CommitId::parse(value.trim_end()), name.strip_prefix("refs/"))
            && !short.starts_with("remotes/")
        {
            found.entry(id).or_insert_with(|| short.to_owned());
        }
    };
    let walk = walkdir::WalkDir::new(git_dir.join("refs")).follow_links(false).follow_root_links(false);
    for entry in walk.into_iter().flatten().filter(|entry| entry.file_type().is_file()).take(FILES_MAX) {
        let Ok(relative) = entry.path().strip_prefix(git_dir) else { continue };
        if let (Some(name), Some(value)) = (relative.to_str(), text(git_dir, relative, REF_MAX)) {
            name_it(name, &value);
        }
    }
    for line in text(git_dir, "rw/packed-refs".as_ref(), LIST_MAX).unwrap_or_default().lines() {
        if let Some((value, name)) = line.split_once(' ') {
            name_it(name, value);
        }
    }
    // All but the newest stash are in the reflog alone.
    let log = text(git_dir, "logs/refs/stash".as_ref(), LIST_MAX).unwrap_or_default();
    for (number, line) in log.lines().rev().enumerate() {
        if let Some(value) = line.split(' ').nth(1) {
            name_it(&format!("refs/stash-{number}"), value);
        }
    }
    found.into_iter().map(|(commit, name)| (name, commit)).collect()
}

fn text(root: &Path, relative: &Path, limit: u64) -> Option<String> {
    // What a child put there in place of a file names nothing.
    let bytes = fs::read_beneath(root, relative, limit).unwrap_or_default();
    bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_tags_and_stashes_are_found_and_links_are_not_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let git_dir = place.path().join("git");
        let id = |letter: char| letter.to_string().repeat(40);
        let write = |path: &str, text: String| {
            let path = git_dir.join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("refs/heads/a/b", format!("{}\n", id('a')));
        write("refs/heads/broken", "ref: refs/heads/a/b\n".into());
        write("refs/stash", format!("{}\n", id('c')));
        write("rw/packed-refs", format!("# packed\n{} refs/tags/t\n{} refs/remotes/origin/main\n", id('b'), id('e')));
        write("logs/refs/stash", format!("{} {} x\n{} {} y\n", id('0'), id('d'), id('d'), id('c')));
        std::fs::write(place.path().join("secret"), id('f')).expect("written");
        std::os::unix::fs::symlink(place.path().join("secret"), git_dir.join("refs/heads/link")).expect("linked");
        let found = private_refs(&git_dir);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, id)| (name.as_str(), &id.as_str()[..1])).collect();
        assert_eq!(found, [("heads/a/b", "a"), ("tags/t", "b"), ("stash", "c"), ("stash-1", "d")]);
    }
}
