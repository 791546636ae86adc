//! What commits bring along: every object that is reached from them and not from others, as `git rev-list --objects` lists it; and
//! what they say. Read in process through libgit2, in the time that what differs takes, whatever the size of the trees.
//!
//! Each commit is held against its first parent alone, directory by directory, so that an object that was there before, somewhere
//! else, may be listed, too. What libgit2 cannot say (refs in tables, SHA-256, promised objects, text that is not UTF-8) is
//! git's to say.

use std::collections::BTreeSet;

use git2::{Commit, ObjectType, Oid, Repository, Sort, Tree};

use super::GitError;
use super::read::{Answer, Reader, id, oid};
use crate::model::CommitId;

/// A commit as its writer left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitText {
    /// It.
    pub commit: CommitId,
    /// Name and address of its author.
    pub author: (String, String),
    /// When it was written: seconds of Unix time and the time zone, as `git log --date=raw` prints them.
    pub date: String,
    /// The whole message.
    pub message: String,
}

impl Reader {
    /// The objects that these commits have beyond those of the others; `None` where git has to be asked.
    pub fn objects_beyond(&self, of: &[CommitId], without: &[CommitId]) -> Option<Vec<CommitId>> {
        let library = self.library.as_ref()?;
        let read = || {
            let mut walk = library.revwalk()?;
            ids(of).try_for_each(|tip| walk.push(tip?))?;
            ids(without).try_for_each(|tip| walk.hide(tip?))?;
            let mut found = BTreeSet::new();
            for commit in walk {
                let commit = library.find_commit(commit?)?;
                let before = commit.parents().next().map(|parent| parent.tree()).transpose()?;
                found.insert(commit.id());
                beyond(library, &commit.tree()?, before.as_ref(), &mut found)?;
            }
            Ok::<_, git2::Error>(found)
        };
        read().ok().map(|found| found.into_iter().map(id).collect())
    }

    /// False where a commit is known to have nothing of this name at its top.
    pub fn may_have(&self, commit: &CommitId, name: &str) -> bool {
        let tree = |library: &Repository| {
            library.find_commit(known(commit)?)?.tree().map(|tree| tree.get_name(name).is_some())
        };
        self.library.as_ref().is_none_or(|library| tree(library).unwrap_or(true))
    }

    /// What the commits of a line of first parents say, the first one first.
    pub fn texts(&self, tip: &CommitId, without: &CommitId) -> Answer<Vec<CommitText>> {
        if let Some(texts) = self.library.as_ref().and_then(|library| read_texts(library, tip, without).ok().flatten())
        {
            return Ok(texts);
        }
        let format =
            ["--format=%H%n%an%n%ae%n%ad%n%B", "--date=raw", "--no-show-signature", "--first-parent", "--reverse"];
        let range = format!("{without}..{tip}");
        let command = self.git.bare(&self.git_dir, ["log", "-z"]).args(format).args([&range, "--"]);
        let log = command.env("GIT_NO_REPLACE_OBJECTS", "1").run()?;
        let unexpected = || GitError::Unexpected { command: "log".into(), output: "no id".into() };
        let one = |record: &[u8]| {
            let text = String::from_utf8_lossy(record).into_owned();
            let mut parts = text.splitn(5, '\n').map(str::to_owned);
            let mut part = || parts.next().unwrap_or_default();
            let commit = CommitId::parse(&part()).map_err(|_| unexpected())?;
            Ok(CommitText { commit, author: (part(), part()), date: part(), message: part() })
        };
        log.records().map(one).collect()
    }
}

fn read_texts(
    library: &Repository,
    tip: &CommitId,
    without: &CommitId,
) -> Result<Option<Vec<CommitText>>, git2::Error> {
    let mut walk = library.revwalk()?;
    walk.simplify_first_parent()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)?;
    walk.push(known(tip)?)?;
    walk.hide(known(without)?)?;
    walk.map(|commit| Ok(text_of(&library.find_commit(commit?)?))).collect()
}

pub(super) fn known(commit: &CommitId) -> Result<Oid, git2::Error> {
    oid(commit).ok_or_else(|| git2::Error::from_str("an id of another kind"))
}

fn ids(commits: &[CommitId]) -> impl Iterator<Item = Result<Oid, git2::Error>> {
    commits.iter().map(known)
}

/// The objects of a tree that the one before it has not got in the same place.
fn beyond(
    library: &Repository,
    tree: &Tree<'_>,
    before: Option<&Tree<'_>>,
    found: &mut BTreeSet<Oid>,
) -> Result<(), git2::Error> {
    if before.is_some_and(|before| before.id() == tree.id()) || !found.insert(tree.id()) {
        return Ok(());
    }
    for entry in tree {
        let same = before.and_then(|before| before.get_name_bytes(entry.name_bytes()));
        if same.as_ref().is_some_and(|same| same.id() == entry.id()) {
            continue;
        }
        match entry.kind() {
            Some(ObjectType::Tree) => {
                let same = same.filter(|same| same.kind() == Some(ObjectType::Tree));
                let same = same.map(|same| library.find_tree(same.id())).transpose()?;
                beyond(library, &library.find_tree(entry.id())?, same.as_ref(), found)?;
            }
            Some(ObjectType::Blob) => drop(found.insert(entry.id())),
            // A commit of a submodule is none of this repository's objects.
            _ => {}
        }
    }
    Ok(())
}

/// `None` where the text is in another encoding than UTF-8: to read it is git's.
fn text_of(commit: &Commit<'_>) -> Option<CommitText> {
    let encoding = commit.message_encoding().ok()?;
    if encoding.is_some_and(|encoding| !encoding.eq_ignore_ascii_case("utf-8")) {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let author = commit.author();
    let (minutes, sign) = (author.when().offset_minutes().unsigned_abs(), author.when().sign());
    Some(CommitText {
        commit: id(commit.id()),
        author: (text(author.name_bytes())?, text(author.email_bytes())?),
        date: format!("{} {sign}{:02}{:02}", author.when().seconds(), minutes / 60, minutes % 60),
        message: text(commit.message_raw_bytes())?.trim_start_matches('\n').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::git::fixture::Place;

    fn reader(place: &Place) -> Reader {
        Reader::open(&place.git, &place.root().join(".git"))
    }

    #[test]
    fn what_commits_say_is_the_same_read_in_process_and_by_git() {
        let place = Place::new();
        let first = place.commit_all("first");
        place.commit_all("one\nline and\nanother\n\nbody\n\nSigned-off-by: T <t@example.com>");
        place.run(&["-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty", "-m", "other"]);
        place.run(&["commit", "-q", "--allow-empty", "--author=É X <é@x>", "--date=1600000000 -0330", "-m", "née"]);
        place.run(&["checkout", "-q", "-b", "side", first.as_str()]);
        place.commit_all("beside");
        place.run(&["checkout", "-q", "main"]);
        place.run(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
        let last = place.commit_all("last");
        let mut asks = reader(&place);
        asks.library = None;
        let (in_process, by_git) = (reader(&place).texts(&last, &first), asks.texts(&last, &first));
        let (in_process, by_git) = (in_process.expect("read"), by_git.expect("read"));
        let texts = |all: &[CommitText]| all.iter().map(|one| one.message.trim_end().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&in_process), texts(&by_git));
        assert_eq!(texts(&by_git)[2..], ["née", "merged", "last"]);
        for (one, other) in in_process.iter().zip(&by_git) {
            assert_eq!((&one.commit, &one.author, &one.date), (&other.commit, &other.author, &other.date));
        }
        assert_eq!(in_process[2].date, "1600000000 -0330");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

        /// All that git would list is listed, and nothing that is not reached.
        #[test]
        fn objects_of_random_histories_are_those_that_git_lists(
            steps in prop::collection::vec((0..3_u8, 0..4_u8, 0..3_u8, 0..3_u8), 3..9),
        ) {
            let place = Place::new();
            place.write("a/b/0", "zero");
            let mut commits = vec![place.commit_all("first")];
            for (kind, directory, name, text) in &steps {
                let file = format!("{}/{name}", ["a", "a/b", "c", "c/d/e"][usize::from(*directory)]);
                match kind {
                    0 => place.run(&["checkout", "-q", commits[commits.len() / 2].as_str()]),
                    1 if commits.len() > 2 => place.run(&["merge", "-q", "-s", "ours", commits[1].as_str()]),
                    _ => String::new(),
                };
                if !place.root().join(&file).is_dir() {
                    place.write(&file, text.to_string());
                }
                commits.push(place.commit_all("one more"));
            }
            let (tip, known) = (commits[commits.len() - 1].clone(), commits[commits.len() / 3].clone());
            let list = |args: &[&str]| -> BTreeSet<String> {
                let text = place.run(&[&["rev-list", "--objects", "--no-object-names"], args].concat());
                text.lines().map(str::to_owned).collect()
            };
            let found = reader(&place).objects_beyond(std::slice::from_ref(&tip), std::slice::from_ref(&known)).expect("read");
            let found: BTreeSet<String> = found.iter().map(ToString::to_string).collect();
            let (wanted, reached) = (list(&[tip.as_str(), &format!("^{known}")]), list(&[tip.as_str()]));
            prop_assert!(wanted.is_subset(&found), "{:?} are left out", wanted.difference(&found));
            prop_assert!(found.is_subset(&reached));
        }
    }
}
