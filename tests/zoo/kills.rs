//! `clean --yes` is killed between any two of its steps, and whoever cleans next brings everything to the same end: the same
//! refs, worktrees and files, nothing lost, and all of it back after `undo`.
//!
//! The world has one of each kind of action, and is put back as it was before each moment. Every git that is started is a
//! moment, before it and after it; where `strace` is installed, so is every change of a file, the journal's included.
//! Some moments are tried, others each time; `TREEHAND_ZOO_MOMENTS` says how many: all in `scripts/stress zoo`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::digest::{self, Digest};
use crate::inventory::{self, Inventory};
use crate::pen::Specimen;
use crate::support::chance::number;
use crate::support::{self, World};
use crate::{branches, foreign, landed, leftovers, places, runs};

const FLAGS: &[&str] = &["clean", "--json", "--yes", "--min-age", "0s", "--branches", "all", "--remote"];

/// What changes files, the store's among them, as `strace` names it.
const CHANGES: &str =
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,vfork,clone3";

/// Where `clean` is killed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Moment {
    BeforeGit(usize),
    AfterGit(usize),
    /// The n-th call of this name.
    AtCall(String, usize),
}

fn chosen(from: &'static [Specimen], names: &[&str]) -> Vec<Specimen> {
    let all: Vec<Specimen> = from.iter().filter(|(name, _)| names.contains(name)).copied().collect();
    assert_eq!(all.len(), names.len(), "each is in its pen: {names:?}");
    all
}

/// One of each kind of action.
fn one_of_each() -> Vec<Specimen> {
    [
        chosen(leftovers::HALF, &["half-made", "half-removed"]),
        chosen(landed::ALL, &["fast-forward", "squashed"]),
        chosen(places::ALL, &["deleted-staged", "deleted-loose", "sealed-and-landed"]),
        chosen(runs::ALL, &["failed-dirty", "refused"]),
        chosen(branches::ALL, &["configured", "merge-adds-nothing", "unlogged", "task-of-nobody"]),
        chosen(foreign::ALL, &["stillborn", "lost", "prunable"]),
        chosen(leftovers::ALL, &["quarantine-of-the-dead", "keep-of-ours", "old-trash", "old-salvage", "old-bundle"]),
    ]
    .concat()
}

/// Two branches on a remote whose work has landed there, and one whose work has not. Its objects do not count, as those here.
fn on_a_remote(world: &World) {
    let place = world.path().join("up/.git").to_string_lossy().into_owned();
    world.git(&["init", "-q", "--bare", &place]);
    world.git(&["remote", "add", "origin", &place]);
    for name in ["far", "farther"] {
        let tip = world.git(&["commit-tree", "-p", "main", "-m", name, "main^{tree}"]).trim().to_owned();
        world.git(&["push", "-q", "origin", &format!("{tip}:refs/heads/{name}")]);
        world.git(&["merge", "-q", "--no-ff", "-m", name, &tip]);
    }
    world.git(&["push", "-q", "origin", "main"]);
    world.commit("beyond", &[("beyond.txt", "beyond\n")]);
    world.git(&["push", "-q", "origin", "main:open-there"]);
}

/// A world that can be had as it was again and again.
struct Stage {
    world: World,
    store: tempfile::TempDir,
    before: Inventory,
    files: Digest,
}

impl Stage {
    fn set() -> Stage {
        let world = World::new();
        for (name, build) in one_of_each() {
            build(&world, name);
        }
        on_a_remote(&world);
        let store = tempfile::Builder::new().prefix("treehand-zoo-").tempdir().expect("a temporary directory");
        world.shell(&format!("cp -a '{}/.' '{}'", world.path().display(), store.path().display())).expect(0);
        let (before, files) = (inventory::take(&world), digest::of(world.path()));
        Stage { world, store, before, files }
    }

    fn put_back(&self) {
        let (place, store) = (self.world.path().display(), self.store.path().display());
        let script = format!("cd '{place}' && chmod -R u+rwX . && find . -mindepth 1 -delete && cp -a '{store}/.' .");
        let mut command = Command::new("sh");
        self.world.clean(&mut command);
        support::answer({
            command.args(["-c", &script]);
            command
        })
        .expect(0);
    }

    /// `clean`, with a git before git that counts, and kills who calls it.
    fn with_git_that_kills(&self, moment: Option<&Moment>) -> Command {
        let place = self.world.path().join("shim");
        std::fs::create_dir_all(&place).expect("made");
        let (before, after) = match moment {
            Some(Moment::BeforeGit(n)) => (*n, 0),
            Some(Moment::AfterGit(n)) => (0, *n),
            _ => (0, 0),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let git = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|git| git.is_file()).expect("git");
        let script = format!(
            "#!/bin/sh\necho >> '{count}'\nn=$(wc -l < '{count}')\n[ $n != {before} ] || kill -9 $PPID\n\
             [ $n != {after} ] || {{ '{git}' \"$@\"; kill -9 $PPID; exit; }}\nexec '{git}' \"$@\"\n",
            count = place.join("count").display(),
            git = git.display()
        );
        let shim = place.join("git");
        std::fs::write(&shim, script).expect("written");
        std::fs::set_permissions(&shim, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("set");
        let mut command = self.world.command(FLAGS);
        let with_shim = std::env::join_paths(std::iter::once(place).chain(std::env::split_paths(&path)));
        command.env("PATH", with_shim.expect("a PATH"));
        command
    }

    /// `clean`, traced: killed when it calls something for the n-th time, or each change written down.
    fn traced(&self, call: Option<(&str, usize)>) -> Command {
        let mut command = Command::new("strace");
        self.world.clean(&mut command);
        let traced = call.map_or(CHANGES, |(name, _)| name);
        command.arg("-o").arg(self.world.path().join("trace")).args(["-e", &format!("trace={traced}")]);
        command.args(call.map(|(name, n)| format!("--inject={name}:signal=KILL:when={n}")));
        command.arg(env!("CARGO_BIN_EXE_treehand")).args(FLAGS).current_dir(self.world.repo());
        command.stdin(std::process::Stdio::null());
        command
    }

    /// Whether a process may be traced here; says so where not.
    fn may_trace(&self) -> bool {
        let may = self.world.shell("strace -o /dev/null true").code == 0;
        if !may {
            writeln!(std::io::stderr(), "NOT RUN: nothing may be traced here").expect("stderr is open");
        }
        may
    }

    /// Every moment that there is.
    fn moments(&self) -> Vec<Moment> {
        let lines = |file: &Path| std::fs::read_to_string(file).expect("counted").lines().count();
        self.put_back();
        support::answer(self.with_git_that_kills(None)).expect(0);
        let gits = 1..=lines(&self.world.path().join("shim/count"));
        let mut all: Vec<Moment> = gits.flat_map(|n| [Moment::BeforeGit(n), Moment::AfterGit(n)]).collect();
        if self.world.has("strace") && self.may_trace() {
            self.put_back();
            support::answer(self.traced(None)).expect(0);
            let trace = std::fs::read_to_string(self.world.path().join("trace")).expect("a trace");
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for name in trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name.to_owned()) {
                let count = counts.entry(name.clone()).or_default();
                *count += 1;
                all.push(Moment::AtCall(name, *count));
            }
        }
        all
    }

    /// Kills `clean` there, and lets the next ones end it; what that came to, and how often the killed one lived.
    fn end_after(&self, moment: Option<&Moment>) -> (Value, bool) {
        self.put_back();
        let lived = match moment {
            Some(Moment::AtCall(name, n)) => support::answer(self.traced(Some((name, *n)))).code == 0,
            other => support::answer(self.with_git_that_kills(other)).code == 0,
        };
        for tool in ["shim", "trace"] {
            let _it_may_be_absent = std::fs::remove_dir_all(self.world.path().join(tool));
            let _it_may_be_absent = std::fs::remove_file(self.world.path().join(tool));
        }
        let mut next = self.world.treehand(FLAGS).expect(0).json();
        for _ in 0..3 {
            next = self.world.treehand(FLAGS).expect(0).json();
        }
        assert_eq!(next["actions"], json!([]), "there is always something more to do");
        (json!({"kept": next["kept"], "came to": self.came_to()}), lived)
    }

    fn lost(&self) -> Vec<String> {
        let there = inventory::reachable(&self.world);
        let lost = self.before.iter().filter(|(id, _)| !there.contains(*id));
        lost.map(|(id, place)| format!("{id} {place}")).collect()
    }

    fn came_to(&self) -> Value {
        let world = &self.world;
        let sound = world.try_git_in(&world.repo(), &["fsck", "--full", "--no-dangling"]);
        let cleaned = json!({
            "refs": refs(world),
            "worktrees": world.git(&["worktree", "list", "--porcelain"]),
            "files": files(world, &digest::of(world.path())),
            "lost": self.lost(),
            "fsck": [sound.stdout, sound.stderr],
        });
        let log = world.treehand(&["log", "--json"]).expect(0).json();
        let cleans = log["operations"].as_array().expect("a list").iter();
        let cleans = cleans.filter(|one| one["kind"] == "clean" && one["undone"] == false).count();
        for _ in 0..cleans {
            world.treehand(&["undo"]).expect(0);
        }
        let now = digest::of(world.path());
        let changed = digest::difference(&self.files, &now);
        let in_git: BTreeSet<PathBuf> = ["refs", "logs", "packed-refs", "config", "worktrees"]
            .map(|name| world.repo().join(".git").join(name))
            .into_iter()
            .collect();
        let changed: Vec<PathBuf> =
            changed.into_iter().filter(|path| !path.ancestors().any(|place| in_git.contains(place))).collect();
        json!({
            "cleaned": cleaned,
            "undone": {"files": changed, "refs": refs(world), "lost": self.lost(),
                       "worktrees": world.git(&["worktree", "list", "--porcelain"])},
        })
    }
}

/// Every ref but those for `undo`, without what tells of when it was made.
fn refs(world: &World) -> Vec<String> {
    let listed = world.git(&["for-each-ref", "--format=%(refname) %(objectname) %(tree)"]);
    let stamp = |part: &str| part.split_once('-').is_some_and(|(at, token)| at.len() == 13 && token.len() == 8);
    let timeless = |line: &str| {
        let (name, ids) = line.split_once(' ')?;
        let name: Vec<&str> = name.split('/').map(|part| if stamp(part) { "STAMP" } else { part }).collect();
        let (commit, tree) = ids.split_once(' ')?;
        match name.get(2) {
            Some(&"undo") => None,
            Some(&"salvage") => Some(format!("{} {tree}", name.join("/"))),
            _ => Some(format!("{} {commit}", name.join("/"))),
        }
    };
    let mut found: Vec<String> = listed.lines().filter_map(timeless).collect();
    // One saved twice, before and after a kill, is saved.
    found.sort();
    found.dedup();
    found
}

/// The files of a world outside of what git and treehand write down for themselves; a directory counts by what is in it.
fn files(world: &World, all: &Digest) -> Vec<String> {
    let git = world.repo().join(".git");
    let is_told = |path: &Path| !path.starts_with(&git) || path.starts_with(git.join("worktrees"));
    let told = all.iter().filter(|(path, _)| is_told(path) && (path.is_symlink() || !path.is_dir()));
    told.map(|(path, what)| format!("{} {what}", path.display())).collect()
}

/// The moments that are tried: all, one that is named (`AfterGit(7)`), or a part that is another one each time.
fn moments() -> Vec<Moment> {
    let all = Stage::set().moments();
    if let Ok(named) = std::env::var("TREEHAND_ZOO_MOMENT") {
        return all.into_iter().filter(|moment| format!("{moment:?}") == named).collect();
    }
    let share = usize::try_from(number("TREEHAND_ZOO_MOMENTS", 8)).expect("small");
    let stride = all.len().div_ceil(share.max(1));
    let shift = usize::try_from(std::process::id()).expect("small") % stride;
    all.into_iter().skip(shift).step_by(stride).collect()
}

#[test]
fn a_clean_that_is_killed_anywhere_comes_to_the_same_end() {
    let moments = moments();
    let (next, lived) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let stage = Stage::set();
        let (expected, _) = stage.end_after(None);
        assert_eq!(expected["came to"]["undone"]["lost"], json!([]), "nothing is lost undisturbed");
        let far = |when: &str| expected["came to"][when]["refs"].to_string().contains("refs/remotes/origin/farther");
        assert!(!far("cleaned") && far("undone"), "what is on a remote goes, and comes back");
        let shown = |value: &Value| serde_json::to_string_pretty(value).expect("text");
        let mut different = Vec::new();
        while let Some(moment) = moments.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (came_to, untouched) = stage.end_after(Some(moment));
            lived.fetch_add(usize::from(untouched), Ordering::Relaxed);
            if came_to != expected {
                different.push(format!("{moment:?}: {}", support::difference(&shown(&expected), &shown(&came_to))));
            }
        }
        assert!(different.is_empty(), "not the same end:\n{}", different.join("\n"));
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("every moment comes to the same end"));
    });
    let (lived, all) = (lived.into_inner(), moments.len());
    assert!(lived * 3 < all, "{lived} of {all} cleans were not killed");
}
