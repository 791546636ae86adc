//! Decision file: which objects the files of a worktree's git dir name, and how a commit is written that holds them.
//!
//! git takes a worktree's HEAD, index, refs and reflogs into account as long as it knows the worktree; in the trash it does
//! not. Looks at nothing itself.

use std::collections::BTreeSet;

use crate::model::{CommitId, Timestamp};
use crate::worktree::result_policy::GITLINK;

/// Directories of operations in progress: each file of theirs may name commits that the operation comes back to.
const IN_PROGRESS: [&str; 3] = ["rebase-merge", "rebase-apply", "sequencer"];

/// Files in them that hold somebody's words or patches.
const WORDS: [&str; 4] = ["message", "msg", "final-commit", "patch"];

/// How a line begins that says of an object that it was not there.
const MISSING: &str = "missing ";

/// True for a file of a git dir, by its path in there, that git reads object ids from.
pub fn is_read(path: &str) -> bool {
    let (top, rest) = path.split_once('/').unwrap_or((path, ""));
    if rest.is_empty() {
        let shouts = top.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        return shouts && !top.ends_with("MSG") && top != "EDIT_DESCRIPTION";
    }
    let is_mail = rest.bytes().all(|byte| byte.is_ascii_digit());
    match top {
        "refs" | "logs" => true,
        _ => IN_PROGRESS.contains(&top) && !is_mail && !WORDS.iter().any(|word| rest.starts_with(word)),
    }
}

/// The full object ids in a text.
pub fn ids(text: &[u8]) -> BTreeSet<CommitId> {
    let words = text.split(|byte| !byte.is_ascii_alphanumeric()).filter(|word| matches!(word.len(), 40 | 64));
    let word = |word: &[u8]| std::str::from_utf8(word).ok().and_then(|word| CommitId::parse(word).ok());
    words.filter_map(word).filter(|id| id.as_str() != id.zero_like()).collect()
}

/// Object ids in lines of an index (`ls-files --stage -z`, `ls-files --resolve-undo -z`): mode, id and stage, a tab, the path.
/// The commits of submodules are in other repositories.
pub fn staged<'a>(records: impl Iterator<Item = &'a [u8]>) -> BTreeSet<CommitId> {
    let entry = |record: &[u8]| {
        let what = record.split(|byte| *byte == b'\t').next()?;
        let what = std::str::from_utf8(what).ok()?;
        let (mode, rest) = what.split_once(' ')?;
        let id = CommitId::parse(rest.split(' ').next()?).ok()?;
        (mode != GITLINK).then_some(id)
    };
    records.filter_map(entry).collect()
}

/// What an index has otherwise than a commit, from `diff-index --cached --raw -z`: colon, two modes, two ids and a letter; then the
/// path.
pub fn differing<'a>(records: impl Iterator<Item = &'a [u8]>) -> BTreeSet<CommitId> {
    let entry = |record: &[u8]| {
        let mut words = std::str::from_utf8(record).ok()?.split(' ');
        let (mode, id) = (words.nth(1)?, CommitId::parse(words.nth(1)?).ok()?);
        (mode != GITLINK && id.as_str() != id.zero_like()).then_some(id)
    };
    records.step_by(2).filter_map(entry).collect()
}

/// What kinds of objects there are, from `cat-file --batch-check`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kinds {
    /// Commits.
    pub commits: BTreeSet<CommitId>,
    /// Trees and blobs: id and kind.
    pub others: BTreeSet<(CommitId, String)>,
    /// Tags.
    pub tags: BTreeSet<CommitId>,
    /// What is not there.
    pub missing: BTreeSet<CommitId>,
}

impl Kinds {
    /// Reads the answer.
    pub fn parse(text: &str) -> Kinds {
        let mut kinds = Kinds::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(Ok(id)), Some(kind)) = (words.next().map(CommitId::parse), words.next()) else { continue };
            match kind {
                "commit" => drop(kinds.commits.insert(id)),
                "tag" => drop(kinds.tags.insert(id)),
                "tree" | "blob" => drop(kinds.others.insert((id, kind.to_owned()))),
                _ => drop(kinds.missing.insert(id)),
            }
        }
        kinds
    }
}

/// Those of the commits that none of the others has in its history, from `rev-list --parents` of all of them.
pub fn tips(commits: &BTreeSet<CommitId>, listed: &str) -> BTreeSet<CommitId> {
    let (mut reached, mut below) = (BTreeSet::new(), BTreeSet::new());
    for line in listed.lines() {
        let mut words = line.split(' ').map(CommitId::parse);
        reached.extend(words.next().and_then(Result::ok));
        below.extend(words.filter_map(Result::ok));
    }
    commits.iter().filter(|commit| reached.contains(*commit) && !below.contains(*commit)).cloned().collect()
}

/// The entries of a tree with these objects, each under its id, for `mktree -z`.
pub fn tree(others: &BTreeSet<(CommitId, String)>) -> String {
    let mode = |kind: &str| if kind == "tree" { "040000" } else { "100644" };
    others.iter().map(|(id, kind)| format!("{} {kind} {id}\t{id}\0", mode(kind))).collect()
}

/// A commit, as git writes it, that has these in its history and this tree, and says what was not there.
pub fn commit(tree: &CommitId, tips: &BTreeSet<CommitId>, missing: &BTreeSet<CommitId>, now: Timestamp) -> String {
    let who = format!("treehand <treehand@localhost> {} +0000", now.0 / 1000);
    let parents: String = tips.iter().map(|tip| format!("parent {tip}\n")).collect();
    let missing: String = missing.iter().map(|id| format!("{MISSING}{id}\n")).collect();
    format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\ntreehand: what a git dir names\n\n{missing}")
}

/// What was not there, from such a commit.
pub fn missing(commit: &str) -> BTreeSet<CommitId> {
    commit.lines().filter_map(|line| CommitId::parse(line.strip_prefix(MISSING)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    fn set(digits: &str) -> BTreeSet<CommitId> {
        digits.chars().map(id).collect()
    }

    #[test]
    fn files_that_name_objects_are_told_from_words() {
        let read = ["HEAD", "ORIG_HEAD", "MERGE_AUTOSTASH", "AUTO_MERGE", "logs/HEAD", "refs/worktree/a/b"];
        let also = ["rebase-merge/onto", "rebase-merge/git-rebase-todo", "rebase-apply/orig-head", "sequencer/todo"];
        assert!(read.iter().chain(&also).all(|path| is_read(path)));
        let words =
            ["COMMIT_EDITMSG", "MERGE_MSG", "index", "commondir", "gitdir", "config.worktree", "modules/a/HEAD"];
        let more = ["rebase-merge/message", "rebase-merge/message-squash", "rebase-apply/0001", "rebase-apply/patch"];
        assert!(!words.iter().chain(&more).any(|path| is_read(path)));
    }

    #[test]
    fn ids_are_whole_words_and_zero_is_none() {
        let (one, zero) = (id('1'), "0".repeat(40));
        let text = format!("{zero} {one} x <y@z> 1 +0000\tpull: {}\n{}a {}\n", id('2'), id('3'), "abc123");
        assert_eq!(ids(text.as_bytes()), set("12"));
    }

    #[test]
    fn an_index_names_all_stages_and_no_commit_of_a_submodule() {
        let records = [
            format!("100644 {} 0\ta\tb", id('1')),
            format!("100755 {} 2\t{}", id('2'), id('9')),
            format!("160000 {} 0\tlib", id('3')),
        ];
        assert_eq!(staged(records.iter().map(|record| record.as_bytes())), set("12"));
        let zeros = id('4').zero_like();
        let raw = [
            format!(":100644 100755 {} {} M", id('4'), id('5')),
            format!(":100644 100644 {} {} M", id('6'), id('7')),
            format!(":100644 000000 {} {zeros} D", id('4')),
            "gone".into(),
            format!(":000000 160000 {zeros} {} A", id('8')),
            "submodule".into(),
        ];
        assert_eq!(differing(raw.iter().map(String::as_bytes)), [id('5')].into());
    }

    #[test]
    fn kinds_are_as_git_says() {
        let line = |digit: char, rest: &str| format!("{} {rest}\n", id(digit));
        let lines =
            [line('1', "commit 3"), line('2', "blob 3"), line('3', "tree 3"), line('4', "tag 3"), line('5', "missing")];
        let kinds = Kinds::parse(&lines.concat());
        assert_eq!((kinds.commits, kinds.tags, kinds.missing), (set("1"), set("4"), set("5")));
        assert_eq!(tree(&kinds.others), format!("100644 blob {0}\t{0}\0040000 tree {1}\t{1}\0", id('2'), id('3')));
    }

    #[test]
    fn only_what_nothing_else_reaches_is_a_tip() {
        let listed = format!("{} {}\n{} {}\n{}\n", id('3'), id('2'), id('2'), id('1'), id('5'));
        assert_eq!(tips(&set("2345"), &listed), set("35"), "2 is below 3, and 4 below what was left out");
    }

    #[test]
    fn what_was_missing_is_read_back() {
        let text = commit(&id('a'), &set("12"), &set("34"), Timestamp(5000));
        assert!(text.starts_with(&format!("tree {}\nparent {}\nparent {}\nauthor ", id('a'), id('1'), id('2'))));
        assert!(text.contains(" 5 +0000\n"), "{text}");
        assert_eq!(missing(&text), set("34"));
    }
}
