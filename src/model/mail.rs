//! What a person says to a task at work, and what it asks.
//! Plain data: how it comes to the command, and what becomes of a question, is in `orchestrator::mail`.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::Timestamp;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// A person says what to heed.
    Steer,
    /// The answer to its question: a person's, or its own default.
    Answer,
    /// Its question could not be understood.
    Error,
}

impl MessageKind {
    /// The word in the name of its file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Steer => "steer",
            Self::Answer => "answer",
            Self::Error => "error",
        }
    }
}

/// A message to a task.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// What it is.
    pub kind: MessageKind,
    /// What it says.
    pub text: String,
    /// When it was said.
    pub at: Timestamp,
}

/// A question on which a task is parked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// In words.
    pub text: String,
    /// The answer when nobody gives one in time.
    pub default: Option<String>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Until when a person may answer; without it, for as long as it takes.
    pub until: Option<Timestamp>,
    /// The numbers of the requests that wait for its answer, where the agent asked by a tool.
    #[serde(default)]
    pub requests: Vec<u64>,
    /// How many messages it had then: its answer comes after them.
    #[serde(default)]
    pub heard: usize,
}

impl Question {
    /// How long a person still has; never longer than at first, however the clock was set meanwhile.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.until.map(|until| until.left(self.asked_at, now))
    }
}
