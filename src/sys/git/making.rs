//! Objects made in process through libgit2: a merge in which there is nothing to decide, and a pack of what a repository has loose.
//!
//! Both take the time of what they make, and no process. What libgit2 cannot do (SHA-256, promised objects, modes that git no
//! longer writes) and what there is to decide is git's to do: `None` says that nothing is known, and that git has to be asked.
//!
//! A merge is trivial when nothing was changed by both sides, and no side put anything where the other had a directory. `merge-ort` finds the same tree
//! then, whatever the settings are: contents are never merged, so that attributes do not matter; a rename matters only where the other side changed
//! what was renamed, or put a file into a directory that is gone, and each of these is a name that both sides changed here and that is not a directory on both. The header
//! of `worktree/radar/interact.rs` says where git does so; what is asked here is stricter.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use git2::{ObjectType, Oid, Repository};

use super::brought::known;
use super::pack::{Pack, Whole, id_of, pack};
use super::read::{id, open};
use super::tree::{self, DIRECTORY, Entry};
use crate::model::CommitId;
use crate::sys::fs::{self, FsError};

/// A repository in which objects are made.
pub struct Maker {
    library: Repository,
    made: RefCell<Made>,
}

/// What was made.
#[derive(Default)]
struct Made {
    objects: HashMap<Oid, (ObjectType, Rc<Vec<u8>>)>,
    /// The trees of commits among them.
    trees: HashMap<Oid, Oid>,
    /// Those that are in memory alone, the oldest first.
    unwritten: Vec<Oid>,
}

/// Writes objects into a directory, as a pack with its index.
pub(super) fn write(objects: &[Whole<'_>], into: &Path) -> Result<(), FsError> {
    let Pack { name, pack, index } = pack(objects).map_err(fs::at("write", into))?;
    // A pack without its index is none.
    fs::write_new(&into.join(format!("pack-{name}.pack")), &pack)?;
    fs::write_new(&into.join(format!("pack-{name}.idx")), &index)
}

/// What became of a name.
enum Merged {
    /// This directory.
    Directory(Oid),
    /// Nothing is left of it.
    Gone,
    /// Both sides changed it.
    Undecided,
}

impl Maker {
    /// The one with this git dir; `None` where libgit2 cannot open it.
    pub fn open(git_dir: &Path) -> Option<Maker> {
        let failed = |error| tracing::debug!(git_dir = %git_dir.display(), %error, "git makes objects here");
        open(git_dir).map_err(failed).ok().map(|library| Maker { library, made: RefCell::default() })
    }

    /// The tree of the merge of these two commits with that base, when it is a trivial one.
    pub fn trivial_merge(&self, base: &CommitId, ours: &CommitId, theirs: &CommitId) -> Option<CommitId> {
        let merge = || self.merge(Some(self.tree_of(base)?), self.tree_of(ours)?, self.tree_of(theirs)?);
        let before = self.made.borrow().unwritten.len();
        let merged = merge().unwrap_or_else(|error| {
            tracing::debug!(%error, "merged by git");
            Merged::Undecided
        });
        if let Merged::Directory(tree) = merged {
            return Some(id(tree));
        }
        // What led nowhere is not kept.
        let Made { objects, unwritten, .. } = &mut *self.made.borrow_mut();
        unwritten.drain(before..).for_each(|id| drop(objects.remove(&id)));
        None
    }

    /// A commit with this tree and these parents; `text` is what follows them in it.
    pub fn commit(&self, tree: &CommitId, parents: &[&CommitId], text: &str) -> Option<CommitId> {
        let mut whole = format!("tree {tree}\n");
        parents.iter().for_each(|parent| whole.push_str(&format!("parent {parent}\n")));
        whole.push_str(text);
        let tree = known(tree).ok()?;
        let made = self.keep(ObjectType::Commit, whole.into_bytes())?;
        self.made.borrow_mut().trees.insert(made, tree);
        Some(id(made))
    }

    /// Writes what was made since the last time into a directory, as a pack with its index.
    pub fn write_pack(&self, into: &Path) -> Result<(), FsError> {
        let mut made = self.made.borrow_mut();
        let unwritten = std::mem::take(&mut made.unwritten);
        if unwritten.is_empty() {
            return Ok(());
        }
        let whole = |id: &Oid| made.objects.get(id).map(|(kind, data)| Whole { id: *id, kind: *kind, data });
        write(&unwritten.iter().filter_map(whole).collect::<Vec<_>>(), into)
    }

    /// Keeps an object in memory; one that was made already is the same.
    fn keep(&self, kind: ObjectType, data: Vec<u8>) -> Option<Oid> {
        let id = id_of(kind, &data)?;
        let mut made = self.made.borrow_mut();
        let Made { objects, unwritten, .. } = &mut *made;
        objects.entry(id).or_insert_with(|| {
            unwritten.push(id);
            (kind, Rc::new(data))
        });
        Some(id)
    }

    fn tree_of(&self, commit: &CommitId) -> Result<Oid, git2::Error> {
        let commit = known(commit)?;
        match self.made.borrow().trees.get(&commit) {
            Some(tree) => Ok(*tree),
            None => Ok(self.library.find_commit(commit)?.tree_id()),
        }
    }

    fn read(&self, tree: Oid) -> Result<Rc<Vec<u8>>, git2::Error> {
        if let Some((_, data)) = self.made.borrow().objects.get(&tree) {
            return Ok(Rc::clone(data));
        }
        let objects = self.library.odb()?;
        let object = objects.read(tree)?;
        Ok(Rc::new(object.data().to_vec()))
    }

    /// Where a name is as it was on one side, it is as it is on the other.
    fn merge(&self, base: Option<Oid>, ours: Oid, theirs: Oid) -> Result<Merged, git2::Error> {
        if base == Some(ours) {
            return Ok(Merged::Directory(theirs));
        }
        let base = base.map(|base| self.read(base)).transpose()?.unwrap_or_default();
        let (ours, theirs) = (self.read(ours)?, self.read(theirs)?);
        let (Some(base), Some(ours), Some(theirs)) =
            (tree::entries(&base), tree::entries(&ours), tree::entries(&theirs))
        else {
            return Ok(Merged::Undecided);
        };
        let (mut left, mut changed) = (Vec::with_capacity(ours.len()), Vec::new());
        for [old, our, their] in side_by_side([&base, &ours, &theirs]) {
            if old == their {
                left.extend(our);
            } else if old == our {
                left.extend(their);
            } else {
                match self.merge_directories(old, our, their)? {
                    Merged::Directory(tree) => changed.push((our.map(|our| our.name).unwrap_or_default(), tree)),
                    Merged::Gone => {}
                    Merged::Undecided => return Ok(Merged::Undecided),
                }
            }
        }
        left.extend(changed.iter().map(|(name, tree)| Entry { name, mode: DIRECTORY, id: tree.as_bytes() }));
        if left.is_empty() {
            return Ok(Merged::Gone);
        }
        Ok(self.keep(ObjectType::Tree, tree::bytes(left)).map_or(Merged::Undecided, Merged::Directory))
    }

    fn merge_directories(
        &self,
        old: Option<Entry<'_>>,
        our: Option<Entry<'_>>,
        their: Option<Entry<'_>>,
    ) -> Result<Merged, git2::Error> {
        let (Some(our), Some(their)) = (our, their) else { return Ok(Merged::Undecided) };
        if !old.iter().chain([&our, &their]).all(Entry::is_directory) {
            return Ok(Merged::Undecided);
        }
        let tree = |entry: Entry<'_>| Oid::from_bytes(entry.id);
        self.merge(old.map(tree).transpose()?, tree(our)?, tree(their)?)
    }
}

/// Each name with what it is in each of the three, which are in the order of their names.
fn side_by_side<'a>(sides: [&[Entry<'a>]; 3]) -> impl Iterator<Item = [Option<Entry<'a>>; 3]> {
    let mut at = [0; 3];
    std::iter::from_fn(move || {
        let next: [Option<Entry<'a>>; 3] = std::array::from_fn(|side| sides[side].get(at[side]).copied());
        let name = next.iter().flatten().map(|entry| entry.name).min()?;
        Some(std::array::from_fn(|side| {
            let here = next[side].filter(|entry| entry.name == name);
            at[side] += usize::from(here.is_some());
            here
        }))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sys::git::fixture::Place;

    /// A commit with these files, each with its mode and what is in it.
    fn commit(place: &Place, files: &BTreeMap<String, (&str, String)>, parents: &[&CommitId]) -> CommitId {
        place.run(&["read-tree", "--empty"]);
        for (path, (mode, text)) in files {
            let name = place.root().join("text");
            std::fs::write(&name, text).expect("written");
            let id = place.run(&["hash-object", "-w", &name.to_string_lossy()]);
            // What is in its place goes.
            place.run(&["update-index", "--add", "--replace", "--cacheinfo", &format!("{mode},{id},{path}")]);
        }
        let tree = place.run(&["write-tree"]);
        let parents: Vec<&str> = parents.iter().flat_map(|parent| ["-p", parent.as_str()]).collect();
        let made = place.run(&[&["commit-tree", "-m", "c", &tree], &parents[..]].concat());
        CommitId::parse(&made).expect("an id")
    }

    fn maker(place: &Place) -> Maker {
        Maker::open(place.root()).expect("opened")
    }

    /// The tree that git makes of it; `None` for a conflict.
    fn merged_by_git(place: &Place, base: &CommitId, ours: &CommitId, theirs: &CommitId) -> Option<String> {
        let base = format!("--merge-base={base}");
        let args = ["merge-tree", "--write-tree", &base, ours.as_str(), theirs.as_str()];
        let output = place.git.within(place.root(), args).output().expect("git works");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.code() == 0).then(|| text.trim().to_owned())
    }

    /// Files by what is in them; a path that is below another one takes its place.
    fn files(texts: &[(&str, &str)]) -> BTreeMap<String, (&'static str, String)> {
        // Long enough that git takes a removed and an added one for a rename.
        let text = |text: &str| format!("{text}\n").repeat(30);
        texts.iter().map(|(path, content)| ((*path).to_owned(), ("100644", text(content)))).collect()
    }

    #[test]
    fn what_there_is_to_decide_is_left_to_git() {
        let place = Place::made(&["--bare"]);
        let old = [("a", "a"), ("d/x", "x"), ("d/y", "y"), ("e/f/z", "z"), ("k", "k")];
        let base = commit(&place, &files(&old), &[]);
        let check = |ours: &[(&str, &str)], theirs: &[(&str, &str)], expected: bool| {
            let [ours, theirs] = [ours, theirs].map(|side| commit(&place, &files(side), &[&base]));
            let by_git = merged_by_git(&place, &base, &ours, &theirs);
            let maker = maker(&place);
            let merged = maker.trivial_merge(&base, &ours, &theirs);
            assert_eq!(merged.is_some(), expected, "{ours:?} {theirs:?}");
            if let Some(merged) = merged {
                assert_eq!(Some(merged.to_string()), by_git);
                maker.write_pack(&place.root().join("objects/pack")).expect("written");
                place.run(&["fsck", "--strict", "--no-dangling"]);
            } else {
                assert!(maker.made.borrow().unwritten.is_empty(), "what led nowhere is not kept");
            }
        };
        let with = |more: &[(&'static str, &'static str)], without: &[&str]| {
            let mut all: Vec<(&str, &str)> = old.into_iter().filter(|(path, _)| !without.contains(path)).collect();
            all.extend(more);
            all
        };
        check(&with(&[("a", "1")], &["a"]), &with(&[("k", "2")], &["k"]), true);
        check(&with(&[("d/x", "1")], &["d/x"]), &with(&[("d/y", "2"), ("n/m", "n")], &["d/y"]), true);
        // A directory of which each side removes a half.
        check(&with(&[], &["d/x"]), &with(&[], &["d/y"]), true);
        // Both made the same directory.
        check(&with(&[("n/1", "1")], &[]), &with(&[("n/2", "2")], &[]), true);
        check(&with(&[("a", "1")], &["a"]), &with(&[("a", "2")], &["a"]), false);
        check(&with(&[("a", "1")], &["a"]), &with(&[("a", "1")], &["a"]), false);
        // One renames what both remove: git finds a conflict.
        check(&with(&[("b", "a")], &["a"]), &with(&[], &["a"]), false);
        // A directory that one side has renamed, and in which the other has a new file.
        check(&with(&[("g/x", "x"), ("g/y", "y")], &["d/x", "d/y"]), &with(&[("d/new", "new")], &[]), false);
        // A file where the other has a directory.
        check(&with(&[("n", "file")], &[]), &with(&[("n/1", "1")], &[]), false);
        check(&with(&[("d", "file")], &["d/x", "d/y"]), &with(&[("d/x", "1")], &["d/x"]), false);
        // Nothing is left.
        check(&with(&[], &["a", "d/x", "d/y"]), &with(&[], &["e/f/z", "k"]), false);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Files, links, modes, directories in the place of each other, renames: where it is made here, git makes the same.
        #[test]
        fn random_merges_are_those_that_git_makes(
            changes in prop::collection::vec((0..4_u8, 0..9_usize, 0..3_usize, 0..5_u8), 0..20),
        ) {
            let place = Place::made(&["--bare"]);
            let paths = ["a", "a/b", "a/b/c", "a-b", "d/e", "d/f", "d/f/g", "h/i", "h"];
            let [mut base, mut ours, mut theirs] = [0; 3].map(|_| BTreeMap::new());
            for (side, path, mode, text) in &changes {
                let (path, mode) = (paths[*path], ["100644", "100755", "120000"][*mode]);
                let sides: &mut [&mut BTreeMap<_, _>] = match side {
                    0 | 1 => &mut [&mut base, &mut ours, &mut theirs],
                    2 => &mut [&mut ours],
                    _ => &mut [&mut theirs],
                };
                for files in sides {
                    if *text == 0 {
                        files.remove(path);
                        continue;
                    }
                    let in_the_way = |other: &String| other.starts_with(&format!("{path}/")) || path.starts_with(&format!("{other}/"));
                    files.retain(|other, _| !in_the_way(other));
                    files.insert(path.to_owned(), (mode, format!("{text}\n").repeat(40)));
                }
            }
            let base = commit(&place, &base, &[]);
            let (ours, theirs) = (commit(&place, &ours, &[&base]), commit(&place, &theirs, &[&base]));
            if let Some(merged) = maker(&place).trivial_merge(&base, &ours, &theirs) {
                prop_assert_eq!(Some(merged.to_string()), merged_by_git(&place, &base, &ours, &theirs));
            }
        }
    }
}
