//! Whatever is killed, at whatever moment and however often: every task is started at most as often as it may be, what landed
//! has landed once, the repository is whole, and nothing is left running or lying about.
//!
//! A short form of what `scripts/stress crash` does for long: `TREEHAND_CRASH_ROUNDS` and `TREEHAND_CRASH_SEED`.

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use support::World;
use support::chance::{Chance, number};

const RETRIES: usize = 3;

const TASKS: &str = r#"
gates = ["test -f base.txt"]
jobs = 3

[[task]]
id = "a"
retries = 3
command = ["sh", "-c", "sleep 0.1; echo a > a.txt"]

[[task]]
id = "b"
needs = ["a"]
retries = 3
command = ["sh", "-c", "test -f a.txt; (sleep 0.2; echo b > b.txt) & wait"]

[[task]]
id = "c"
needs = ["a"]
retries = 3
command = ["sh", "-c", "git commit -q --allow-empty -m own; echo c > c.txt; sleep 0.1"]

[[task]]
id = "d"
needs = ["b", "c"]
retries = 3
command = ["sh", "-c", "cat b.txt c.txt > d.txt"]

[[task]]
id = "e"
retries = 3
command = ["sh", "-c", "setsid sleep 1000 & echo e > e.txt"]
"#;

/// One repository with one run in it that things happen to.
struct Round {
    world: World,
    run: String,
    clients: Vec<Child>,
    told: Vec<String>,
}

impl Round {
    fn begin() -> Round {
        let world = World::new();
        world.commit("base", &[("base.txt", "base\n")]);
        world.write("own.txt", "a person's\n");
        let file = world.path().join("tasks.toml");
        std::fs::write(&file, TASKS).expect("a tasks file");
        let file = file.to_string_lossy().into_owned();
        world.treehand(&["run", "--detach", "--confine", support::level(), "--tasks", &file]).expect(0);
        let run = world.only_run();
        Round { world, run, clients: Vec::new(), told: Vec::new() }
    }

    fn client(&mut self, args: &[&str]) {
        let mut command = self.world.command(args);
        let client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
        self.clients.push(client);
    }

    fn supervisor(&self) -> Option<u32> {
        self.world.supervisor(&self.run).parse().ok().filter(|pid| command_of(*pid).contains("__supervise"))
    }

    fn shims(&self) -> Vec<u32> {
        let store = rusqlite::Connection::open(self.world.repo().join(".git/treehand/state.db")).expect("a store");
        let sql = "SELECT json_extract(data, '$.process.pid') FROM journal WHERE kind = 'attempt.started'";
        let mut rows = store.prepare(sql).expect("a query");
        let pids = rows.query_map([], |row| row.get::<_, Option<u32>>(0)).expect("rows");
        pids.filter_map(Result::ok).flatten().filter(|pid| command_of(*pid).contains("__shim")).collect()
    }

    fn happens(&mut self, chance: &mut Chance) {
        let shims = self.shims();
        let shim = shims.get(usize::try_from(chance.below(shims.len() as u64)).expect("small")).copied();
        let below: Vec<u32> = shim.map(descendants).unwrap_or_default();
        let one = below.get(usize::try_from(chance.below(below.len() as u64)).expect("small")).copied();
        let (what, victim) = match chance.below(8) {
            0..=2 => ("supervisor", self.supervisor()),
            3 => ("shim", shim),
            4 => ("pid 1", below.first().copied()),
            5 => ("a process of a task", one),
            6 => {
                for client in &mut self.clients {
                    client.kill().expect("killed");
                }
                ("the clients", None)
            }
            _ => {
                let supervisor = self.supervisor();
                supervisor.into_iter().for_each(|pid| send(pid, Signal::STOP));
                pause(chance.below(150));
                supervisor.into_iter().for_each(|pid| send(pid, Signal::CONT));
                ("a stopped supervisor", None)
            }
        };
        self.told.push(format!("{what} {victim:?}"));
        victim.into_iter().for_each(|pid| send(pid, Signal::KILL));
        let run = self.run.clone();
        match chance.below(3) {
            0 => self.client(&["wait", &run]),
            1 => self.client(&["resume", &run, "--detach"]),
            _ => {}
        }
    }

    fn end(mut self) -> Result<(), String> {
        let run = self.world.treehand(&["resume", &self.run, "--json"]).json();
        for client in &mut self.clients {
            client.wait().expect("a client ends when its run does");
        }
        let told = |what: &str| Err(format!("{what}\nafter: {}\n{run}", self.told.join(", ")));
        let tasks = run["tasks"].as_array().expect("tasks");
        let over = ["landed", "partial", "failed"].iter().any(|state| run["state"] == *state);
        if !over || !run["error"].is_null() {
            return told("the run did not come to an end of its own");
        }
        if tasks.iter().any(|task| task["attempts"].as_array().map_or(0, Vec::len) > RETRIES + 1) {
            return told("a task was started too often");
        }
        let log = self.world.git(&["log", "--format=%(trailers:key=Treehand-Task,valueonly)", "main"]);
        let mut landed: BTreeMap<&str, usize> = BTreeMap::new();
        log.lines().filter(|line| !line.is_empty()).for_each(|line| *landed.entry(line).or_default() += 1);
        for task in tasks {
            let expected = usize::from(task["state"] == "landed");
            let found = landed.get(task["id"].as_str().expect("an id")).copied().unwrap_or(0);
            if found != expected {
                return told(&format!("{} is {} and has landed {found} times", task["id"], task["state"]));
            }
        }
        // The run is over a moment before its supervisor is.
        let ending = Instant::now();
        while !of_world(self.world.path()).is_empty() && ending.elapsed() < LAST_MOMENTS {
            pause(5);
        }
        match self.left() {
            Some(left) => told(&left),
            None => Ok(()),
        }
    }

    /// What there is that should not be.
    fn left(&self) -> Option<String> {
        let world = &self.world;
        let shims: Vec<u32> = self.shims();
        let names = |dir: &Path| -> Vec<String> {
            let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        let git = world.repo().join(".git");
        world.git(&["fsck", "--full", "--strict"]);
        let keeps = names(&git.join("objects/pack")).into_iter().filter(|name| name.ends_with(".keep")).count();
        let looked = [
            ("shims", !shims.is_empty()),
            ("sockets", !names(&world.path().join("state/treehand/sockets")).is_empty()),
            ("quarantines", !names(&git.join("treehand/quarantine")).is_empty()),
            ("keep files", keeps > 0),
            ("an index lock", git.join("index.lock").exists()),
            ("changes in the main worktree", world.git(&["status", "--porcelain"]) != "?? own.txt"),
            ("processes", !of_world(world.path()).is_empty()),
            ("gates' checkouts", names(&world.trees()).iter().any(|name| name.contains(".gate-"))),
        ];
        looked
            .iter()
            .find(|(_, there)| *there)
            .map(|(what, _)| format!("{what} are left: {:?}", of_world(world.path())))
    }
}

/// How long a supervisor may take to end after its run, on a machine that is busy.
const LAST_MOMENTS: Duration = Duration::from_secs(10);

fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[expect(clippy::disallowed_methods, reason = "killing is what this test does")]
fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It may have ended by itself.
    let _gone_or_sent = pid.map(|pid| rustix::process::kill_process(pid, signal));
}

fn command_of(pid: u32) -> String {
    String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).into_owned()
}

fn pids() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Everything below a process, children first.
fn descendants(of: u32) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.get(stat.rfind(')')? + 2..)?.split(' ').nth(1)?.parse().ok()
    };
    let all: Vec<(u32, Option<u32>)> = pids().into_iter().map(|pid| (pid, parent(pid))).collect();
    let mut found = vec![of];
    let mut n = 0;
    while n < found.len() {
        let here = found[n];
        found.extend(all.iter().filter(|(_, parent)| *parent == Some(here)).map(|(pid, _)| *pid));
        n += 1;
    }
    found.split_off(1)
}

/// Processes that stand in a world, or were started for something in it.
fn of_world(world: &Path) -> Vec<String> {
    let text = world.to_string_lossy().into_owned();
    let stands = |pid: u32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(world));
    let named = |pid: u32| command_of(pid).contains(&text);
    let found = pids().into_iter().filter(|pid| *pid != std::process::id() && (stands(*pid) || named(*pid)));
    found.map(|pid| format!("{pid} {}", command_of(pid).replace('\0', " "))).collect()
}

#[test]
fn no_kill_at_any_moment_loses_doubles_or_leaves_anything() {
    let seed = number("TREEHAND_CRASH_SEED", u64::from(std::process::id()));
    for round in 0..number("TREEHAND_CRASH_ROUNDS", 12) {
        let mut chance = Chance::of(seed, round);
        let mut one = Round::begin();
        for _ in 0..=chance.below(5) {
            pause(chance.below(300));
            one.happens(&mut chance);
        }
        if let Err(what) = one.end() {
            panic!("seed {seed}, round {round}: {what}");
        }
    }
}
