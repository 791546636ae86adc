//! Whether a child does anything: it says something, works, or waits for a program that it started. One that does none of it for
//! long hangs, in its own way or on a network that does not answer.
//!
//! What it says is noted as it comes; what it works is looked at only when it has been silent for as long as it may. What cannot
//! be looked at counts as work.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::sys::proc::Work;

/// When a child said something last.
#[derive(Debug)]
pub struct LastOutput {
    begun: Instant,
    after_ms: AtomicU64,
}

impl LastOutput {
    /// It begins now.
    pub fn begin() -> LastOutput {
        LastOutput { begun: Instant::now(), after_ms: AtomicU64::new(0) }
    }

    /// It says something now.
    pub fn note(&self) {
        let after = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(after, Ordering::Relaxed);
    }

    fn moment(&self) -> Instant {
        self.begun + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

/// Watches for a child that does nothing.
#[derive(Debug)]
pub struct IdleWatch {
    limit: Duration,
    output: Arc<LastOutput>,
    before: Option<(Instant, Work)>,
    next: Instant,
}

impl IdleWatch {
    /// A child may do nothing for this long.
    pub fn new(limit: Duration, output: Arc<LastOutput>) -> IdleWatch {
        IdleWatch { limit, next: output.moment() + limit, output, before: None }
    }

    /// When to look next.
    pub fn next_look(&self) -> Instant {
        self.next
    }

    /// True when it has done nothing for as long as it may. `work` is what it and all that it started have worked so far.
    pub fn is_over(&mut self, now: Instant, work: impl FnOnce() -> io::Result<Work>) -> bool {
        if now < self.next {
            return false;
        }
        let silent_until = self.output.moment() + self.limit;
        if now < silent_until {
            (self.before, self.next) = (None, silent_until);
            return false;
        }
        let Ok(work) = work() else {
            (self.before, self.next) = (None, now + self.limit);
            return false;
        };
        match self.before.take() {
            None => {
                self.before = Some((now, work));
                self.next = now + (self.limit / 10).clamp(Duration::from_millis(100), Duration::from_secs(10));
                false
            }
            Some((then, before)) => {
                self.next = now + self.limit;
                !is_at_work(&before, &work, now.duration_since(then))
            }
        }
    }
}

/// A hundredth of a processor is what a program spends that only waits.
fn is_at_work(before: &Work, after: &Work, between: Duration) -> bool {
    let has_others = before.processes > 1 || after.processes > 1;
    has_others || after.cpu.saturating_sub(before.cpu) * 100 > between
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(processes: usize, cpu_ms: u64) -> Work {
        Work { processes, cpu: Duration::from_millis(cpu_ms) }
    }

    #[test]
    fn who_works_or_waits_for_a_program_that_it_started_is_not_idle() {
        let second = Duration::from_secs(1);
        assert!(!is_at_work(&work(1, 50), &work(1, 60), second));
        assert!(is_at_work(&work(1, 50), &work(1, 61), second));
        assert!(is_at_work(&work(2, 50), &work(1, 50), second), "it was one a moment ago");
    }

    #[tokio::test]
    async fn only_who_says_nothing_and_does_nothing_for_as_long_as_it_may_is_over() {
        let output = Arc::new(LastOutput::begin());
        let minute = Duration::from_secs(60);
        let mut watch = IdleWatch::new(minute, Arc::clone(&output));
        let begun = output.begun;
        assert_eq!(watch.next_look(), begun + minute);
        output.after_ms.store(30_000, Ordering::Relaxed);
        assert!(!watch.is_over(begun + minute, || Ok(work(1, 0))), "it said something half-way");
        assert_eq!(watch.next_look(), begun + minute * 3 / 2);
        assert!(!watch.is_over(begun + minute * 3 / 2, || Ok(work(1, 0))), "looked at once");
        let again = watch.next_look();
        assert_eq!(again, begun + minute * 3 / 2 + Duration::from_secs(6));
        assert!(!watch.is_over(again, || Ok(work(1, 600))), "it works");
        assert!(!watch.is_over(again + minute, || Err(io::Error::other("no /proc"))));
        assert!(!watch.is_over(again + minute * 2, || Ok(work(1, 600))));
        let last = watch.next_look();
        assert!(watch.is_over(last, || Ok(work(1, 600))));
    }
}
