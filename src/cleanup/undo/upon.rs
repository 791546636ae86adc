//! Scan: what was built upon a commit that an operation has put on a branch, and who else has it.
//!
//! Looks and changes nothing. Branches of tasks do not count: they belong to their run, and what of them landed is on its branch.

use std::collections::BTreeSet;

use super::decide::{OnTop, Upon};
use crate::cleanup::error::Result;
use crate::model::CommitId;
use crate::model::record::WorkspaceRecord;
use crate::store::Store;
use crate::sys::git::Reader;
use crate::worktree::Repository;
use crate::worktree::checkouts::{self, Checkout};
use crate::worktree::head::{HeadPlace, head_beneath};
use crate::worktree::sealed::SealedPaths;

/// Most commits on top that a refusal names.
const ON_TOP_MAX: usize = 10;

/// The commits that `tip` has on top of `after` and not below `without`, newest first; none when it is not on top of it.
pub fn on_top(repo: &Repository, after: &CommitId, tip: &CommitId, without: Option<&CommitId>) -> Result<Vec<OnTop>> {
    let reader = repo.reader();
    if tip == after || !reader.has_commit(after)? || !reader.is_ancestor(after, tip)? {
        return Ok(Vec::new());
    }
    let format = "--format=%H%x1f%s%x1f%(trailers:key=Treehand-Task,valueonly,separator=%x2C)";
    let (count, range) = (format!("-{ON_TOP_MAX}"), format!("{after}..{tip}"));
    let mut args = vec!["log".to_owned(), "-z".into(), format.into(), count, range];
    // A base that was fetched and thrown away again holds nothing.
    if let Some(without) = without.filter(|without| reader.has_commit(without).unwrap_or(false)) {
        args.push(format!("^{without}"));
    }
    let output = repo.bare(args).arg("--").run()?;
    let commit = |record: &[u8]| {
        let text = String::from_utf8_lossy(record).into_owned();
        let mut fields = text.split('\u{1f}').map(str::trim);
        let (id, subject, task) = (fields.next()?, fields.next()?, fields.next()?);
        let task = Some(task.to_owned()).filter(|task| !task.is_empty());
        Some(OnTop { commit: CommitId::parse(id).ok()?, subject: subject.to_owned(), task })
    };
    Ok(output.records().filter_map(commit).collect())
}

/// Workspaces with work of their own on top of a landing, and branches of remotes that have it.
pub fn upon(repo: &Repository, store: &Store, after: &CommitId) -> Result<Upon> {
    let contains = format!("--contains={after}");
    let having = repo.bare(["for-each-ref", "--format=%(refname)", &contains, "refs/heads/"]).text()?;
    let having: BTreeSet<&str> = having.lines().collect();
    let checkouts = checkouts::scan(repo)?;
    let mut workspaces = Vec::new();
    for record in store.workspaces()? {
        let mut commits: Vec<OnTop> = Vec::new();
        for tip in tips(repo, &record, &having, &checkouts)? {
            for found in on_top(repo, after, &tip, Some(&record.base.commit))? {
                if !commits.contains(&found) {
                    commits.push(found);
                }
            }
        }
        commits.extend(sealed_work(repo, &record, after)?);
        if !commits.is_empty() {
            workspaces.push((record.name, commits));
        }
    }
    // What stands for the default branch of a remote is another name of one that is there.
    let format = "--format=%(if)%(symref)%(then)%(else)%(refname:short)%(end)";
    let remotes = repo.bare(["for-each-ref", format, &contains, "refs/remotes/"]).text()?;
    let remotes = remotes.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(Upon { workspaces, remotes })
}

/// Where a workspace stands: its branch, if that has the landing, and its HEAD where it is on another one or on none.
fn tips(
    repo: &Repository,
    record: &WorkspaceRecord,
    having: &BTreeSet<&str>,
    checkouts: &[Checkout],
) -> Result<Vec<CommitId>> {
    let mut found = Vec::new();
    if having.contains(record.branch.full_ref().as_str()) {
        found.extend(repo.reader().ref_commit(&record.branch.full_ref())?);
    }
    let own = checkouts.iter().find(|checkout| !record.sealed && checkout.tree.as_ref() == Some(&record.path));
    if let Some(own) = own.filter(|own| own.branch.as_deref() != Some(record.branch.as_str())) {
        found.extend(Reader::open(&repo.git, &own.git_dir).revision("HEAD")?);
    }
    found.dedup();
    Ok(found)
}

/// The HEAD of a sealed workspace that began on top of the landing and whose commits are not in the repository yet.
fn sealed_work(repo: &Repository, record: &WorkspaceRecord, after: &CommitId) -> Result<Option<OnTop>> {
    let (reader, base) = (repo.reader(), &record.base.commit);
    let began_on_it = reader.has_commit(after)? && reader.has_commit(base)? && reader.is_ancestor(after, base)?;
    if !record.sealed || !began_on_it {
        return Ok(None);
    }
    let paths = SealedPaths::of_record(repo, record)?;
    // One that cannot be read has nothing that could be named.
    let head = head_beneath(&paths.git_dir, &HeadPlace::of_tree()).ok();
    let head = head.filter(|head| !reader.has_commit(head).unwrap_or(false));
    Ok(head.map(|commit| OnTop { commit, subject: "(not on its branch yet)".into(), task: None }))
}
