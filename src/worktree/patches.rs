//! Scan: whether a target has the patches of work: each commit's, or that of all of them together.
//!
//! A patch is what a commit changes, with the lines around it and without their numbers, as `git patch-id --verbatim` sees it;
//! a binary file counts by its content. Two patches are only compared where they touch the same paths. Reads only.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

use super::error::Result;
use super::landed::Proof;
use super::repository::Repository;
use crate::model::CommitId;
use crate::sys::git::{GitCommand, GitError};

/// Work that may have been taken by patches.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its tip.
    pub tip: CommitId,
    /// Where it and the target parted.
    pub fork: CommitId,
    /// Its commits since, without merges.
    pub commits: Vec<CommitId>,
    /// There are merges among them.
    pub merges: bool,
}

/// How a target has the patches of some work, and the commits there that have them.
pub type Taken = Option<(Proof, Vec<CommitId>)>;

/// A commit, and what it is compared with where that is not its own parent.
type Change = (CommitId, Option<CommitId>);

/// What the work changes as a whole, against what a target has at the same places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beside {
    /// The target has the same at each of them: merging the work would change nothing there.
    Same,
    /// The target has, at one of them, just what was there before: merging the work would change it.
    Before,
    /// It has something else: only a merge tells.
    Else,
}

/// Compares what each work changes with the tree of a target.
pub fn beside(repo: &Repository, works: &[&Work], target: &CommitId) -> Result<Vec<Beside>> {
    let listed = repo.bare(["ls-tree", "-r", "--full-tree", target.as_str()]).run()?.stdout;
    // Mode and id, by path; names are quoted alike in both lists.
    let mut there: HashMap<&[u8], (&[u8], &[u8])> = HashMap::new();
    for line in listed.split(|byte| *byte == b'\n') {
        if let Some((entry, path)) = at_tab(line) {
            let mut words = entry.split(|byte| *byte == b' ');
            if let (Some(mode), Some(id)) = (words.next(), words.nth(1)) {
                there.insert(path, (mode, id));
            }
        }
    }
    let wholes: Vec<Change> = works.iter().map(|work| whole(work)).collect();
    let output = diff_tree(repo, &["--raw", "--no-abbrev"], &wholes)?;
    let judge = |lines: &[&[u8]]| {
        let mut found = Beside::Same;
        for (entry, path) in lines.iter().filter_map(|line| at_tab(line)) {
            let words: Vec<&[u8]> = entry.split(|byte| *byte == b' ').collect();
            let [before, after, old, new, ..] = words[..] else { return Beside::Else };
            let now = there.get(path).copied();
            if now == entry_of(before.strip_prefix(b":").unwrap_or(before), old) {
                return Beside::Before;
            }
            if now != entry_of(after, new) {
                found = Beside::Else;
            }
        }
        found
    };
    Ok(sections(&output, &wholes)?.map(|(_, lines)| judge(&lines)).collect())
}

/// Mode and id of a file that is there.
fn entry_of<'a>(mode: &'a [u8], id: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    (!mode.iter().all(|digit| *digit == b'0')).then_some((mode, id))
}

fn at_tab(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    Some((&line[..tab], &line[tab + 1..]))
}

/// Most changes that one process shows in full.
const AT_ONCE: usize = 256;

/// Looks for the patches of each work among commits of the target; `may_be` says which of them count for which.
pub fn find(
    repo: &Repository,
    works: &[Work],
    target: &[CommitId],
    may_be: impl Fn(&Work, &CommitId) -> bool,
) -> Result<Vec<Taken>> {
    let mut changes: Vec<Change> = target.iter().map(|commit| (commit.clone(), None)).collect();
    changes.extend(works.iter().flat_map(changes_of));
    let outlines = Outlines::of(repo, &changes)?;
    let mut same: HashMap<u64, Vec<&CommitId>> = HashMap::new();
    for commit in target {
        if let Some(outline) = outlines.known.get(&(commit.clone(), None)).copied().flatten() {
            same.entry(outline).or_default().push(commit);
        }
    }
    let candidates = |work: &Work, change: &Change| -> Option<Vec<CommitId>> {
        let Some(outline) = outlines.known.get(change)? else { return Some(Vec::new()) };
        let all = same.get(outline)?.iter().filter(|commit| may_be(work, commit));
        Some(all.map(|commit| (*commit).clone()).collect::<Vec<_>>()).filter(|all| !all.is_empty())
    };
    let mut wanted: BTreeMap<Change, ()> = BTreeMap::new();
    for work in works {
        for change in changes_of(work) {
            if let Some(found) = candidates(work, &change).filter(|found| !found.is_empty()) {
                wanted.extend(found.into_iter().map(|commit| ((commit, None), ())));
                wanted.insert(change, ());
            }
        }
    }
    let prints = prints(repo, &wanted.into_keys().collect::<Vec<_>>())?;
    let equal = |work: &Work, change: &Change| -> Option<Vec<CommitId>> {
        let all = candidates(work, change)?;
        // A commit without a change is nowhere and needs to be nowhere.
        if all.is_empty() {
            return Some(all);
        }
        let print = prints.get(change)?;
        let equal = all.into_iter().filter(|commit| prints.get(&(commit.clone(), None)) == Some(print));
        Some(equal.collect::<Vec<_>>()).filter(|equal| !equal.is_empty())
    };
    Ok(works.iter().map(|work| taken(work, |change| equal(work, change))).collect())
}

fn changes_of(work: &Work) -> Vec<Change> {
    let commits = work.commits.iter().map(|commit| (commit.clone(), None));
    commits.chain([whole(work)]).collect()
}

fn whole(work: &Work) -> Change {
    (work.tip.clone(), Some(work.fork.clone()))
}

fn taken(work: &Work, equal: impl Fn(&Change) -> Option<Vec<CommitId>>) -> Taken {
    let each: Option<Vec<Vec<CommitId>>> = work.commits.iter().map(|commit| equal(&(commit.clone(), None))).collect();
    match each.filter(|_| !work.merges) {
        Some(found) if found.iter().any(|found| !found.is_empty()) => {
            Some((Proof::PerCommitPatchId, found.into_iter().flatten().collect()))
        }
        _ => equal(&whole(work)).filter(|found| !found.is_empty()).map(|found| (Proof::PatchId, found)),
    }
}

/// Which paths each change touches, and how, as one number: who differs in it has another patch.
struct Outlines {
    known: HashMap<Change, Option<u64>>,
}

impl Outlines {
    fn of(repo: &Repository, changes: &[Change]) -> Result<Outlines> {
        let hash = RandomState::new();
        let output = diff_tree(repo, &["--raw"], changes)?;
        let outline = |lines: &[&[u8]]| -> Option<u64> {
            // Modes, ids and the letter stand before the path.
            let parts: Vec<&[u8]> =
                lines.iter().filter_map(|line| line.splitn(5, |byte| *byte == b' ').last()).collect();
            (!parts.is_empty()).then(|| hash.hash_one(parts))
        };
        let known = sections(&output, changes)?.map(|(change, lines)| (change.clone(), outline(&lines))).collect();
        Ok(Outlines { known })
    }
}

/// What each change is, as a number that two different ones do not share, chosen so that nobody can foresee it.
fn prints(repo: &Repository, changes: &[Change]) -> Result<HashMap<Change, u128>> {
    let (one, other) = (RandomState::new(), RandomState::new());
    let mut found = HashMap::new();
    for changes in changes.chunks(AT_ONCE) {
        let output = diff_tree(repo, &["-p", "--full-index", "--no-ext-diff", "--no-textconv", "--no-color"], changes)?;
        for (change, lines) in sections(&output, changes)? {
            let patch = without_places(&lines);
            let print = (u128::from(one.hash_one(&patch)) << 64) | u128::from(other.hash_one(&patch));
            found.insert(change.clone(), print);
        }
    }
    Ok(found)
}

/// A patch without the numbers of its lines, and without the ids of files whose lines it shows.
fn without_places<'a>(lines: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut patch: Vec<&[u8]> = Vec::with_capacity(lines.len());
    let is_binary = |rest: &[&[u8]]| {
        let file = rest.iter().skip(1).take_while(|line| !line.starts_with(b"diff "));
        file.take(2).any(|line| line.starts_with(b"Binary files "))
    };
    for (number, line) in lines.iter().enumerate() {
        match line {
            line if line.starts_with(b"@@ ") => patch.push(b"@@"),
            line if line.starts_with(b"index ") && !is_binary(&lines[number..]) => {}
            line => patch.push(line),
        }
    }
    patch
}

fn diff_tree(repo: &Repository, how: &[&str], changes: &[Change]) -> Result<Vec<u8>> {
    let line = |(commit, parent): &Change| match parent {
        Some(parent) => format!("{commit} {parent}\n"),
        None => format!("{commit}\n"),
    };
    let input: String = changes.iter().map(line).collect();
    let command: GitCommand = repo.bare(["diff-tree", "--stdin", "--always", "--root", "-r", "--no-renames"]);
    Ok(command.args(how).stdin(input).run()?.stdout)
}

/// The lines about each change, in their order; a line that is nothing but an id begins the next.
fn sections<'a, 'c>(
    output: &'a [u8],
    changes: &'c [Change],
) -> Result<impl Iterator<Item = (&'c Change, Vec<&'a [u8]>)>> {
    let is_id = |line: &[u8]| std::str::from_utf8(line).is_ok_and(|text| CommitId::parse(text).is_ok());
    let (mut sections, mut heads): (Vec<Vec<&[u8]>>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    let lines = output.strip_suffix(b"\n").unwrap_or(output).split(|byte| *byte == b'\n');
    for line in lines.filter(|_| !output.is_empty()) {
        match sections.last_mut() {
            _ if is_id(line) => {
                heads.push(line);
                sections.push(Vec::new());
            }
            Some(section) => section.push(line),
            None => {}
        }
    }
    let asked = changes.iter().map(|(commit, _)| commit.as_str().as_bytes());
    if !asked.eq(heads.iter().copied()) {
        let output = format!("{} answers to {} questions", heads.len(), changes.len());
        return Err(GitError::Unexpected { command: "diff-tree --stdin".into(), output }.into());
    }
    Ok(changes.iter().zip(sections))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_the_same_wherever_in_the_file_it_is_and_a_binary_file_is_what_is_in_it() {
        let patch = |text: &'static str| -> Vec<&'static [u8]> {
            without_places(&text.lines().map(str::as_bytes).collect::<Vec<_>>())
        };
        let text = |at: &str, id: &str| {
            format!("diff --git a/x b/x\nindex {id}..{id} 100644\n--- a/x\n+++ b/x\n@@ -{at} +{at} @@ f()\n-a\n+b")
        };
        let (one, other) = (text("1,2", "aaa"), text("7,2", "bbb"));
        let lines = |text: &str| -> Vec<Vec<u8>> {
            let lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
            without_places(&lines).into_iter().map(<[u8]>::to_vec).collect()
        };
        assert_eq!(lines(&one), lines(&other));
        assert_ne!(lines(&one), lines(&one.replace("+b", "+ b")));
        let binary =
            |id| format!("diff --git a/x b/x\nindex {id}..{id} 100644\nBinary files a/x and b/x differ\n{one}");
        assert_ne!(lines(&binary("aaa")), lines(&binary("bbb")));
        assert_eq!(patch("diff --git a/x b/x\nold mode 100644\nnew mode 100755").len(), 3);
    }
}
