//! Apply: what was captured in submodules comes into the repository's own clones of them, through quarantine and strict checks,
//! before the commit around it does; and stays within reach there when that has landed.
//!
//! A task's work is on the branch `treehand/RUN/TASK` of the submodule, as it is in the repository, that of a sealed workspace on
//! `treehand/BRANCH`. A branch that is somewhere else than where treehand put it stays: the work is then beside it. Where a
//! submodule has no clone, its objects are kept in the repository around it.

use std::path::Path;

use super::capture::Captured;
use super::capture_submodules::{CapturedModule, within};
use super::error::{Result, WorktreeError};
use super::import::{ImportRequest, changes, check_connected, receive, update_ref};
use super::quarantine::Quarantine;
use super::repository::Repository;
use super::result_policy;
use super::submodule_moves::{Found, moves};
use crate::model::CommitId;
use crate::model::cause::chain;

/// Where a submodule keeps the commits of it that have landed.
pub const LANDED: &str = "refs/treehand/landed/";

/// A ref of a submodule that was made or moved.
#[derive(Debug)]
struct Brought {
    home: Repository,
    reference: String,
    before: Option<CommitId>,
    after: CommitId,
}

/// Brings what was captured in submodules in; `around` then imports the commit that records it. When either fails, no branch
/// has moved.
pub(super) fn import_around<T>(
    repo: &Repository,
    captured: &Captured,
    request: &ImportRequest<'_>,
    around: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let mut brought = Vec::new();
    let mut bring_all = || -> Result<()> {
        for module in &captured.submodules {
            let one = bring(repo, module, request).map_err(|error| within(error, &module.at))?;
            brought.extend(one);
        }
        Ok(())
    };
    let result = bring_all().and_then(|()| around());
    if result.is_err() {
        brought.iter().for_each(take_back);
    }
    result
}

fn take_back(one: &Brought) {
    let Brought { home, reference, before, after } = one;
    if let Err(error) = update_ref(home, reference, before.as_ref(), Some(after), "treehand: not imported") {
        tracing::warn!("{reference} stays in {}: {}", home.common_dir.display(), chain(&error));
    }
}

/// Brings one in; the ref that holds it is the answer, unless it holds it already.
fn bring(repo: &Repository, module: &CapturedModule, request: &ImportRequest<'_>) -> Result<Option<Brought>> {
    let quarantine = Quarantine::create_below(&repo.state_dir(), &module.home, &module.base)?;
    let brought = bring_into(repo, &quarantine, module, request);
    let discarded = quarantine.discard();
    let brought = brought?;
    discarded?;
    Ok(brought)
}

fn bring_into(
    repo: &Repository,
    quarantine: &Quarantine,
    module: &CapturedModule,
    request: &ImportRequest<'_>,
) -> Result<Option<Brought>> {
    let CapturedModule { home, commit, base, .. } = module;
    if check_connected(quarantine, commit).is_err() {
        // What a submodule was given that a task initialised by itself may be a part of its history.
        let has_base = repo.git.bare(&module.scratch, ["cat-file", "-e", base.as_str()]).output()?.status.success();
        let known = Some(base).filter(|_| module.cloned && has_base);
        receive(&repo.git, quarantine, &module.scratch, commit, known, request.max_bytes)?;
        check_connected(quarantine, commit)?;
    }
    if module.cloned {
        let changes = changes(quarantine.command([] as [&str; 0]), base, commit)?;
        let nobody = result_policy::compile(&[]).unwrap_or_default();
        if let Some(refusal) = result_policy::judge(&changes, &[], &nobody) {
            let paths = refusal.paths.iter().map(|path| module.at.join(path).to_string_lossy().into_owned());
            return Err(WorktreeError::BadResult { message: refusal.message, paths: paths.collect() });
        }
    }
    let wanted = reference(request.reference, module.cloned, &module.at);
    let now = home.reader().ref_commit(&wanted)?;
    let (reference, before) = match &now {
        Some(now) if now == commit => return Ok(None),
        Some(now) if !is_ours(repo, quarantine, now, module, request)? => {
            (format!("{wanted}-{}", commit.short()), None)
        }
        _ => (wanted, now),
    };
    if before.is_none() && home.reader().ref_commit(&reference)?.as_ref() == Some(commit) {
        return Ok(None);
    }
    let kept = quarantine.migrate_packs()?;
    let updated = update_ref(home, &reference, Some(commit), before.as_ref(), request.message);
    kept.release()?;
    updated?;
    Ok(Some(Brought { home: home.clone(), reference, before, after: commit.clone() }))
}

/// True for a branch that loses nothing by going to the captured commit: it is in its history, or was put there by the import
/// before.
fn is_ours(
    repo: &Repository,
    quarantine: &Quarantine,
    now: &CommitId,
    module: &CapturedModule,
    request: &ImportRequest<'_>,
) -> Result<bool> {
    let args = ["merge-base", "--is-ancestor", now.as_str(), module.commit.as_str()];
    if quarantine.command(args).output()?.status.success() {
        return Ok(true);
    }
    let Some(last) = request.expected else { return Ok(false) };
    let last = moves(repo, request.base, last)?;
    Ok(last.iter().any(|one| one.at == module.at && one.after == *now))
}

/// The ref of a submodule that holds the work for which this one of the repository stands.
fn reference(around: &str, cloned: bool, at: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    if !cloned {
        let encode = |byte: &u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(*byte).to_string(),
            byte => format!("%{byte:02x}"),
        };
        let at: String = at.as_os_str().as_bytes().iter().map(encode).collect();
        let rest = around.strip_prefix("refs/treehand/").or(around.strip_prefix("refs/")).unwrap_or(around);
        return format!("refs/treehand/submodules/{at}/{rest}");
    }
    match around.strip_prefix("refs/heads/") {
        Some(branch) if !branch.starts_with("treehand/") => format!("refs/heads/treehand/{branch}"),
        _ => around.to_owned(),
    }
}

/// Keeps the commits of submodules within reach that a result has moved them to: it has landed, and its own branches go.
pub fn keep_landed(repo: &Repository, base: &CommitId, commit: &CommitId) -> Result<()> {
    for (home, after) in brought(repo, base, commit)? {
        let name = format!("{LANDED}{after}");
        if home.reader().ref_commit(&name)?.is_none() {
            update_ref(&home, &name, Some(&after), None, "treehand: landed")?;
        }
    }
    Ok(())
}

/// Removes the branches of submodules that go with this one of the repository, as far as what they hold has landed.
pub fn reclaim(repo: &Repository, branch: &str, base: &CommitId, commit: &CommitId) -> Result<()> {
    for (home, after) in brought(repo, base, commit)? {
        let reader = home.reader();
        let (tip, landed) = (reader.ref_commit(branch)?, reader.ref_commit(&format!("{LANDED}{after}"))?);
        if tip.is_some() && tip == landed && tip.as_ref() == Some(&after) {
            update_ref(&home, branch, None, Some(&after), "treehand: reclaimed")?;
        }
    }
    Ok(())
}

/// The clones that have what a result has moved submodules to.
fn brought(repo: &Repository, base: &CommitId, commit: &CommitId) -> Result<Vec<(Repository, CommitId)>> {
    let mut brought = Vec::new();
    for one in moves(repo, base, commit)? {
        if let Found::In(git_dir) = one.found {
            brought.push((Repository::at_common_dir(&repo.git, &git_dir)?, one.after));
        }
    }
    Ok(brought)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_in_a_submodule_has_the_name_of_the_work_around_it() {
        let check = |around, cloned, expected: &str| {
            assert_eq!(reference(around, cloned, Path::new("libs/a b")), expected);
        };
        check("refs/heads/treehand/run/task", true, "refs/heads/treehand/run/task");
        check("refs/heads/fix/x", true, "refs/heads/treehand/fix/x");
        check("refs/treehand/salvage/w/1/worktree", true, "refs/treehand/salvage/w/1/worktree");
        check("refs/heads/fix", false, "refs/treehand/submodules/libs%2fa%20b/heads/fix");
        check("refs/treehand/salvage/w", false, "refs/treehand/submodules/libs%2fa%20b/salvage/w");
    }
}
