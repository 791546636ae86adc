//! Holding back the signals that would end this process in the middle of something that has to be unmade first.
//!
//! While they are held they are noticed, not obeyed; afterwards everything is as it was. What the caller's shell had us
//! ignore stays ignored. For work of this thread alone; what it starts meanwhile obeys them ([`release_in_child`]).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The interrupt of the terminal, the request to end, and the end of the terminal.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Lets a child obey the signals that this thread holds back.
#[expect(unsafe_code, reason = "a child inherits what is held back, and can let go only between fork and exec")]
pub fn release_in_child(command: &mut Command) {
    let held = SigSet::thread_get_mask().is_ok_and(|mask| ENDING.iter().any(|signal| mask.contains(*signal)));
    if held {
        let set: SigSet = ENDING.into_iter().collect();
        let in_child = move || set.thread_unblock().map_err(io::Error::from);
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; pthread_sigmask(3) is one, the set was
        // made before, and the conversion of its error neither allocates nor locks.
        unsafe { command.pre_exec(in_child) };
    }
}

/// The signals that are held back, as long as it lives.
#[derive(Debug)]
pub struct Held {
    noticed: SignalFd,
    before: SigSet,
}

impl Held {
    /// Holds them back.
    pub fn hold() -> io::Result<Held> {
        let ignored = ignored()?;
        let mut set = SigSet::empty();
        for signal in ENDING {
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

/// To wait for a signal beside something else: there is something to read when one came.
impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.noticed.as_fd()
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

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a child that says what it holds back")]
    fn a_child_holds_nothing_back() {
        let blocked = |release: bool| {
            let mut command = Command::new("grep");
            command.args(["SigBlk", "/proc/self/status"]);
            if release {
                release_in_child(&mut command);
            }
            String::from_utf8(command.output().expect("started").stdout).expect("text")
        };
        let held = Held::hold().expect("held");
        assert!(!blocked(false).ends_with("0000\n"), "it would inherit that");
        assert!(blocked(true).ends_with("0000\n"), "{}", blocked(true));
        drop(held);
    }
}
