//! Scan: what a directory looks like, short enough to be recorded, so that it can be told later whether it is still that.
//!
//! Looks and changes nothing. A tree is its names, modes, sizes and times of change: the content of a file does not change
//! without them. The git dir of a plain worktree is what it says, so that git may refresh the index in between.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::cleanup::error::Result;
use crate::model::Timestamp;
use crate::sys::fs;
use crate::worktree::{Repository, WorktreeError};

/// What treehand itself writes beside private git dirs whenever it looks at what is in them; nobody else's work is there.
const SCRATCH: [&str; 3] = ["capture", "base.git", "base.lock"];

/// Files of a git dir up to this size are told apart by what they say.
const READ_MAX: u64 = 1 << 20;

/// Most changed files that are named.
const NAMED_MAX: usize = 5;

/// What a directory looks like.
pub fn print(repo: &Repository, directory: &Path) -> Result<String> {
    let mut text = Vec::new();
    let in_git_dir = is_git_dir(repo, directory);
    for entry in entries(repo, directory) {
        let entry = entry?;
        let meta = entry.metadata().map_err(|error| unreadable(directory, &error))?;
        let name = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        if in_git_dir && entry.file_name() == "index" {
            continue;
        }
        text.extend_from_slice(name.as_os_str().as_bytes());
        let line = if meta.is_dir() {
            format!("\0{:o}", meta.mode())
        } else if in_git_dir && meta.is_file() && meta.len() <= READ_MAX {
            let content = std::fs::read(entry.path()).map_err(fs::at("read", entry.path()))?;
            text.push(0);
            text.extend_from_slice(&content);
            String::new()
        } else {
            let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
            format!("\0{:o} {} {} {modified:?} {changed:?}", meta.mode(), meta.ino(), meta.size())
        };
        text.extend_from_slice(line.as_bytes());
        text.push(0);
    }
    if in_git_dir && fs::exists(&directory.join("index"))? {
        text.extend_from_slice(&repo.git.bare(directory, ["ls-files", "--stage", "-v", "-z"]).run()?.stdout);
    }
    Ok(repo.bare(["hash-object", "--stdin"]).stdin(text).text()?)
}

/// What changed in a directory since a moment, as far as times tell it; for a directory whose print is another one.
pub fn changed_since(repo: &Repository, directory: &Path, since: Timestamp) -> Result<String> {
    let in_git_dir = is_git_dir(repo, directory);
    let (mut named, mut directories) = (Vec::new(), Vec::new());
    for entry in entries(repo, directory) {
        let entry = entry?;
        let meta = entry.metadata().map_err(|error| unreadable(directory, &error))?;
        let name = entry.path().strip_prefix(directory).unwrap_or(entry.path());
        let moment =
            |seconds: i64, nanos: i64| Timestamp(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000));
        let (modified, changed) = (moment(meta.mtime(), meta.mtime_nsec()), moment(meta.ctime(), meta.ctime_nsec()));
        let newer = if meta.is_dir() { modified > since } else { modified.max(changed) > since };
        // git writes the index by a file beside it, whatever for.
        let passing = in_git_dir && (meta.is_dir() || entry.file_name() == "index");
        if newer && !passing {
            let name = if entry.depth() == 0 { Path::new(".") } else { name };
            let list = if meta.is_dir() { &mut directories } else { &mut named };
            list.push(name.display().to_string());
        }
    }
    // A directory that differs because of a file in it, which is named itself, says nothing more.
    if named.is_empty() {
        named.extend(directories.into_iter().map(|name| format!("what is in {name}/")));
    }
    let more = named.len().saturating_sub(NAMED_MAX);
    named.truncate(NAMED_MAX);
    Ok(match (named.is_empty(), in_git_dir, more) {
        (true, true, _) => "what is staged".into(),
        (true, false, _) => "something in it is gone or has moved".into(),
        (false, _, 0) => named.join(", "),
        (false, _, more) => format!("{} and {more} more", named.join(", ")),
    })
}

/// True for the git dir of a plain worktree.
pub fn is_git_dir(repo: &Repository, directory: &Path) -> bool {
    let ours = directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with("treehand-"));
    !ours && directory.parent() == Some(repo.common_dir.join("worktrees").as_path())
}

fn entries(repo: &Repository, directory: &Path) -> impl Iterator<Item = Result<walkdir::DirEntry>> {
    let private = repo.sealed_root().is_ok_and(|root| directory.starts_with(root));
    // What is new in a submodule's clone shows in its refs and logs.
    let in_git_dir = is_git_dir(repo, directory);
    let kept = move |entry: &walkdir::DirEntry| {
        if in_git_dir && entry.file_name() == "objects" {
            return false;
        }
        !private || !matches!(entry.depth(), 1 | 2) || !SCRATCH.iter().any(|name| entry.file_name() == *name)
    };
    let walk = walkdir::WalkDir::new(directory).follow_links(false).sort_by_file_name().into_iter();
    walk.filter_entry(kept).map(move |entry| entry.map_err(|error| unreadable(directory, &error)))
}

fn unreadable(directory: &Path, error: &walkdir::Error) -> crate::cleanup::CleanupError {
    let what = format!("{} cannot be read whole: {error}", directory.display());
    WorktreeError::Refused { message: what, hint: None }.into()
}
