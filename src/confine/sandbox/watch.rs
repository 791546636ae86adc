//! The limits that pid 1 keeps by looking: memory of everything together, and what it leaves on the disk.
//! Where the kernel gives an event or keeps a limit itself, nothing is looked at, and ever more rarely while everybody in here
//! only waits: agents that wait are not to keep the machine awake.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::sleepers::Sleepers;
use super::usage::{self, MemoryWatch};
use crate::confine::disk::{self, DiskWatch};
use crate::confine::policy::{Access, LimitKind, Policy};

/// The first look: most children have ended before it.
const FIRST: Duration = Duration::from_secs(1);

/// What is due as soon as this is looked at along with what is due now.
const TOGETHER: Duration = Duration::from_secs(1);

/// The shortest and the longest time until it is asked again whether everybody sleeps. Whoever wakes by itself is not looked after
/// for as long as the longest at most.
const REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(16);

/// A limit, when it is looked at next, and whether that was done since somebody worked.
struct Kept<W> {
    watch: W,
    at: Instant,
    is_known: bool,
}

/// What is looked at, and when.
pub struct Watch {
    memory: Option<Kept<MemoryWatch>>,
    disk: Option<Kept<DiskWatch>>,
    sleepers: Sleepers,
    rest: Duration,
}

impl Watch {
    /// What a policy bounds. On the disk that is every directory that the child may change.
    pub fn new(policy: &Policy) -> Watch {
        let begin = Instant::now();
        let written = || -> Vec<PathBuf> {
            let written = policy.view.mounts.iter().filter(|mount| mount.access == Access::Write);
            written.map(|mount| mount.target.clone()).collect()
        };
        let limit = policy.limits.disk.as_ref();
        let kept = policy.leaf.as_ref().is_some_and(|leaf| leaf.memory);
        let memory = policy.limits.memory.filter(|_| !kept).map(|limit| MemoryWatch::new(limit, begin));
        Watch {
            memory: memory.map(|watch| Kept { watch, at: begin + FIRST, is_known: false }),
            disk: limit.map(|limit| {
                let watch = DiskWatch::new(limit.bytes, written());
                Kept { watch, at: begin + disk::INTERVAL, is_known: false }
            }),
            sleepers: Sleepers::default(),
            rest: REST,
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        let moments = [self.memory.as_ref().map(|kept| kept.at), self.disk.as_ref().map(|kept| kept.at)];
        moments.into_iter().flatten().min()
    }

    /// How long until the next look; `None` for never.
    pub fn next_look(&self) -> Option<Duration> {
        self.next_moment().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Readable when one ends who slept: then [`Watch::stir`] is to hear of it.
    pub fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sleepers.ends()
    }

    /// One who slept has ended: whoever waited for that goes on.
    pub fn stir(&mut self) {
        self.sleepers = Sleepers::default();
        self.rest = REST;
        self.put_off(Instant::now() + FIRST, Instant::min);
    }

    fn put_off(&mut self, until: Instant, choose: impl Fn(Instant, Instant) -> Instant) {
        self.memory.iter_mut().for_each(|kept| kept.at = choose(kept.at, until));
        self.disk.iter_mut().for_each(|kept| kept.at = choose(kept.at, until));
    }

    /// Looks at what is due; the limit that is passed.
    pub fn look(&mut self) -> Option<LimitKind> {
        let now = Instant::now();
        if self.next_moment().is_none_or(|at| at > now) {
            return None;
        }
        let all_sleep = self.sleepers.still_sleep();
        if all_sleep && self.is_known() {
            self.rest = if self.sleepers.listen() { (self.rest * 2).min(REST_MAX) } else { REST };
            self.put_off(now + self.rest, |_, until| until);
            return None;
        }
        if !all_sleep {
            // Before anything is looked at, so that what is done meanwhile is seen at the next look.
            (self.sleepers, self.rest) = (Sleepers::now(usage::processes), REST);
            self.memory.iter_mut().for_each(|kept| kept.is_known = false);
            self.disk.iter_mut().for_each(|kept| kept.is_known = false);
        }
        let soon = now + TOGETHER;
        if let Some(kept) = self.memory.as_mut().filter(|kept| kept.at <= now) {
            let look = kept.watch.look(now, all_sleep);
            (kept.at, kept.is_known) = (now + look.again, look.measured);
            if look.over {
                return Some(LimitKind::Memory);
            }
        }
        if let Some(kept) = self.disk.as_mut().filter(|kept| kept.at <= soon) {
            let over = kept.watch.is_over(usage::nameless_files);
            // A walk of very much takes its time; what waits for pid 1 has its turn in between.
            (kept.at, kept.is_known) = (Instant::now() + kept.watch.again(), true);
            return over.then_some(LimitKind::Disk);
        }
        None
    }

    fn is_known(&self) -> bool {
        self.memory.as_ref().is_none_or(|kept| kept.is_known) && self.disk.as_ref().is_none_or(|kept| kept.is_known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confine::sandbox::sleepers::tests::Waiting;

    #[test]
    fn while_everybody_sleeps_it_is_looked_ever_more_rarely_until_one_ends() {
        let mut waiting = Waiting::begin();
        let sleepers = Sleepers::now(|| Ok(vec![waiting.pid()]));
        let dir = tempfile::tempdir().expect("a directory");
        let disk = DiskWatch::new(12 << 30, vec![dir.path().to_owned()]);
        let disk = Some(Kept { watch: disk, at: Instant::now(), is_known: false });
        let mut watch = Watch { memory: None, disk, sleepers, rest: REST };
        let due = |watch: &mut Watch| {
            watch.put_off(Instant::now(), Instant::min);
            watch.look()
        };
        assert!(due(&mut watch).is_none() && watch.is_known() && watch.ends().count() == 0, "measured first");
        for rest in [4, 8, 16, 16] {
            assert_eq!(due(&mut watch), None);
            assert_eq!(watch.next_look().map(|wait| wait.as_secs() + 1), Some(rest));
        }
        assert_eq!(watch.ends().count(), 1);
        waiting.end();
        watch.stir();
        assert!(watch.next_look().is_some_and(|wait| wait <= FIRST) && watch.ends().count() == 0);
        watch.put_off(Instant::now(), Instant::min);
        assert_eq!(watch.look(), None);
        assert!(watch.next_look().is_some_and(|wait| wait < Duration::from_secs(11)), "it is looked at as before");
    }
}
