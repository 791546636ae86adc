//! Scan and apply: what was saved before removals, looked at, made branches of, and dropped.
//!
//! Reads all refs, all history that no branch holds and all counts with one git each, however much is saved; of a bundle only
//! what is beside it, until its files are asked for. A branch is only ever made, never moved; a ref of salvage goes only where it
//! is still what was looked at, and all of them or none; a bundle goes to the trash.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::bundles::{self, Bundle};
use super::saved::{self, Part, Saved, SavedRef, Unheld};
use crate::cleanup::error::{CleanupError, Result};
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::trash;
use crate::model::{BranchName, CommitId, Timestamp};
use crate::store::{EntryDraft, Store};
use crate::sys::git::GitError;
use crate::worktree::changes::{self, Changes};
use crate::worktree::import::{RefChange, update_refs};
use crate::worktree::quarantine::Quarantine;
use crate::worktree::{Repository, import_submodules};

/// Everything that is saved, and what stands beside it.
pub struct Salvage {
    /// What is saved, newest first.
    pub saved: Vec<Saved>,
    branches: Vec<(String, CommitId)>,
    bundles: Vec<Bundle>,
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
    names_with(repo, &bundles::all(repo)?.all)
}

fn names_with(repo: &Repository, bundles: &[Bundle]) -> Result<Vec<Saved>> {
    let format = "--format=%(objectname) %(refname) %(subject)";
    let text = repo.bare(["for-each-ref", format, SALVAGE_PREFIX]).text()?;
    let line = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (commit, reference) = (CommitId::parse(words.next()?).ok()?, words.next()?.to_owned());
        Some(SavedRef { reference, commit, subject: words.next().unwrap_or_default().to_owned(), bundle: None })
    };
    let mut all: Vec<SavedRef> = text.lines().filter_map(line).collect();
    for bundle in bundles {
        let file = Some(bundle.file());
        all.extend(bundle.about.parts.iter().map(|part| SavedRef {
            reference: bundle.reference(part),
            commit: part.commit.clone(),
            subject: part.subject.clone(),
            bundle: file.clone(),
        }));
    }
    Ok(saved::group(all))
}

/// Looks at everything that is saved.
pub fn scan(repo: &Repository) -> Result<Salvage> {
    let bundles = bundles::all(repo)?.all;
    let saved = names_with(repo, &bundles)?;
    let reader = repo.reader();
    let mut branches = reader.refs_below("refs/heads/")?;
    branches.extend(reader.refs_below("refs/remotes/")?);
    let in_refs = || saved.iter().flat_map(Saved::parts).filter(|part| part.bundle.is_none());
    let here = here(repo, bundles.iter().flat_map(|bundle| bundle.about.ids()))?;
    let tips: HashSet<&CommitId> = in_refs().map(|part| &part.commit).chain(&here).collect();
    let mut unheld = unheld(repo, tips.into_iter(), branches.iter().map(|(_, tip)| tip))?;
    let absent = |line: &&str| {
        !line.split(' ').next().and_then(|id| CommitId::parse(id).ok()).is_some_and(|id| here.contains(&id))
    };
    unheld.add(bundles.iter().flat_map(|bundle| bundle.about.commits.iter().map(String::as_str)).filter(absent));
    let made = in_refs().filter(|part| part.uncommitted);
    let lines: String = made.map(|part| format!("{}\n", part.commit)).collect();
    let args = ["diff-tree", "--stdin", "--root", "-r", "-z", "--no-renames", "--name-status"];
    let mut files = saved::changed_files(repo.bare(args).stdin(lines).run()?.records());
    let bundled = bundles.iter().flat_map(|bundle| &bundle.about.parts);
    files.extend(bundled.map(|part| (part.commit.clone(), part.files)));
    Ok(Salvage { saved, branches, bundles, unheld, files })
}

/// Which of these commits the repository has, restored perhaps.
fn here<'a>(repo: &Repository, commits: impl Iterator<Item = &'a str>) -> Result<HashSet<CommitId>> {
    let lines: String = commits.map(|commit| format!("{commit}\n")).collect();
    if lines.is_empty() {
        return Ok(HashSet::new());
    }
    let text = repo.bare(["cat-file", "--batch-check"]).env("GIT_NO_LAZY_FETCH", "1").stdin(lines).text()?;
    let there = |line: &str| match line.split(' ').collect::<Vec<_>>()[..] {
        [id, "commit", _] => CommitId::parse(id).ok(),
        _ => None,
    };
    Ok(text.lines().filter_map(there).collect())
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
        if saved.main.bundle.is_none() {
            return self.changes_in(repo, saved);
        }
        self.opened(repo, saved, |quarantine| self.changes_in(&quarantine.as_repository(repo), saved))
    }

    /// Lets something be done with a quarantine that has everything which the bundle of a saved thing holds.
    fn opened<T>(&self, repo: &Repository, saved: &Saved, work: impl FnOnce(&Quarantine) -> Result<T>) -> Result<T> {
        let bundle = self.bundle_of(saved).ok_or_else(|| gone(saved))?;
        let quarantine = bundles::open(repo, bundle)?;
        let done = work(&quarantine);
        let discarded = quarantine.discard();
        let done = done?;
        discarded?;
        Ok(done)
    }

    fn bundle_of(&self, saved: &Saved) -> Option<&Bundle> {
        let file = saved.bundle()?;
        self.bundles.iter().find(|bundle| bundle.file() == *file)
    }

    fn changes_in(&self, repo: &Repository, saved: &Saved) -> Result<(Option<CommitId>, Changes)> {
        let tip = &saved.main.commit;
        let restored = |held: &CommitId| saved.parts().any(|part| part.uncommitted && part.commit == *held);
        let others = self.branches.iter().map(|(_, held)| held).filter(|held| *held != tip && !restored(held));
        let mut bases = unheld(repo, std::iter::once(tip), others)?.bases(tip);
        if saved.main.uncommitted && bases == [tip.clone()] {
            // Work went on from it since: what was not committed then is what it brought.
            let parent =
                repo.bare(["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{tip}^")]).output()?;
            bases = CommitId::parse(String::from_utf8_lossy(&parent.stdout).trim()).into_iter().collect();
        }
        let base = newest(repo, &bases)?;
        let from = match &base {
            Some(base) => base.clone(),
            None => repo.bare(["hash-object", "-t", "tree", "/dev/null"]).object_id()?,
        };
        Ok((base, changes::between(repo, &from, tip)?))
    }

    /// Makes a branch where all that was saved can be reached from, and further ones for what that one does not hold.
    /// What a bundle holds comes into the repository with that.
    pub fn restore(&self, repo: &Repository, saved: &Saved, branch: &BranchName) -> Result<Vec<Restored>> {
        if saved.bundle().is_none() {
            let made = self.branches_for(repo, saved, branch)?;
            make(repo, &made)?;
            return Ok(made);
        }
        self.opened(repo, saved, |quarantine| {
            let made = self.branches_for(&quarantine.as_repository(repo), saved, branch)?;
            let kept = quarantine.migrate_packs()?;
            let updated = make(repo, &made);
            kept.release()?;
            updated.map(|()| made)
        })
    }

    /// The branches that restoring makes.
    fn branches_for(&self, repo: &Repository, saved: &Saved, branch: &BranchName) -> Result<Vec<Restored>> {
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
        Ok(made)
    }

    /// True when nothing is lost without a branch for this part: one holds it, or its files are what another part has.
    fn is_there(&self, repo: &Repository, part: &Part, made: &[Restored]) -> Result<bool> {
        if !self.unheld.contains(&part.commit) {
            return Ok(true);
        }
        let tree = |commit: &CommitId| repo.bare(["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).object_id();
        for Restored { commit, .. } in made {
            let same = part.uncommitted && tree(commit)? == tree(&part.commit)?;
            let below = ["merge-base", "--is-ancestor", part.commit.as_str(), commit.as_str()];
            if same || repo.bare(below).output()?.status.success() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn gone(saved: &Saved) -> CleanupError {
    CleanupError::refused(format!("the bundle of {} is gone", saved.name), "see what there is: treehand salvage ls")
}

fn make(repo: &Repository, made: &[Restored]) -> Result<()> {
    let change = |made: &Restored| RefChange {
        reference: made.branch.full_ref(),
        new: Some(made.commit.clone()),
        expected: None,
    };
    let all: Vec<RefChange> = made.iter().map(change).collect();
    Ok(update_refs(repo, &all, "treehand: restored what was saved before a removal")?)
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

/// Lets saved things go: all of their refs or none, and then bundles, into the trash. The journal says what they held and where
/// bundles are.
pub fn discard(repo: &Repository, store: &Store, doomed: &[&Saved]) -> Result<()> {
    let all = bundles::all(repo)?.all;
    let mut bundled = Vec::new();
    for saved in doomed {
        if let Some(file) = saved.bundle() {
            bundled.push(all.iter().find(|bundle| bundle.file() == *file).ok_or_else(|| gone(saved))?);
        }
    }
    let parts = || doomed.iter().flat_map(|saved| saved.parts());
    let in_refs = || parts().filter(|part| part.bundle.is_none());
    let refs: Vec<_> = parts().map(|part| json!({"ref": part.reference, "commit": part.commit})).collect();
    let stamp = trash::stamp()?;
    let places =
        bundled.iter().enumerate().map(|(number, bundle)| bundles::place_in_trash(repo, bundle, &stamp, number));
    let places: Vec<_> = places.collect();
    store.note(&EntryDraft::new("salvage.drop", json!({"refs": refs, "bundles": places})))?;
    // Before bundles: one whose refs have moved stays where it is.
    let change =
        |part: &Part| RefChange { reference: part.reference.clone(), new: None, expected: Some(part.commit.clone()) };
    update_refs(repo, &in_refs().map(change).collect::<Vec<_>>(), "treehand: dropped")?;
    bundles::to_trash(repo, &bundled, &stamp)?;
    for part in in_refs() {
        import_submodules::discard(repo, &part.reference, &part.commit)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cleanup::salvage::part::keep;
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
