//! Holding back the signals that would end this process in the middle of something that has to be unmade first.
//!
//! While they are held they are noticed, not obeyed; afterwards everything is as it was. What the caller's shell had us
//! ignore stays ignored. For work of this thread alone: a process that is started meanwhile would inherit the hold.

use std::io;
use std::os::fd::AsFd;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that are held back, as long as it lives.
#[derive(Debug)]
pub struct Held {
    noticed: SignalFd,
    before: SigSet,
}

impl Held {
    /// Holds back the interrupt of the terminal, the request to end, and the end of the terminal.
    pub fn hold() -> io::Result<Held> {
        let ignored = ignored()?;
        let mut set = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            if ignored & (1 << (signal as u32 - 1)) == 0 {
                set.add(signal);
            }
        }
        let noticed = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let before = set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        Ok(Held { noticed, before })
    }

    /// The number of a signal that came meanwhile. Whoever asks obeys it.
    pub fn noticed(&self) -> io::Result<Option<u32>> {
        let mut buffer = [0; size_of::<nix::libc::signalfd_siginfo>()];
        match rustix::io::read(self.noticed.as_fd(), &mut buffer) {
            Ok(_) => Ok(Some(u32::from_ne_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]))),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = self.before.thread_set_mask() {
            tracing::debug!(%error, "signals stay held back");
        }
    }
}

/// The signals that are ignored, a bit each: blocked ones would be noticed even so.
fn ignored() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let parsed = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    parsed.ok_or_else(|| io::Error::other("/proc/self/status names no ignored signals"))
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn a_signal_is_noticed_and_not_obeyed() {
        let before = SigSet::thread_get_mask().expect("a mask");
        let held = Held::hold().expect("held");
        assert_eq!(held.noticed().expect("asked"), None);
        raise(Signal::SIGTERM).expect("raised");
        assert_eq!(held.noticed().expect("asked"), Some(Signal::SIGTERM as u32));
        assert_eq!(held.noticed().expect("asked"), None);
        drop(held);
        assert_eq!(SigSet::thread_get_mask().expect("a mask"), before, "everything is as it was");
    }
}
