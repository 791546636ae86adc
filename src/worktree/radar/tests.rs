//! The radar against the plainest way to know: one `git merge-tree` process for each pair of random histories.
//!
//! `TREEHAND_RADAR_ROUNDS` and `TREEHAND_RADAR_SEED` make it long, and another one (`scripts/stress radar`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::brought::{Brought, Side, changed};
use super::compare::compare;
use super::interact::interacting;
use super::kept::{Found, Kept, Known};
use crate::model::CommitId;
use crate::sys::git::Reader;
use crate::worktree::fixture::Fixture;
use crate::worktree::merge::{self, Merged, Signature, merge_trees};
use crate::worktree::quarantine::Quarantine;

/// SplitMix64: the same seed gives the same worlds on every machine. In a calm one there is more room, and less happens.
struct Chance(u64, bool);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % (end as u64)).expect("it is below")
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Mode and content by path; the content of a submodule is its commit.
type Tree = BTreeMap<String, (&'static str, String)>;

/// A path of few names, so that changes meet.
fn path(chance: &mut Chance) -> String {
    let names = ["d", "e", "f", "g", "d/f", "x y", "h", "i", "j", "k", "l", "m", "n"];
    let known = if chance.1 { names.len() } else { 6 };
    let depth = chance.below(3);
    let mut path = String::new();
    for _ in 0..depth {
        path.push_str(chance.of(&names[..known / 2]));
        path.push('/');
    }
    path + chance.of(&names[..known])
}

/// Puts a file where there may be a directory, or below what may be a file.
fn put(tree: &mut Tree, path: &str, entry: (&'static str, String)) {
    let is_above = |above: &str, below: &str| below.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'));
    tree.retain(|other, _| !is_above(path, other) && !is_above(other, path));
    tree.insert(path.to_owned(), entry);
}

fn lines(chance: &mut Chance) -> String {
    let kind = chance.below(4);
    (0..12).map(|line| format!("line {line} of {kind}\n")).collect()
}

/// Moves everything at or below a place to another.
fn move_all(tree: &mut Tree, from: &str, to: &str) {
    let below = format!("{from}/");
    let moved: Vec<(String, _)> = tree.extract_if(.., |path, _| path == from || path.starts_with(&below)).collect();
    for (path, entry) in moved {
        put(tree, &format!("{to}{}", &path[from.len()..]), entry);
    }
}

fn change(tree: &mut Tree, chance: &mut Chance, names: &mut usize) {
    let present: Vec<String> = tree.keys().cloned().collect();
    let Some(known) = (!present.is_empty()).then(|| present[chance.below(present.len())].clone()) else {
        let (path, text) = (path(chance), lines(chance));
        return put(tree, &path, ("100644", text));
    };
    let directory = known.rsplit_once('/').map(|(directory, _)| directory.to_owned());
    *names += 1;
    match chance.below(16) {
        0..4 => {
            let entry = tree.get_mut(&known).expect("it is there");
            if entry.0.starts_with("100") {
                let mut all: Vec<String> = entry.1.lines().map(str::to_owned).collect();
                let at = chance.below(all.len().max(1));
                all.insert(at, format!("edit {}", chance.below(6)));
                entry.1 = all.join("\n") + "\n";
            }
        }
        4 | 5 => {
            let (path, text) = (path(chance), lines(chance));
            put(tree, &path, ("100644", text));
        }
        6 => drop(tree.remove(&known)),
        7 | 8 => {
            let to = path(chance);
            let entry = tree.remove(&known).expect("it is there");
            put(tree, &to, entry);
        }
        9 | 10 => {
            let to = if chance.below(2) == 0 { path(chance) } else { format!("new{names}") };
            move_all(tree, directory.as_deref().unwrap_or(&known), &to);
        }
        11 => {
            let below = format!("{}/", directory.as_deref().unwrap_or(&known));
            tree.retain(|path, _| !path.starts_with(&below));
        }
        12 => put(tree, &directory.unwrap_or(known), ("100644", "a file now\n".into())),
        13 => {
            let entry = tree.get_mut(&known).expect("it is there");
            *entry = match chance.below(3) {
                0 => ("120000", format!("to {}", chance.below(3))),
                1 => ("160000", format!("{}", chance.below(3) + 1).repeat(40)),
                _ => ("100755", lines(chance)),
            };
        }
        14 => put(tree, &format!("{known}/below"), ("100644", lines(chance))),
        _ => {
            let place = directory.map(|directory| format!("{directory}/")).unwrap_or_default();
            let what = ["* merge=union\n", "* -merge\n", "f -text\n"];
            put(tree, &format!("{place}.gitattributes"), ("100644", chance.of(&what).into()));
        }
    }
}

/// Commits that become real all at once.
#[derive(Default)]
struct Making {
    stream: String,
    trees: Vec<Tree>,
}

impl Making {
    fn commit(&mut self, tree: Tree, parents: &[usize]) -> usize {
        self.trees.push(tree);
        let (mark, stream) = (self.trees.len(), &mut self.stream);
        let mut add = |line: std::fmt::Arguments<'_>| writeln!(stream, "{line}").expect("a text takes all");
        add(format_args!("commit refs/made/{mark}\nmark :{mark}\ncommitter T <t@example.org> {mark} +0000\ndata 0"));
        for (place, parent) in parents.iter().enumerate() {
            add(format_args!("{} :{parent}", if place == 0 { "from" } else { "merge" }));
        }
        add(format_args!("deleteall"));
        for (path, (mode, content)) in self.trees.last().expect("just put") {
            match *mode {
                "160000" => add(format_args!("M {mode} {content} {path}")),
                _ => add(format_args!("M {mode} inline {path}\ndata {}\n{content}", content.len())),
            }
        }
        mark
    }

    /// One that changes what another has.
    fn change(&mut self, from: usize, merged: Option<usize>, chance: &mut Chance) -> usize {
        let source = merged.filter(|_| chance.below(2) == 0).unwrap_or(from);
        let mut tree = self.trees[source - 1].clone();
        let mut names = self.trees.len() * 10;
        let most = if chance.1 { 2 } else { 3 };
        for _ in 0..1 + chance.below(most) {
            change(&mut tree, chance, &mut names);
        }
        self.commit(tree, &[Some(from), merged].into_iter().flatten().collect::<Vec<_>>())
    }
}

/// A target, and what is open for it: commits, some with a base of their own.
struct World {
    target: usize,
    sides: Vec<(usize, Option<usize>)>,
}

fn world(making: &mut Making, chance: &mut Chance) -> World {
    let mut tree = Tree::new();
    let files = if chance.1 { 20 } else { 6 };
    for _ in 0..files + chance.below(6) {
        let (path, text) = (path(chance), lines(chance));
        put(&mut tree, &path, ("100644", text));
    }
    let base = making.commit(tree, &[]);
    let mut line = vec![base];
    for _ in 0..chance.below(3) {
        line.push(making.change(line[line.len() - 1], None, chance));
    }
    let mut sides: Vec<(usize, Option<usize>)> = Vec::new();
    for _ in 0..3 + chance.below(3) {
        let from = match (chance.below(6), sides.last()) {
            (0, Some((side, _))) => *side,
            (1, _) => chance.of(&line),
            _ => base,
        };
        let mut tip = making.change(from, None, chance);
        match chance.below(8) {
            0 => tip = making.change(tip, Some(chance.of(&line)), chance),
            // Each has merged the other: two best common ancestors.
            1 => {
                if let Some((other, _)) = sides.last_mut() {
                    let mine = tip;
                    tip = making.change(mine, Some(*other), chance);
                    *other = making.change(*other, Some(mine), chance);
                }
            }
            2 => line.push(making.change(line[line.len() - 1], Some(tip), chance)),
            3 if chance.below(3) == 0 => tip = making.commit(making.trees[tip - 1].clone(), &[]),
            _ => {}
        }
        let own_base = (chance.below(6) == 0).then(|| chance.of(&line));
        sides.push((tip, own_base));
    }
    World { target: line[line.len() - 1], sides }
}

/// What one process for each merge says: how each result stands to the target, and the files of each pair that conflicts.
struct Plain<'a> {
    quarantine: &'a Quarantine,
    reader: Reader,
    target: &'a CommitId,
}

#[derive(Debug, PartialEq)]
enum Stands {
    Nothing,
    Onto(CommitId),
    Against(Vec<String>),
    /// git merges it with nothing, or fails to.
    Apart,
}

impl Plain<'_> {
    fn is_in(&self, one: &CommitId, other: &CommitId) -> bool {
        self.reader.is_ancestor(one, other).expect("readable")
    }

    fn stands(&self, side: &Side<'_>) -> Stands {
        let target = self.target;
        if self.is_in(side.commit, target) {
            return Stands::Nothing;
        }
        if self.is_in(target, side.commit) {
            return Stands::Onto(side.commit.clone());
        }
        if self.reader.merge_base(target, side.commit).expect("readable").is_none() {
            return Stands::Apart;
        }
        match merge_trees(self.quarantine, side.base, target, side.commit) {
            Err(_) => Stands::Apart,
            Ok(Merged::Conflict(paths)) => Stands::Against(paths),
            Ok(Merged::Clean(tree)) => {
                let made = merge::commit_tree(self.quarantine, &tree, &[target], "m", &Signature::at(0));
                Stands::Onto(made.expect("made"))
            }
        }
    }

    /// Whether two of which one conflicts with the target have changed anything at one place, above or below it.
    fn touch(&self, one: (&Side<'_>, &Stands), other: (&Side<'_>, &Stands)) -> bool {
        let changed = |(side, stands): (&Side<'_>, &Stands)| {
            let bases = self.bases(self.target, side.commit);
            let (commit, base) = match (stands, &bases[..], side.base) {
                (Stands::Onto(commit), ..) => (commit, self.target),
                (_, _, Some(base)) => (side.commit, base),
                (_, [base], None) => (side.commit, base),
                _ => return None,
            };
            let args = ["diff-tree", "-r", "-t", "-z", "--raw", "--no-renames", base.as_str(), commit.as_str()];
            let output = self.quarantine.command(args).run().expect("compared").stdout;
            let text = String::from_utf8(output).expect("names of these worlds are text");
            let fields: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
            let place = |pair: &[String]| match &pair[0] {
                entry if entry.starts_with(":040000 000000") => Some((pair[1].clone(), true)),
                entry if entry.starts_with(":040000") || entry.starts_with(":000000 040000") => None,
                _ => Some((pair[1].clone(), false)),
            };
            Some(fields.chunks(2).filter_map(place).collect::<Vec<(String, bool)>>())
        };
        let (Some(one), Some(other)) = (changed(one), changed(other)) else { return true };
        let is_at = |place: &(String, bool), file: &(String, bool)| {
            !file.1 && (file.0 == place.0 || file.0.starts_with(&format!("{}/", place.0)))
        };
        let attributes = |places: &[(String, bool)]| places.iter().any(|(path, _)| path.ends_with(".gitattributes"));
        attributes(&one) || attributes(&other) || one.iter().any(|a| other.iter().any(|b| is_at(a, b) || is_at(b, a)))
    }

    fn bases(&self, one: &CommitId, other: &CommitId) -> Vec<CommitId> {
        let args = ["merge-base", "--all", one.as_str(), other.as_str()];
        let bases = self.quarantine.command(args).output().expect("git runs").stdout;
        String::from_utf8_lossy(&bases).lines().map(|base| CommitId::parse(base).expect("an id")).collect()
    }

    /// The files in conflict, `None` where it is clean; nothing for those that are no pair.
    fn pair(
        &self,
        (one, it): (&Side<'_>, &Stands),
        (other, that): (&Side<'_>, &Stands),
    ) -> Option<Option<Vec<String>>> {
        let tree = |commit: &CommitId| self.reader.tree_of(commit).expect("readable");
        let alone = |stands: &Stands| match stands {
            Stands::Nothing | Stands::Apart => true,
            Stands::Onto(commit) => tree(commit) == tree(self.target),
            Stands::Against(_) => false,
        };
        let nested = self.is_in(one.commit, other.commit) || self.is_in(other.commit, one.commit);
        if nested || alone(it) || alone(that) {
            return None;
        }
        let share = self.bases(one.commit, other.commit).iter().any(|base| !self.is_in(base, self.target));
        let merged = match (it, that) {
            (Stands::Onto(ours), Stands::Onto(theirs)) if !share => merge_trees(self.quarantine, None, ours, theirs),
            _ if !share && !self.touch((one, it), (other, that)) => return None,
            _ => merge_trees(self.quarantine, None, one.commit, other.commit),
        };
        match merged {
            Ok(Merged::Clean(_)) => Some(None),
            Ok(Merged::Conflict(paths)) => Some(Some(paths)),
            Err(_) => Some(Some(vec![UNMERGED.to_owned()])),
        }
    }
}

/// In the place of files, for two that git fails to merge.
const UNMERGED: &str = "git fails";

/// How much of each kind there was: a test that never met a conflict, or never left a merge out, would show nothing.
#[derive(Debug, Default)]
struct Count {
    pairs: usize,
    conflicts: usize,
    left_out: usize,
    against: usize,
}

fn names(files: &[super::ConflictFile]) -> Vec<String> {
    files.iter().map(|file| file.path.clone()).collect()
}

fn check(fixture: &Fixture, target: &CommitId, sides: &[Side<'_>], count: &mut Count) -> Found {
    let quarantine = Quarantine::create(&fixture.repo, target).expect("a quarantine");
    let compared = compare(&quarantine, target, sides, &Known::default()).expect("compared");
    let reader = quarantine.as_repository(&fixture.repo).reader();
    let plain = Plain { quarantine: &quarantine, reader, target };
    let stands: Vec<Stands> = sides.iter().map(|side| plain.stands(side)).collect();
    let mut onto = BTreeMap::new();
    for (at, ((_, brought), stands)) in compared.found.sides.iter().zip(&stands).enumerate() {
        match (brought, stands) {
            (Brought::Nothing, Stands::Nothing) | (Brought::Apart(_), Stands::Apart) => {}
            (Brought::Against(files), Stands::Against(paths)) => {
                count.against += 1;
                assert_eq!(&names(files), paths);
            }
            (Brought::Onto(commit), Stands::Onto(plainly)) => {
                let tree = |commit| plain.reader.tree_of(commit).expect("readable");
                assert_eq!(tree(commit), tree(plainly));
                onto.insert(at, commit);
            }
            other => panic!("{other:?}"),
        }
    }
    let places: Vec<usize> = onto.keys().copied().collect();
    let onto: Vec<_> = onto.into_values().map(|commit| (commit, target)).collect();
    let changed = changed(&quarantine, &onto).expect("compared");
    let interact = interacting(&changed.iter().collect::<Vec<_>>());
    let place = |at: usize| places.iter().position(|place| *place == at);
    for one in 0..sides.len() {
        for other in one + 1..sides.len() {
            let conflicts = plain.pair((&sides[one], &stands[one]), (&sides[other], &stands[other]));
            count.pairs += usize::from(conflicts.is_some());
            let conflicts = conflicts.flatten();
            let found = compared.found.pairs.iter().find(|(a, b, _)| (*a, *b) == (one, other));
            let unmerged = compared.unmerged.iter().any(|(a, b, _)| (*a, *b) == (one, other));
            let found = found.map(|(_, _, files)| names(files));
            let found = found.or(unmerged.then(|| vec![UNMERGED.to_owned()]));
            assert_eq!(found, conflicts, "{one} and {other}");
            assert_ne!(found, Some(Vec::new()), "a conflict that nobody can find");
            count.conflicts += usize::from(conflicts.is_some());
            if let (Some(one), Some(other)) = (place(one), place(other)) {
                count.left_out += usize::from(!interact.contains(&(one, other)));
            }
        }
    }
    quarantine.discard().expect("discarded");
    compared.found
}

/// The same again with some of it known: one that is new, one that is gone, two that have changed places.
fn check_known(fixture: &Fixture, target: &CommitId, sides: &[Side<'_>], before: Found) {
    let open = || Kept::open(&fixture.repo, Some("settings".into()));
    open().keep(before);
    let mut again: Vec<Side<'_>> = sides.iter().skip(1).copied().collect();
    again.push(Side { commit: sides[0].commit, base: Some(target) });
    again.swap(0, 1);
    let quarantine = Quarantine::create(&fixture.repo, target).expect("a quarantine");
    let kept = open();
    let known = compare(&quarantine, target, &again, &kept.known(target)).expect("compared");
    let anew = compare(&quarantine, target, &again, &Known::default()).expect("compared");
    assert_eq!(known.found, anew.found);
    quarantine.discard().expect("discarded");
}

#[expect(clippy::disallowed_methods, reason = "a long test is asked for by the environment")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_radar_says_what_one_process_for_each_pair_says() {
    let rounds = asked("TREEHAND_RADAR_ROUNDS").unwrap_or(12);
    let first = asked("TREEHAND_RADAR_SEED").unwrap_or(1);
    let mut count = Count::default();
    let fixture = Fixture::new();
    for seed in first..first + rounds {
        let (mut making, mut chance) = (Making::default(), Chance(seed, seed % 2 == 0));
        let world = world(&mut making, &mut chance);
        let marks = fixture.dir.path().join("marks");
        let export = format!("--export-marks={}", marks.display());
        let import = fixture.repo.git.within(&fixture.root, ["fast-import", "--quiet", "--force", &export]);
        import.stdin(making.stream).run().expect("imported");
        let text = std::fs::read_to_string(marks).expect("written");
        let ids: BTreeMap<&str, CommitId> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(mark, id)| (mark, CommitId::parse(id).expect("an id")))
            .collect();
        let id = |mark: usize| &ids[&format!(":{mark}")[..]];
        let sides: Vec<Side<'_>> =
            world.sides.iter().map(|(tip, base)| Side { commit: id(*tip), base: base.map(id) }).collect();
        println!("seed {seed}: {}, {:?}", id(world.target), sides);
        let found = check(&fixture, id(world.target), &sides, &mut count);
        check_known(&fixture, id(world.target), &sides, found);
    }
    println!("{count:?}");
    assert!(count.conflicts > 0 && count.left_out > 0 && count.against > 0, "it shows nothing: {count:?}");
}
