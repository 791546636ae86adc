//! What a shim keeps of its child: its time, its share of the disk where nobody else looks, its places, and that it does something; and how it
//! ends one that has to stop. Remembers why.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::child::Child;
use super::line::Heard;
use super::places::Places;
use super::pulse::{LastOutput, Pulse};
use super::wire::{ExitRecord, Order, Stopped};
use crate::confine::disk::{self, DiskWatch};
use crate::confine::policy::{LimitKind, Policy};
use crate::model::agent::AgentReport;
use crate::model::health::Health;
use crate::model::record::ConfineLevel;

/// How long a child may take to end after its deadline.
const GRACE: Duration = Duration::from_secs(5);

/// Keeps a child within its time and its limits, and remembers why it was stopped.
pub struct Keeper {
    stopped: Option<Stopped>,
    deadline: Option<Instant>,
    kill_at: Option<Instant>,
    /// How long it has to end after it was asked to, at most.
    grace: Duration,
    /// How long it may be without a supervisor, and until when it is.
    orphan_grace: Duration,
    orphaned_at: Option<Instant>,
    disk: Option<DiskWatch>,
    look_at: Option<Instant>,
    pulse: Pulse,
    places: Places,
    file_size: bool,
}

impl Keeper {
    /// Keeps what a policy bounds; `output` says when the child said something last.
    pub fn new(policy: &Policy, output: Arc<LastOutput>, places: Places) -> Keeper {
        // In a sandbox pid 1 looks, which sees everything.
        let limit = policy.limits.disk.as_ref().filter(|_| policy.level != ConfineLevel::Strict);
        let disk = limit.map(|limit| DiskWatch::new(limit.bytes, vec![limit.directory.clone()]));
        Keeper {
            stopped: None,
            deadline: policy.timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms)),
            kill_at: None,
            grace: policy.grace_ms.map_or(GRACE, Duration::from_millis),
            orphan_grace: policy.adoption.as_ref().map_or(Duration::ZERO, |a| Duration::from_millis(a.grace_ms)),
            orphaned_at: None,
            look_at: disk.is_some().then(|| Instant::now() + disk::INTERVAL),
            disk,
            pulse: Pulse::new(policy, output),
            places,
            file_size: policy.limits.file_size.is_some(),
        }
    }

    /// Sleeps until something has to be done.
    pub async fn next_moment(&self) {
        let silence = self.pulse.next_look();
        let moments = [self.deadline, self.kill_at, self.orphaned_at, self.look_at, silence];
        let moment = async {
            match moments.into_iter().flatten().min() {
                Some(moment) => sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = moment => {}
            () = self.pulse.speaks_again() => {}
        }
    }

    /// Does what is due; how the child is, when that has changed.
    pub fn act(&mut self, child: &mut Child) -> io::Result<Option<Health>> {
        let now = Instant::now();
        self.keep(now, child)?;
        Ok(self.pulse.changed(now, || child.work()))
    }

    /// Its agent says something of itself.
    pub fn hear_agent(&mut self, report: &AgentReport, child: &Child) {
        self.pulse.note_answers(report.turns, || child.work());
    }

    fn keep(&mut self, now: Instant, child: &mut Child) -> io::Result<()> {
        if self.deadline.is_some_and(|at| at <= now) {
            self.stop(Stopped::Timeout, GRACE, child)?;
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            child.kill()?;
        }
        if self.orphaned_at.is_some_and(|at| at <= now) {
            self.orphaned_at = None;
            self.stopped.get_or_insert(Stopped::Orphaned);
            return child.kill();
        }
        if let Some(why) = self.pulse.passed(now, || child.work()) {
            self.stop(why, GRACE, child)?;
        }
        if self.look_at.is_some_and(|at| at <= now) {
            if self.disk.as_mut().is_some_and(|disk| disk.is_over(|| 0)) {
                self.look_at = None;
                self.stopped.get_or_insert(Stopped::Limit(LimitKind::Disk));
                return child.kill();
            }
            self.look_at = Some(now + self.disk.as_ref().map_or(disk::INTERVAL, DiskWatch::again));
        }
        Ok(())
    }

    /// Does what was heard.
    pub fn hear(&mut self, heard: Heard, child: &mut Child) -> io::Result<()> {
        match heard {
            Heard::Order(Order::Stop { grace_ms }) => self.stop(Stopped::Asked, Duration::from_millis(grace_ms), child),
            Heard::Order(Order::Kill) => {
                self.stopped.get_or_insert(Stopped::Asked);
                child.kill()
            }
            Heard::Order(Order::Park(parked)) => {
                self.park(parked, Instant::now());
                Ok(())
            }
            // Nobody in this child asked.
            Heard::Order(Order::Answer { .. }) => Ok(()),
            Heard::Order(Order::Tool(tool)) => {
                self.pulse.note_tool(tool.name, Duration::from_millis(tool.ago_ms), Instant::now());
                Ok(())
            }
            Heard::Gone if self.orphan_grace.is_zero() => {
                self.stopped.get_or_insert(Stopped::Orphaned);
                child.kill()
            }
            Heard::Gone => {
                self.orphaned_at = Some(Instant::now() + self.orphan_grace);
                Ok(())
            }
        }
    }

    /// A successor has come, which says anew whether the child is parked; how the child is, where it has to hear of that.
    pub fn is_supervised(&mut self) -> Option<Health> {
        let now = Instant::now();
        self.orphaned_at = None;
        self.park(false, now);
        self.pulse.to_tell_again(now)
    }

    /// How the child is, for whoever looks; that changes nothing.
    pub fn health(&self) -> Option<Health> {
        self.pulse.health(Instant::now())
    }

    fn park(&mut self, parked: bool, now: Instant) {
        self.pulse.park(parked, now);
        if parked { self.places.leave() } else { self.places.come_back() }
    }

    /// Ends it for this reason.
    pub fn end(&mut self, why: Stopped, child: &mut Child) -> io::Result<()> {
        self.stop(why, GRACE, child)
    }

    fn stop(&mut self, why: Stopped, grace: Duration, child: &mut Child) -> io::Result<()> {
        let grace = grace.min(self.grace);
        self.stopped.get_or_insert(why);
        self.deadline = None;
        self.pulse.lift_deadlines();
        self.kill_at = Some(Instant::now() + grace);
        child.ask_to_end()
    }

    /// The end of a child, with why it was stopped.
    pub fn judge(&self, record: ExitRecord) -> ExitRecord {
        let too_large = self.file_size && record.by_file_size();
        let limit = record.stopped.or(too_large.then_some(Stopped::Limit(LimitKind::FileSize)));
        ExitRecord { stopped: self.stopped.or(limit), ..record }
    }
}
