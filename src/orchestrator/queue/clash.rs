//! Scan: what there is to say of a result that its branch does not take: the files and in how many places of each, the commits of both
//! sides that touch them, and, in a file beside the logs of the run, those places themselves as git marks them.

use super::put::Clash;
use crate::model::cause::chain;
use crate::model::{BranchName, CommitId, QueueEntry, Reason, ReasonKind};
use crate::sys::fs;
use crate::worktree::Repository;
use crate::worktree::error::Result;
use crate::worktree::quarantine::Quarantine;
use crate::worktree::radar::{ConflictFile, count_hunks};

/// So much of the places is written down.
const LOG_MAX: usize = 1 << 20;

/// Why a result does not land on this tip of a branch.
pub fn reason(
    repo: &Repository,
    quarantine: &Quarantine,
    (into, tip): (&BranchName, &CommitId),
    entry: &QueueEntry,
    clash: Clash,
) -> Result<Reason> {
    let Clash { paths, tree } = clash;
    if paths.is_empty() {
        let message = format!("`{into}` has moved, so the result is no fast-forward of it");
        return Ok(Reason::new(ReasonKind::Stale, message));
    }
    let commits = |range: String| -> Result<String> {
        let args = ["log", "-5", "--format=%h %s", "--no-decorate", &range, "--"];
        let text = repo.bare(args).args(&paths).text()?;
        Ok(text.lines().map(|line| format!("`{line}`")).collect::<Vec<_>>().join(", "))
    };
    let theirs = commits(format!("{}..{}", entry.base, entry.commit))?;
    let ours = commits(format!("{}..{tip}", entry.base))?;
    let mut message = format!("conflict with `{into}`: {ours} there against {theirs} here");
    let mut log = None;
    if let Some(tree) = &tree {
        message.push_str(&places(&counted(quarantine, (tree, tip), &paths)));
        log = written(repo, quarantine, (tip, tree), entry, &paths);
    }
    Ok(Reason { log, ..Reason::new(ReasonKind::Conflict, message).with_paths(paths) })
}

/// Without numbers it is a reason, too.
fn counted(quarantine: &Quarantine, (tree, tip): (&CommitId, &CommitId), paths: &[String]) -> Vec<ConflictFile> {
    match count_hunks(quarantine, &[(tree, tip, paths)]) {
        Ok(counted) => counted.into_iter().next().unwrap_or_default(),
        Err(error) => {
            tracing::warn!(error = chain(&error), "the places of a conflict are not counted");
            Vec::new()
        }
    }
}

fn places(files: &[ConflictFile]) -> String {
    let counts: Vec<usize> = files.iter().filter_map(|file| file.hunks).collect();
    match (counts.iter().sum::<usize>(), counts.len()) {
        (0, _) => String::new(),
        (1, _) => ", in 1 place".to_owned(),
        (all, 1) => format!(", in {all} places"),
        (all, files) => format!(", in {all} places of {files} files"),
    }
}

/// The places, beside the logs of the run; none is no reason to stop.
fn written(
    repo: &Repository,
    quarantine: &Quarantine,
    (tip, tree): (&CommitId, &CommitId),
    entry: &QueueEntry,
    paths: &[String],
) -> Option<String> {
    let path = repo.attempt_log(&entry.run, &entry.task, 0).with_file_name(format!("{}.conflict.diff", entry.task));
    let write = || -> Result<()> {
        let diff = quarantine.command(["diff-tree", "-p", "-r", "--no-color", "--no-ext-diff", "--no-textconv"]);
        let diff = diff.args([tip.as_str(), tree.as_str(), "--"]);
        let diff = diff.args(paths.iter().map(|path| format!(":(top,literal){path}"))).run()?.stdout;
        if let Some(parent) = path.parent() {
            fs::create_private_dir_all(parent)?;
        }
        Ok(fs::write_atomic(&path, diff.get(..LOG_MAX).unwrap_or(&diff))?)
    };
    match write() {
        Ok(()) => Some(path.to_string_lossy().into_owned()),
        Err(error) => {
            tracing::warn!(error = chain(&error), "the places of a conflict are not written down");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_where_they_are_counted() {
        let file = |hunks| ConflictFile { path: "a".into(), hunks };
        let check = |files: &[Option<usize>], expected: &str| {
            assert_eq!(places(&files.iter().map(|hunks| file(*hunks)).collect::<Vec<_>>()), expected);
        };
        check(&[], "");
        check(&[None], "");
        check(&[Some(1), None], ", in 1 place");
        check(&[Some(3)], ", in 3 places");
        check(&[Some(3), Some(1)], ", in 4 places of 2 files");
    }
}
