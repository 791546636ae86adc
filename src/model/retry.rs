//! Failures by class, how often and after what rest a task is tried again, and what a queued task waits for. Plain data: what
//! follows from a class is decided in `orchestrator::backoff`.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{Span, Timestamp};

/// What kind of failure it was, as far as that decides whether and when the next attempt comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// A service wants fewer requests.
    RateLimit,
    /// Something outside was not there for the moment.
    Transient,
    /// A service does not accept who asks.
    Auth,
    /// The command, or what held it, was killed.
    Crash,
    /// A deadline passed.
    Timeout,
    /// A limit or a rule of treehand's ended it.
    Policy,
    /// Its program is not there.
    Missing,
    /// The command failed, and that is all that is known.
    Failure,
}

impl FailureClass {
    /// True for what another agent may do without: it has another account, another service, another program.
    pub fn is_of_one_agent(self) -> bool {
        matches!(self, Self::RateLimit | Self::Auth | Self::Missing)
    }

    /// Every class, for tests and help.
    pub const ALL: [FailureClass; 8] = [
        Self::RateLimit,
        Self::Transient,
        Self::Auth,
        Self::Crash,
        Self::Timeout,
        Self::Policy,
        Self::Missing,
        Self::Failure,
    ];

    /// The class in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::RateLimit => "rate limit",
            Self::Transient => "something outside failed for the moment",
            Self::Auth => "not authorized",
            Self::Crash => "it crashed",
            Self::Timeout => "it ran out of time",
            Self::Policy => "a limit ended it",
            Self::Missing => "its program is not there",
            Self::Failure => "it failed",
        }
    }
}

/// How often a task is tried at all, and the rests in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Most attempts, whatever a task asks for; 0 is no limit.
    pub attempts: u64,
    /// The shortest rest.
    pub backoff: Span,
    /// The longest rest that treehand chooses; a service may ask for a longer one.
    pub backoff_max: Span,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        RetryPolicy { attempts: 10, backoff: seconds(1), backoff_max: seconds(600) }
    }
}

/// What a queued task waits for beside a place in its run and what it needs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delay {
    /// In words.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when, where that is known.
    pub until: Option<Timestamp>,
}

impl Delay {
    /// How long it still lasts; never longer than it was meant to, however the clock was set meanwhile. `None` where its end
    /// is not known.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        self.until.map(|until| until.left(self.since, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_makes_no_delay_longer() {
        let delay = Delay { why: "rate limit".into(), since: Timestamp(5_000), until: Some(Timestamp(9_000)) };
        let left = |now| delay.left(Timestamp(now)).expect("it has an end").as_millis();
        assert_eq!((left(5_000), left(8_999), left(9_000), left(99_000)), (4_000, 1, 0, 0));
        assert_eq!((left(0), left(-31_536_000_000), left(i64::MIN)), (4_000, 4_000, 4_000));
    }
}
