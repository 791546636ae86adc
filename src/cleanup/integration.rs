//! Scan: whether the work of a branch is provably in a target, by rungs from cheap to dear.
//!
//! The rungs are those of [`crate::worktree::landed`]. What cannot be read is an error: no caller may take it for a proof.
//! Reads only; a merge that is tried lives in a quarantine.

use std::time::Duration;

use super::error::Result;
use super::proofs::Proofs;
pub use super::verdict::{Integration, NotIntegrated, Target, Verdict};
use crate::model::{BaseReport, BranchName, CommitId};
use crate::sys::git::Reader;
use crate::worktree::base;
use crate::worktree::base_name::BaseTarget;
use crate::worktree::landed::{ByPatches, by_patches};
pub use crate::worktree::landed::{Proof, proof};
use crate::worktree::merge::{Merged, merge_trees};
use crate::worktree::quarantine::Quarantine;
use crate::worktree::remote::Lookup;
use crate::worktree::{Repository, WorktreeError, reverted};

/// Tries each target in turn, except the branch itself; `base` is the commit that its work began on, where that is known.
pub fn integrated(
    repo: &Repository,
    proofs: &Proofs,
    own: &str,
    work: (&CommitId, Option<&CommitId>),
    targets: &[Target],
) -> Result<Verdict> {
    let targets = others(own, targets);
    proofs.verdict(work, &targets, || in_any(repo, work, &targets))
}

/// The targets other than the branch of this full name.
pub fn others<'a>(own: &str, targets: &'a [Target]) -> Vec<&'a Target> {
    targets.iter().filter(|target| target.reference.as_deref() != Some(own)).collect()
}

fn in_any(repo: &Repository, (tip, base): (&CommitId, Option<&CommitId>), targets: &[&Target]) -> Result<Verdict> {
    let mut verdict = Err(NotIntegrated::Unproved);
    for target in targets {
        match in_target(repo, (tip, base), target)? {
            Ok(found) if verdict.is_err() => verdict = Ok(found),
            Ok(_) | Err(NotIntegrated::Unproved) => {}
            // What another target has may only not have heard of it yet.
            taken_back => return Ok(taken_back),
        }
    }
    match targets.first() {
        Some(first) if verdict == Err(NotIntegrated::Unproved) && only_merges(repo, tip, targets)? => {
            Ok(Ok(Integration { proof: Proof::OnlyMerges, target: first.name.clone() }))
        }
        _ => Ok(verdict),
    }
}

fn in_target(repo: &Repository, (tip, base): (&CommitId, Option<&CommitId>), target: &Target) -> Result<Verdict> {
    let to = &target.tip;
    let (proof, taken_back) = match proof(repo, tip, to)? {
        // Without work of its own there is nothing that could be taken back.
        Some(Proof::Ancestor) if base != Some(tip) => {
            let work = || reverted::brought(repo, tip, to, base);
            (Proof::Ancestor, reverted::taken_back(repo, (tip, to), work)?)
        }
        // Its content is there now.
        Some(proof) => (proof, None),
        None => match by_patches(repo, tip, to)? {
            Some(ByPatches { proof, commits, fork }) => {
                (proof, reverted::taken_back(repo, (&fork, to), || Ok(commits))?)
            }
            None => return Ok(Err(NotIntegrated::Unproved)),
        },
    };
    Ok(match taken_back {
        Some(by) => Err(NotIntegrated::TakenBack { by, target: target.name.clone() }),
        None => Ok(Integration { proof, target: target.name.clone() }),
    })
}

/// Most merges that are made again to compare.
const MERGES_MAX: usize = 20;

/// True when every commit beyond the targets merges two others, without a conflict and with nothing added by hand: the base of
/// a workspace whose branch and remote had diverged is one, and nobody's work.
fn only_merges(repo: &Repository, tip: &CommitId, targets: &[&Target]) -> Result<bool> {
    let without = targets.iter().map(|target| target.tip.as_str());
    let count = format!("--max-count={}", MERGES_MAX + 1);
    let args = ["rev-list", "--parents", &count, tip.as_str(), "--not"];
    let listed = repo.bare(args).args(without).arg("--").text()?;
    let mut merges = Vec::new();
    for line in listed.lines() {
        let ids: Vec<CommitId> = line.split(' ').filter_map(|id| CommitId::parse(id).ok()).collect();
        let [commit, ours, theirs] = &ids[..] else { return Ok(false) };
        merges.push((commit.clone(), ours.clone(), theirs.clone()));
    }
    if merges.is_empty() || merges.len() > MERGES_MAX {
        return Ok(false);
    }
    let reader = repo.reader();
    let quarantine = Quarantine::create(repo, tip)?;
    let mut same = Ok(true);
    for (commit, ours, theirs) in &merges {
        let tree = reader.tree_of(commit)?;
        same = merge_trees(&quarantine, None, ours, theirs).map(|merged| merged == Merged::Clean(tree));
        if !matches!(same, Ok(true)) {
            break;
        }
    }
    quarantine.discard()?;
    Ok(same?)
}

/// Where the work of something with this base belongs: the base's local branch and its upstream as far as it was fetched;
/// for a base that does not move, or is gone, the repository's default branch instead. `main` is the repository [itself](Repository::itself):
/// the worktree one stands in may be the workspace in question. The reader may know much already.
pub fn targets_by(main: &Repository, reader: &Reader, reference: &str) -> Result<Vec<Target>> {
    let (mut found, moves) = match resolve(main, reader, Some(reference))? {
        Some(BaseTarget::Fixed(tip)) => (vec![Target { name: reference.to_owned(), reference: None, tip }], false),
        Some(BaseTarget::Branch { local, remote }) => (refs(reader, local, remote.map(|r| r.tracking))?, true),
        None => (Vec::new(), false),
    };
    if let (false, Some(BaseTarget::Branch { local, remote })) = (moves, resolve(main, reader, None)?) {
        found.extend(refs(reader, local, remote.map(|r| r.tracking))?);
    }
    Ok(found)
}

/// The same for a workspace: where it is stacked on another, its work may have come to what is below that.
pub fn targets_of(repo: &Repository, base: &BaseReport) -> Result<Vec<Target>> {
    let (main, mut found) = (repo.itself(), Vec::new());
    let reader = main.reader().knowing_settings()?;
    for reference in base.references() {
        found.extend(targets_by(&main, &reader, reference)?);
    }
    Ok(found)
}

fn resolve(repo: &Repository, reader: &Reader, reference: Option<&str>) -> Result<Option<BaseTarget>> {
    let lookup = Lookup { offline: true, deadline: Duration::ZERO, window: Duration::ZERO, recall: false };
    match base::target(repo, reader, reference, lookup) {
        Ok(target) => Ok(Some(target)),
        Err(WorktreeError::NotFound { .. } | WorktreeError::Unborn | WorktreeError::Refused { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn refs(reader: &Reader, local: Option<BranchName>, tracking: Option<String>) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for reference in local.map(|branch| branch.full_ref()).into_iter().chain(tracking) {
        if let Some(tip) = reader.ref_commit(&reference)? {
            let short = reference.strip_prefix("refs/heads/").or(reference.strip_prefix("refs/remotes/"));
            let name = short.unwrap_or(&reference).to_owned();
            found.push(Target { name, reference: Some(reference), tip });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn each_rung_proves_and_unmerged_work_proves_nothing() {
        let fixture = Fixture::new();
        let check = |branch: &str, expected: Option<Proof>| {
            let tip = fixture.tip(&format!("refs/heads/{branch}"));
            let main = fixture.tip("refs/heads/main");
            assert_eq!(proof(&fixture.repo, &tip, &main).expect("readable"), expected, "{branch}");
        };
        fixture.git(&["branch", "behind"]);
        for branch in ["squashed", "reverted", "open", "conflict", "same"] {
            fixture.git(&["branch", branch]);
        }
        fixture.commit_on("squashed", &[("new", "n")]);
        fixture.commit_on("reverted", &[("tmp", "t")]);
        fixture.commit_on_tree("reverted", "main");
        fixture.commit_on("open", &[("open", "o")]);
        fixture.commit_on("conflict", &[("a", "theirs")]);
        fixture.commit("a", "ours");
        fixture.commit("new", "n");
        fixture.commit_on_tree("same", "main");
        check("behind", Some(Proof::Ancestor));
        check("squashed", Some(Proof::MergeAddsNothing));
        check("reverted", Some(Proof::NoDiff));
        check("same", Some(Proof::SameTree));
        check("open", None);
        check("conflict", None);
        let left: Vec<_> = std::fs::read_dir(fixture.repo.state_dir().join("quarantine")).expect("there").collect();
        assert!(left.is_empty(), "a quarantine stayed: {left:?}");
    }

    /// Each is in the target's history and was reverted there, or was and is no longer; the target goes on after all.
    #[test]
    fn what_was_taken_back_is_in_no_target_until_that_is_taken_back_itself() {
        let fixture = Fixture::new();
        let base = fixture.tip("refs/heads/main");
        let branches = ["merged", "squashed", "picked", "forward", "again", "kept"];
        for branch in branches {
            fixture.git(&["branch", branch]);
            fixture.commit_on(branch, &[(branch, "one\n"), (&format!("{branch}-2"), "two\n")]);
        }
        let head = || fixture.git(&["rev-parse", "HEAD"]).trim().to_owned();
        fixture.git(&["merge", "-q", "--ff-only", "forward"]);
        fixture.git(&["revert", "--no-edit", "HEAD"]);
        fixture.git(&["merge", "-q", "--no-ff", "-m", "merge", "merged"]);
        fixture.git(&["revert", "--no-edit", "-m", "1", "HEAD"]);
        for branch in ["squashed", "again", "kept"] {
            fixture.git(&["merge", "-q", "--squash", branch]);
            fixture.git(&["commit", "-q", "-m", branch]);
            if branch != "kept" {
                fixture.git(&["revert", "--no-edit", "HEAD"]);
            }
            if branch == "again" {
                fixture.git(&["revert", "--no-edit", "HEAD"]);
            }
            // From here on only patches tell.
            fixture.commit(&format!("{branch}-2"), "other\n");
        }
        fixture.git(&["cherry-pick", "picked~1", "picked"]);
        fixture.git(&["revert", "--no-edit", "HEAD~1"]);
        let last = head();
        let target = Target { name: "main".into(), reference: None, tip: fixture.tip("refs/heads/main") };
        let check = |branch: &str, expected: &str| {
            let (own, tip) = (BranchName::parse(branch).expect("a name"), fixture.tip(&format!("refs/heads/{branch}")));
            let found = integrated(
                &fixture.repo,
                &Proofs::default(),
                &own.full_ref(),
                (&tip, Some(&base)),
                std::slice::from_ref(&target),
            );
            let said = match found.expect("readable") {
                Ok(found) => found.to_string(),
                Err(why) => why.to_string(),
            };
            assert!(said.starts_with(expected), "{branch}: {said}");
        };
        for branch in ["merged", "squashed", "picked", "forward"] {
            check(branch, "its work was in `main` and was reverted by ");
        }
        check("picked", &format!("its work was in `main` and was reverted by {}", &last[..12]));
        check("again", "patch-id of `main`");
        check("kept", "patch-id of `main`");
    }

    #[test]
    fn merges_of_what_the_targets_have_are_nobodys_work() {
        let fixture = Fixture::new();
        for branch in ["theirs", "clean", "more", "by-hand"] {
            fixture.git(&["branch", branch]);
        }
        fixture.commit_on("theirs", &[("theirs", "t")]);
        fixture.commit("mine", "m");
        let targets: Vec<Target> = ["main", "theirs"]
            .map(|name| Target { name: name.into(), reference: None, tip: fixture.tip(&format!("refs/heads/{name}")) })
            .into();
        let merge = |branch: &str, change: Option<&str>| {
            let spare = fixture.dir.path().join("spare");
            fixture.git(&["worktree", "add", "-q", &spare.to_string_lossy(), branch]);
            fixture.run_in(&spare, &["merge", "-q", "--ff-only", "main"]);
            fixture.run_in(&spare, &["merge", "-q", "--no-ff", "--no-commit", "theirs"]);
            if let Some(content) = change {
                std::fs::write(spare.join("theirs"), content).expect("written");
            }
            fixture.run_in(&spare, &["commit", "-q", "-a", "-m", "merged"]);
            fixture.git(&["worktree", "remove", &spare.to_string_lossy()]);
        };
        merge("clean", None);
        merge("more", None);
        merge("by-hand", Some("by hand"));
        fixture.commit_on("more", &[("work", "w")]);
        let check = |branch: &str, expected: Option<Proof>| {
            let (own, tip) = (BranchName::parse(branch).expect("a name"), fixture.tip(&format!("refs/heads/{branch}")));
            let found = integrated(&fixture.repo, &Proofs::default(), &own.full_ref(), (&tip, None), &targets)
                .expect("readable");
            assert_eq!(found.ok().map(|found| found.proof), expected, "{branch}");
        };
        check("clean", Some(Proof::OnlyMerges));
        check("more", None);
        check("by-hand", None);
    }

    #[test]
    fn the_targets_are_the_base_or_the_default_branch() {
        let fixture = Fixture::new();
        fixture.git(&["tag", "v1"]);
        let check = |reference: &str, expected: &[&str]| {
            let found = targets_by(&fixture.repo.itself(), &fixture.repo.reader(), reference).expect("readable");
            let found: Vec<String> = found.into_iter().map(|target| target.name).collect();
            assert_eq!(found, expected, "{reference}");
        };
        check("main", &["main"]);
        check("v1", &["v1", "main"]);
        check("gone", &["main"]);
        let main = fixture.tip("refs/heads/main");
        fixture.git(&["update-ref", "refs/remotes/origin/main", main.as_str()]);
        fixture.git(&["config", "branch.main.remote", "origin"]);
        fixture.git(&["config", "branch.main.merge", "refs/heads/main"]);
        check("main", &["main", "origin/main"]);
    }
}
