//! Apply: the histories of bases that stores were last filled with, kept for the stores that are made next (`run_store`).
//!
//! Each is a directory named after a commit, with the packs of just its history, in treehand's directory of the repository. A new store
//! gets hard links to those of a commit that is an ancestor of what it is for, so that nothing is in it that does not belong to that
//! history, and brings in only the rest. Packs are never written to again, so that a link is as good as a copy, which it is on another
//! file system; whoever removes one of its names leaves the others. What fails here costs time, and is no error: then all of it is fetched.

use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

use super::abandoned::children;
use super::error::Result;
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
    /// How many there are.
    packs: usize,
}

/// Where they are.
pub fn place(repo: &Repository) -> PathBuf {
    repo.state_dir().join("stock")
}

/// Gives a new store the longest history kept that `commit` goes on from.
pub fn take(repo: &Repository, packs: &Path, commit: &CommitId) -> Result<Option<Taken>> {
    let Some(kept) = longest(repo, commit)? else { return Ok(None) };
    let from = place(repo).join(kept.as_str());
    let Some(found) = whole(&from)? else {
        tracing::debug!(commit = %kept, "what was kept of a history is not whole");
        discard(repo, &kept)?;
        return Ok(None);
    };
    link(&from, packs, &found)?;
    let bytes = found.iter().map(|file| file.bytes).sum();
    // That it is of use is what `clean` goes by.
    fs::touch(&from)?;
    let packs = found.iter().filter(|file| file.name.ends_with(".pack")).count();
    Ok(Some(Taken { commit: kept, bytes, packs }))
}

fn longest(repo: &Repository, commit: &CommitId) -> Result<Option<CommitId>> {
    let kept: Vec<CommitId> = kept(repo)?.into_iter().map(|(kept, _)| kept).collect();
    if let Some(same) = kept.iter().find(|kept| *kept == commit) {
        return Ok(Some(same.clone()));
    }
    let (reader, mut longest) = (repo.reader(), None);
    for kept in kept {
        if reader.has_commit(&kept)?
            && goes_on(repo, &kept, commit)?
            && longest.as_ref().map_or(Ok(true), |longest| goes_on(repo, longest, &kept))?
        {
            longest = Some(kept);
        }
    }
    Ok(longest)
}

/// True for a commit that has another one in its history. Grafts and replacements, which fetching goes past, would have it otherwise.
pub(super) fn goes_on(repo: &Repository, from: &CommitId, commit: &CommitId) -> Result<bool> {
    let asked = repo.bare(["merge-base", "--is-ancestor", from.as_str(), commit.as_str()]);
    let told = asked.env("GIT_GRAFT_FILE", "/dev/null/none").env("GIT_NO_REPLACE_OBJECTS", "1").output()?;
    Ok(told.code() == 0)
}

/// Forgets one of which something is missing.
pub fn discard(repo: &Repository, commit: &CommitId) -> Result<()> {
    Ok(fs::remove_tree(&place(repo).join(commit.as_str()))?)
}

/// Keeps the history that is in a store, which has just that of this commit, all in packs; `taken` is what it was given before.
pub fn keep(repo: &Repository, packs: &Path, commit: &CommitId, taken: Option<&Taken>) -> Result<()> {
    let all = place(repo);
    fs::create_private_dir_all(&all)?;
    let _one_at_a_time = FileLock::acquire(&repo.lock("stock"), &format!("pid {}", std::process::id()))?;
    let into = all.join(commit.as_str());
    let found = seen(packs, pack_files(packs)?)?;
    let count = found.iter().filter(|file| file.name.ends_with(".pack")).count();
    // A fetch is one pack: what else is there is not of it, but of a git that outlived who had started it, say.
    let expected = taken.map_or(0, |taken| taken.packs) + 1;
    if count == 0 || count > expected || fs::exists(&into)? {
        return Ok(());
    }
    let bytes: u64 = found.iter().map(|file| file.bytes).sum();
    if taken.is_some_and(|taken| (bytes - taken.bytes.min(bytes)) * WORTH < bytes) && count <= MOST_PACKS {
        return Ok(());
    }
    if count <= MOST_PACKS {
        // Nobody takes one that is not whole: it has its name last.
        let aside = all.join(ASIDE);
        let made = put(packs, &aside, &found).and_then(|()| Ok(fs::move_path(&aside, &into)?));
        if made.is_err() {
            fs::remove_tree(&aside)?;
        }
        made?;
    }
    if let Some(taken) = taken {
        fs::remove_tree(&all.join(taken.commit.as_str()))?;
    }
    let mut kept = kept(repo)?;
    kept.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    kept.iter().skip(MOST).try_for_each(|(old, _)| Ok(fs::remove_tree(&all.join(old.as_str()))?))
}

/// Makes one of these files.
fn put(packs: &Path, aside: &Path, files: &[Listed]) -> Result<()> {
    fs::remove_tree(aside)?;
    fs::create_private_dir(aside)?;
    link(packs, aside, files)?;
    list(aside, files)
}

/// The commits whose histories are kept, with when each was last of use.
fn kept(repo: &Repository) -> Result<Vec<(CommitId, SystemTime)>> {
    let all = place(repo);
    let mut found = Vec::new();
    for name in names(&all)? {
        let Ok(commit) = CommitId::parse(&name) else { continue };
        let modified = std::fs::metadata(all.join(&name)).and_then(|meta| meta.modified());
        // One that goes meanwhile is none.
        found.extend(modified.ok().map(|at| (commit, at)));
    }
    Ok(found)
}

/// What one consists of, in a file of its own, so that what is missing, cut off or changed is noticed.
const LIST: &str = "list";

/// A file of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Listed {
    name: String,
    bytes: u64,
    /// When it was last changed, in seconds and nanoseconds: making a link is no change.
    changed: (i64, i64),
}

fn list(directory: &Path, files: &[Listed]) -> Result<()> {
    let text = serde_json::to_vec(files).unwrap_or_default();
    Ok(fs::write_atomic(&directory.join(LIST), &text)?)
}

/// The files of one; `None` where they are not what they were.
fn whole(directory: &Path) -> Result<Option<Vec<Listed>>> {
    let place = directory.join(LIST);
    let text = match std::fs::read(&place) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(fs::at("read", &place))?,
    };
    let Ok(listed) = serde_json::from_slice::<Vec<Listed>>(&text) else { return Ok(None) };
    let names = listed.iter().map(|file| file.name.clone()).collect();
    let Ok(now) = seen(directory, names) else { return Ok(None) };
    if listed == now {
        return Ok(Some(listed));
    }
    // git makes a pack as new as an object that it would have written, had it not been there. Then its own sum tells.
    for (before, now) in listed.iter().zip(&now).filter(|(before, now)| before != now) {
        if before.bytes != now.bytes || !is_as_it_sums(&directory.join(&now.name))? {
            return Ok(None);
        }
    }
    list(directory, &now)?;
    Ok(Some(now))
}

/// True for a file of a pack that ends in the SHA-1 of all that is before.
fn is_as_it_sums(path: &Path) -> Result<bool> {
    let sum = || -> std::io::Result<bool> {
        let file = std::fs::File::open(path)?;
        let Some(length) = file.metadata()?.len().checked_sub(20) else { return Ok(false) };
        let mut reader = std::io::BufReader::with_capacity(1 << 20, file);
        let (mut hasher, mut left, mut piece) = (Sha1::new(), length, vec![0; 1 << 16]);
        while left > 0 {
            let some = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            reader.read_exact(&mut piece[..some])?;
            hasher.update(&piece[..some]);
            left -= u64::try_from(some).unwrap_or(left);
        }
        let mut end = [0; 20];
        reader.read_exact(&mut end)?;
        Ok(hasher.finalize().as_slice() == end)
    };
    sum().map_err(|error| fs::at("read", path)(error).into())
}

/// Hard links of files in one directory in another, in this order.
fn link(from: &Path, into: &Path, files: &[Listed]) -> Result<()> {
    for Listed { name, .. } in files {
        let (file, place) = (from.join(name), into.join(name));
        match std::fs::hard_link(&file, &place) {
            // Its name is the sum of what is in it: whoever began this before has had the same.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(fs::at("link", &place)(error).into()),
            // Another file system, one without links, or too many of them.
            Err(_) => {
                let aside = into.join(format!("{name}.aside"));
                fs::copy_keeping_time(&file, &aside)?;
                fs::sync(&aside)?;
                std::fs::rename(&aside, &place).map_err(fs::at("move", &aside))?;
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// What packs consist of, the index last: a pack without one is none.
fn pack_files(directory: &Path) -> Result<Vec<String>> {
    let mut found = names(directory)?;
    found.retain(|name| [".pack", ".rev", ".idx"].iter().any(|end| name.ends_with(end)));
    found.sort_by_key(|name| name.ends_with(".idx"));
    Ok(found)
}

/// Files as they are now.
fn seen(directory: &Path, names: Vec<String>) -> Result<Vec<Listed>> {
    let look = |name: String| {
        let path = directory.join(&name);
        let meta = std::fs::symlink_metadata(&path).map_err(fs::at("look at", &path))?;
        Ok(Listed { name, bytes: meta.len(), changed: (meta.mtime(), meta.mtime_nsec()) })
    };
    names.into_iter().map(look).collect()
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let name = |path: PathBuf| path.file_name()?.to_str().map(str::to_owned);
    Ok(children(directory)?.into_iter().filter_map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;
    use crate::worktree::run_store::{RunStore, brought_in};

    /// A branch with a history of its own.
    fn secret(fixture: &Fixture) -> CommitId {
        let commit = fixture.git(&["commit-tree", "-m", "secret", "main^{tree}"]);
        fixture.git(&["branch", "secret", &commit]);
        fixture.tip("refs/heads/secret")
    }

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
        fs::remove_tree(&place(&fixture.repo)).expect("removed");
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
        let damaged = place(&fixture.repo).join(tip.as_str());
        for (number, end) in [".idx", ".pack", "list"].into_iter().enumerate() {
            for name in names(&damaged).expect("read").into_iter().filter(|name| name.ends_with(end)) {
                fs::remove_file(&damaged.join(&name)).expect("removed");
                std::fs::write(damaged.join(&name), "").expect("written");
            }
            assert!(has(&fixture, &store(&fixture, &number.to_string(), &tip), &tip));
            assert!(whole(&damaged).expect("read").is_some(), "it was kept anew");
        }
        // Of the same size, and as if git had only looked at it.
        let pack = |damaged: &Path| {
            let mut names = names(damaged).expect("read").into_iter();
            damaged.join(names.find(|name| name.ends_with(".pack")).expect("a pack"))
        };
        fs::touch(&pack(&damaged)).expect("touched");
        let inode = |path: &Path| path.metadata().expect("there").ino();
        let before = inode(&pack(&damaged));
        store(&fixture, "touched", &tip);
        assert_eq!(inode(&pack(&damaged)), before, "it is as it was");
        let bytes: Vec<u8> = std::fs::read(pack(&damaged)).expect("read").into_iter().map(|byte| byte ^ 1).collect();
        let path = pack(&damaged);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("set");
        std::fs::write(&path, bytes).expect("written");
        store(&fixture, "other", &tip);
        assert_ne!(inode(&pack(&damaged)), before, "it was kept anew");
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
    fn what_a_store_had_before_its_maker_died_is_in_no_other() {
        let fixture = Fixture::new();
        let (tip, secret) = (fixture.tip("refs/heads/main"), secret(&fixture));
        let died = store(&fixture, "w", &secret);
        fs::remove_file(&died.git_dir().join("refs/treehand").join(secret.as_str())).expect("removed");
        std::fs::write(died.git_dir().join("refs/treehand").join(format!("{tip}.lock")), "").expect("written");
        let stock = died.git_dir().join("refs/stock");
        std::fs::create_dir_all(&stock).expect("made");
        std::fs::write(stock.join(secret.as_str()), format!("{secret}\n")).expect("written");
        fs::remove_tree(&place(&fixture.repo)).expect("removed");
        assert!(!has(&fixture, &store(&fixture, "w", &tip), &secret));
        assert!(!has(&fixture, &store(&fixture, "v", &tip), &secret));
    }

    #[test]
    fn a_graft_makes_no_history_part_of_another() {
        let fixture = Fixture::new();
        let (tip, secret) = (fixture.tip("refs/heads/main"), secret(&fixture));
        store(&fixture, "s", &secret);
        std::fs::create_dir_all(fixture.repo.common_dir.join("info")).expect("made");
        std::fs::write(fixture.repo.common_dir.join("info/grafts"), format!("{tip} {secret}\n")).expect("written");
        fixture.git(&["replace", "--graft", tip.as_str(), secret.as_str()]);
        assert!(!has(&fixture, &store(&fixture, "v", &tip), &secret));
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
