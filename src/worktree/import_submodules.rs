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
use super::originals::{Originals, Registered, registered};
use super::quarantine::Quarantine;
use super::repository::Repository;
use super::result_policy;
use super::submodule_moves::moves;
use crate::model::CommitId;
use crate::model::cause::chain;
use crate::sys::git::Git;

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
pub fn import_around<T, E: From<WorktreeError>>(
    repo: &Repository,
    captured: &Captured,
    request: &ImportRequest<'_>,
    around: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let mut brought = Vec::new();
    let mut bring_all = || -> Result<()> {
        for module in &captured.submodules {
            let one = bring(repo, module, request).map_err(|error| within(error, &module.at))?;
            brought.extend(one);
        }
        Ok(())
    };
    let result = bring_all().map_err(E::from).and_then(|()| around());
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
    if check_connected(quarantine, commit, None).is_err() {
        // A task may have fetched what is not here, and not have what is.
        let has_base = module.git.bare(&module.scratch, ["cat-file", "-e", base.as_str()]).output()?.status.success();
        let known = Some(base).filter(|_| has_base && module.cloned);
        let known = known.filter(|_| is_here(quarantine, base).unwrap_or(false));
        receive(&module.git, quarantine, &module.scratch, commit, known, request.max_bytes)?;
        check_connected(quarantine, commit, None)?;
    }
    if module.cloned && is_here(quarantine, base)? {
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
        Some(now) if !is_ours(repo, quarantine, now, module, request)? => (beside(&wanted, commit), None),
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

fn is_here(quarantine: &Quarantine, commit: &CommitId) -> Result<bool> {
    Ok(quarantine.command(["cat-file", "-e", &format!("{commit}^{{commit}}")]).output()?.status.success())
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

/// The ref for work whose own is somebody else's by now.
fn beside(reference: &str, commit: &CommitId) -> String {
    format!("{reference}-{}", commit.short())
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

/// Only brings in what was captured in submodules: where the commit around them is in the repository already.
pub fn import_alone(repo: &Repository, captured: &Captured, request: &ImportRequest<'_>) -> Result<()> {
    import_around(repo, captured, request, || Ok(()))
}

/// A branch of the repository is gone, and its work is where it belongs: so the branches of the same work in its submodules go,
/// and what they hold stays within reach under [`LANDED`]. `commit` is where the branch was.
pub fn reclaim(repo: &Repository, branch: &str, commit: &CommitId) -> Result<()> {
    let same = Same { git: &repo.git, reference: branch, keep: true };
    same.let_go((&repo.common_dir, &repo.common_dir), &Originals::of(repo), commit)
}

/// A ref that held what was saved is gone: so are those of the same work in its submodules. Where a branch, a tag or a remote holds
/// the commit by now, what it records of them stays within reach.
pub fn discard(repo: &Repository, reference: &str, commit: &CommitId) -> Result<()> {
    let args = ["rev-list", "--max-count=1", commit.as_str(), "--not", "--branches", "--tags", "--remotes", "--"];
    let keep = repo.bare(args).run()?.stdout.is_empty();
    let same = Same { git: &repo.git, reference, keep };
    same.let_go((&repo.common_dir, &repo.common_dir), &Originals::of(repo), commit)
}

/// The same for work that came into no ref, so that no branch holds it; its commit is in a quarantine.
pub fn discard_within(repo: &Repository, quarantine: &Quarantine, reference: &str, commit: &CommitId) -> Result<()> {
    let same = Same { git: &repo.git, reference, keep: false };
    same.let_go((&repo.common_dir, quarantine.git_dir()), &Originals::of(repo), commit)
}

/// The refs in submodules that stand for the same work as one of the repository.
struct Same<'a> {
    git: &'a Git,
    reference: &'a str,
    /// What they hold stays within reach.
    keep: bool,
}

impl Same<'_> {
    /// Those of a commit of the repository at `git_dir`, which can be read in `there`.
    fn let_go(&self, (git_dir, there): (&Path, &Path), originals: &Originals, commit: &CommitId) -> Result<()> {
        for Registered { name, path, commit } in registered(self.git, there, commit)? {
            if !self.keep {
                let around = Repository::at_common_dir(self.git, git_dir)?;
                self.delete(&around, &reference(self.reference, false, &originals.at().join(&path)), &commit)?;
            }
            for clone in originals.all(&name, &path)? {
                let home = Repository::at_common_dir(self.git, &clone)?;
                let name = reference(self.reference, true, &path);
                for name in [&name, &beside(&name, &commit)] {
                    self.delete(&home, name, &commit)?;
                }
                if home.reader().has_commit(&commit)? {
                    self.let_go((&clone, &clone), &originals.below(&clone, &path), &commit)?;
                }
            }
        }
        Ok(())
    }

    /// Deletes one that is where it was put. One that a person went on with stays.
    fn delete(&self, home: &Repository, name: &str, commit: &CommitId) -> Result<()> {
        if home.reader().ref_commit(name)?.as_ref() != Some(commit) {
            return Ok(());
        }
        let kept = format!("{LANDED}{commit}");
        if self.keep && home.reader().ref_commit(&kept)?.is_none() {
            update_ref(home, &kept, Some(commit), None, "treehand: landed")?;
        }
        update_ref(home, name, None, Some(commit), "treehand: reclaimed")
    }
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
