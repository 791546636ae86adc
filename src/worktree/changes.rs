//! What a workspace changed since its base, as files and as a patch.
//!
//! Reads a plain workspace through a temporary copy of its index and objects that go nowhere: the workspace is left as
//! it was. A sealed one is captured, and its work comes onto its branch.

use std::path::{Path, PathBuf};

use super::apart::Touch;
use super::capture::{self, CaptureRequest, Captured};
use super::checkouts;
use super::error::{Result, WorktreeError};
use super::import::{ImportRequest, import};
use super::index_copy::IndexCopy;
use super::plain::named_sealed;
use super::quarantine::Quarantine;
use super::repository::Repository;
use super::run_store::RunStore;
use super::sealed::{Identity, SealedPaths};
use crate::model::CommitId;
use crate::model::record::WorkspaceRecord;
use crate::store::Store;
use crate::sys::fs;
use crate::sys::git::GitCommand;

/// Most bytes that the work of a sealed workspace may bring.
const IMPORT_MAX: u64 = 20 << 30;

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
    /// Why the work of a sealed workspace did not come onto its branch.
    pub not_imported: Option<String>,
}

/// The changes between two commits of the repository.
pub fn between(repo: &Repository, base: &CommitId, commit: &CommitId) -> Result<Changes> {
    let command = |args: &[&str]| repo.bare(args);
    collect(command, base.as_str(), commit.as_str())
}

/// The changes of a workspace since its base, uncommitted and untracked ones included. Those of a sealed one come onto its
/// branch with that.
pub fn of_workspace(repo: &Repository, store: &Store, record: &WorkspaceRecord, template: &str) -> Result<Changes> {
    if !fs::exists(&record.path)? {
        return Err(WorktreeError::NotFound { kind: "workspace any more at", name: record.path.display().to_string() });
    }
    if record.sealed { of_sealed(repo, store, record, template) } else { of_plain(repo, record) }
}

/// The message of what is captured without having been committed.
const WORK_IN_PROGRESS: &str = "treehand: work in progress\n";

/// The changes that lie in the box of a task which has no captured result: it failed, or was cancelled.
pub fn of_box(repo: &Repository, paths: &SealedPaths, run_dir: &Path, base: &CommitId) -> Result<Changes> {
    if !fs::exists(&paths.tree)? {
        return Err(WorktreeError::NotFound { kind: "workspace any more at", name: paths.tree.display().to_string() });
    }
    let lenders = [RunStore::at(repo, run_dir, base)?.objects()];
    let identity = Identity::of_user(repo)?;
    let request = work_in_progress(base, &lenders, &identity, Touch::Nothing);
    // It may be at work, and its supervisor may capture it this moment.
    capture::look(repo, paths, &request, |captured| changes_of(captured, base))
}

fn of_plain(repo: &Repository, record: &WorkspaceRecord) -> Result<Changes> {
    let Some(checkout) = checkouts::at(repo, &record.path)? else {
        return Err(WorktreeError::NotFound { kind: "worktree at", name: record.path.display().to_string() });
    };
    let quarantine = Quarantine::create(repo, &record.base.commit)?;
    let changes = changes_in(repo, &quarantine, &checkout.git_dir, record);
    quarantine.discard()?;
    changes
}

fn changes_in(repo: &Repository, quarantine: &Quarantine, git_dir: &Path, record: &WorkspaceRecord) -> Result<Changes> {
    let tree = whole_tree(repo, quarantine, git_dir, &record.path)?;
    collect(|args| quarantine.command(args), record.base.commit.as_str(), tree.as_str())
}

/// All that a plain worktree holds, uncommitted and untracked files included, as a tree in the quarantine. The worktree is
/// left as it was.
pub(super) fn whole_tree(repo: &Repository, quarantine: &Quarantine, git_dir: &Path, tree: &Path) -> Result<CommitId> {
    let temp = repo.scratch()?;
    let copy = IndexCopy::take(repo, git_dir, tree, temp.path())?;
    copy.unhide()?;
    let here = |args: &[&str]| copy.git(args).env("GIT_OBJECT_DIRECTORY", quarantine.objects());
    here(&["add", "--all", "--sparse", "--", "."]).run()?;
    Ok(here(&["write-tree"]).object_id()?)
}

fn of_sealed(repo: &Repository, store: &Store, record: &WorkspaceRecord, template: &str) -> Result<Changes> {
    let paths = named_sealed(repo, template, &record.name)?;
    let base = &record.base.commit;
    let (captured, mut changes) = captured_changes(repo, &paths, &paths.private, base)?;
    match import_work(repo, store, record, captured) {
        Ok(_) => {}
        // Looking must not fail because somebody moved the branch, or because git would not take the result.
        Err(error @ (WorktreeError::Busy { .. } | WorktreeError::BadResult { .. })) => {
            changes.not_imported = Some(format!("the work is not on `{}`: {error}", record.branch));
        }
        Err(error) => return Err(error),
    }
    Ok(changes)
}

/// Brings all that a sealed workspace holds now onto its branch; where that is then.
pub fn bring_onto_branch(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    template: &str,
) -> Result<CommitId> {
    let paths = named_sealed(repo, template, &record.name)?;
    let captured = capture_in(repo, &paths, &paths.private, &record.base.commit, Touch::Nothing)?;
    import_work(repo, store, record, captured)
}

/// Brings the work of a sealed workspace onto its branch, if it is not there already; where that is then.
pub(super) fn import_work(
    repo: &Repository,
    store: &Store,
    record: &WorkspaceRecord,
    captured: Captured,
) -> Result<CommitId> {
    let base = &record.base.commit;
    let last = record.imported.as_ref().unwrap_or(base);
    // Captured again it has another time and nothing else: a branch that moved for that would seem to have been worked on.
    if captured.commit == *last || is_same_work(repo, &captured, last)? {
        return Ok(last.clone());
    }
    let reference = record.branch.full_ref();
    let request = ImportRequest {
        base,
        reference: &reference,
        expected: Some(last),
        paths: &[],
        max_bytes: IMPORT_MAX,
        message: "treehand: work of a sealed workspace",
    };
    import(repo, &captured, &request)?;
    let imported = Some(captured.commit.clone());
    store.put_workspace("workspace.imported", &WorkspaceRecord { imported, ..record.clone() })?;
    Ok(captured.commit)
}

/// True where both are uncommitted work, the same on top of the same.
fn is_same_work(repo: &Repository, captured: &Captured, last: &CommitId) -> Result<bool> {
    let asked = |commit: &CommitId| {
        ["log".to_owned(), "-1".into(), "--format=%T %P%n%B".into(), commit.to_string(), "--".into()]
    };
    let before = repo.bare(asked(last)).output()?;
    let now = captured.git().bare(&captured.scratch, asked(&captured.commit)).run()?;
    let is_ours = before.stdout.split(|byte| *byte == b'\n').nth(1) == Some(WORK_IN_PROGRESS.trim_end().as_bytes());
    Ok(before.status.success() && is_ours && before.stdout == now.stdout)
}

/// Keeps what was captured in a sealed workspace on a ref of its own.
pub(super) fn import_beside(
    repo: &Repository,
    record: &WorkspaceRecord,
    captured: &Captured,
    reference: &str,
) -> Result<()> {
    let message = "treehand: work of a sealed workspace";
    let base = &record.base.commit;
    let request = ImportRequest { base, reference, expected: None, paths: &[], max_bytes: IMPORT_MAX, message };
    import(repo, captured, &request).map(|_| ())
}

/// What a person's sealed workspace holds now.
pub(super) fn capture_work(repo: &Repository, paths: &SealedPaths, base: &CommitId) -> Result<Captured> {
    capture_in(repo, paths, &paths.private, base, Touch::Tree)
}

fn captured_changes(
    repo: &Repository,
    paths: &SealedPaths,
    store_dir: &Path,
    base: &CommitId,
) -> Result<(Captured, Changes)> {
    let captured = capture_in(repo, paths, store_dir, base, Touch::Nothing)?;
    let changes = changes_of(&captured, base)?;
    Ok((captured, changes))
}

fn changes_of(captured: &Captured, base: &CommitId) -> Result<Changes> {
    let command = |args: &[&str]| captured.git().bare(&captured.scratch, args);
    collect(command, base.as_str(), captured.commit.as_str())
}

fn capture_in(
    repo: &Repository,
    paths: &SealedPaths,
    store_dir: &Path,
    base: &CommitId,
    touch: Touch,
) -> Result<Captured> {
    let lenders = [RunStore::at(repo, store_dir, base)?.objects()];
    let identity = Identity::of_user(repo)?;
    capture::capture(repo, paths, &work_in_progress(base, &lenders, &identity, touch))
}

fn work_in_progress<'a>(
    base: &'a CommitId,
    lenders: &'a [PathBuf],
    identity: &'a Identity,
    touch: Touch,
) -> CaptureRequest<'a> {
    CaptureRequest { base, lenders, identity, message: WORK_IN_PROGRESS, touch, at: None, leaves: &[] }
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
    Ok(Changes { files, patch: patch.stdout, not_imported: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::worktree::fixture::{Fixture, TEMPLATE};

    #[test]
    fn looking_again_does_not_move_the_branch() {
        let fixture = Fixture::new();
        let record = fixture.new_workspace("s", true);
        std::fs::write(record.path.join("b"), "work\n").expect("written");
        let paths = named_sealed(&fixture.repo, TEMPLATE, &record.name).expect("paths");
        let lenders = [RunStore::at(&fixture.repo, &paths.private, &record.base.commit).expect("a store").objects()];
        let identity = Identity::of_user(&fixture.repo).expect("known");
        let captured_at = |seconds: i64| {
            let request = work_in_progress(&record.base.commit, &lenders, &identity, Touch::Nothing);
            let request = CaptureRequest { at: Some(Timestamp(seconds * 1000)), ..request };
            capture::capture(&fixture.repo, &paths, &request).expect("captured")
        };
        let bring = |captured: Captured| {
            let record = fixture.store.workspace(&record.name).expect("read").expect("there");
            import_work(&fixture.repo, &fixture.store, &record, captured).expect("imported")
        };
        let tip = bring(captured_at(1));
        let again = captured_at(2);
        assert_ne!(again.commit, tip);
        assert_eq!((bring(again), fixture.tip("refs/heads/s")), (tip.clone(), tip.clone()));
        std::fs::write(record.path.join("b"), "more work\n").expect("written");
        let more = captured_at(3);
        assert_eq!((bring(more.clone()), fixture.tip("refs/heads/s")), (more.commit.clone(), more.commit));
        // What the workspace's own commands committed is as it is, whatever it says.
        let own = fixture.commit_in(&record.path, "b", "mine\n");
        assert_eq!((bring(captured_at(4)), fixture.tip("refs/heads/s")), (own.clone(), own));
    }
}
