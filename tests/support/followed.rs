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

    /// How it ended.
    pub fn ends(mut self) -> Option<i32> {
        self.rest().for_each(drop);
        self.client.wait().expect("waited").code()
    }
}
