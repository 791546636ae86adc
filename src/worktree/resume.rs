//! Apply: completes the move of a branch that a process began and did not live to finish, or could not.
//!
//! The branch has moved already or not at all; what is left are locks and files. A file is taken for moved when it is what
//! the new commit says, and for half written when it is a beginning of that: both hold nothing that would be lost. Any
//! other difference is the user's, and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use super::advance::{Advance, present};
use super::checkouts;
use super::error::Result;
use super::import::changes;
use super::index_lock::{self, IndexLock, Obstacle};
use super::repository::{Repository, bytes_path};
use super::result_policy::RawChange;
use crate::model::{BranchName, CommitId};
use crate::sys::fs;

/// How it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "files may still be behind their branch"]
pub enum Resumed {
    /// The branch never moved, and nothing else did.
    NotMoved,
    /// The branch moved, and every checkout is where it is.
    Complete,
    /// The branch is somewhere else by now; nothing was touched.
    MovedOn,
    /// Something of the user's is in the way of the files; the branch has moved.
    InTheWay(Obstacle),
    /// A lock is held by a living process.
    Busy {
        /// The lock file.
        lock: std::path::PathBuf,
    },
}

/// What was done about things that nobody had finished, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Those that are whole now, or never were.
    pub settled: Vec<String>,
    /// Those that a person has to look at, each with the reason.
    pub blocked: Vec<String>,
}

/// True when the branch has this commit in its history.
pub fn contains(repo: &Repository, branch: &BranchName, commit: &CommitId) -> Result<bool> {
    let reader = repo.reader();
    match reader.ref_commit(&branch.full_ref())? {
        Some(tip) => Ok(reader.has_commit(commit)? && reader.is_ancestor(commit, &tip)?),
        None => Ok(false),
    }
}

/// Completes a move.
pub fn resume(repo: &Repository, request: &Advance<'_>) -> Result<Resumed> {
    let checkouts = checkouts::branch_use(repo, request.branch)?.checkouts;
    for checkout in &checkouts {
        index_lock::break_dead(repo, checkout)?;
    }
    match repo.reader().ref_commit(&request.branch.full_ref())? {
        Some(tip) if tip == *request.to => {}
        Some(tip) if tip == *request.from => return Ok(Resumed::NotMoved),
        _ => return Ok(Resumed::MovedOn),
    }
    let moving = changes(repo.bare([] as [&str; 0]), request.from, request.to)?.raw;
    for (checkout, tree) in present(&checkouts) {
        let deadline = Instant::now() + request.lock_wait;
        let Some(lock) = IndexLock::take(repo, &checkout.git_dir, tree, deadline)? else {
            return Ok(Resumed::Busy { lock: checkout.git_dir.join("index.lock") });
        };
        if let Some(obstacle) = bring_along(repo, lock, request, &moving)? {
            return Ok(Resumed::InTheWay(obstacle));
        }
    }
    Ok(Resumed::Complete)
}

/// Moves what has not moved yet of one worktree.
fn bring_along(
    repo: &Repository,
    mut lock: IndexLock<'_>,
    request: &Advance<'_>,
    moving: &[RawChange],
) -> Result<Option<Obstacle>> {
    let differs = |from: &str| -> Result<BTreeSet<Vec<u8>>> {
        let listed = lock.git(["diff-index", "--cached", "-z", "--name-only", from, "--"]).run()?;
        Ok(listed.records().map(<[u8]>::to_vec).collect())
    };
    let (from_old, from_new) = (differs(request.from.as_str())?, differs(request.to.as_str())?);
    // What the index has in neither form was staged by the user.
    let pending: Vec<&RawChange> = moving.iter().filter(|change| from_new.contains(&change.path)).collect();
    let foreign: Vec<Vec<u8>> =
        pending.iter().filter(|change| from_old.contains(&change.path)).map(|change| change.path.clone()).collect();
    if !foreign.is_empty() {
        return Ok(Some(lock.local_changes(&foreign)));
    }
    let entries = entries(repo, request, &pending)?;
    let mut settled = moved(&lock, &pending, &entries)?;
    let mut lost = Vec::new();
    for change in &pending {
        let path = change.path.as_slice();
        if !settled.contains(path) && is_lost(repo, lock.tree(), path, entries.get(path))? {
            lost.push(path);
        }
    }
    settled.extend(&lost);
    stage(&lock, &settled, &entries)?;
    let rest: Vec<RawChange> =
        pending.into_iter().filter(|change| !settled.contains(change.path.as_slice())).cloned().collect();
    if let Some(obstacle) = lock.obstacle(request.from, request.to, &rest)? {
        return Ok(Some(obstacle));
    }
    for path in &lost {
        fs::remove_file(&lock.tree().join(bytes_path(path)))?;
    }
    let written = lock.git(["checkout-index", "-u", "-q", "-z", "--stdin"]).stdin(lines(&lost)).output()?;
    if !written.status.success() {
        return Ok(Some(lock.local_changes(&lost.iter().map(|path| path.to_vec()).collect::<Vec<_>>())));
    }
    lock.update(request.from, request.to)?;
    Ok(None)
}

/// Paths as git reads them with `-z --stdin`.
fn lines(paths: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::new();
    for path in paths {
        text.extend_from_slice(path);
        text.push(0);
    }
    text
}

/// The new commit's entries for these paths, as `update-index --index-info` takes them: mode, type and id.
type Entries = BTreeMap<Vec<u8>, String>;

fn entries(repo: &Repository, request: &Advance<'_>, pending: &[&RawChange]) -> Result<Entries> {
    let wanted: BTreeSet<&[u8]> = pending.iter().map(|change| change.path.as_slice()).collect();
    let listed = repo.bare(["ls-tree", "-r", "-z", "--full-tree", request.to.as_str()]).run()?;
    let split = |record: &[u8]| {
        let tab = record.iter().position(|byte| *byte == b'\t')?;
        let (what, path) = (record.get(..tab)?, record.get(tab + 1..)?);
        wanted.contains(path).then(|| (path.to_vec(), String::from_utf8_lossy(what).into_owned()))
    };
    Ok(listed.records().filter_map(split).collect())
}

/// The paths whose files are already as the new commit says.
fn moved<'c>(lock: &IndexLock<'_>, pending: &[&'c RawChange], entries: &Entries) -> Result<BTreeSet<&'c [u8]>> {
    // An index of nothing but the new entries tells which files differ from them, filters and modes considered.
    let probe = lock.probe();
    let git = |args: &[&str]| lock.git(args).env("GIT_INDEX_FILE", &probe);
    git(&["update-index", "-z", "--index-info"]).stdin(index_info(entries.iter())).run()?;
    git(&["update-index", "-q", "--refresh"]).output()?;
    let differing = git(&["diff-files", "-z", "--name-only"]).run()?;
    let differing: BTreeSet<&[u8]> = differing.records().collect();
    let mut found = BTreeSet::new();
    for change in pending {
        let path = change.path.as_slice();
        let as_it_should = match entries.contains_key(path) {
            true => !differing.contains(path),
            false => !fs::exists(&lock.tree().join(bytes_path(path)))?,
        };
        if as_it_should {
            found.insert(path);
        }
    }
    Ok(found)
}

fn index_info<'e>(entries: impl Iterator<Item = (&'e Vec<u8>, &'e String)>) -> Vec<u8> {
    let mut text = Vec::new();
    for (path, what) in entries {
        text.extend_from_slice(what.as_bytes());
        text.push(b'\t');
        text.extend_from_slice(path);
        text.push(0);
    }
    text
}

/// Says in the copy of the index that these files have moved.
fn stage(lock: &IndexLock<'_>, moved: &BTreeSet<&[u8]>, entries: &Entries) -> Result<()> {
    let gone: Vec<&[u8]> = moved.iter().copied().filter(|path| !entries.contains_key(*path)).collect();
    let there = entries.iter().filter(|(path, _)| moved.contains(path.as_slice()));
    lock.git(["update-index", "--force-remove", "-z", "--stdin"]).stdin(lines(&gone)).run()?;
    lock.git(["update-index", "-z", "--index-info"]).stdin(index_info(there)).run()?;
    Ok(())
}

/// True for a file that is not there although it should be, and for one whose content is a beginning of what it was to
/// become: git was killed before or while it wrote it.
fn is_lost(repo: &Repository, tree: &Path, path: &[u8], entry: Option<&String>) -> Result<bool> {
    let full = tree.join(bytes_path(path));
    let Some(what) = entry else { return Ok(false) };
    if !fs::exists(&full)? {
        return Ok(true);
    }
    let Some(id) = what.strip_prefix("100644 blob ").or(what.strip_prefix("100755 blob ")) else { return Ok(false) };
    if !std::fs::symlink_metadata(&full).is_ok_and(|meta| meta.is_file()) {
        return Ok(false);
    }
    let whole = repo.bare(["cat-file", "blob", id]).run()?.stdout;
    match std::fs::read(&full) {
        Ok(now) => Ok(whole.starts_with(&now)),
        // A git that was killed by nobody may still be at it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(fs::at("read", &full)(error).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcId;
    use crate::sys::git::Git;
    use crate::sys::proc;
    use std::time::Duration;

    /// A repository whose `main` has moved from the first commit to the second, and whose files have not.
    struct Cut {
        dir: tempfile::TempDir,
        git: Git,
        from: CommitId,
        to: CommitId,
    }

    impl Cut {
        fn new() -> Cut {
            let dir = tempfile::tempdir().expect("a temp dir");
            let git = Git::open().expect("git");
            let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
            run(&["init", "-q", "-b", "main"]);
            run(&["config", "user.name", "T"]);
            run(&["config", "user.email", "t@example.com"]);
            let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
            for name in ["edited", "gone", "half", "kept", "own"] {
                write(name, &format!("{name}: old\n"));
            }
            run(&["add", "--all"]);
            run(&["commit", "-q", "-m", "one"]);
            let from = CommitId::parse(&run(&["rev-parse", "HEAD"])).expect("an id");
            write("edited", "edited: new\n");
            write("half", "half: something new, and long\n");
            write("added", "added: new\n");
            std::fs::remove_file(dir.path().join("gone")).expect("removed");
            run(&["add", "--all"]);
            run(&["commit", "-q", "-m", "two"]);
            let to = CommitId::parse(&run(&["rev-parse", "HEAD"])).expect("an id");
            run(&["reset", "-q", "--hard", from.as_str()]);
            Cut { dir, git, from, to }
        }

        fn file(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.file(name), text).expect("written");
        }

        fn status(&self) -> String {
            self.git.within(self.dir.path(), ["status", "--porcelain"]).text().expect("git works")
        }

        fn move_branch(&self) {
            let args = ["update-ref", "refs/heads/main", self.to.as_str()];
            self.git.within(self.dir.path(), args).run().expect("git works");
        }

        fn lock_as(&self, owner: &ProcId) {
            let text = format!("treehand {}\n", serde_json::to_string(owner).expect("JSON"));
            std::fs::write(self.file(".git/index.lock"), text).expect("written");
            std::fs::write(self.file(".git/treehand-index"), "torn").expect("written");
        }

        fn resume(&self) -> Resumed {
            let repo = Repository::discover(&self.git, self.dir.path()).expect("a repository");
            std::fs::create_dir_all(repo.state_dir().join("locks")).expect("directories");
            let branch = BranchName::parse("main").expect("a name");
            let lock_wait = Duration::ZERO;
            let request = Advance { branch: &branch, from: &self.from, to: &self.to, message: "m", lock_wait };
            resume(&repo, &request).expect("resumed")
        }
    }

    fn dead() -> ProcId {
        let own = proc::own().expect("this process");
        ProcId { start_time: own.start_time + 1, ..own }
    }

    #[test]
    fn what_a_dead_process_left_is_completed_and_local_changes_stay() {
        let cut = Cut::new();
        cut.move_branch();
        cut.lock_as(&dead());
        cut.write("edited", "edited: new\n");
        cut.write("half", "half: some");
        cut.write("own", "own: changed by the user\n");
        assert_eq!(cut.resume(), Resumed::Complete);
        assert_eq!(cut.status(), " M own");
        assert!(!cut.file(".git/index.lock").exists() && !cut.file(".git/treehand-index").exists());
        assert_eq!(cut.resume(), Resumed::Complete, "a second time changes nothing");
        assert_eq!(cut.status(), " M own");
    }

    #[test]
    fn a_file_that_the_user_changed_meanwhile_is_in_the_way() {
        let cut = Cut::new();
        cut.move_branch();
        cut.write("edited", "edited: by the user\n");
        let Resumed::InTheWay(obstacle) = cut.resume() else { panic!("it was overwritten") };
        assert_eq!(obstacle.paths, ["edited"]);
        assert_eq!(std::fs::read_to_string(cut.file("edited")).expect("there"), "edited: by the user\n");
    }

    #[test]
    fn without_a_move_only_the_dead_lock_goes() {
        let cut = Cut::new();
        cut.lock_as(&dead());
        assert_eq!(cut.resume(), Resumed::NotMoved);
        assert_eq!(cut.status(), "");
        assert!(!cut.file(".git/index.lock").exists());
    }

    #[test]
    fn a_lock_of_the_living_or_of_git_is_left() {
        let cut = Cut::new();
        cut.move_branch();
        cut.lock_as(&proc::own().expect("this process"));
        assert!(matches!(cut.resume(), Resumed::Busy { .. }));
        std::fs::write(cut.file(".git/index.lock"), "DIRC").expect("written");
        assert!(matches!(cut.resume(), Resumed::Busy { .. }));
        assert!(cut.file(".git/index.lock").exists());
    }
}
