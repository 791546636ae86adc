//! Decision file: what the silence of a child means: that it works, that it waits for a program that it started, or that it
//! hangs, in its own way or on a network that does not answer.
//!
//! What it works is asked for only at the moments that decide, so that a rate is one over a real stretch of time. What cannot be
//! looked at counts as work.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::health::{HealthLevel, Work};

/// Shortest time that counts: shorter ones say nothing, and would be told of all the time.
const LEAST: Duration = Duration::from_millis(100);

/// Longest time to which a rate has to be waited for at the end.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// What a program spends that only waits, in hundredths of a processor.
const WAITING: u32 = 1;

/// What an agent spends that only waits for its model, and draws that it does: claude and opencode were seen at one to two.
const AGENT_WAITING: u32 = 3;

/// Watches the silence of a child.
#[derive(Debug)]
pub struct SilenceWatch {
    quiet: Duration,
    stalled: Duration,
    /// So many hundredths of a processor are no work.
    waiting: u32,
    before: Option<(Instant, Work)>,
    stalls: bool,
    next: Instant,
}

impl SilenceWatch {
    /// A child may be silent for `quiet`; silent and without work for `stalled` it is stalled. It spoke `last`.
    pub fn new(quiet: Duration, stalled: Duration, last: Instant) -> SilenceWatch {
        let stalled = stalled.max(LEAST);
        let quiet = quiet.clamp(LEAST, stalled);
        SilenceWatch { quiet, stalled, waiting: WAITING, before: None, stalls: false, next: last + quiet }
    }

    /// One for who only wants to know of a child that does nothing: it is looked at half-way, too, so that there is a rate.
    pub fn of_idle(limit: Duration, last: Instant, is_agent: bool) -> SilenceWatch {
        let waiting = if is_agent { AGENT_WAITING } else { WAITING };
        SilenceWatch { waiting, ..SilenceWatch::new(limit / 2, limit, last) }
    }

    /// It is watched from now on: what was before does not count.
    pub fn begin_again(&mut self, now: Instant) {
        (self.before, self.stalls, self.next) = (None, false, now + self.quiet);
    }

    /// When to look next.
    pub fn next_look(&self) -> Instant {
        self.next
    }

    /// True for who is not silent for so long that it matters.
    pub fn speaks(&self, now: Instant, last: Instant) -> bool {
        now.saturating_duration_since(last) < self.quiet
    }

    /// How a child is that spoke `last`; `work` is what it and all that it started have worked so far, where that can be seen.
    pub fn look(&mut self, now: Instant, last: Instant, work: impl FnOnce() -> Option<Work>) -> HealthLevel {
        if self.speaks(now, last) {
            (self.before, self.stalls, self.next) = (None, false, last + self.quiet);
            return HealthLevel::Healthy;
        }
        let sample = work();
        let works = match (&self.before, &sample) {
            (Some((then, before)), Some(after)) => {
                Some(is_at_work(self.waiting, before, after, now.duration_since(*then)))
            }
            _ => None,
        };
        let silent = now.saturating_duration_since(last);
        let level = level(silent, self.quiet, self.stalled, works);
        let window = (self.stalled / 10).clamp(LEAST, WINDOW_MAX);
        self.next = match (silent < self.stalled, works, &sample) {
            (true, ..) => (last + self.stalled).max(now + window),
            (false, None, Some(_)) => now + window,
            // Who goes on like that is looked at more and more rarely; it is heard at once all the same.
            (false, Some(false), _) if self.stalls => now + self.stalled.max(silent / 2),
            _ => now + self.stalled,
        };
        self.stalls = level == HealthLevel::Stalled;
        self.before = sample.map(|work| (now, work));
        level
    }
}

/// What a silence means; `works` is `None` where nobody can say.
fn level(silent: Duration, quiet: Duration, stalled: Duration, works: Option<bool>) -> HealthLevel {
    if silent < quiet {
        HealthLevel::Healthy
    } else if silent < stalled || works != Some(false) {
        HealthLevel::Quiet
    } else {
        HealthLevel::Stalled
    }
}

fn is_at_work(waiting: u32, before: &Work, after: &Work, between: Duration) -> bool {
    let has_others = before.processes > 1 || after.processes > 1;
    has_others || after.cpu.saturating_sub(before.cpu) * 100 > between * waiting
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthLevel::{Healthy, Quiet, Stalled};

    const MINUTE: Duration = Duration::from_secs(60);

    fn work(processes: usize, cpu_ms: u64) -> Option<Work> {
        Some(Work { processes, cpu: Duration::from_millis(cpu_ms), memory: 0 })
    }

    #[test]
    fn a_silence_means_what_it_is_long_for_and_what_is_done_in_it() {
        let (quiet, stalled) = (MINUTE * 2, MINUTE * 10);
        let table = [
            (0, None, Healthy),
            (119, Some(false), Healthy),
            (120, None, Quiet),
            (120, Some(false), Quiet),
            (599, Some(false), Quiet),
            (600, Some(true), Quiet),
            (600, None, Quiet),
            (600, Some(false), Stalled),
            (86_400, Some(true), Quiet),
            (86_400, Some(false), Stalled),
        ];
        for (seconds, works, expected) in table {
            assert_eq!(level(Duration::from_secs(seconds), quiet, stalled, works), expected, "{seconds} s, {works:?}");
        }
    }

    #[test]
    fn who_works_or_waits_for_a_program_that_it_started_is_at_work() {
        let second = Duration::from_secs(1);
        let is = |before: Option<Work>, after: Option<Work>| {
            is_at_work(WAITING, &before.expect("seen"), &after.expect("seen"), second)
        };
        assert!(!is(work(1, 50), work(1, 60)));
        assert!(is(work(1, 50), work(1, 61)));
        assert!(is(work(2, 50), work(1, 50)), "it was one a moment ago");
        assert!(is(work(1, 50), work(2, 50)));
        assert!(!is(work(1, 50), work(1, 10)), "what ended is not waited for yet");
    }

    #[test]
    fn a_silent_child_is_looked_at_when_it_gets_quiet_and_when_it_could_be_stalled_and_rarely_after() {
        let begun = Instant::now();
        let mut watch = SilenceWatch::new(MINUTE * 2, MINUTE * 10, begun);
        assert_eq!(watch.next_look(), begun + MINUTE * 2);
        assert_eq!(watch.look(begun + MINUTE * 2, begun, || work(1, 0)), Quiet);
        assert_eq!(watch.next_look(), begun + MINUTE * 10);
        assert_eq!(watch.look(begun + MINUTE * 10, begun, || work(1, 5_000)), Quiet, "it worked meanwhile");
        assert_eq!(watch.next_look(), begun + MINUTE * 20);
        assert_eq!(watch.look(begun + MINUTE * 20, begun, || work(1, 5_000)), Stalled);
        assert_eq!(watch.next_look(), begun + MINUTE * 30);
        assert_eq!(watch.look(begun + MINUTE * 30, begun, || work(1, 5_000)), Stalled);
        assert_eq!(watch.next_look(), begun + MINUTE * 45);
        assert_eq!(watch.look(begun + MINUTE * 45, begun, || work(1, 99_000)), Quiet, "it works again");
        let spoke = begun + MINUTE * 50;
        assert_eq!(watch.look(spoke, spoke, || panic!("nobody asks who speaks")), Healthy);
        assert_eq!(watch.next_look(), spoke + MINUTE * 2);
    }

    #[test]
    fn what_cannot_be_seen_is_work_and_a_rate_is_waited_for() {
        let begun = Instant::now();
        let mut watch = SilenceWatch::new(MINUTE, MINUTE * 2, begun);
        assert_eq!(watch.look(begun + MINUTE, begun, || None), Quiet);
        assert_eq!(watch.look(begun + MINUTE * 2, begun, || work(1, 0)), Quiet, "there is no rate yet");
        let soon = begun + MINUTE * 2 + Duration::from_secs(10);
        assert_eq!(watch.next_look(), soon);
        assert_eq!(watch.look(soon, begun, || work(1, 0)), Stalled);
        assert_eq!(watch.look(soon + MINUTE * 2, begun, || None), Quiet);
        // Held up itself (stopped, asleep), a watch looks twice all the same.
        let mut late = SilenceWatch::of_idle(MINUTE, begun, false);
        assert_eq!(late.look(begun + MINUTE * 90, begun, || work(1, 0)), Quiet);
        assert_eq!(late.next_look(), begun + MINUTE * 90 + Duration::from_secs(6));
        assert_eq!(late.look(late.next_look(), begun, || work(1, 0)), Stalled);
    }

    #[test]
    fn opencode_was_at_work_by_drawing_that_it_waits() {
        let begun = Instant::now();
        let idle = |is_agent, cpu_ms| {
            let mut watch = SilenceWatch::of_idle(MINUTE, begun, is_agent);
            watch.look(begun + MINUTE / 2, begun, || work(1, 0));
            watch.look(begun + MINUTE, begun, || work(1, cpu_ms))
        };
        assert_eq!((idle(true, 450), idle(true, 900), idle(true, 901)), (Stalled, Stalled, Quiet));
        assert_eq!((idle(false, 300), idle(false, 450)), (Stalled, Quiet), "what a command spends is work");
    }

    #[test]
    fn spans_that_make_no_sense_are_made_to() {
        let begun = Instant::now();
        let mut watch = SilenceWatch::new(MINUTE, Duration::ZERO, begun);
        assert_eq!(watch.next_look(), begun + LEAST);
        assert_eq!(watch.look(begun + LEAST, begun, || work(1, 0)), Quiet);
        assert_eq!(watch.look(begun + LEAST * 2, begun, || work(1, 0)), Stalled);
    }
}
