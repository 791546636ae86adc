//! Zoos that chance makes: whatever people, tasks and crashes did before, and however `clean` is called, no commit and no byte
//! is lost, nobody else's process is ended, no place of somebody else is touched, and in the end there is nothing more to do.
//!
//! A short form of what `scripts/stress zoo` does for long: `TREEHAND_ZOO_ROUNDS` and `TREEHAND_ZOO_SEED`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::deeds::Deeds;
use crate::digest::{self, Digest};
use crate::inventory::{self, Inventory};
use crate::support::World;
use crate::support::chance::{Chance, number};

/// A world that chance filled, and what must not be lost of it.
struct Round {
    world: World,
    told: Vec<String>,
    bystander: Child,
    before: Inventory,
    files: Digest,
}

impl Drop for Round {
    fn drop(&mut self) {
        let _it_may_be_gone = self.bystander.kill();
        let _it_may_be_gone = self.bystander.wait();
    }
}

impl Round {
    fn begin(chance: &mut Chance) -> Round {
        let mut deeds = Deeds::begin();
        for _ in 0..8 + chance.below(20) {
            deeds.happens(chance);
        }
        let (world, told) = deeds.end();
        let quiet = Stdio::null;
        let mut sleep = Command::new("sleep");
        sleep.arg("1000").current_dir(world.repo()).stdin(quiet()).stdout(quiet()).stderr(quiet());
        let bystander = sleep.spawn().expect("started");
        let (before, files) = (inventory::take(&world), digest::of(world.path()));
        Round { world, told, bystander, before, files }
    }

    fn clean(&mut self, chance: &mut Chance) -> Result<(), String> {
        let all: &[&str] = if chance.below(2) == 0 { &["--branches", "all"] } else { &[] };
        let cap: &[&str] = if chance.below(2) == 0 { &["--set", "clean.salvage_max=0"] } else { &[] };
        let flags =
            [&["clean", "--json", "--yes", "--min-age", "0s", "--set", "merge.lock_wait=5s"], all, cap].concat();
        self.told.push(flags.join(" "));
        let start = || {
            let mut command = self.world.command(&flags);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started")
        };
        let way = chance.below(5);
        let besides = [0, 1, 1, 2, 0][usize::try_from(way).expect("small")];
        let mut others: Vec<Child> = (0..besides).map(|_| start()).collect();
        let (delay, collect) = (chance.below(700), chance.below(4) == 0);
        let (own, made) = std::thread::scope(|scope| {
            let worker = scope.spawn(|| if way == 4 { works_meanwhile(&self.world) } else { Inventory::new() });
            if way == 2 || way == 3 {
                std::thread::sleep(std::time::Duration::from_millis(delay));
                others[0].kill().expect("killed");
            }
            if collect && way != 4 {
                // It may meet a git at work, and then does nothing.
                self.world.try_git_in(&self.world.repo(), &["gc", "-q", "--prune=now"]);
            }
            (self.world.treehand(&flags), worker.join().expect("no panic"))
        });
        self.told.push(format!("way {way}, {besides} beside it, {delay} ms, meanwhile {made:?}"));
        let at_work = way == 4;
        self.before.extend(made);
        for other in &mut others {
            other.wait().expect("it ends");
        }
        if own.code != 0 {
            return Err(format!("clean failed: {} {}", own.stdout, own.stderr));
        }
        self.told.push(own.stdout);
        if chance.below(3) == 0 {
            self.told.push("gc".into());
            self.world.git(&["gc", "-q", "--prune=now"]);
        }
        self.is_kept("clean")?;
        self.others_are_untouched(at_work)?;
        self.comes_to_an_end(&flags)
    }

    /// Every commit and every byte is somewhere.
    fn is_kept(&self, after: &str) -> Result<(), String> {
        let there = inventory::reachable(&self.world);
        let lost: Vec<_> = self.before.iter().filter(|(id, _)| !there.contains(*id)).collect();
        if !lost.is_empty() {
            return Err(format!("after {after} these are lost: {lost:#?}"));
        }
        let fsck = self.world.try_git_in(&self.world.repo(), &["fsck", "--connectivity-only", "--no-dangling"]);
        if fsck.code == 0 { Ok(()) } else { Err(format!("after {after}: {}{}", fsck.stdout, fsck.stderr)) }
    }

    /// What is left of workspaces is as it was, and everything else is there as well.
    fn others_are_untouched(&mut self, at_work: bool) -> Result<(), String> {
        let now = digest::of(self.world.path());
        let trees = self.world.trees();
        let git = self.world.repo().join(".git");
        let same = |path: &PathBuf| {
            let there = !at_work && now.contains_key(path);
            !path.starts_with(&git) && (there || !path.starts_with(&trees))
        };
        let other: Vec<_> = self.files.iter().filter(|(path, _)| same(path)).collect();
        let changed: Vec<_> = other.into_iter().filter(|(path, was)| now.get(*path) != Some(was)).collect();
        if !changed.is_empty() {
            return Err(format!("these were touched: {changed:#?}"));
        }
        match self.bystander.try_wait().expect("looked") {
            None => Ok(()),
            Some(_) => Err("somebody else's process was ended".into()),
        }
    }

    /// What was interrupted is put back first, and taken then; after that there is nothing to do.
    fn comes_to_an_end(&self, flags: &[&str]) -> Result<(), String> {
        let mut last = Value::Null;
        for _ in 0..3 {
            last = self.world.treehand(flags).expect(0).json();
            if last["actions"] == serde_json::json!([]) {
                return self.is_kept("more cleans");
            }
        }
        Err(format!("there is always something more to do: {last}"))
    }

    /// What can be taken back is; whatever of it comes back, nothing is lost.
    fn undo(&mut self) -> Result<(), String> {
        let undone = self.world.treehand(&["undo"]);
        self.told.push(format!("undo: {} {}{}", undone.code, undone.stdout, undone.stderr));
        self.is_kept("undo")
    }
}

/// A person goes on in every workspace while all of this happens; the commits of which git said that they are made.
fn works_meanwhile(world: &World) -> Inventory {
    let boxes = std::fs::read_dir(world.trees()).into_iter().flatten().filter_map(Result::ok);
    let mut made = Inventory::new();
    for tree in boxes.map(|entry| entry.path().join("repo")).filter(|tree| tree.join(".git").is_file()) {
        let script = "echo late > late.txt && git add late.txt && git commit -q -m late && git rev-parse HEAD";
        let mut command = Command::new("sh");
        world.clean(&mut command);
        command.args(["-c", script]).current_dir(&tree).stdin(Stdio::null()).stderr(Stdio::null());
        // The directory may go between two of these.
        if let Ok(done) = command.output()
            && done.status.success()
        {
            let commit = String::from_utf8_lossy(&done.stdout).trim().to_owned();
            made.insert(commit, format!("made meanwhile in {}", tree.display()));
        }
    }
    made
}

#[test]
fn whatever_happened_before_nothing_is_lost() {
    let seed = number("TREEHAND_ZOO_SEED", u64::from(std::process::id()));
    let rounds = number("TREEHAND_ZOO_ROUNDS", 8);
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds {
                return;
            }
            let mut chance = Chance::of(seed, round);
            let mut one = Round::begin(&mut chance);
            if let Err(what) = one.clean(&mut chance).and_then(|()| one.undo()) {
                panic!("seed {seed}, round {round}: {what}\nafter:\n{}", one.told.join("\n"));
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| worker.join().expect("nothing is lost in any round"));
    });
}
