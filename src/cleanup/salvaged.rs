//! Scan and apply: what was saved before removals, looked at, made branches of, and dropped.
//!
//! Reads all refs, all history that no branch holds and all counts with one git each, however much is saved. A branch is only
//! ever made, never moved; a ref of salvage goes only where it is still what was looked at, and all of them or none.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::error::{CleanupError, Result};
use super::ref_names::SALVAGE_PREFIX;
use super::saved::{self, Part, Saved, SavedRef, Unheld};
use crate::model::{BranchName, CommitId, Timestamp};
use crate::store::{EntryDraft, Store};
use crate::sys::git::GitError;
use crate::worktree::Repository;
use crate::worktree::changes::{self, Changes};
use crate::worktree::import::{RefChange, update_refs};
use crate::worktree::import_submodules;

/// Everything that is saved, and what stands beside it.
pub struct Salvage {
    /// What is saved, newest first.
    pub saved: Vec<Saved>,
    branches: Vec<(String, CommitId)>,
    unheld: Unheld,
    files: HashMap<CommitId, usize>,
}

/// How much a saved thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Commits that no branch holds, without those made of uncommitted changes.
    pub commits: usize,
    /// Files that were changed and not committed.
    pub files: usize,
    /// When `clean` takes it.
    pub expires_at: Option<Timestamp>,
}

/// A branch that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// The branch.
    pub branch: BranchName,
    /// What it holds of the saved thing.
    pub part: String,
    /// Where it is.
    pub commit: CommitId,
}

/// What is saved; cheap, for names only.
pub fn names(repo: &Repository) -> Result<Vec<Saved>> {
    let format = "--format=%(objectname) %(refname) %(subject)";
    let text = repo.bare(["for-each-ref", format, SALVAGE_PREFIX]).text()?;
    let line = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (commit, reference) = (CommitId::parse(words.next()?).ok()?, words.next()?.to_owned());
        Some(SavedRef { reference, commit, subject: words.next().unwrap_or_default().to_owned() })
    };
    Ok(saved::group(text.lines().filter_map(line).collect()))
}

/// Looks at everything that is saved.
pub fn scan(repo: &Repository) -> Result<Salvage> {
    let saved = names(repo)?;
    let reader = repo.reader();
    let mut branches = reader.refs_below("refs/heads/")?;
    branches.extend(reader.refs_below("refs/remotes/")?);
    let tips: HashSet<&CommitId> = saved.iter().flat_map(Saved::parts).map(|part| &part.commit).collect();
    let unheld = unheld(repo, tips.into_iter(), branches.iter().map(|(_, tip)| tip))?;
    let made = saved.iter().flat_map(Saved::parts).filter(|part| part.uncommitted);
    let lines: String = made.map(|part| format!("{}\n", part.commit)).collect();
    let args = ["diff-tree", "--stdin", "--root", "-r", "-z", "--no-renames", "--name-status"];
    let files = saved::changed_files(repo.bare(args).stdin(lines).run()?.records());
    Ok(Salvage { saved, branches, unheld, files })
}

fn unheld<'a>(
    repo: &Repository,
    tips: impl Iterator<Item = &'a CommitId>,
    held: impl Iterator<Item = &'a CommitId>,
) -> Result<Unheld> {
    let lines: String = tips.map(|tip| format!("{tip}\n")).chain(held.map(|tip| format!("^{tip}\n"))).collect();
    if lines.is_empty() {
        return Ok(Unheld::default());
    }
    Ok(Unheld::parse(&repo.bare(["rev-list", "--parents", "--stdin"]).stdin(lines).text()?))
}

impl Salvage {
    /// How much a saved thing is, and until when.
    pub fn extent(&self, saved: &Saved, retention: Duration) -> Extent {
        let files = |part: &Part| self.files.get(&part.commit).copied().unwrap_or_default();
        let span = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        Extent {
            commits: self.unheld.commits(saved),
            // What was staged lay in the worktree too, most of the time: the fuller of both tells.
            files: saved.parts().filter(|part| part.holds_files()).map(files).max().unwrap_or_default(),
            expires_at: saved.at.map(|at| Timestamp(at.0.saturating_add(span))),
        }
    }

    /// The newest commit that a branch holds below the ref that holds most, and the changes since. Branches that are exactly
    /// there, or at changes made a commit, as [`Salvage::restore`] makes them, do not count. No base: everything is new.
    pub fn changes(&self, repo: &Repository, saved: &Saved) -> Result<(Option<CommitId>, Changes)> {
        let tip = &saved.main.commit;
        let restored = |held: &CommitId| saved.parts().any(|part| part.uncommitted && part.commit == *held);
        let others = self.branches.iter().map(|(_, held)| held).filter(|held| *held != tip && !restored(held));
        let mut bases = unheld(repo, std::iter::once(tip), others)?.bases(tip);
        if saved.main.uncommitted && bases == [tip.clone()] {
            // Work went on from it since: what was not committed then is what it brought.
            bases = repo.reader().revision(&format!("{tip}^"))?.into_iter().collect();
        }
        let base = newest(repo, &bases)?;
        let from = match &base {
            Some(base) => base.clone(),
            None => repo.bare(["hash-object", "-t", "tree", "/dev/null"]).object_id()?,
        };
        Ok((base, changes::between(repo, &from, tip)?))
    }

    /// Makes a branch where all that was saved can be reached from, and further ones for what that one does not hold.
    pub fn restore(&self, repo: &Repository, saved: &Saved, branch: &BranchName) -> Result<Vec<Restored>> {
        let mut made: Vec<Restored> = Vec::new();
        for part in saved.parts() {
            let name = match made.is_empty() {
                true => branch.clone(),
                false if self.is_there(repo, part, &made)? => continue,
                false => BranchName::parse(&format!("{branch}-{}", part.part))
                    .map_err(crate::worktree::WorktreeError::from)?,
            };
            made.push(Restored { branch: name, part: part.part.clone(), commit: part.commit.clone() });
        }
        let wanted: Vec<String> = made.iter().map(|made| made.branch.full_ref()).collect();
        if let Some(there) = saved::in_the_way(&wanted, self.branches.iter().map(|(name, _)| name.as_str())) {
            let there = there.strip_prefix("refs/heads/").unwrap_or(&there).to_owned();
            let message = format!("there is a branch `{there}` already, and restoring moves none");
            return Err(CleanupError::refused(message, "name another: --branch BRANCH"));
        }
        let change = |(name, made): (&String, &Restored)| RefChange {
            reference: name.clone(),
            new: Some(made.commit.clone()),
            expected: None,
        };
        let all: Vec<RefChange> = wanted.iter().zip(&made).map(change).collect();
        update_refs(repo, &all, "treehand: restored what was saved before a removal")?;
        Ok(made)
    }

    /// True when nothing is lost without a branch for this part: one holds it, or its files are what another part has.
    fn is_there(&self, repo: &Repository, part: &Part, made: &[Restored]) -> Result<bool> {
        if !self.unheld.contains(&part.commit) {
            return Ok(true);
        }
        let reader = repo.reader();
        for Restored { commit, .. } in made {
            let same = part.uncommitted && reader.tree_of(commit)? == reader.tree_of(&part.commit)?;
            if same || reader.is_ancestor(&part.commit, commit)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn newest(repo: &Repository, commits: &[CommitId]) -> Result<Option<CommitId>> {
    if let [] | [_] = commits {
        return Ok(commits.first().cloned());
    }
    let args = ["rev-list", "--no-walk=sorted", "--max-count=1"];
    let text = repo.bare(args).args(commits.iter().map(CommitId::as_str)).text()?;
    let wrong = || GitError::Unexpected { command: "rev-list --no-walk".into(), output: text.clone() };
    Ok(Some(CommitId::parse(&text).map_err(|_| wrong())?))
}

/// Deletes the refs of saved things, all or none. The journal says which commits they held.
pub fn discard(repo: &Repository, store: &Store, doomed: &[&Saved]) -> Result<()> {
    let change =
        |part: &Part| RefChange { reference: part.reference.clone(), new: None, expected: Some(part.commit.clone()) };
    let all: Vec<RefChange> = doomed.iter().flat_map(|saved| saved.parts()).map(change).collect();
    let refs: Vec<_> =
        doomed.iter().flat_map(|s| s.parts()).map(|p| json!({"ref": p.reference, "commit": p.commit})).collect();
    store.note(&EntryDraft::new("salvage.drop", json!({"refs": refs})))?;
    update_refs(repo, &all, "treehand: dropped")?;
    for part in doomed.iter().flat_map(|saved| saved.parts()) {
        import_submodules::discard(repo, &part.reference, &part.commit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::salvage::keep;
    use crate::worktree::WorktreeError;
    use crate::worktree::fixture::Fixture;

    fn saved_at(fixture: &Fixture, from: &str, part: &str, commit: &CommitId) {
        keep(&fixture.repo, &format!("{SALVAGE_PREFIX}{from}/1000-0123abcd"), part, commit).expect("kept");
    }

    #[test]
    fn what_moved_since_it_was_looked_at_keeps_everything() {
        let fixture = Fixture::new();
        let (first, second) = (fixture.tip("refs/heads/main"), fixture.commit("b", "b"));
        saved_at(&fixture, "v", "head", &first);
        saved_at(&fixture, "w", "head", &first);
        let salvage = scan(&fixture.repo).expect("read");
        fixture.git(&["update-ref", &salvage.saved[1].main.reference, second.as_str()]);
        let doomed: Vec<&Saved> = salvage.saved.iter().collect();
        let refused = discard(&fixture.repo, &fixture.store, &doomed);
        assert!(matches!(refused, Err(CleanupError::Worktree(WorktreeError::Busy { .. }))), "{refused:?}");
        assert_eq!(fixture.refs(SALVAGE_PREFIX).len(), 2, "all or none");
        let again = scan(&fixture.repo).expect("read");
        discard(&fixture.repo, &fixture.store, &again.saved.iter().collect::<Vec<_>>()).expect("dropped");
        assert_eq!(fixture.refs(SALVAGE_PREFIX), [] as [String; 0]);
    }

    #[test]
    fn each_history_that_no_branch_holds_is_restored_and_only_those() {
        let fixture = Fixture::new();
        for branch in ["below", "top", "theirs", "held"] {
            fixture.git(&["branch", branch]);
            fixture.commit_on(branch, &[(branch, "x")]);
        }
        let tip = |branch: &str| fixture.tip(&format!("refs/heads/{branch}"));
        let (below, theirs) = (tip("below"), tip("theirs"));
        fixture.git(&["branch", "-f", "top", "below"]);
        let top = fixture.commit_on("top", &[("more", "x")]);
        for (part, commit) in [("branch", &top), ("head", &below), ("MERGE_HEAD", &theirs), ("ORIG_HEAD", &tip("held"))]
        {
            saved_at(&fixture, "w", part, commit);
        }
        fixture.git(&["branch", "-D", "below", "top", "theirs"]);
        let salvage = scan(&fixture.repo).expect("read");
        let saved = &salvage.saved[0];
        let extent = salvage.extent(saved, Duration::from_secs(1));
        assert_eq!(extent, Extent { commits: 3, files: 0, expires_at: Some(Timestamp(2000)) });
        let branch = BranchName::parse("again").expect("a name");
        let made = salvage.restore(&fixture.repo, saved, &branch).expect("restored");
        let made: Vec<(&str, &CommitId)> = made.iter().map(|made| (made.branch.as_str(), &made.commit)).collect();
        assert_eq!(made, [("again", &top), ("again-MERGE_HEAD", &theirs)]);
        assert_eq!((tip("again"), tip("again-MERGE_HEAD")), (top, theirs));
    }

    #[test]
    fn the_base_is_the_newest_that_a_branch_holds_and_may_be_none() {
        let fixture = Fixture::new();
        let main = fixture.tip("refs/heads/main");
        let tree = fixture.git(&["rev-parse", "main^{tree}"]);
        let alone = CommitId::parse(&fixture.git(&["commit-tree", &tree, "-m", "alone"])).expect("an id");
        let mine = fixture.git(&["commit-tree", &tree, "-p", main.as_str(), "-m", "mine"]);
        saved_at(&fixture, "alone", "head", &alone);
        saved_at(&fixture, "mine", "head", &CommitId::parse(&mine).expect("an id"));
        let salvage = scan(&fixture.repo).expect("read");
        let (base, changes) = salvage.changes(&fixture.repo, &salvage.saved[0]).expect("read");
        assert_eq!((base, changes.files.is_empty()), (None, false), "everything is new");
        let (base, changes) = salvage.changes(&fixture.repo, &salvage.saved[1]).expect("read");
        assert_eq!((base, changes.files.is_empty()), (Some(main), true));
    }
}
