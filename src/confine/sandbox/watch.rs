//! The limits that pid 1 keeps by looking: memory of everything together, and what it leaves on the disk.
//! Where the kernel gives an event or keeps a limit itself, nothing is looked at.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::usage::{self, MemoryWatch};
use crate::confine::disk::{self, DiskWatch};
use crate::confine::policy::{Access, LimitKind, Policy};

/// The first look: most children have ended before it.
const FIRST: Duration = Duration::from_secs(1);

/// What is due as soon as this is looked at along with what is due now.
const TOGETHER: Duration = Duration::from_secs(1);

/// What is looked at, and when.
pub struct Watch {
    memory: Option<(MemoryWatch, Instant)>,
    disk: Option<(DiskWatch, Instant)>,
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
        Watch {
            memory: policy.limits.memory.filter(|_| !kept).map(|limit| (MemoryWatch::new(limit, begin), begin + FIRST)),
            disk: limit.map(|limit| (DiskWatch::new(limit.bytes, written()), begin + disk::INTERVAL)),
        }
    }

    /// How long until the next look; `None` for never.
    pub fn next_look(&self) -> Option<Duration> {
        let moments = [self.memory.as_ref().map(|(_, at)| *at), self.disk.as_ref().map(|(_, at)| *at)];
        moments.into_iter().flatten().min().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Looks at what is due; the limit that is passed.
    pub fn look(&mut self) -> Option<LimitKind> {
        let now = Instant::now();
        let soon = now + TOGETHER;
        if let Some((watch, at)) = self.memory.as_mut().filter(|(_, at)| *at <= now) {
            let look = watch.look(now);
            *at = now + look.again;
            if look.over {
                return Some(LimitKind::Memory);
            }
        }
        if let Some((watch, at)) = self.disk.as_mut().filter(|(_, at)| *at <= soon) {
            let over = watch.is_over(usage::nameless_files);
            // A walk of very much takes its time; what waits for pid 1 has its turn in between.
            *at = Instant::now() + watch.again();
            return over.then_some(LimitKind::Disk);
        }
        None
    }
}
