//! What a workspace changed since its base, as files and as a patch.
//!
//! Reads a plain workspace through a temporary copy of its index and objects that go nowhere: the workspace is left as
//! it was. A sealed one is captured into its scratch dir, as for an import, but not imported.

use std::path::Path;

use super::capture::{CaptureRequest, capture};
use super::checkouts;
use super::error::{Result, WorktreeError};
use super::index_copy::IndexCopy;
use super::plain::named_sealed;
use super::quarantine::Quarantine;
use super::repository::Repository;
use super::run_store::RunStore;
use super::sealed::Identity;
use crate::model::CommitId;
use crate::model::record::WorkspaceRecord;
use crate::sys::git::GitCommand;

/// One changed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// Its path, lossy where it is not UTF-8.
    pub path: String,
    /// git's letter: `A`, `M`, `D`, `T`.
    pub status: String,
    /// Lines added; `None` for binary files.
    pub insertions: Option<u64>,
    /// Lines removed; `None` for binary files.
    pub deletions: Option<u64>,
}

/// All changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// File by file.
    pub files: Vec<FileChange>,
    /// As a patch that `git apply` takes, binary files included.
    pub patch: Vec<u8>,
}

/// The changes between two commits of the repository.
pub fn between(repo: &Repository, base: &CommitId, commit: &CommitId) -> Result<Changes> {
    let command = |args: &[&str]| repo.bare(args);
    collect(command, base.as_str(), commit.as_str())
}

/// The changes of a workspace since its base, uncommitted and untracked ones included.
pub fn of_workspace(repo: &Repository, record: &WorkspaceRecord, template: &str) -> Result<Changes> {
    if record.sealed { of_sealed(repo, record, template) } else { of_plain(repo, record) }
}

fn of_plain(repo: &Repository, record: &WorkspaceRecord) -> Result<Changes> {
    let found = checkouts::scan(repo)?.into_iter().find(|c| c.tree.as_ref() == Some(&record.path));
    let Some(checkout) = found else {
        return Err(WorktreeError::NotFound { kind: "worktree at", name: record.path.display().to_string() });
    };
    let quarantine = Quarantine::create(repo, &record.base.commit)?;
    let changes = changes_in(repo, &quarantine, &checkout.git_dir, record);
    quarantine.discard()?;
    changes
}

fn changes_in(repo: &Repository, quarantine: &Quarantine, git_dir: &Path, record: &WorkspaceRecord) -> Result<Changes> {
    let copy = IndexCopy::take(repo, git_dir, &record.path, quarantine.git_dir())?;
    copy.unhide()?;
    let here = |args: &[&str]| copy.git(args).env("GIT_OBJECT_DIRECTORY", quarantine.objects());
    here(&["add", "--all", "--", "."]).run()?;
    let tree = here(&["write-tree"]).object_id()?;
    collect(|args| quarantine.command(args), record.base.commit.as_str(), tree.as_str())
}

fn of_sealed(repo: &Repository, record: &WorkspaceRecord, template: &str) -> Result<Changes> {
    let paths = named_sealed(repo, template, &record.name)?;
    let lender = RunStore::at(repo, &paths.private, &record.base.commit)?;
    let lenders = [lender.objects()];
    let identity = Identity::of_user(repo)?;
    let request = CaptureRequest { lenders: &lenders, identity: &identity, message: "treehand: diff\n" };
    let captured = capture(repo, &paths, &request)?;
    let command = |args: &[&str]| repo.git.bare(&captured.scratch, args);
    collect(command, record.base.commit.as_str(), captured.commit.as_str())
}

fn collect(command: impl Fn(&[&str]) -> GitCommand, from: &str, to: &str) -> Result<Changes> {
    let plain = ["--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"];
    let status = command(&["diff-tree", "-r", "-z", "--name-status"]).args(plain).args([from, to]).run()?;
    let counts = command(&["diff-tree", "-r", "-z", "--numstat"]).args(plain).args([from, to]).run()?;
    let patch = command(&["diff-tree", "-r", "-p", "--binary", "--full-index"]).args(plain).args([from, to]).run()?;
    let names: Vec<&[u8]> = status.records().collect();
    let counts: Vec<&[u8]> = counts.records().collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let file = |(pair, count): (&[&[u8]], &&[u8])| {
        let counted = text(count);
        let mut numbers = counted.split('\t').map(|number| number.parse().ok());
        FileChange {
            status: text(pair.first().copied().unwrap_or_default()),
            path: text(pair.get(1).copied().unwrap_or_default()),
            insertions: numbers.next().flatten(),
            deletions: numbers.next().flatten(),
        }
    };
    let files = names.chunks(2).zip(&counts).map(file).collect();
    Ok(Changes { files, patch: patch.stdout })
}
