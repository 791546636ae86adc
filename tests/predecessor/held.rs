//! A run whose command waits until it is let go, so that a story can do something in the middle of it.
//! Knows its processes by what it records of them, and waits for events, never for a time.

use std::process::Child;

use serde_json::Value;

use crate::support::{self, World};

/// A run that has begun and waits.
pub struct Held {
    pub world: World,
    pub run: String,
}

impl Held {
    /// A world with the two pipes by which a command says that it has begun, and waits.
    pub fn world() -> World {
        let world = World::new();
        world.shell("mkfifo \"$HOME/../go\" \"$HOME/../begun\"").expect(0);
        world
    }

    /// What a command has to begin with, so that `$GO` and `$BEGUN` are the pipes.
    pub fn pipes(world: &World) -> String {
        format!("GO='{}'; BEGUN='{}'; ", place(world, "go"), place(world, "begun"))
    }

    /// Starts a script, which says `echo > "$BEGUN"` and `read line < "$GO"`, and waits until it has begun.
    pub fn start(script: &str, flags: &[&str]) -> Held {
        let world = Held::world();
        let script = Held::pipes(&world) + script;
        let args = [&["run", "--detach", "--confine", "off"], flags, &["--", "sh", "-c", &script]].concat();
        world.treehand(&args).expect(0);
        Held::has_begun(&world);
        let run = world.only_run();
        Held { world, run }
    }

    /// Waits until a command has begun.
    pub fn has_begun(world: &World) {
        assert_eq!(std::fs::read_to_string(place(world, "begun")).expect("a pipe"), "\n");
    }

    /// Lets a command go on.
    pub fn let_go(world: &World) {
        std::fs::write(place(world, "go"), "go\n").expect("somebody waits");
    }

    pub fn kill_supervisor(&self) {
        support::signal("KILL", &self.world.supervisor(&self.run));
        self.world.wait_unsupervised(&self.run);
    }

    /// The shim of its latest attempt, by its mark: its number is recorded a moment after its command has begun.
    pub fn shim(&self) -> String {
        let attempts = self.attempts();
        let token = attempts.last().expect("an attempt")["token"].as_str().expect("a mark").to_owned();
        support::shim(&token)
    }

    /// Kills supervisor and shim so that neither sees the other die, as a machine that goes down does.
    pub fn kill_everything(&self) {
        let (supervisor, shim) = (self.world.supervisor(&self.run), self.shim());
        support::signal("STOP", &supervisor);
        support::signal("KILL", &shim);
        support::signal("KILL", &supervisor);
        self.world.wait_unsupervised(&self.run);
        wait_gone(&shim);
    }

    /// What the store has of its first task's attempts.
    pub fn attempts(&self) -> Vec<Value> {
        let record = self.record("SELECT record FROM task WHERE run = ?1 ORDER BY ordinal LIMIT 1");
        record["attempts"].as_array().expect("attempts").clone()
    }

    fn record(&self, sql: &str) -> Value {
        let text: String = store(&self.world).query_row(sql, [&self.run], |row| row.get(0)).expect("a record");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Changes what the store has of the run and its task.
    pub fn edit(&self, change: impl Fn(&mut Value)) {
        for (read, write) in [
            ("SELECT record FROM run WHERE id = ?1", "UPDATE run SET record = ?2 WHERE id = ?1"),
            ("SELECT record FROM task WHERE run = ?1", "UPDATE task SET record = ?2 WHERE run = ?1"),
        ] {
            let mut record = self.record(read);
            change(&mut record);
            assert_eq!(store(&self.world).execute(write, [&self.run, &record.to_string()]), Ok(1));
        }
    }

    pub fn show(&self) -> Value {
        self.world.treehand(&["show", &self.run, "--json"]).expect(0).json()
    }

    /// Starts the binary, in the middle of something.
    pub fn begin(&self, args: &[&str]) -> Child {
        self.world.command(args).spawn().expect("started")
    }
}

/// A place beside the repository.
pub fn place(world: &World, name: &str) -> String {
    world.path().join(name).to_string_lossy().into_owned()
}

/// The store, as it is on the disk.
pub fn store(world: &World) -> rusqlite::Connection {
    rusqlite::Connection::open(world.repo().join(".git/treehand/state.db")).expect("a store")
}

/// Waits until a process that is not a child of ours is gone.
pub fn wait_gone(pid: &str) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(pid.parse().expect("a pid")).expect("a pid");
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    poll(&mut [PollFd::new(&handle, PollFlags::IN)], None).expect("it ends");
}

/// Session and process group of a process, as `/proc` has them.
pub fn session_and_group(pid: &str) -> (String, String) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a living process");
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
    (fields[3].to_owned(), fields[2].to_owned())
}
