//! A run in the foreground that tells its events.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::World;

/// A run that is followed event by event.
pub struct Followed {
    /// The `treehand` that tells them.
    pub client: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Followed {
    /// Starts `run --events` with these arguments.
    pub fn start(world: &World, args: &[&str]) -> Followed {
        Followed::of(world.command(&[&["run", "--events"], args].concat()))
    }

    /// Starts a command that tells events.
    pub fn of(mut command: Command) -> Followed {
        let mut client = command.stdout(Stdio::piped()).spawn().expect("started");
        let events = BufReader::new(client.stdout.take().expect("piped")).lines();
        Followed { client, events }
    }

    /// The events from here to the end of the run.
    pub fn rest(&mut self) -> impl Iterator<Item = Value> {
        self.events.by_ref().map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON"))
    }

    /// The next event of a kind.
    pub fn next(&mut self, kind: &str) -> Value {
        let next = self.rest().find(|event| event["kind"] == kind);
        next.unwrap_or_else(|| panic!("the run ended without {kind}"))
    }

    /// Kills who follows, who would start a successor, and who supervises; what these left goes on by itself.
    pub fn abandon(&mut self, world: &World, run: &str) {
        self.client.kill().expect("killed");
        self.client.wait().expect("reaped");
        super::signal("KILL", &world.supervisor(run));
        world.wait_unsupervised(run);
    }

    /// Begins a task, and kills who supervises and what holds it when its script has come to its end; what it started lives on.
    pub fn leave_behind(world: &World, name: &str, script: &str) -> String {
        let begun = world.path().join("begun");
        world.shell("test -p ../begun || mkfifo ../begun").expect(0);
        let script = format!("{script}\necho > '{}'; exec sleep 1000", begun.display());
        let mut run = Followed::start(world, &["-q", "--name", name, "--confine", "off", "--", "bash", "-c", &script]);
        let started = run.next("attempt.started");
        std::fs::read(&begun).expect("it has begun");
        let runs = world.treehand(&["ps", "--json"]).expect(0).json();
        let at_work = runs["runs"].as_array().expect("runs").iter().find(|run| run["state"] == "running");
        let id = at_work.expect("one at work")["run"].as_str().expect("an id").to_owned();
        run.abandon(world, &id);
        let shim = started["data"]["process"]["pid"].to_string();
        let gone = super::handle(&shim);
        super::signal("KILL", &shim);
        gone.wait();
        id
    }

    /// How it ended.
    pub fn ends(mut self) -> Option<i32> {
        self.rest().for_each(drop);
        self.client.wait().expect("waited").code()
    }
}
