//! The terminal is given back: a shell inside takes it for its jobs, and cannot name those who had it before, for they are outside.
//! Only a terminal that was ours to begin with; what becomes of it while the child lives is the child's.

use std::os::fd::BorrowedFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use rustix::process::Pid;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// Who has the terminal among our streams, when that is our own group.
pub struct Foreground {
    stream: BorrowedFd<'static>,
    group: Pid,
}

impl Foreground {
    /// Looks at it; `None` without a terminal, or where somebody else has it, or our group is one of another pid namespace.
    pub fn look() -> Option<Foreground> {
        let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        let group = Pid::from_raw(nix::unistd::getpgrp().as_raw())?;
        let stream = streams.into_iter().find(|stream| tcgetpgrp(stream) == Ok(group))?;
        Some(Foreground { stream, group })
    }

    /// Takes it back from whoever has it now.
    pub fn give_back(self) {
        if tcgetpgrp(self.stream) == Ok(self.group) {
            return;
        }
        // Who is not in front is stopped for this, unless it holds the signal back.
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let held = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None);
        // A terminal that is gone is nobody's.
        let _given = held.is_ok() && tcsetpgrp(self.stream, self.group).is_ok();
    }
}
