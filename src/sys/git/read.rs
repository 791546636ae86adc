//! Reading refs and history in process through libgit2; through git itself where libgit2 cannot open the repository
//! (reftable, SHA-256). Answers are the same either way.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository, RepositoryOpenFlags, Sort};

use super::differing::differing;
use super::{Git, GitError, Settings};
use crate::model::CommitId;
use crate::sys::env;

/// A repository opened for reading.
pub struct Reader {
    pub(super) git: Git,
    pub(super) git_dir: PathBuf,
    pub(super) library: Option<Repository>,
    /// The branches that were read at once.
    refs: Option<HashMap<String, CommitId>>,
    settings: Option<Arc<Settings>>,
}

/// Where a ref has been.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RefLog {
    /// The commits that it was at, newest first; none where no log is kept.
    pub tips: Vec<CommitId>,
    /// The log begins with the making of the ref.
    pub born: bool,
}

/// Where the refs are that are read at once.
const REMEMBERED: [&str; 2] = ["refs/heads/", "refs/remotes/"];

/// Where git looks for a file of the user's when its configuration names none.
pub fn user_file(name: &str) -> Option<PathBuf> {
    env::config_home().map(|home| home.join("git").join(name))
}

/// Why something could not be read. Absence is not an error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// libgit2 says so.
    #[error("cannot read {}", .git_dir.display())]
    Library {
        /// The git dir.
        git_dir: PathBuf,
        /// The cause.
        source: git2::Error,
    },
    /// git says so.
    #[error(transparent)]
    Git(#[from] GitError),
}

pub(super) type Answer<T> = Result<T, ReadError>;

impl Reader {
    /// Opens the repository with this git dir.
    pub fn open(git: &Git, git_dir: &Path) -> Reader {
        let library = open(git_dir);
        if let Err(error) = &library {
            tracing::debug!(git_dir = %git_dir.display(), %error, "reading through git");
        }
        Reader { git: git.clone(), git_dir: git_dir.to_owned(), library: library.ok(), refs: None, settings: None }
    }

    /// Reads the configuration now, and answers from that: for one command, which would ask for several values.
    pub fn knowing_settings(mut self) -> Answer<Reader> {
        self.settings = Some(Arc::new(Settings::list(self.git.bare(&self.git_dir, [""; 0]))?));
        Ok(self)
    }

    /// The configuration, where it was read at once.
    pub fn settings(&self) -> Option<&Arc<Settings>> {
        self.settings.as_ref()
    }

    /// The same repository opened anew, for who has moved something in it; what is known of its configuration stays.
    pub fn anew(&self) -> Reader {
        Reader { settings: self.settings.clone(), ..Reader::open(&self.git, &self.git_dir) }
    }

    /// Reads all branches, local and tracked, and the configuration now, and answers from that: for looking at thousands of
    /// workspaces, where nothing that is decided depends on the moment.
    pub fn remembering(mut self) -> Answer<Reader> {
        // Branches name commits, so no object has to be opened.
        let command = self.git.bare(&self.git_dir, ["for-each-ref", "--format=%(objectname) %(refname)"]);
        let text = command.args(REMEMBERED).text()?;
        let line = |line: &str| {
            let (commit, name) = line.split_once(' ')?;
            Some((name.to_owned(), CommitId::parse(commit).ok()?))
        };
        self.refs = Some(text.lines().filter_map(line).collect());
        self.knowing_settings()
    }

    /// A print of the configuration, the same as long as no value in effect changed; `None` when it was not read at once.
    pub fn config_print(&self) -> Option<u64> {
        self.settings.as_ref().map(|settings| settings.print())
    }

    /// The names of the remotes, in order.
    pub fn remotes(&self) -> Answer<Vec<String>> {
        if let Some(settings) = &self.settings {
            return Ok(settings.remotes());
        }
        let text = self.git.bare(&self.git_dir, ["remote"]).text()?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn fail(&self) -> impl Fn(git2::Error) -> ReadError + '_ {
        |source| ReadError::Library { git_dir: self.git_dir.clone(), source }
    }

    /// The commit that a full ref name points to (tags peeled); `None` when there is no such ref.
    pub fn ref_commit(&self, name: &str) -> Answer<Option<CommitId>> {
        if let Some(refs) = self.refs.as_ref().filter(|_| REMEMBERED.iter().any(|prefix| name.starts_with(prefix))) {
            return Ok(refs.get(name).cloned());
        }
        let Some(library) = &self.library else { return self.cli_commit(name) };
        match library.find_reference(name) {
            Ok(reference) => match reference.peel_to_commit() {
                Ok(commit) => Ok(Some(id(commit.id()))),
                // A ref to something that is no commit, or to an object that is not there.
                Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::Peel) => Ok(None),
                Err(error) => Err(self.fail()(error)),
            },
            Err(error) if matches!(error.code(), ErrorCode::NotFound | ErrorCode::InvalidSpec) => Ok(None),
            Err(error) => Err(self.fail()(error)),
        }
    }

    /// The commit that a revision names, as `git rev-parse` understands it; `None` when it names none.
    pub fn revision(&self, text: &str) -> Answer<Option<CommitId>> {
        // That name has one meaning. Whatever is odd about it is git's to say.
        if let ("HEAD", Some(library)) = (text, &self.library)
            && let Ok(commit) = library.find_reference(text).and_then(|head| head.peel_to_commit())
        {
            return Ok(Some(id(commit.id())));
        }
        self.cli_commit(text)
    }

    fn cli_commit(&self, text: &str) -> Answer<Option<CommitId>> {
        let rev = format!("{text}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &rev];
        let output = self.git.bare(&self.git_dir, args).output()?;
        if !output.status.success() {
            return Ok(None);
        }
        Ok(CommitId::parse(String::from_utf8_lossy(&output.stdout).trim()).ok())
    }

    /// The target of a symbolic ref such as `HEAD`; `None` when it is not symbolic.
    pub fn symbolic_target(&self, name: &str) -> Answer<Option<String>> {
        let Some(library) = &self.library else {
            let output = self.git.bare(&self.git_dir, ["symbolic-ref", "--quiet", name]).output()?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            return Ok((output.status.success() && !text.is_empty()).then_some(text));
        };
        match library.find_reference(name) {
            Ok(reference) => Ok(reference.symbolic_target().ok().flatten().map(str::to_owned)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.fail()(error)),
        }
    }

    /// Names and commits of all refs below a prefix such as `refs/heads/treehand/`.
    pub fn refs_below(&self, prefix: &str) -> Answer<Vec<(String, CommitId)>> {
        let format = "--format=%(objectname) %(*objectname) %(refname)";
        let text = self.git.bare(&self.git_dir, ["for-each-ref", format, prefix]).text()?;
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (object, peeled, name) = (words.next()?, words.next()?, words.next()?);
            let commit = if peeled.is_empty() { object } else { peeled };
            Some((name.to_owned(), CommitId::parse(commit).ok()?))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// Where a ref has been, as far as its reflog goes back.
    pub fn reflog(&self, name: &str) -> Answer<RefLog> {
        if let Some(library) = &self.library {
            let log = library.reflog(name).map_err(self.fail())?;
            let born = log.iter().next_back().is_some_and(|first| first.id_old().is_zero());
            let ids = log.iter().flat_map(|entry| [entry.id_new(), entry.id_old()]);
            return Ok(RefLog { tips: ids.filter(|oid| !oid.is_zero()).map(id).collect(), born });
        }
        let args = ["log", "--walk-reflogs", "--no-show-signature", "--format=%H", name, "--"];
        let output = self.git.bare(&self.git_dir, args).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let tips: Vec<CommitId> = text.lines().filter_map(|line| CommitId::parse(line).ok()).collect();
        Ok(RefLog { born: !tips.is_empty(), tips })
    }

    /// True when the object is there.
    pub fn has_commit(&self, commit: &CommitId) -> Answer<bool> {
        match (&self.library, oid(commit)) {
            (Some(library), Some(oid)) => Ok(library.find_commit(oid).is_ok()),
            _ => Ok(self.cli_commit(commit.as_str())?.is_some()),
        }
    }

    /// How many commits `tip` has beyond `other`, and `other` beyond `tip`.
    pub fn ahead_behind(&self, tip: &CommitId, other: &CommitId) -> Answer<(usize, usize)> {
        if tip == other {
            return Ok((0, 0));
        }
        if let (Some(library), Some(tip), Some(other)) = (&self.library, oid(tip), oid(other)) {
            return library.graph_ahead_behind(tip, other).map_err(self.fail());
        }
        let range = format!("{tip}...{other}");
        let text = self.git.bare(&self.git_dir, ["rev-list", "--count", "--left-right", &range, "--"]).text()?;
        let numbers: Vec<usize> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [ahead, behind] => Ok((ahead, behind)),
            _ => Err(GitError::Unexpected { command: "rev-list --count".into(), output: text }.into()),
        }
    }

    /// True when `ancestor` is `tip` or in its history.
    pub fn is_ancestor(&self, ancestor: &CommitId, tip: &CommitId) -> Answer<bool> {
        if ancestor == tip {
            return Ok(true);
        }
        if let (Some(library), Some(ancestor), Some(tip)) = (&self.library, oid(ancestor), oid(tip)) {
            return library.graph_descendant_of(tip, ancestor).map_err(self.fail());
        }
        let args = ["merge-base", "--is-ancestor", ancestor.as_str(), tip.as_str()];
        let command = self.git.bare(&self.git_dir, args);
        let name = command.name();
        let output = command.output()?;
        match output.code() {
            0 => Ok(true),
            1 => Ok(false),
            _ => Err(output.into_error(name).into()),
        }
    }

    /// Id and subject of the commits that `tip` has beyond `without`, newest first, at most `limit`.
    pub fn commits_between(&self, without: &CommitId, tip: &CommitId, limit: usize) -> Answer<Vec<(CommitId, String)>> {
        self.commits(&[tip], &[without], limit)
    }

    /// Id and subject of the commits that the first have and none of the others has, newest first, at most `limit`.
    pub fn commits(&self, of: &[&CommitId], without: &[&CommitId], limit: usize) -> Answer<Vec<(CommitId, String)>> {
        let ids = |commits: &[&CommitId]| commits.iter().map(|commit| oid(commit)).collect::<Option<Vec<Oid>>>();
        if let (Some(library), Some(of), Some(without)) = (&self.library, ids(of), ids(without)) {
            let walk = || {
                let mut walk = library.revwalk()?;
                walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
                of.iter().try_for_each(|tip| walk.push(*tip))?;
                without.iter().try_for_each(|tip| walk.hide(*tip))?;
                let subject = |oid: Oid| {
                    let commit = library.find_commit(oid)?;
                    Ok((id(oid), String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned()))
                };
                walk.take(limit).map(|oid| subject(oid?)).collect::<Result<Vec<_>, git2::Error>>()
            };
            return walk().map_err(self.fail());
        }
        let args = ["log", "--no-show-signature", "--topo-order", "--format=%H %s", &format!("-{limit}"), "--stdin"];
        let text = self.git.bare(&self.git_dir, args).stdin(range(of, without)).text()?;
        let line = |line: &str| {
            let (commit, subject) = line.split_once(' ')?;
            Some((CommitId::parse(commit).ok()?, subject.to_owned()))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    /// The files that differ between two commits, renames not followed.
    pub fn changed_files(&self, from: &CommitId, to: &CommitId) -> Answer<BTreeSet<Vec<u8>>> {
        if let (Some(library), Some(from), Some(to)) = (&self.library, oid(from), oid(to)) {
            let files = || {
                let (from, to) = (library.find_commit(from)?.tree()?, library.find_commit(to)?.tree()?);
                Ok(differing(library, Some(&from), &to)?.into_iter().map(|(path, _)| path).collect())
            };
            return files().map_err(self.fail());
        }
        let args = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", from.as_str(), to.as_str()];
        Ok(self.git.bare(&self.git_dir, args).run()?.records().map(<[u8]>::to_vec).collect())
    }

    /// The files that a commit changes against its first parent, renames not followed, and whether it adds them.
    pub fn changed_by(&self, commit: &CommitId) -> Answer<Vec<(Vec<u8>, bool)>> {
        if let (Some(library), Some(oid)) = (&self.library, oid(commit)) {
            let files = || {
                let commit = library.find_commit(oid)?;
                let before = if commit.parent_count() == 0 { None } else { Some(commit.parent(0)?.tree()?) };
                differing(library, before.as_ref(), &commit.tree()?)
            };
            return files().map_err(self.fail());
        }
        let args = ["diff-tree", "-r", "-z", "--name-status", "--no-renames", "--no-commit-id", "--root", "-m"];
        let output = self.git.bare(&self.git_dir, args).args(["--first-parent", commit.as_str()]).run()?;
        let records: Vec<&[u8]> = output.records().collect();
        let pair = |pair: &[&[u8]]| Some((pair.get(1)?.to_vec(), *pair.first()? == b"A"));
        Ok(records.chunks(2).filter_map(pair).collect())
    }

    /// The best common ancestor of two commits; `None` for histories that have nothing in common.
    pub fn merge_base(&self, one: &CommitId, other: &CommitId) -> Answer<Option<CommitId>> {
        let command = self.git.bare(&self.git_dir, ["merge-base", one.as_str(), other.as_str()]);
        let name = command.name();
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        match (output.code(), CommitId::parse(text.trim())) {
            (0, Ok(base)) => Ok(Some(base)),
            (0, Err(_)) => Err(GitError::Unexpected { command: name, output: text.into_owned() }.into()),
            (1, _) => Ok(None),
            _ => Err(output.into_error(name).into()),
        }
    }

    /// How many commits the first have that none of the others has.
    pub fn count(&self, of: &[&CommitId], without: &[&CommitId]) -> Answer<usize> {
        self.count_with(&[], of, without)
    }

    /// The same without merges; of the others only those count that are still here.
    pub fn count_own(&self, of: &CommitId, without: &[&CommitId]) -> Answer<usize> {
        self.count_with(&["--no-merges", "--ignore-missing"], &[of], without)
    }

    fn count_with(&self, flags: &[&str], of: &[&CommitId], without: &[&CommitId]) -> Answer<usize> {
        let command = self.git.bare(&self.git_dir, ["rev-list", "--count", "--stdin"]).args(flags);
        let text = command.stdin(range(of, without)).text()?;
        text.parse().map_err(|_| GitError::Unexpected { command: "rev-list --count".into(), output: text }.into())
    }

    /// The subjects of those commits, newest first, at most `limit`.
    pub fn subjects(&self, of: &[&CommitId], without: &[&CommitId], limit: usize) -> Answer<Vec<String>> {
        let args = ["log", "--no-show-signature", "--topo-order", "--format=%s", &format!("-{limit}"), "--stdin"];
        let text = self.git.bare(&self.git_dir, args).stdin(range(of, without)).text()?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The tree of a commit.
    pub fn tree_of(&self, commit: &CommitId) -> Answer<CommitId> {
        if let (Some(library), Some(oid)) = (&self.library, oid(commit)) {
            return library.find_commit(oid).map(|commit| id(commit.tree_id())).map_err(self.fail());
        }
        let rev = format!("{commit}^{{tree}}");
        Ok(self.git.bare(&self.git_dir, ["rev-parse", "--verify", "--end-of-options", &rev]).object_id()?)
    }

    /// One value of the repository's configuration, as git resolves it.
    pub fn config(&self, key: &str) -> Answer<Option<String>> {
        if let Some(settings) = &self.settings {
            return Ok(settings.get(key).map(str::to_owned));
        }
        let command = self.git.bare(&self.git_dir, ["config", "--get", key]);
        let name = command.name();
        let output = command.output()?;
        match output.code() {
            0 => Ok(Some(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())),
            1 => Ok(None),
            _ => Err(output.into_error(name).into()),
        }
    }
}

/// Revisions for `--stdin`.
fn range(of: &[&CommitId], without: &[&CommitId]) -> String {
    let lines = of.iter().map(|commit| format!("{commit}\n")).chain(without.iter().map(|c| format!("^{c}\n")));
    lines.collect()
}

/// Opens the repository with this git dir, and no other that is around it.
pub(super) fn open(git_dir: &Path) -> Result<Repository, git2::Error> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    Repository::open_ext(git_dir, flags, &[] as &[&Path])
}

pub(super) fn oid(commit: &CommitId) -> Option<Oid> {
    Oid::from_str(commit.as_str()).ok().filter(|_| commit.as_str().len() == 40)
}

pub(super) fn id(oid: Oid) -> CommitId {
    CommitId::parse(&oid.to_string()).expect("libgit2 prints full lower-case ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commits_change_is_the_same_read_in_process_and_by_git() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let git = Git::open().expect("git");
        let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
        let commit = |name: &str, text: Option<&str>| {
            match text {
                Some(text) => std::fs::write(dir.path().join(name), text).expect("written"),
                None => std::fs::remove_file(dir.path().join(name)).expect("removed"),
            }
            run(&["add", "--all"]);
            run(&["-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-q", "-m", name]);
            CommitId::parse(&run(&["rev-parse", "HEAD"])).expect("an id")
        };
        run(&["init", "-q", "-b", "main"]);
        let first = commit("a b", Some("one"));
        let commits = [commit("c", Some("two")), commit("a b", Some("three")), commit("c", None)];
        let knows = Reader::open(&git, &dir.path().join(".git"));
        let asks = Reader { library: None, ..Reader::open(&git, &dir.path().join(".git")) };
        for reader in [&knows, &asks] {
            let by = |commit| reader.changed_by(commit).expect("read");
            assert_eq!(by(&first), [(b"a b".to_vec(), true)]);
            assert_eq!(by(&commits[0]), [(b"c".to_vec(), true)]);
            assert_eq!([by(&commits[1]), by(&commits[2])].concat(), [(b"a b".to_vec(), false), (b"c".to_vec(), false)]);
            let files = reader.changed_files(&first, &commits[2]).expect("read");
            assert_eq!(files.into_iter().collect::<Vec<_>>(), [b"a b"]);
            let told = reader.commits(&[&commits[2]], &[&first, &commits[0]], 9).expect("read");
            assert_eq!(told, [(commits[2].clone(), "c".to_owned()), (commits[1].clone(), "a b".to_owned())]);
            assert_eq!(reader.commits(&[&commits[2]], &[&first], 1).expect("read").len(), 1);
        }
    }

    #[test]
    fn a_reader_that_remembers_answers_as_one_that_reads() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let git = Git::open().expect("git");
        let run = |args: &[&str]| git.within(dir.path(), args).text().expect("git works");
        run(&["init", "-q", "-b", "main"]);
        run(&["-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "-q", "--allow-empty", "-m", "one"]);
        run(&["branch", "topic/x"]);
        run(&["config", "branch.topic/x.Merge", "refs/heads/main"]);
        run(&["remote", "add", "up.stream", "/nowhere"]);
        let (reads, knows) =
            (Reader::open(&git, &dir.path().join(".git")), Reader::open(&git, &dir.path().join(".git")));
        let knows = knows.remembering().expect("read");
        for reader in [&reads, &knows] {
            assert_eq!(reader.remotes().expect("read"), ["up.stream"]);
            assert_eq!(reader.config("branch.topic/x.merge").expect("read").as_deref(), Some("refs/heads/main"));
            assert_eq!(reader.config("branch.topic/y.merge").expect("read"), None);
            assert!(reader.ref_commit("refs/heads/topic/x").expect("read").is_some());
            assert_eq!(reader.ref_commit("refs/heads/topic").expect("read"), None);
        }
    }
}
