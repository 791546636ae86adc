//! A repository with specimens, and what is asserted of them together.
//!
//! Every line of a plan has to be a specimen's, and every specimen has to get its lines: what is not mentioned is untouched.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::digest::{self, Digest};
use crate::support::World;

/// What has to be said of a specimen.
pub enum Verdict {
    /// It goes: its kind, its name, how the proof begins.
    Goes(&'static str, String, &'static str),
    /// It stays: its kind, its name, a part of the reason.
    Kept(&'static str, String, &'static str),
    /// Nothing is said of it, and it is there, bit for bit.
    Untouched(PathBuf),
}

pub use Verdict::{Goes, Kept, Untouched};

/// How a specimen is made and what has to become of it.
pub type Specimen = (&'static str, fn(&World, &str) -> Vec<Verdict>);

/// A lock that a dead git left long ago, which goes.
pub fn dead_lock(lock: PathBuf) -> Verdict {
    crate::support::aged(&lock, std::time::Duration::from_secs(2 * 86_400));
    Goes("lock", lock.display().to_string(), "no git lives that was there when it was made")
}

/// A repository and what lives in it.
pub struct Pen {
    pub world: World,
    verdicts: Vec<(&'static str, Verdict)>,
}

impl Pen {
    /// Brings specimens into a world, one after the other.
    pub fn fill(world: World, specimens: &[Specimen]) -> Pen {
        let mut verdicts = Vec::new();
        for (name, build) in specimens {
            verdicts.extend(build(&world, name).into_iter().map(|verdict| (*name, verdict)));
        }
        Pen { world, verdicts }
    }

    /// A world in which these specimens are already.
    pub fn of(world: World, verdicts: Vec<(&'static str, Verdict)>) -> Pen {
        Pen { world, verdicts }
    }

    /// Cleans, and asserts everything that has to hold in a pen.
    pub fn judge(&self, flags: &[&str]) {
        let (before, sound) = (self.look(), self.fsck());
        let done = self.judge_once(flags, &before, &sound);
        if !done["op"].is_null() {
            self.world.treehand(&["undo"]).expect(0);
            self.assert_same(&before, "clean and undo");
        }
        self.expire(flags, &before, &sound);
    }

    /// The same where the retention of nothing has begun.
    pub fn judge_what_is_not_undone(&self, flags: &[&str]) {
        let (before, sound) = (self.look(), self.fsck());
        let done = self.judge_once(flags, &before, &sound);
        assert!(done["op"].is_null(), "nothing can be taken back: {done}");
    }

    fn judge_once(&self, flags: &[&str], before: &Seen, sound: &[String]) -> Value {
        let plan = self.clean(flags, false);
        self.assert_same(before, "a plan");
        self.assert_said(&plan);
        let done = self.clean(flags, true);
        assert_eq!(lines(&plan, "actions"), lines(&done, "actions"), "what is done is what was planned");
        // What was begun and is ended first may be kept then, too.
        for kept in plan["kept"].as_array().expect("a list") {
            assert!(done["kept"].as_array().expect("a list").contains(kept), "{kept} was to be kept: {done}");
        }
        for action in done["actions"].as_array().expect("a list") {
            assert_eq!(action["outcome"], "done", "{action}");
            let item = Path::new(action["item"].as_str().expect("a name"));
            assert!(item.is_relative() || item.symlink_metadata().is_err(), "{action} is still there");
        }
        self.assert_only_theirs(before);
        self.assert_gone();
        let again = self.clean(flags, false);
        assert_eq!(again["actions"], serde_json::json!([]), "a second plan has nothing to do");
        self.assert_sound(sound);
        done
    }

    /// Cleans once more and lets the retention end: what is left is what was never to go.
    fn expire(&self, flags: &[&str], before: &Seen, sound: &[String]) {
        self.clean(flags, true);
        self.clean(&[flags, &["--set", "clean.retention=0s"]].concat(), true);
        self.assert_only_theirs(before);
        self.assert_sound(sound);
        let trash = self.world.repo().join(".git/treehand/trash");
        assert_eq!(std::fs::read_dir(&trash).map_or(0, Iterator::count), 0, "the trash is empty");
    }

    /// What git has to say of the repository: worktrees that people made badly are no fault of anybody's.
    fn fsck(&self) -> Vec<String> {
        let answer = self.world.try_git_in(&self.world.repo(), &["fsck", "--full", "--no-dangling"]);
        answer.stdout.lines().chain(answer.stderr.lines()).map(str::to_owned).collect()
    }

    fn assert_sound(&self, before: &[String]) {
        let new: Vec<String> = self.fsck().into_iter().filter(|line| !before.contains(line)).collect();
        assert!(new.is_empty(), "git fsck: {new:#?}");
    }

    fn clean(&self, flags: &[&str], apply: bool) -> Value {
        let yes: &[&str] = if apply { &["--yes"] } else { &[] };
        let document = self.world.treehand(&[&["clean", "--json"], flags, yes].concat()).expect(0).json();
        assert_eq!(document["applied"], apply);
        document
    }

    fn assert_said(&self, plan: &Value) {
        let mut unsaid = Vec::new();
        let mut actions = pairs(plan, "actions", "proof");
        let mut kept = pairs(plan, "kept", "reason");
        for (name, verdict) in &self.verdicts {
            let found = match verdict {
                Goes(kind, item, proof) => take(&mut actions, kind, item, |said| said.starts_with(proof)),
                Kept(kind, item, reason) => take(&mut kept, kind, item, |said| said.contains(reason)),
                Untouched(path) => path.symlink_metadata().is_ok(),
            };
            if !found {
                unsaid.push(*name);
            }
        }
        let nothing_else = actions.is_empty() && kept.is_empty() && unsaid.is_empty();
        assert!(nothing_else, "without their verdict: {unsaid:#?}\nalso goes: {actions:#?}\nalso kept: {kept:#?}");
    }

    /// What has changed since is of what had to go, or says how to bring it back.
    fn assert_only_theirs(&self, before: &Seen) {
        let after = self.look();
        let goes: Vec<&str> = self.verdicts.iter().filter_map(|(_, verdict)| item_that_goes(verdict)).collect();
        let changed = digest::difference(&before.files, &after.files);
        let others: Vec<&PathBuf> = changed.iter().filter(|path| !self.is_of_any(path, &goes, before)).collect();
        assert!(others.is_empty(), "these are nobody's that goes: {others:#?}");
        let touched = digest::difference(&before.untouched, &after.untouched);
        assert!(touched.is_empty(), "these were to be untouched: {touched:#?}");
        let branch = |name: &str| name.strip_prefix("refs/heads/").unwrap_or(name).to_owned();
        let lost = |line: &&String| {
            let name = line.split(' ').next().unwrap_or_default();
            !after.refs.contains(line) && !goes.iter().any(|item| branch(name) == branch(item)) && !is_for_undo(name)
        };
        let lost: Vec<&String> = before.refs.iter().filter(lost).collect();
        assert!(lost.is_empty(), "these refs are nobody's that goes: {lost:#?}");
    }

    /// What had to go is there no longer.
    fn assert_gone(&self) {
        let refs = self.look().refs;
        for (name, verdict) in &self.verdicts {
            let there = match verdict {
                Goes("workspace", item, _) => {
                    let boxed = self.world.trees().join(item.replace('/', "."));
                    boxed.symlink_metadata().is_ok()
                }
                Goes("branch", item, _) => refs.iter().any(|line| line.starts_with(&format!("{item} "))),
                Goes(..) | Kept(..) | Untouched(_) => false,
            };
            assert!(!there, "{name} is still there");
        }
    }

    fn is_of_any(&self, path: &Path, goes: &[&str], before: &Seen) -> bool {
        let git = self.world.repo().join(".git");
        let bookkeeping = ["refs", "logs/refs", "packed-refs", "config", "worktrees"].iter().any(|name| {
            let place = git.join(name);
            if *name == "worktrees" { path == place } else { path.starts_with(&place) }
        });
        let own = |item: &str| {
            let boxed = item.replace('/', ".");
            let (here, disk) = (self.world.trees(), self.world.path().join("disk/trees"));
            let trees = [here.join(item), here.join(&boxed), disk.join(item)];
            let of = |(entry, tree): &(PathBuf, PathBuf)| {
                path.starts_with(entry) && trees.iter().any(|place| tree.starts_with(place))
            };
            trees.iter().any(|place| path.starts_with(place))
                || before.entries.iter().any(of)
                || path.ancestors().any(|place| is_named(&place.to_string_lossy(), item))
        };
        let around = [self.world.trees(), self.world.path().join("disk/trees")].iter().any(|place| path == place);
        bookkeeping || around || goes.iter().any(|item| own(item))
    }

    fn assert_same(&self, before: &Seen, after_what: &str) {
        let now = self.look();
        let reflog = self.world.repo().join(".git/logs/refs");
        let lists = |path: &Path| {
            let git = self.world.repo().join(".git");
            path.starts_with(&reflog) || path.starts_with(git.join("refs")) || path == git.join("packed-refs")
        };
        let changed = digest::difference(&before.files, &now.files);
        // What of ours was empty, because somebody deleted the tree in it, need not come back.
        let empty = |path: &Path| {
            let ours = path.parent() == Some(&self.world.trees()) && before.files.contains_key(path);
            ours && !before.files.keys().any(|other| other != path && other.starts_with(path))
        };
        // A dead lock does not come back.
        let lock = |path: &Path| {
            let is_it = |verdict: &Verdict| matches!(verdict, Goes("lock", item, _) if Path::new(item) == path);
            self.verdicts.iter().any(|(_, verdict)| is_it(verdict))
        };
        let stays = |path: &&PathBuf| !lists(path) && !empty(path) && !lock(path);
        let changed: Vec<&PathBuf> = changed.iter().filter(stays).collect();
        assert!(changed.is_empty(), "{after_what} changed {changed:#?}");
        let touched = digest::difference(&before.untouched, &now.untouched);
        assert!(touched.is_empty(), "{after_what} touched {touched:#?}");
        let ours = |seen: &Seen| -> Vec<String> {
            seen.refs.iter().filter(|line| !is_for_undo(line.split(' ').next().unwrap_or_default())).cloned().collect()
        };
        assert_eq!(ours(before), ours(&now), "{after_what} changed refs");
        assert_eq!(before.worktrees, now.worktrees, "{after_what} changed the list of worktrees");
    }

    fn look(&self) -> Seen {
        let text = |args: &[&str]| self.world.git(args).lines().map(|line| line.trim_end().to_owned()).collect();
        Seen {
            files: digest::of(self.world.path()),
            refs: text(&["for-each-ref", "--format=%(refname) %(objectname) %(symref)"]),
            worktrees: text(&["worktree", "list", "--porcelain"]),
            entries: entries(&self.world.repo()),
            untouched: self.verdicts.iter().flat_map(|(_, verdict)| untouched(verdict)).collect(),
        }
    }
}

/// A world as it was at one moment.
struct Seen {
    files: Digest,
    refs: Vec<String>,
    worktrees: Vec<String>,
    entries: Vec<(PathBuf, PathBuf)>,
    untouched: Digest,
}

/// The entries in git's list, each with the tree that it is of.
pub fn entries(repo: &Path) -> Vec<(PathBuf, PathBuf)> {
    let all = std::fs::read_dir(repo.join(".git/worktrees")).into_iter().flatten().filter_map(Result::ok);
    let tree = |entry: &Path| {
        let link = std::fs::read(entry.join("gitdir")).ok()?;
        Some(Path::new(std::ffi::OsStr::from_bytes(link.trim_ascii_end())).parent()?.to_owned())
    };
    all.filter_map(|entry| tree(&entry.path()).map(|tree| (entry.path(), tree))).collect()
}

/// Refs that come with a removal, and go with its retention.
fn is_for_undo(name: &str) -> bool {
    ["refs/treehand/undo/", "refs/treehand/salvage/", "refs/treehand/merged/"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn item_that_goes(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Goes(_, item, _) => Some(item),
        Kept(..) | Untouched(_) => None,
    }
}

fn untouched(verdict: &Verdict) -> Digest {
    match verdict {
        Untouched(path) => digest::of(path),
        Goes(..) | Kept(..) => Digest::new(),
    }
}

/// What is planned, without how it came out.
fn lines(document: &Value, list: &str) -> Vec<[String; 4]> {
    let all = document[list].as_array().expect("a list").iter();
    all.map(|line| ["kind", "item", "proof", "expect"].map(|key| line[key].to_string())).collect()
}

fn pairs(document: &Value, list: &str, said: &str) -> Vec<[String; 3]> {
    let word = |line: &Value, key: &str| line[key].as_str().expect("a word").to_owned();
    let all = document[list].as_array().expect("a list").iter();
    all.map(|line| [word(line, "kind"), word(line, "item"), word(line, said)]).collect()
}

/// `/…` means the end of a path, `…*` a beginning.
fn is_named(item: &str, expected: &str) -> bool {
    let end = expected.starts_with('/') && item.ends_with(expected);
    item == expected || end || expected.strip_suffix('*').is_some_and(|begin| item.starts_with(begin))
}

fn take(left: &mut Vec<[String; 3]>, kind: &str, expected: &str, fits: impl Fn(&str) -> bool) -> bool {
    let found = left.iter().position(|[of, item, said]| of == kind && is_named(item, expected) && fits(said));
    found.map(|at| left.remove(at)).is_some()
}
