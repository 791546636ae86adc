//! Scan: in how many places of each file two sides are in conflict.
//!
//! Counted are the marks that `git merge-tree` wrote into the file, which name our side by its commit, so that nothing that was in
//! a file before looks like one. A file without such marks (a binary one, one that was removed on a side, a submodule), and one
//! that is too large to be worth it, has no number.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::CommitId;
use crate::sys::git::{GitError, GitStream};
use crate::worktree::error::Result;
use crate::worktree::quarantine::Quarantine;

/// A file in conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictFile {
    /// Its path, lossy where it is not UTF-8.
    pub path: String,
    /// In how many places, where that can be told.
    pub hunks: Option<usize>,
}

/// Largest file that is read.
const SIZE_MAX: usize = 1 << 20;

/// How long git may be silent over one file.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A merge with conflicts: the tree that it made, our side, and the files.
pub type Conflicted<'a> = (&'a CommitId, &'a CommitId, &'a [String]);

/// Counts for each of these merges, all asked of one git.
pub fn count(quarantine: &Quarantine, merges: &[Conflicted<'_>]) -> Result<Vec<Vec<ConflictFile>>> {
    let file = |path: &String| ConflictFile { path: path.clone(), hunks: None };
    let mut counted: Vec<Vec<ConflictFile>> =
        merges.iter().map(|(_, _, paths)| paths.iter().map(file).collect()).collect();
    // What is asked for stands in one line.
    let files =
        counted.iter_mut().zip(merges).flat_map(|(files, merge)| files.iter_mut().map(move |file| (file, merge)));
    let asked: Vec<_> = files.filter(|(file, _)| !file.path.contains('\n')).collect();
    if asked.is_empty() {
        return Ok(counted);
    }
    let mut git = GitStream::open(quarantine.command(["cat-file", "--batch-command"]).deadline(SILENCE_MAX))?;
    asked.iter().for_each(|(file, (tree, ..))| git.ask(format!("info {tree}:{}\n", file.path).as_bytes()));
    let mut found = Vec::new();
    for (file, (_, ours, _)) in asked {
        let blob = blob(&git.next_until(b'\n')?).filter(|(_, size)| *size <= SIZE_MAX);
        found.extend(blob.map(|(id, _)| (id, file, ours)));
    }
    found.iter().for_each(|(id, ..)| git.ask(format!("contents {id}\n").as_bytes()));
    for (_, file, ours) in found {
        file.hunks = Some(marks(&next_content(&mut git)?, ours)).filter(|marks| *marks > 0);
    }
    Ok(counted)
}

fn next_content(git: &mut GitStream) -> Result<Vec<u8>> {
    let told = git.next_until(b'\n')?;
    let Some((_, size)) = blob(&told) else {
        let output = String::from_utf8_lossy(&told).into_owned();
        return Err(GitError::Unexpected { command: "cat-file".into(), output }.into());
    };
    let content = git.next_exactly(size)?;
    git.next_until(b'\n')?;
    Ok(content)
}

/// Id and size of a file, as `cat-file` tells; `None` for all else, such as something that is not there.
fn blob(line: &[u8]) -> Option<(CommitId, usize)> {
    let text = std::str::from_utf8(line).ok()?;
    let [id, "blob", size] = text.split(' ').collect::<Vec<_>>()[..] else { return None };
    Some((CommitId::parse(id).ok()?, size.parse().ok()?))
}

/// The lines that begin our side of a conflict. There are seven marks in general, more where attributes say so or one conflict is within another.
fn marks(content: &[u8], ours: &CommitId) -> usize {
    let begins = |line: &&[u8]| {
        let length = line.iter().take_while(|byte| **byte == b'<').count();
        let rest = line.get(length..).and_then(|rest| rest.strip_prefix(b" "));
        length > 0 && rest.is_some_and(|rest| rest.starts_with(ours.as_str().as_bytes()))
    };
    content.split(|byte| *byte == b'\n').filter(begins).count()
}
