//! Apply: the histories of bases that stores were last filled with, kept for the stores that are made next (`run_store`).
//!
//! Each is a directory named after a commit, with the packs of just its history, in the private directory of the repository. A new store
//! gets hard links to those of a commit that is an ancestor of what it is for, so that nothing is in it that does not belong to that
//! history, and brings in only the rest. Packs are never written to again, so that a link is as good as a copy; whoever removes one of its
//! names leaves the others. What fails here costs time, and is no error: then all of it is fetched.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::{Result, WorktreeError};
use super::repository::Repository;
use crate::model::CommitId;
use crate::sys::fs;
use crate::sys::lock::FileLock;

/// So many are kept: the usual base, and a branch or two beside it.
const MOST: usize = 3;

/// With more packs than this git looks for objects too long: the next store fetches all of it, as one.
const MOST_PACKS: usize = 16;

/// What was brought in beyond a history is kept when it is this part of all.
const WORTH: u64 = 16;

/// What one is called until it is whole; only who has the lock makes it, so that one that is there already is a dead one's.
const ASIDE: &str = "new";

/// A history that a store was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Up to this commit.
    pub commit: CommitId,
    /// What its packs take on disk.
    bytes: u64,
}

/// Where they are.
pub fn place(repo: &Repository) -> Result<PathBuf> {
    Ok(repo.sealed_root()?.join("stock"))
}

/// Gives a new store the longest history kept that `commit` goes on from.
pub fn take(repo: &Repository, packs: &Path, commit: &CommitId) -> Result<Option<Taken>> {
    let Some(kept) = longest(repo, commit)? else { return Ok(None) };
    let from = place(repo)?.join(kept.as_str());
    let bytes = link(&from, packs)?;
    // That it is of use is what `clean` goes by.
    fs::touch(&from)?;
    Ok(Some(Taken { commit: kept, bytes }))
}

fn longest(repo: &Repository, commit: &CommitId) -> Result<Option<CommitId>> {
    let (reader, mut longest) = (repo.reader(), None);
    for (kept, _) in kept(repo)? {
        if kept == *commit {
            return Ok(Some(kept));
        }
        let goes_on = |from: &CommitId| Ok::<_, WorktreeError>(reader.is_ancestor(from, &kept)?);
        if reader.has_commit(&kept)?
            && reader.is_ancestor(&kept, commit)?
            && longest.as_ref().map_or(Ok(true), goes_on)?
        {
            longest = Some(kept);
        }
    }
    Ok(longest)
}

/// Forgets one of which something is missing.
pub fn discard(repo: &Repository, commit: &CommitId) -> Result<()> {
    Ok(fs::remove_tree(&place(repo)?.join(commit.as_str()))?)
}

/// Keeps the history that is in a store, which has just that of this commit, all in packs; `taken` is what it was given before.
pub fn keep(repo: &Repository, packs: &Path, commit: &CommitId, taken: Option<&Taken>) -> Result<()> {
    let all = place(repo)?;
    fs::create_private_dir_all(&all)?;
    let _one_at_a_time = FileLock::acquire(&all.with_extension("lock"), &format!("pid {}", std::process::id()))?;
    let into = all.join(commit.as_str());
    let found = pack_files(packs)?;
    let count = found.iter().filter(|name| name.ends_with(".pack")).count();
    if count == 0 || fs::exists(&into)? {
        return Ok(());
    }
    let bytes = sum(packs, &found)?;
    if taken.is_some_and(|taken| (bytes - taken.bytes.min(bytes)) * WORTH < bytes) && count <= MOST_PACKS {
        return Ok(());
    }
    if count <= MOST_PACKS {
        // Nobody takes one that is not whole: it has its name last.
        let aside = all.join(ASIDE);
        fs::remove_tree(&aside)?;
        fs::create_private_dir(&aside)?;
        link(packs, &aside)?;
        fs::move_path(&aside, &into)?;
    }
    if let Some(taken) = taken {
        fs::remove_tree(&all.join(taken.commit.as_str()))?;
    }
    let mut kept = kept(repo)?;
    kept.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    kept.iter().skip(MOST).try_for_each(|(old, _)| Ok(fs::remove_tree(&all.join(old.as_str()))?))
}

/// The commits whose histories are kept, with when each was last of use.
fn kept(repo: &Repository) -> Result<Vec<(CommitId, SystemTime)>> {
    let all = place(repo)?;
    let mut found = Vec::new();
    for name in names(&all)? {
        let Ok(commit) = CommitId::parse(&name) else { continue };
        let modified = std::fs::metadata(all.join(&name)).and_then(|meta| meta.modified());
        // One that goes meanwhile is none.
        found.extend(modified.ok().map(|at| (commit, at)));
    }
    Ok(found)
}

/// Hard links of the packs in one directory in another; what they take on disk.
fn link(from: &Path, into: &Path) -> Result<u64> {
    let found = pack_files(from)?;
    for name in &found {
        let place = into.join(name);
        match std::fs::hard_link(from.join(name), &place) {
            // Its name is the sum of what is in it: whoever began this before has had the same.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            linked => linked.map_err(fs::at("link", &place))?,
        }
    }
    sum(from, &found)
}

/// What packs consist of, the index last: a pack without one is none.
fn pack_files(directory: &Path) -> Result<Vec<String>> {
    let mut found = names(directory)?;
    found.retain(|name| [".pack", ".rev", ".idx"].iter().any(|end| name.ends_with(end)));
    found.sort_by_key(|name| name.ends_with(".idx"));
    Ok(found)
}

fn sum(directory: &Path, names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |sum, name| {
        let path = directory.join(name);
        Ok(sum + std::fs::metadata(&path).map_err(fs::at("look at", &path))?.len())
    })
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fs::at("read", directory))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        found.extend(entry.map_err(fs::at("read", directory))?.file_name().into_string().ok());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::run_store::{RunStore, brought_in};

    /// A new store of this name with the history of a commit.
    fn store(fixture: &Fixture, name: &str, commit: &CommitId) -> RunStore {
        let private = fixture.repo.sealed_root().expect("a place").join("named").join(name);
        let store = RunStore::at(&fixture.repo, &private, commit).expect("made");
        store.fetch(&fixture.repo.common_dir, commit).expect("fetched");
        assert_eq!(brought_in(&private).expect("read"), std::slice::from_ref(commit));
        let whole = fixture.repo.git.bare(store.git_dir(), ["rev-list", "--objects", commit.as_str()]);
        whole.run().expect("nothing of the history is missing");
        store
    }

    fn has(fixture: &Fixture, store: &RunStore, commit: &CommitId) -> bool {
        let looked = fixture.repo.git.bare(store.git_dir(), ["cat-file", "-e", commit.as_str()]).output();
        looked.expect("git works").status.success()
    }

    fn inodes(store: &RunStore) -> Vec<u64> {
        let packs = store.objects().join("pack");
        let files = pack_files(&packs).expect("read").into_iter();
        let mut found: Vec<u64> = files.map(|name| packs.join(name).metadata().expect("there").ino()).collect();
        found.sort_unstable();
        found
    }

    fn kept_commits(fixture: &Fixture) -> Vec<CommitId> {
        let mut found: Vec<CommitId> =
            kept(&fixture.repo).expect("read").into_iter().map(|(commit, _)| commit).collect();
        found.sort();
        found
    }

    #[test]
    fn the_next_store_has_the_history_of_the_last_and_outlives_it() {
        let fixture = Fixture::new();
        let tip = fixture.tip("refs/heads/main");
        let first = store(&fixture, "first", &tip);
        let second = store(&fixture, "second", &tip);
        assert!(!inodes(&first).is_empty());
        assert_eq!(inodes(&first), inodes(&second));
        fs::remove_tree(first.git_dir()).expect("removed");
        fs::remove_tree(&place(&fixture.repo).expect("a place")).expect("removed");
        assert!(has(&fixture, &second, &tip));
        let third = store(&fixture, "third", &tip);
        assert!(inodes(&third).iter().all(|inode| !inodes(&second).contains(inode)), "it was fetched");
    }

    #[test]
    fn nothing_is_in_a_store_that_does_not_belong_to_its_history() {
        let fixture = Fixture::new();
        let old = fixture.tip("refs/heads/main");
        fixture.git(&["branch", "other"]);
        let secret = fixture.commit_on("other", &[("secret", "x\n")]);
        store(&fixture, "other", &secret);
        let new = fixture.commit("b", "two\n");
        let both = store(&fixture, "new", &new);
        assert!(has(&fixture, &both, &old) && !has(&fixture, &both, &secret));
        // One that begins earlier knows nothing of what came later.
        let before = store(&fixture, "old", &old);
        assert!(!has(&fixture, &before, &new) && !has(&fixture, &before, &secret));
        // One that goes on has the old packs, and what came since.
        let newer = fixture.commit("c", "three\n");
        let after = store(&fixture, "newer", &newer);
        assert!(has(&fixture, &after, &newer) && !has(&fixture, &after, &secret));
        let shared = inodes(&both).iter().filter(|inode| inodes(&after).contains(inode)).count();
        assert_eq!(shared, inodes(&both).len());
    }

    #[test]
    fn what_is_damaged_is_forgotten_and_all_is_fetched() {
        let fixture = Fixture::new();
        let tip = fixture.tip("refs/heads/main");
        store(&fixture, "first", &tip);
        let damaged = place(&fixture.repo).expect("a place").join(tip.as_str());
        for name in pack_files(&damaged).expect("read").into_iter().filter(|name| name.ends_with(".idx")) {
            std::fs::remove_file(damaged.join(name)).expect("removed");
        }
        assert!(has(&fixture, &store(&fixture, "second", &tip), &tip));
        assert!(pack_files(&damaged).expect("read").iter().any(|name| name.ends_with(".idx")), "it was kept anew");
    }

    #[test]
    fn a_few_are_kept_and_one_that_another_goes_on_from_gives_way() {
        let fixture = Fixture::new();
        let mut tips = vec![fixture.tip("refs/heads/main")];
        store(&fixture, "0", &tips[0]);
        for name in ["b1", "b2", "b3"] {
            fixture.git(&["branch", name, tips[0].as_str()]);
            tips.push(fixture.commit_on(name, &[(name, name)]));
            store(&fixture, name, &tips[tips.len() - 1]);
        }
        // The first branch took the place of what it goes on from; the others began anew.
        let mut expected = tips[1..].to_vec();
        expected.sort();
        assert_eq!(kept_commits(&fixture), expected);
        let more = fixture.commit("d", "x");
        store(&fixture, "more", &more);
        assert!(kept_commits(&fixture).contains(&more) && kept_commits(&fixture).len() == MOST);
    }

    #[test]
    fn of_a_shallow_repository_nothing_is_kept() {
        let fixture = Fixture::new();
        let tip = fixture.commit("b", "two\n");
        std::fs::write(fixture.repo.common_dir.join("shallow"), format!("{tip}\n")).expect("written");
        store(&fixture, "first", &tip);
        assert_eq!(kept_commits(&fixture), []);
    }
}
