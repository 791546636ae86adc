//! Setup steps: commands that make a fresh workspace ready, as they were asked for and as they ended.
//! Plain data, kept with runs and attempts; where they run and what they reach is decided elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Directory, Network, Span, Timestamp, Variable, VariableName};

/// How long a step may take that says nothing of it.
const DEADLINE: Duration = Duration::from_secs(600);

/// A command that makes a fresh workspace ready.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetupStep {
    /// A line for `sh -c`.
    pub run: String,
    /// Its deadline, if given.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// What of the network it may reach, if given.
    #[serde(default)]
    pub net: Option<Network>,
    /// Variables that it gets beyond those that every command has.
    #[serde(default)]
    pub env: Vec<Variable>,
    /// Variables that it gets and that are kept out of logs.
    #[serde(default)]
    pub secrets: Vec<VariableName>,
    /// Glob patterns of the files of the commit that decide what it makes; without any it runs in every workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// What it makes, and the next workspace with the same inputs has without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Directory>,
}

impl SetupStep {
    /// A step of which nothing is said but its command.
    pub fn plain(run: impl Into<String>) -> SetupStep {
        SetupStep {
            run: run.into(),
            timeout: None,
            net: None,
            env: Vec::new(),
            secrets: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Its command in one line: the first of several.
    pub fn name(&self) -> String {
        let mut lines = self.run.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default();
        if lines.next().is_some() { format!("{first} …") } else { first.to_owned() }
    }

    /// How long it may take.
    pub fn deadline(&self) -> Duration {
        self.timeout.map_or(DEADLINE, |span| span.0)
    }
}

/// One run of a step in the workspace of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetupRecord {
    /// Its command.
    pub command: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its exit code.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What went wrong, if something did.
    pub error: Option<String>,
    /// Its log file.
    pub log: PathBuf,
    /// It was not run: what it makes was there from an earlier time.
    #[serde(default)]
    pub cached: bool,
}
