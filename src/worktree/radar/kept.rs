//! What the radar found the last time: a verdict follows from commits, the target's and those of two results, and from settings.
//!
//! Kept are the results that were held against each other, and the pairs that conflict; every other pair of those is known to be
//! none. So the file grows with the results, not with their pairs. What was not asked for the last time is forgotten, and so is
//! everything when the target moves or a setting changes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::brought::{Brought, Side};
use super::hunks::ConflictFile;
use crate::model::CommitId;
use crate::worktree::memo::Memo;
use crate::worktree::repository::Repository;

/// What the file begins with; another number is of another treehand.
const VERSION: u32 = 1;

/// All that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct All {
    version: u32,
    /// A print of the settings that a merge follows from.
    settings: String,
    found: Found,
}

/// What was found for one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its tip.
    pub target: CommitId,
    /// The results by their keys, in the order in which they were held against each other, and how they stand to it.
    pub sides: Vec<(String, Brought)>,
    /// Those that conflict, by their places there, the smaller first.
    pub pairs: Vec<(usize, usize, Vec<ConflictFile>)>,
}

/// What is kept of the radar.
pub struct Kept {
    memo: Memo,
    settings: Option<String>,
    before: Option<Found>,
}

/// What a result is known by: all that follows from it and the target is the same for the same key.
pub fn key(side: &Side<'_>) -> String {
    format!("{} {}", side.commit, side.base.map_or("-", CommitId::as_str))
}

impl Kept {
    /// Opens it. Without a print of the settings nothing is known, and nothing is kept.
    pub fn open(repo: &Repository, settings: Option<String>) -> Kept {
        let memo = Memo::of(repo, "conflicts.json");
        let kept = settings.as_ref().and_then(|_| memo.read::<All>());
        let holds = |all: &All| all.version == VERSION && Some(&all.settings) == settings.as_ref();
        let before = kept.filter(holds).map(|all| all.found);
        Kept { memo, settings, before }
    }

    /// What is known of a target with this tip.
    pub fn known(&self, tip: &CommitId) -> Known<'_> {
        let Some(found) = self.before.as_ref().filter(|found| found.target == *tip) else { return Known::default() };
        let side = |(at, (key, brought)): (usize, &'_ (String, Brought))| (key.clone(), (at, brought.clone()));
        Known {
            sides: found.sides.iter().enumerate().map(side).collect(),
            pairs: found.pairs.iter().map(|(one, other, files)| ((*one, *other), &files[..])).collect(),
        }
    }

    /// Keeps what was found now.
    pub fn keep(self, found: Found) {
        if let (Some(settings), true) = (self.settings, self.before.as_ref() != Some(&found)) {
            self.memo.write(&All { version: VERSION, settings, found });
        }
    }
}

/// What is known of the results that are held against one target.
#[derive(Debug, Default)]
pub struct Known<'a> {
    sides: HashMap<String, (usize, Brought)>,
    pairs: HashMap<(usize, usize), &'a [ConflictFile]>,
}

impl Known<'_> {
    /// The place of a result among those that are known, and how it stands to the target.
    pub fn side(&self, key: &str) -> Option<&(usize, Brought)> {
        self.sides.get(key)
    }

    /// Whether the two at these places conflict, and in which files; `None` when that is known only for the two the other way
    /// round: whose attributes count, and what files are called, can be another thing then.
    pub fn pair(&self, one: usize, other: usize) -> Option<Option<&[ConflictFile]>> {
        (one < other).then(|| self.pairs.get(&(one, other)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worktree::fixture::Fixture;

    #[test]
    fn what_was_found_is_known_again_until_the_target_or_a_setting_is_another() {
        let fixture = Fixture::new();
        let id = |letter: char| CommitId::parse(&letter.to_string().repeat(40)).expect("an id");
        let files = vec![ConflictFile { path: "a".into(), hunks: Some(2) }];
        let sides =
            [("one", Brought::Nothing), ("two", Brought::Onto(id('2'))), ("three", Brought::Against(files.clone()))];
        let sides = sides.map(|(key, brought)| (key.to_owned(), brought)).to_vec();
        let found = Found { target: id('a'), sides, pairs: vec![(1, 2, files.clone())] };
        let open = |settings: &str| Kept::open(&fixture.repo, Some(settings.to_owned()));
        open("s").keep(found);
        let kept = open("s");
        let known = kept.known(&id('a'));
        assert_eq!(known.side("two"), Some(&(1, Brought::Onto(id('2')))));
        assert_eq!((known.side("four"), known.pair(1, 2)), (None, Some(Some(&files[..]))));
        assert_eq!((known.pair(0, 1), known.pair(2, 1)), (Some(None), None));
        assert_eq!(kept.known(&id('b')).side("two"), None);
        assert_eq!(open("t").known(&id('a')).side("two"), None);
        assert_eq!(Kept::open(&fixture.repo, None).known(&id('a')).side("two"), None);
        std::fs::write(fixture.repo.state_dir().join("conflicts.json"), "{").expect("written");
        assert_eq!(open("s").known(&id('a')).side("two"), None);
    }
}
