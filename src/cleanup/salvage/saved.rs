//! Decision file: what the refs of salvage stand for, which of it a name means, and how much of it nothing else holds.
//!
//! All refs of one removal are one saved thing, `FROM/STAMP` below the prefix. Its name is FROM and the end of the stamp, so
//! that what people remember, the workspace or RUN/TASK, is a prefix of it. What a bundle holds belongs to it by the name that a
//! ref would have. Looks at nothing itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::bundled::BASE;
use crate::cleanup::ref_names::SALVAGE_PREFIX;
use crate::cleanup::trash::stamped_at;
use crate::model::{CommitId, Timestamp};

/// How the subject begins of the commits that are made of uncommitted changes.
const OURS: &str = "treehand: what ";

/// The part with all versions of the files in conflict, below `base`, `ours` and `theirs`: no state of the worktree's files.
pub const CONFLICT: &str = "conflict";

/// The part with ignored files that the configuration names: beside HEAD's files, no state of the worktree's.
pub const IGNORED: &str = "ignored";

/// Which ref of a saved thing holds most, first. Others follow by their names.
const ORDER: [&str; 6] = ["worktree", "index", "branch", "head", CONFLICT, IGNORED];

/// The same of those that hold nothing of their own: behind all others.
const LAST: usize = ORDER.len() + 1;

/// A ref below the prefix, as it was read.
#[derive(Clone, Debug)]
pub struct SavedRef {
    /// Its full name.
    pub reference: String,
    /// What it holds.
    pub commit: CommitId,
    /// The subject of that commit.
    pub subject: String,
    /// The bundle that holds it, where no ref does.
    pub bundle: Option<PathBuf>,
}

/// One ref of a saved thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// `worktree`, `index`, `branch`, `head`, `conflict`, or the name of what an operation in progress referred to.
    pub part: String,
    /// The ref.
    pub reference: String,
    /// What it holds.
    pub commit: CommitId,
    /// The commit was made of uncommitted changes.
    pub uncommitted: bool,
    /// The bundle that holds it, where no ref does.
    pub bundle: Option<PathBuf>,
}

impl Part {
    /// True for one that tells which files were changed and not committed.
    pub fn holds_files(&self) -> bool {
        self.uncommitted && self.part != CONFLICT
    }
}

/// Everything that one removal saved of one workspace or task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saved {
    /// What it is called.
    pub name: String,
    /// The workspace or RUN/TASK.
    pub from: String,
    /// When; `None` for a ref that treehand did not make.
    pub at: Option<Timestamp>,
    /// The ref that holds most.
    pub main: Part,
    /// The others.
    pub others: Vec<Part>,
}

impl Saved {
    /// The bundle that holds what no ref does.
    pub fn bundle(&self) -> Option<&PathBuf> {
        self.parts().find_map(|part| part.bundle.as_ref())
    }

    /// All refs, the one that holds most first.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.main).chain(&self.others)
    }
}

/// What is saved, newest first.
pub fn group(refs: Vec<SavedRef>) -> Vec<Saved> {
    let mut together: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for SavedRef { reference, commit, subject, bundle } in refs {
        let Some(place) = reference.strip_prefix(SALVAGE_PREFIX) else { continue };
        let (place, part) = place.rsplit_once('/').unwrap_or((place, place));
        let (place, part) = (place.to_owned(), part.to_owned());
        let part = Part { part, uncommitted: subject.starts_with(OURS), reference, commit, bundle };
        together.entry(place).or_default().push(part);
    }
    let mut all: Vec<Saved> = together.into_iter().filter_map(|(place, parts)| saved(&place, parts)).collect();
    all.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
    all
}

fn saved(place: &str, mut parts: Vec<Part>) -> Option<Saved> {
    // What a bundle that is gone was built on is nothing that was saved.
    if parts.iter().all(|part| part.part == BASE) {
        return None;
    }
    let rank = |part: &Part| match ORDER.iter().position(|known| part.part == *known) {
        Some(rank) => rank,
        None if part.part == BASE => LAST,
        None => ORDER.len(),
    };
    parts.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.part.cmp(&b.part)));
    let mut parts = parts.into_iter();
    let main = parts.next()?;
    let stamped = place.rsplit_once('/').and_then(|(from, stamp)| Some((from, stamp, stamped_at(stamp)?)));
    let (name, from, at) = match stamped {
        Some((from, stamp, at)) => {
            let token = stamp.rsplit_once('-').map_or(stamp, |(_, token)| token);
            (format!("{from}-{token}"), from.to_owned(), Some(at))
        }
        None => (place.to_owned(), place.to_owned(), None),
    };
    Some(Saved { name, from, at, main, others: parts.collect() })
}

/// Why a text names no saved thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unresolved {
    /// There is none.
    Unknown,
    /// There are several, with these names.
    Several(Vec<String>),
}

/// The saved thing that a text means: its name or one of its refs, the workspace or RUN/TASK that it is from, or the
/// beginning of its name, in this order.
pub fn resolve<'a>(all: &'a [Saved], text: &str) -> Result<&'a Saved, Unresolved> {
    let ways: [&dyn Fn(&Saved) -> bool; 3] = [
        &|saved| saved.name == text || saved.parts().any(|part| part.reference == text),
        &|saved| saved.from == text,
        &|saved| !text.is_empty() && saved.name.starts_with(text),
    ];
    for way in ways {
        let found: Vec<&Saved> = all.iter().filter(|saved| way(saved)).collect();
        match found[..] {
            [] => {}
            [only] => return Ok(only),
            _ => return Err(Unresolved::Several(found.iter().map(|saved| saved.name.clone()).collect())),
        }
    }
    Err(Unresolved::Unknown)
}

/// The commits that no branch holds, each with its parents.
#[derive(Clone, Default, Debug)]
pub struct Unheld(HashMap<CommitId, Vec<CommitId>>);

impl Unheld {
    /// From the lines of `rev-list --parents`.
    pub fn parse(text: &str) -> Unheld {
        let line = |line: &str| {
            let mut ids = line.split(' ').map(CommitId::parse);
            let commit = ids.next()?.ok()?;
            Some((commit, ids.filter_map(Result::ok).collect()))
        };
        Unheld(text.lines().filter_map(line).collect())
    }

    /// Adds commits that the repository does not even have, as lines of the same form.
    pub fn add<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        for line in lines {
            self.0.extend(Unheld::parse(line).0);
        }
    }

    /// True when no branch holds this commit.
    pub fn contains(&self, commit: &CommitId) -> bool {
        self.0.contains_key(commit)
    }

    /// How many commits of a saved thing no branch holds, without those made of uncommitted changes.
    pub fn commits(&self, saved: &Saved) -> usize {
        let (reached, _) = self.walk(saved.parts().map(|part| &part.commit));
        let made: BTreeSet<&CommitId> =
            saved.parts().filter(|part| part.uncommitted).map(|part| &part.commit).collect();
        reached.difference(&made).count()
    }

    /// The commits that a branch holds and that something on top of them was built on.
    pub fn bases(&self, tip: &CommitId) -> Vec<CommitId> {
        let (_, held) = self.walk(std::iter::once(tip));
        held.into_iter().cloned().collect()
    }

    /// What can be reached without passing a commit that a branch holds, and the commits where that ends.
    fn walk<'a>(
        &'a self,
        from: impl Iterator<Item = &'a CommitId>,
    ) -> (BTreeSet<&'a CommitId>, BTreeSet<&'a CommitId>) {
        let (mut reached, mut held, mut next) = (BTreeSet::new(), BTreeSet::new(), from.collect::<Vec<_>>());
        while let Some(commit) = next.pop() {
            match self.0.get(commit) {
                Some(parents) => {
                    if reached.insert(commit) {
                        next.extend(parents);
                    }
                }
                None => {
                    held.insert(commit);
                }
            }
        }
        (reached, held)
    }
}

/// How many files each of these commits changes, from `diff-tree --stdin -z --name-status`.
pub fn changed_files<'a>(records: impl Iterator<Item = &'a [u8]>) -> HashMap<CommitId, usize> {
    let (mut counts, mut commit, mut records) = (HashMap::new(), None, records);
    while let Some(record) = records.next() {
        // A letter stands before each path, so that no path is taken for a commit.
        if let ([_], Some(commit)) = (record, &commit) {
            records.next();
            *counts.entry(CommitId::clone(commit)).or_default() += 1;
        } else {
            commit = CommitId::parse(&String::from_utf8_lossy(record)).ok();
        }
    }
    counts
}

/// What stands in the way of new branches with these full names: one that is there, or whose name needs the same directory.
pub fn in_the_way<'a>(wanted: &[String], there: impl Iterator<Item = &'a str>) -> Option<String> {
    let below = |lower: &str, upper: &str| lower.strip_prefix(upper).is_some_and(|rest| rest.starts_with('/'));
    let collides = |there: &str| wanted.iter().any(|new| new == there || below(new, there) || below(there, new));
    there.into_iter().find(|name| collides(name)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> CommitId {
        CommitId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    fn saved_ref(reference: &str, digit: char, subject: &str) -> SavedRef {
        let reference = format!("{SALVAGE_PREFIX}{reference}");
        SavedRef { reference, commit: commit(digit), subject: subject.into(), bundle: None }
    }

    fn some() -> Vec<Saved> {
        group(vec![
            saved_ref("odd", '9', "x"),
            saved_ref("w/1000-0123abcd/head", '1', "work"),
            saved_ref("w/1000-0123abcd/MERGE_HEAD", '5', "theirs"),
            saved_ref("w/1000-0123abcd/worktree", '2', "treehand: what lay in the worktree before a removal"),
            saved_ref("w/1000-0123abcd/index", '3', "treehand: what was staged before a removal"),
            saved_ref("w/1000-0123abcd/conflict", '7', "treehand: what was in conflict before a removal"),
            saved_ref("a/b/3000-0123abcd/worktree", '4', "the last commit of an agent"),
            saved_ref("a/w2/2000-ffffffff/branch", '6', "work"),
        ])
    }

    #[test]
    fn refs_of_one_removal_are_one_thing_and_the_newest_comes_first() {
        let all = some();
        let names: Vec<&str> = all.iter().map(|saved| saved.name.as_str()).collect();
        assert_eq!(names, ["a/b-0123abcd", "a/w2-ffffffff", "w-0123abcd", "odd"]);
        let parts: Vec<&str> = all[2].parts().map(|part| part.part.as_str()).collect();
        assert_eq!(parts, ["worktree", "index", "head", "conflict", "MERGE_HEAD"]);
        let told: Vec<bool> = all[2].parts().map(|part| part.uncommitted).collect();
        assert_eq!(told, [true, true, false, true, false]);
        assert!(!all[0].main.uncommitted, "a commit of somebody else's on top");
        assert_eq!((all[2].from.as_str(), all[2].at), ("w", Some(Timestamp(1000))));
        assert_eq!((all[3].from.as_str(), all[3].at, all[3].main.part.as_str()), ("odd", None, "odd"));
    }

    #[test]
    fn what_a_bundle_holds_is_of_the_same_thing_and_its_base_alone_is_none() {
        let bundle = Some(PathBuf::from("/x"));
        let bundled = |name: &str| SavedRef { bundle: bundle.clone(), ..saved_ref(name, '2', "treehand: what x") };
        let all = group(vec![
            saved_ref("w/1-0123abcd/base", '1', "work"),
            bundled("w/1-0123abcd/private-1-x"),
            bundled("w/1-0123abcd/worktree"),
            saved_ref("v/1-0123abcd/base", '1', "work"),
        ]);
        let [saved] = &all[..] else { panic!("{all:?}") };
        let parts: Vec<&str> = saved.parts().map(|part| part.part.as_str()).collect();
        assert_eq!((parts, saved.bundle()), (vec!["worktree", "private-1-x", "base"], bundle.as_ref()));
        assert_eq!(some()[0].bundle(), None);
        let mut unheld = Unheld::default();
        unheld.add([format!("{} {}", commit('2'), commit('1')).as_str()].into_iter());
        assert!(unheld.contains(&commit('2')) && !unheld.contains(&commit('1')));
    }

    #[test]
    fn a_name_means_one_thing_or_says_which_it_could_be() {
        let all = some();
        let check = |text: &str, expected: Result<&str, Unresolved>| {
            assert_eq!(resolve(&all, text).map(|saved| saved.name.as_str()), expected, "{text:?}");
        };
        check("w-0123abcd", Ok("w-0123abcd"));
        check("w", Ok("w-0123abcd"));
        check("a/b", Ok("a/b-0123abcd"));
        check("a/w2-ff", Ok("a/w2-ffffffff"));
        check("refs/treehand/salvage/w/1000-0123abcd/index", Ok("w-0123abcd"));
        check("a/", Err(Unresolved::Several(vec!["a/b-0123abcd".into(), "a/w2-ffffffff".into()])));
        check("", Err(Unresolved::Unknown));
        check("nothing", Err(Unresolved::Unknown));
        let twice = group(vec![
            saved_ref("w/1-00000001/head", '1', "x"),
            saved_ref("w/2-00000002/head", '1', "x"),
            saved_ref("wide/2-00000003/head", '1', "x"),
        ]);
        let both = Unresolved::Several(vec!["w-00000002".into(), "w-00000001".into()]);
        assert_eq!(resolve(&twice, "w").map(|saved| &saved.name), Err(both), "the longer name is not meant");
    }

    #[test]
    fn commits_that_no_branch_holds_are_counted_without_those_made_of_changes() {
        let all = some();
        let lines = |lines: &[&[char]]| {
            let line = |ids: &&[char]| ids.iter().map(|c| commit(*c).to_string()).collect::<Vec<_>>().join(" ");
            Unheld::parse(&lines.iter().map(line).collect::<Vec<_>>().join("\n"))
        };
        let unheld = lines(&[&['2', '1'], &['3', '1'], &['1', 'a'], &['a', 'b', 'c'], &['4']]);
        assert_eq!(unheld.commits(&all[2]), 2, "its HEAD and the one below");
        assert_eq!(unheld.bases(&commit('2')), [commit('b'), commit('c')]);
        assert_eq!((unheld.commits(&all[0]), unheld.bases(&commit('4')).len()), (1, 0), "a history of its own");
        assert_eq!((unheld.commits(&all[1]), unheld.contains(&commit('6'))), (0, false));
        assert_eq!(unheld.bases(&commit('6')), [commit('6')], "a branch holds it");
    }

    #[test]
    fn a_path_that_looks_like_a_commit_is_a_path() {
        let (first, second) = (commit('1').to_string(), commit('2').to_string());
        let records = [first.as_str(), "A", &second, "M", "x", &second, "D", "A"];
        let counts = changed_files(records.iter().map(|record| record.as_bytes()));
        assert_eq!(counts, HashMap::from([(commit('1'), 2), (commit('2'), 1)]));
    }

    #[test]
    fn a_branch_is_in_the_way_by_its_name_or_its_directory() {
        let wanted = ["refs/heads/salvaged/w-1".to_owned()];
        let check = |there: &str, expected: bool| {
            assert_eq!(in_the_way(&wanted, [there].into_iter()).is_some(), expected, "{there}");
        };
        check("refs/heads/salvaged/w-1", true);
        check("refs/heads/salvaged", true);
        check("refs/heads/salvaged/w-1/x", true);
        check("refs/heads/salvaged/w-12", false);
        check("refs/heads/main", false);
    }
}
