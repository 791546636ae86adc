//! The pulse of a child: when it said something last, how it is by that, and the two deadlines of who says nothing.
//!
//! What it says is noted as it comes; that it uses a tool is said, too. What it works is looked at only when it is silent. A
//! change is known when it happens: by a timer when it falls silent, by the output itself when it speaks again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::companions::Companions;
use super::silence::SilenceWatch;
use super::wire::Stopped;
use crate::agent::output::Format;
use crate::confine::policy::Policy;
use crate::model::health::{Health, HealthLevel, ToolUse, Used, Work};

/// When a child said something last.
#[derive(Debug)]
pub struct LastOutput {
    begun: Instant,
    after_ms: AtomicU64,
    has_spoken: AtomicBool,
    is_awaited: AtomicBool,
    news: Notify,
}

impl LastOutput {
    /// It begins now.
    pub fn begin() -> LastOutput {
        LastOutput {
            begun: Instant::now(),
            after_ms: AtomicU64::new(0),
            has_spoken: AtomicBool::new(false),
            is_awaited: AtomicBool::new(false),
            news: Notify::new(),
        }
    }

    /// It says something now.
    pub fn note(&self) {
        self.after_ms.store(milliseconds(self.begun.elapsed()), Ordering::Relaxed);
        self.has_spoken.store(true, Ordering::Relaxed);
        self.wake_who_awaits();
    }

    fn wake_who_awaits(&self) {
        if self.is_awaited.swap(false, Ordering::Relaxed) {
            self.news.notify_one();
        }
    }

    fn moment(&self) -> Instant {
        self.begun + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

/// The level of a child, and since when.
#[derive(Debug)]
struct Levels {
    watch: SilenceWatch,
    level: HealthLevel,
    since: Instant,
}

/// The pulse of a child.
#[derive(Debug)]
pub struct Pulse {
    output: Arc<LastOutput>,
    levels: Option<Levels>,
    idle: Option<SilenceWatch>,
    companions: Companions,
    first_output_by: Option<Instant>,
    /// The last tool that it told of, and when that was.
    tool: Option<(String, Instant)>,
    parked: bool,
    /// Before that it was parked: no silence of its own.
    silent_from: Instant,
    used: Option<Used>,
    has_changed: bool,
}

impl Pulse {
    /// The pulse of a child under a policy; `output` says when it said something last.
    pub fn new(policy: &Policy, output: Arc<LastOutput>) -> Pulse {
        let (begun, span) = (output.moment(), Duration::from_millis);
        let levels = policy.health.map(|health| Levels {
            watch: SilenceWatch::new(health.quiet.0, health.stalled.0, begun),
            level: HealthLevel::Healthy,
            since: begun,
        });
        Pulse {
            levels,
            idle: policy.idle_ms.map(|ms| SilenceWatch::of_idle(span(ms), begun, policy.agent.is_some())),
            companions: Companions::new(tells_of_answers(policy)),
            first_output_by: policy.start_up_ms.map(|ms| begun + span(ms)),
            tool: None,
            parked: false,
            silent_from: begun,
            output,
            used: None,
            has_changed: false,
        }
    }

    /// When to look next; `None` for never.
    pub fn next_look(&self) -> Option<Instant> {
        let level = self.levels.as_ref().map(|levels| levels.watch.next_look());
        let idle = self.idle.as_ref().filter(|_| !self.parked).map(SilenceWatch::next_look);
        [level, idle, self.first_output_by].into_iter().flatten().min()
    }

    /// It waits for an answer, or does not any more. To ask is to say something, and to wait for a person is not to be idle.
    pub fn park(&mut self, parked: bool, now: Instant) {
        if parked {
            self.first_output_by = None;
        } else if self.parked {
            self.silent_from = now;
            self.idle.iter_mut().for_each(|idle| idle.begin_again(now));
        }
        self.parked = parked;
    }

    /// It used a tool so long ago, which is to say something. Of two uses the later one counts, whichever is heard last.
    pub fn note_tool(&mut self, name: String, ago: Duration, now: Instant) {
        let begun = self.output.begun;
        let at = now.checked_sub(ago).map_or(begun, |at| at.max(begun));
        self.first_output_by = None;
        if self.tool.as_ref().is_none_or(|(_, known)| *known <= at) {
            self.tool = Some((name, at));
        }
        self.output.wake_who_awaits();
    }

    /// Its agent said something, and its model has answered so often.
    pub fn note_answers(&mut self, answers: u64, work: impl FnOnce() -> io::Result<Work>) {
        self.companions.note(answers, || work().ok().map(|work| work.processes));
    }

    fn last_sign(&self) -> Instant {
        let output = self.output.moment();
        self.tool.as_ref().map_or(output, |(_, used)| output.max(*used))
    }

    /// Waits until a child that was silent says something.
    pub async fn speaks_again(&self) {
        self.output.news.notified().await;
    }

    /// How the child is, when that has changed. `work` is what it and all that it started have worked so far.
    pub fn changed(&mut self, now: Instant, work: impl Fn() -> io::Result<Work>) -> Option<Health> {
        let last = self.last_sign();
        let levels = self.levels.as_mut()?;
        let speaks = levels.level != HealthLevel::Healthy && levels.watch.speaks(now, last);
        if now < levels.watch.next_look() && !speaks {
            return None;
        }
        let mut sample = None;
        let level = levels.watch.look(now, last, || {
            sample = work().ok();
            sample.map(|work| self.companions.without(work))
        });
        self.output.is_awaited.store(level != HealthLevel::Healthy, Ordering::Relaxed);
        self.used = sample.map(Used::from).or(self.used);
        if level == levels.level {
            return None;
        }
        (levels.level, levels.since, self.has_changed) = (level, now, true);
        self.health(now)
    }

    /// The deadline of who says nothing that has passed, if one has.
    pub fn passed(&mut self, now: Instant, work: impl Fn() -> io::Result<Work>) -> Option<Stopped> {
        if self.first_output_by.is_some_and(|by| by <= now) {
            self.first_output_by = None;
            if !self.output.has_spoken.load(Ordering::Relaxed) {
                return Some(Stopped::NoStart);
            }
        }
        let last = self.last_sign().max(self.silent_from);
        let idle = self.idle.as_mut().filter(|idle| !self.parked && idle.next_look() <= now)?;
        let level = idle.look(now, last, || work().ok().map(|work| self.companions.without(work)));
        (level == HealthLevel::Stalled).then_some(Stopped::Idle)
    }

    /// No deadline of its silence holds any more: it is being ended.
    pub fn lift_deadlines(&mut self) {
        (self.idle, self.first_output_by) = (None, None);
    }

    /// How it is; `None` where that is not watched.
    pub fn health(&self, now: Instant) -> Option<Health> {
        let Levels { level, since, .. } = self.levels.as_ref()?;
        let ago = |moment: Instant| milliseconds(now.saturating_duration_since(moment));
        let has_spoken = self.output.has_spoken.load(Ordering::Relaxed);
        Some(Health {
            level: *level,
            level_ms: ago(*since),
            silent_ms: ago(self.last_sign()),
            output_ms: has_spoken.then(|| ago(self.output.moment())),
            tool: self.tool.as_ref().map(|(name, used)| ToolUse { name: name.clone(), ago_ms: ago(*used) }),
            used: self.used,
        })
    }

    /// What a successor has to hear; `None` while there is no more to say than that it began.
    pub fn to_tell_again(&self, now: Instant) -> Option<Health> {
        self.health(now).filter(|_| self.has_changed)
    }
}

/// True for an agent whose output says when its model answers.
fn tells_of_answers(policy: &Policy) -> bool {
    policy.agent.as_ref().is_some_and(|agent| agent.output.format == Format::Jsonl)
}

fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::health::HealthSpans;
    use crate::model::record::ConfineLevel;
    use crate::model::{Span, Token};

    const MINUTE: Duration = Duration::from_secs(60);

    fn pulse(change: impl FnOnce(&mut Policy)) -> (Pulse, Arc<LastOutput>) {
        let token = Token::parse(&"0".repeat(32)).expect("a token");
        let mut policy = Policy::new(ConfineLevel::Off, vec!["true".into()], "/".into(), token);
        change(&mut policy);
        let output = Arc::new(LastOutput::begin());
        (Pulse::new(&policy, Arc::clone(&output)), output)
    }

    fn spans(policy: &mut Policy) {
        policy.health = Some(HealthSpans { quiet: Span(MINUTE), stalled: Span(MINUTE * 2) });
    }

    fn waits() -> io::Result<Work> {
        Ok(Work { processes: 1, cpu: Duration::from_secs(3), memory: 5 })
    }

    #[tokio::test]
    async fn a_change_is_told_once_and_again_to_a_successor() {
        let (mut pulse, output) = pulse(spans);
        let begun = output.begun;
        assert_eq!(pulse.changed(begun + MINUTE / 2, || panic!("it is not time")), None);
        assert_eq!(pulse.to_tell_again(begun + MINUTE / 2), None);
        let quiet = pulse.changed(begun + MINUTE, waits).expect("a change");
        let used = Some(Used { cpu_ms: 3_000, memory_bytes: 5, processes: 1 });
        let expected =
            Health { level: HealthLevel::Quiet, level_ms: 0, silent_ms: 60_000, output_ms: None, tool: None, used };
        assert_eq!(quiet, expected);
        assert_eq!(pulse.changed(begun + MINUTE, waits), None);
        let stalled = pulse.changed(begun + MINUTE * 2, waits).expect("a change");
        assert_eq!(stalled.level, HealthLevel::Stalled);
        let again = pulse.to_tell_again(begun + MINUTE * 3).expect("told");
        assert_eq!((again.level, again.level_ms, again.silent_ms), (HealthLevel::Stalled, 60_000, 180_000));
    }

    #[tokio::test]
    async fn who_was_silent_and_speaks_wakes_whoever_watches() {
        let (mut pulse, output) = pulse(spans);
        let begun = output.begun;
        pulse.changed(begun + MINUTE, waits).expect("a change");
        output.note();
        pulse.speaks_again().await;
        let healthy = pulse.changed(Instant::now(), waits).expect("a change");
        assert!(healthy.level == HealthLevel::Healthy && healthy.output_ms.is_some(), "{healthy:?}");
        output.note();
        let woken = tokio::time::timeout(Duration::ZERO, pulse.speaks_again()).await;
        assert!(woken.is_err(), "nobody waits for who speaks anyway");
    }

    #[tokio::test]
    async fn who_never_said_anything_has_not_started_and_one_byte_is_enough() {
        let limit = |policy: &mut Policy| policy.start_up_ms = Some(60_000);
        let (mut silent, output) = pulse(limit);
        assert_eq!(silent.next_look(), Some(output.begun + MINUTE));
        assert_eq!(silent.passed(output.begun + MINUTE / 2, waits), None);
        assert_eq!(silent.passed(output.begun + MINUTE, waits), Some(Stopped::NoStart));
        let (mut speaks, output) = pulse(limit);
        output.note();
        assert_eq!(speaks.passed(output.begun + MINUTE, waits), None);
        assert_eq!(speaks.next_look(), None);
    }

    #[tokio::test]
    async fn only_who_says_nothing_and_does_nothing_for_as_long_as_it_may_is_over() {
        let limit = |policy: &mut Policy| policy.idle_ms = Some(60_000);
        let (mut pulse, output) = pulse(limit);
        let begun = output.begun;
        let used = |ms| move || Ok(Work { processes: 1, cpu: Duration::from_millis(ms), memory: 0 });
        output.after_ms.store(20_000, Ordering::Relaxed);
        assert_eq!(pulse.passed(begun + MINUTE / 2, used(0)), None, "it said something");
        assert_eq!(pulse.next_look(), Some(begun + Duration::from_secs(50)));
        assert_eq!(pulse.passed(begun + Duration::from_secs(50), used(0)), None, "looked at once");
        assert_eq!(pulse.passed(begun + Duration::from_secs(80), used(600)), None, "it works");
        let next = pulse.next_look().expect("a look");
        assert_eq!(pulse.passed(next, || Err(io::Error::other("no /proc"))), None);
        let next = pulse.next_look().expect("a look");
        assert_eq!(pulse.passed(next, used(600)), None, "there is no rate");
        let next = pulse.next_look().expect("a look");
        assert_eq!(pulse.passed(next, used(600)), Some(Stopped::Idle));
        pulse.lift_deadlines();
        assert_eq!(pulse.next_look(), None);
    }

    #[tokio::test]
    async fn who_uses_a_tool_is_not_silent_not_idle_and_has_started() {
        let (mut pulse, output) = pulse(|policy| {
            spans(policy);
            (policy.idle_ms, policy.start_up_ms) = (Some(60_000), Some(30_000));
        });
        let begun = output.begun;
        pulse.note_tool("grep".into(), Duration::ZERO, begun + MINUTE / 3);
        assert_eq!(pulse.passed(begun + MINUTE / 2, || panic!("it does something")), None);
        assert_eq!(pulse.changed(begun + MINUTE, waits), None, "it is not silent for so long");
        assert_eq!(pulse.passed(begun + MINUTE, waits), None);
        let quiet = pulse.changed(begun + MINUTE * 4 / 3, waits).expect("a change");
        let tool = |name: &str, ago_ms| Some(ToolUse { name: name.to_owned(), ago_ms });
        assert_eq!((quiet.silent_ms, quiet.output_ms, quiet.tool), (60_000, None, tool("grep", 60_000)));
        assert_eq!(pulse.passed(begun + MINUTE * 3 / 2, waits), Some(Stopped::Idle));
        pulse.note_tool("cargo test".into(), Duration::ZERO, begun + MINUTE * 2);
        pulse.speaks_again().await;
        let healthy = pulse.changed(begun + MINUTE * 2, waits).expect("a change");
        assert_eq!((healthy.level, healthy.tool), (HealthLevel::Healthy, tool("cargo test", 0)));
        pulse.note_tool("heard late".into(), MINUTE, begun + MINUTE * 2);
        pulse.note_tool("before its time".into(), MINUTE * 9, begun + MINUTE * 2);
        assert_eq!(pulse.health(begun + MINUTE * 2).and_then(|health| health.tool), tool("cargo test", 0));
    }

    #[tokio::test]
    async fn who_waits_for_a_person_is_not_idle_and_has_all_its_time_again_afterwards() {
        let (mut pulse, output) = pulse(|policy| (policy.idle_ms, policy.start_up_ms) = (Some(60_000), Some(60_000)));
        let begun = output.begun;
        pulse.park(true, begun + MINUTE / 3);
        assert_eq!(pulse.next_look(), None);
        assert_eq!(pulse.passed(begun + MINUTE * 60, || panic!("nobody asks")), None);
        let answered = begun + MINUTE * 90;
        pulse.park(false, answered);
        assert_eq!(pulse.next_look(), Some(answered + MINUTE / 2));
        assert_eq!(pulse.passed(answered + MINUTE / 2, waits), None);
        pulse.park(false, answered + MINUTE / 2);
        assert_eq!(pulse.passed(answered + MINUTE, waits), Some(Stopped::Idle), "said twice, it counts once");
        pulse.lift_deadlines();
        pulse.park(true, answered + MINUTE);
        pulse.park(false, answered + MINUTE * 2);
        assert_eq!(pulse.next_look(), None, "it is being ended");
    }
}
