//! Decision file: how an attempt is that has begun and not ended: what its shim tells, what is on record of that, and what is
//! shown of both. Plain data and what follows from it; who samples, asks and keeps is elsewhere.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Span, Timestamp};

/// How an attempt is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthLevel {
    /// It says something now and then.
    #[default]
    Healthy,
    /// It says nothing, but works, or has not been silent for long.
    Quiet,
    /// It says nothing and does nothing.
    Stalled,
    /// What held it is gone, and nobody has taken note yet.
    Dead,
}

impl HealthLevel {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            HealthLevel::Healthy => "healthy",
            HealthLevel::Quiet => "quiet",
            HealthLevel::Stalled => "stalled",
            HealthLevel::Dead => "dead",
        }
    }
}

/// When silence counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HealthSpans {
    /// Silent for longer: `quiet`.
    pub quiet: Span,
    /// Silent and without work for as long: `stalled`.
    pub stalled: Span,
}

impl Default for HealthSpans {
    fn default() -> Self {
        HealthSpans { quiet: Span(Duration::from_secs(120)), stalled: Span(Duration::from_secs(600)) }
    }
}

/// What processes have worked and hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// How many there are.
    pub processes: usize,
    /// Processor time, of user and system, with that of those that ended and were waited for.
    pub cpu: Duration,
    /// Resident bytes of each, added up.
    pub memory: u64,
}

/// The same in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Processor time in milliseconds.
    pub cpu_ms: u64,
    /// Resident bytes.
    pub memory_bytes: u64,
    /// Processes.
    pub processes: usize,
}

impl From<Work> for Used {
    fn from(work: Work) -> Used {
        Used { cpu_ms: milliseconds(work.cpu), memory_bytes: work.memory, processes: work.processes }
    }
}

/// What a shim tells of its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub level: HealthLevel,
    /// For how long.
    pub level_ms: u64,
    /// For how long it has said nothing.
    pub silent_ms: u64,
    /// It has said something at all.
    pub has_spoken: bool,
    /// What it took when that was looked at last; `None` where that never was.
    pub used: Option<Used>,
}

/// What is on record of an attempt's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRecord {
    /// How it was when its shim told.
    pub level: HealthLevel,
    /// Since when.
    pub since: Timestamp,
    /// Since when it said nothing then.
    pub silent_since: Timestamp,
    /// When it had said something last; `None` for one that had said nothing.
    pub last_output_at: Option<Timestamp>,
    /// What it took then.
    #[serde(default)]
    pub used: Option<Used>,
}

/// Two clocks that agree so far tell of the same moment.
const SAME_MOMENT: Duration = Duration::from_secs(1);

impl HealthRecord {
    /// What a shim tells now, as it is kept.
    pub fn of(told: &Health, now: Timestamp) -> HealthRecord {
        let before = |ms: u64| Timestamp(now.0.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)));
        let silent_since = before(told.silent_ms);
        let last_output_at = told.has_spoken.then_some(silent_since);
        HealthRecord { level: told.level, since: before(told.level_ms), silent_since, last_output_at, used: told.used }
    }

    /// True when both tell of one change.
    pub fn is_same_change(&self, other: &HealthRecord) -> bool {
        let apart = self.since.since(other.since).max(other.since.since(self.since));
        self.level == other.level && apart <= SAME_MOMENT
    }
}

/// What became of the shim of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// None is there that tells: the attempt is being made ready, or its end is written down and not taken yet.
    Absent,
    /// Not known to be gone.
    Living,
    /// Gone, without having written an end down.
    Dead,
}

/// How an attempt is, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How it is.
    pub level: HealthLevel,
    /// When it said something last, as far as is known.
    pub last_output_at: Option<Timestamp>,
    /// For how long it has said nothing; `None` where that is not known.
    pub silent_ms: Option<u64>,
    /// What it takes, as far as is known.
    pub used: Option<Used>,
}

/// How an attempt is: as its shim answers, else as is on record; `used` is what whoever looks has seen it take.
pub fn seen(
    holder: Holder,
    record: Option<&HealthRecord>,
    answer: Option<&Health>,
    used: Option<Used>,
    now: Timestamp,
) -> Option<Seen> {
    let told = answer.map(|answer| HealthRecord::of(answer, now)).or(record.copied());
    let used = used.or(told.and_then(|told| told.used));
    let last_output_at = told.and_then(|told| told.last_output_at);
    match (holder, told) {
        (Holder::Absent, _) => None,
        (Holder::Dead, _) => Some(Seen { level: HealthLevel::Dead, last_output_at, silent_ms: None, used }),
        // A shim tells of every change: of one that told nothing there was none.
        (Holder::Living, None) => Some(Seen { level: HealthLevel::Healthy, last_output_at, silent_ms: None, used }),
        (Holder::Living, Some(told)) => {
            // On record, who is healthy may have said more since.
            let known = answer.is_some() || told.level != HealthLevel::Healthy;
            let silent_ms = known.then(|| milliseconds(now.since(told.silent_since)));
            Some(Seen { level: told.level, last_output_at, silent_ms, used })
        }
    }
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const USED: Used = Used { cpu_ms: 7, memory_bytes: 8, processes: 1 };

    fn told(level: HealthLevel, silent_ms: u64) -> Health {
        Health { level, level_ms: silent_ms / 2, silent_ms, has_spoken: true, used: None }
    }

    #[test]
    fn what_is_shown_is_what_the_shim_answers_else_what_is_on_record_and_who_lost_it_is_dead() {
        use HealthLevel::{Dead, Healthy, Quiet, Stalled};
        let record = |level| HealthRecord::of(&told(level, 100_000), Timestamp(900_000));
        let (healthy, stalled) = (record(Healthy), record(Stalled));
        let answer = told(Quiet, 5_000);
        let table = [
            (Holder::Absent, Some(&stalled), Some(&answer), None),
            (Holder::Living, None, None, Some((Healthy, None))),
            (Holder::Living, Some(&healthy), None, Some((Healthy, None))),
            (Holder::Living, Some(&stalled), None, Some((Stalled, Some(200_000)))),
            (Holder::Living, Some(&stalled), Some(&answer), Some((Quiet, Some(5_000)))),
            (Holder::Living, None, Some(&answer), Some((Quiet, Some(5_000)))),
            (Holder::Dead, Some(&stalled), None, Some((Dead, None))),
            (Holder::Dead, None, None, Some((Dead, None))),
        ];
        for (holder, record, answer, expected) in table {
            let shown = seen(holder, record, answer, None, NOW);
            assert_eq!(shown.map(|seen| (seen.level, seen.silent_ms)), expected, "{holder:?} {record:?} {answer:?}");
        }
        let dead = seen(Holder::Dead, Some(&stalled), None, Some(USED), NOW).expect("seen");
        assert_eq!((dead.last_output_at, dead.used), (Some(Timestamp(800_000)), Some(USED)));
    }

    #[test]
    fn one_change_told_twice_is_one_and_a_later_one_is_another() {
        let first = HealthRecord::of(&told(HealthLevel::Quiet, 8_000), NOW);
        let again = HealthRecord::of(&told(HealthLevel::Quiet, 18_000), Timestamp(NOW.0 + 5_000));
        assert!(first.is_same_change(&again), "{first:?} {again:?}");
        let later = HealthRecord::of(&told(HealthLevel::Quiet, 8_000), Timestamp(NOW.0 + 5_000));
        assert!(!first.is_same_change(&later));
        let silent = Health { has_spoken: false, ..told(HealthLevel::Quiet, 8_000) };
        assert_eq!(HealthRecord::of(&silent, NOW).last_output_at, None);
    }
}
