//! Whether everybody in the sandbox only waits. Who has no processor time takes no memory and writes nothing, and nobody new
//! begins: whoever is new in here was started by one that was here.
//!
//! Known from the processor clocks of the processes (`clock_getcpuclockid`), which say the same twice for who slept in between.
//! The end of one wakes whoever watches, by its descriptor: its parent often waits for just that, and goes on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

/// More processes than this are not watched one by one: somebody among so many works.
const MOST: usize = 256;

/// The processes at some moment, and what each had had of the processor by then. Of nobody when nothing is known.
#[derive(Debug, Default)]
pub struct Sleepers {
    then: Vec<(Pid, ClockId, TimeSpec)>,
    handles: Vec<OwnedFd>,
}

impl Sleepers {
    /// Notes how it is now. `processes` lists them; where the list changes meanwhile, nothing is known.
    pub fn now(processes: impl Fn() -> io::Result<Vec<Pid>>) -> Sleepers {
        let noted = || -> Option<_> {
            let listed = processes().ok().filter(|listed| listed.len() <= MOST)?;
            let clock = |pid: &Pid| {
                let clock = clock_getcpuclockid(*pid).ok()?;
                Some((*pid, clock, clock.now().ok()?))
            };
            let then = listed.iter().map(clock).collect::<Option<Vec<_>>>()?;
            processes().is_ok_and(|again| again == listed).then_some(then)
        };
        Sleepers { then: noted().unwrap_or_default(), handles: Vec::new() }
    }

    /// True when nobody has had processor time since, or has ended, or come.
    pub fn still_sleep(&self) -> bool {
        !self.then.is_empty() && self.then.iter().all(|(_, clock, then)| clock.now() == Ok(*then))
    }

    /// Begins to listen for the end of each; false where that cannot be.
    pub fn listen(&mut self) -> bool {
        if self.handles.is_empty() {
            let open = |(pid, ..): &(Pid, ClockId, TimeSpec)| {
                let pid = rustix::process::Pid::from_raw(pid.as_raw())?;
                pidfd_open(pid, PidfdFlags::empty()).ok()
            };
            self.handles = self.then.iter().map(open).collect::<Option<_>>().unwrap_or_default();
        }
        !self.handles.is_empty()
    }

    /// Readable when one has ended.
    pub fn ends(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.handles.iter().map(AsFd::as_fd)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::process::{Child, Command, Stdio};

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// A process that only waits, until it is dropped.
    pub struct Waiting(Child);

    impl Waiting {
        #[expect(clippy::disallowed_methods, reason = "the test wants a child")]
        pub fn begin() -> Waiting {
            let waiting = Waiting(Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().expect("started"));
            let status = format!("/proc/{}/stat", waiting.0.id());
            while !std::fs::read_to_string(&status).expect("it lives").contains(") S ") {}
            waiting
        }

        pub fn pid(&self) -> Pid {
            pid(self.0.id())
        }

        pub fn end(&mut self) {
            self.0.kill().and_then(|()| self.0.wait()).expect("ended");
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            self.end();
        }
    }

    fn pid(id: u32) -> Pid {
        Pid::from_raw(i32::try_from(id).expect("a pid"))
    }

    #[test]
    fn who_only_waits_sleeps_and_who_works_or_ends_does_not() {
        let mut waits = Waiting::begin();
        let (pid, works) = (waits.pid(), pid(std::process::id()));
        let then = Sleepers::now(|| Ok(vec![pid]));
        assert!(then.still_sleep());
        assert!(!Sleepers::now(|| Ok(vec![pid, works])).still_sleep(), "this test works");
        waits.end();
        assert!(!then.still_sleep(), "it has ended");
    }

    #[test]
    fn where_somebody_comes_or_nothing_can_be_seen_nobody_is_taken_to_sleep() {
        let waiting = Waiting::begin();
        let (waits, works) = (waiting.pid(), pid(std::process::id()));
        let lists = std::cell::RefCell::new(vec![vec![waits, works], vec![waits]]);
        assert!(!Sleepers::now(|| Ok(lists.borrow_mut().pop().expect("a list"))).still_sleep(), "one is new");
        assert!(!Sleepers::now(|| Ok(Vec::new())).still_sleep());
        assert!(!Sleepers::now(|| Err(io::Error::other("no /proc"))).still_sleep());
        assert!(!Sleepers::now(|| Ok(vec![waits; MOST + 1])).still_sleep());
    }

    #[test]
    fn the_end_of_one_is_heard() {
        let mut waits = Waiting::begin();
        let mut then = Sleepers::now(|| Ok(vec![waits.pid()]));
        assert_eq!(then.ends().count(), 0);
        assert!(then.listen() && then.listen());
        waits.end();
        let mut watched: Vec<_> = then.ends().map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN)).collect();
        assert_eq!(poll(&mut watched, None), Ok(1));
    }
}
