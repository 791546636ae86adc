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

/// The last use of a tool that an agent told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUse {
    /// What it called the tool.
    pub name: String,
    /// How long ago that was.
    pub ago_ms: u64,
}

/// The same on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTool {
    /// What it called the tool.
    pub name: String,
    /// When that was.
    pub at: Timestamp,
}

/// What a shim tells of its child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How it is.
    pub level: HealthLevel,
    /// For how long.
    pub level_ms: u64,
    /// For how long it has said nothing and told of no tool.
    pub silent_ms: u64,
    /// How long ago its last output was; `None` for one that has had none.
    pub output_ms: Option<u64>,
    /// The last tool that it told of; `None` for one that told of none.
    pub tool: Option<ToolUse>,
    /// What it took when that was looked at last; `None` where that never was.
    pub used: Option<Used>,
}

/// What is on record of an attempt's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRecord {
    /// How it was when its shim told.
    pub level: HealthLevel,
    /// Since when.
    pub since: Timestamp,
    /// Since when it said nothing then.
    pub silent_since: Timestamp,
    /// When it had said something last; `None` for one that had said nothing.
    pub last_output_at: Option<Timestamp>,
    /// The last tool that it had told of.
    #[serde(default)]
    pub last_tool: Option<LastTool>,
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
        let last_tool = |tool: &ToolUse| LastTool { name: tool.name.clone(), at: before(tool.ago_ms) };
        HealthRecord {
            level: told.level,
            since: before(told.level_ms),
            silent_since: before(told.silent_ms),
            last_output_at: told.output_ms.map(before),
            last_tool: told.tool.as_ref().map(last_tool),
            used: told.used,
        }
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How it is.
    pub level: HealthLevel,
    /// When it said something last, as far as is known.
    pub last_output_at: Option<Timestamp>,
    /// The last tool that it told of, as far as is known.
    pub last_tool: Option<LastTool>,
    /// For how long it has said nothing and told of no tool; `None` where that is not known.
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
    let told = answer.map(|answer| HealthRecord::of(answer, now)).or(record.cloned());
    let (level, silent_ms) = match (holder, &told) {
        (Holder::Absent, _) => return None,
        (Holder::Dead, _) => (HealthLevel::Dead, None),
        // A shim tells of every change: of one that told nothing there was none.
        (Holder::Living, None) => (HealthLevel::Healthy, None),
        (Holder::Living, Some(told)) => {
            // On record, who is healthy may have said more since.
            let known = answer.is_some() || told.level != HealthLevel::Healthy;
            (told.level, known.then(|| milliseconds(now.since(told.silent_since))))
        }
    };
    let (last_output_at, last_tool, last_used) =
        told.map_or((None, None, None), |told| (told.last_output_at, told.last_tool, told.used));
    Some(Seen { level, last_output_at, last_tool, silent_ms, used: used.or(last_used) })
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
        Health { level, level_ms: silent_ms / 2, silent_ms, output_ms: Some(silent_ms), tool: None, used: None }
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
        let silent = Health { output_ms: None, ..told(HealthLevel::Quiet, 8_000) };
        assert_eq!(HealthRecord::of(&silent, NOW).last_output_at, None);
    }

    #[test]
    fn the_last_tool_is_known_from_the_answer_else_from_the_record_also_of_one_that_is_dead() {
        let with = |name: &str, ago_ms| {
            let tool = Some(ToolUse { name: name.to_owned(), ago_ms });
            Health { tool, ..told(HealthLevel::Quiet, ago_ms) }
        };
        let record = HealthRecord::of(&with("grep", 2_000), Timestamp(900_000));
        let shown = |holder, answer: Option<&Health>| {
            let last = seen(holder, Some(&record), answer, None, NOW).expect("seen").last_tool.expect("a tool");
            (last.name, last.at)
        };
        assert_eq!(shown(Holder::Living, Some(&with("cargo", 500))), ("cargo".into(), Timestamp(999_500)));
        assert_eq!(shown(Holder::Living, None), ("grep".into(), Timestamp(898_000)));
        assert_eq!(shown(Holder::Dead, None), ("grep".into(), Timestamp(898_000)));
    }
}
