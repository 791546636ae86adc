//! Apply: the reflog of a branch, kept with the ref that keeps its tip, so that `git gc` keeps the commits in it too.
//!
//! Where refs are files a reflog is copied byte for byte. Where they are in tables its entries are written anew, which git can
//! do from 2.51 on; with an older one a branch comes back without those of before.

use std::path::PathBuf;

use super::error::Result;
use crate::model::{CommitId, Hooks};
use crate::sys::git::Version;
use crate::sys::{alike, fs};
use crate::worktree::Repository;
use crate::worktree::import::update_ref;
use crate::worktree::sealed::remove_if_empty;

/// The first git that has `reflog write`.
const WRITES_ENTRIES: Version = Version(2, 51, 0);

fn in_tables(repo: &Repository) -> bool {
    repo.common_dir.join("reftable").is_dir()
}

/// Whether the reflog of a deleted branch can be put back as it was.
fn can_copy(repo: &Repository) -> bool {
    !in_tables(repo) || repo.git.version() >= WRITES_ENTRIES
}

fn file(repo: &Repository, reference: &str) -> PathBuf {
    repo.common_dir.join("logs").join(reference)
}

/// Whether the reflog of a ref is there, where that can be told without git: where refs are files.
pub fn is_file(repo: &Repository, reference: &str) -> Result<Option<bool>> {
    if in_tables(repo) {
        return Ok(None);
    }
    let log = file(repo, reference);
    Ok(Some(fs::exists(&log)? && log.is_file()))
}

fn exists(repo: &Repository, reference: &str) -> Result<bool> {
    if let Some(known) = is_file(repo, reference)? {
        return Ok(known);
    }
    Ok(repo.bare(["reflog", "exists", reference]).output()?.status.success())
}

/// Keeps the reflog of a branch that is about to go with another ref, which is made when it is not there.
pub fn keep(repo: &Repository, branch: &str, beside: &str, commit: &CommitId) -> Result<()> {
    if !can_copy(repo) || !exists(repo, branch)? {
        return Ok(());
    }
    match repo.reader().ref_commit(beside)? {
        None => create_silently(repo, &[(beside, commit)])?,
        // One that a process made and did not live to fill; its file is replaced.
        Some(_) if in_tables(repo) && exists(repo, beside)? => return Ok(()),
        Some(_) => {}
    }
    copy(repo, branch, beside)
}

/// Makes a deleted branch again, with the reflog that was kept with the other ref. What is there already stays.
pub fn put_back(repo: &Repository, branch: &str, beside: &str, commit: &CommitId) -> Result<()> {
    let kept = can_copy(repo) && exists(repo, beside)?;
    match repo.reader().ref_commit(branch)? {
        None if kept => create_silently(repo, &[(branch, commit)])?,
        None => return Ok(update_ref(repo, branch, Some(commit), None, "treehand: put back")?),
        Some(now) if now != *commit => return Ok(()),
        Some(_) => {}
    }
    if kept && !exists(repo, branch)? { copy(repo, beside, branch) } else { Ok(()) }
}

/// Makes refs whose reflogs are still to be written: all of them, or none.
pub fn create_silently(repo: &Repository, refs: &[(&str, &CommitId)]) -> Result<()> {
    let lines: String = refs.iter().map(|(name, commit)| format!("create {name}\0{commit}\0")).collect();
    let args = ["-c", "core.logAllRefUpdates=false", "update-ref", "--stdin", "-z"];
    let command = repo.bare(args).stdin(lines);
    let command = if repo.hooks == Hooks::Unconfined { command.with_hooks() } else { command };
    command.run()?;
    Ok(())
}

/// Gives a ref the reflog of another.
pub fn copy(repo: &Repository, from: &str, to: &str) -> Result<()> {
    if in_tables(repo) {
        return write_anew(repo, from, to);
    }
    let (from, to) = (file(repo, from), file(repo, to));
    let read = || Ok((std::fs::read(&from)?, std::fs::metadata(&from)?.permissions()));
    let (content, mode) = read().map_err(fs::at("read", &from))?;
    if let Some(parent) = to.parent() {
        alike::create_dir_all(parent)?;
    }
    // git leaves empty directories of other names there.
    remove_if_empty(Some(&to));
    fs::write_atomic(&to, &content)?;
    Ok(std::fs::set_permissions(&to, mode).map_err(fs::at("open", &to))?)
}

/// Writes every entry again, the oldest first, with its own name and time.
fn write_anew(repo: &Repository, from: &str, to: &str) -> Result<()> {
    let format = "--format=%H%x1f%gn%x1f%ge%x1f%gd%x1f%gs";
    let args = ["log", "-g", "-z", "--date=raw", "--no-mailmap", "--no-show-signature", format, from, "--"];
    let output = repo.bare(args).run()?;
    let entries: Vec<String> = output.records().map(|entry| String::from_utf8_lossy(entry).into_owned()).collect();
    let mut before: Option<CommitId> = None;
    for entry in entries.iter().rev() {
        let mut fields = entry.splitn(5, '\u{1f}');
        let (Some(id), Some(name), Some(email), Some(at), Some(message)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let Ok(commit) = CommitId::parse(id) else { continue };
        let date = at.rsplit_once("@{").map(|(_, at)| at.trim_end_matches('}')).unwrap_or_default();
        let old = before.as_ref().map_or_else(|| commit.zero_like(), ToString::to_string);
        let write = repo.bare(["reflog", "write", to, &old, commit.as_str(), message]);
        let write = write.env("GIT_COMMITTER_NAME", name).env("GIT_COMMITTER_EMAIL", email);
        write.env("GIT_COMMITTER_DATE", format!("@{date}")).run()?;
        before = Some(commit);
    }
    Ok(())
}
