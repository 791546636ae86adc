//! A child that somebody waits for and listens to: what it says is told as it comes, and a signal ends it.
//!
//! It has streams of its own, so that the terminal stays ours; what it says is read from its log, from which secrets have been
//! kept out. Asked once, it gets a grace to end in; asked again, none.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::error::{Result, WorktreeError};
use crate::confine::LaunchError;
use crate::confine::launch::Shim;
use crate::confine::shim::{ExitRecord, Order, Report};
use crate::sys::fs;
use crate::sys::interrupt::Held;

/// How long a child may take to end after a signal came.
const GRACE: Duration = Duration::from_secs(5);

/// A log that is told while it grows.
pub struct Growing {
    file: File,
    /// Readable when it grows. Without one it is told at the end.
    notices: Option<OwnedFd>,
}

impl Growing {
    /// A log that is not there yet; the child goes on with it.
    pub fn begin(log: &Path) -> Result<Growing> {
        drop(fs::open_log(log)?);
        let file = File::open(log).map_err(fs::at("read", log))?;
        let watched = || -> io::Result<OwnedFd> {
            let notices = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&notices, log, inotify::WatchFlags::MODIFY)?;
            Ok(notices)
        };
        // There are few for each user, and an editor may have them all.
        let unwatched = |error| tracing::info!(%error, "what it says is told when it has ended");
        Ok(Growing { file, notices: watched().map_err(unwatched).ok() })
    }

    /// Tells what is new in it.
    fn tell(&mut self, said: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                read => said(&buffer[..read]),
            }
        }
    }

    /// Takes the notices away; what they are about is looked at anyway.
    fn drain(&self) -> io::Result<()> {
        let Some(notices) = &self.notices else { return Ok(()) };
        let mut buffer = [0; 4096];
        loop {
            match rustix::io::read(notices, &mut buffer) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// How a child ended, and the signal that was obeyed, if one came.
pub struct Heard {
    /// Its end.
    pub ended: ExitRecord,
    /// The signal's number.
    pub signal: Option<u32>,
}

/// Waits for the end of a child and of its shim.
pub fn listen(mut shim: Shim, log: &mut Growing, held: &Held, said: &mut dyn FnMut(&[u8])) -> Result<Heard> {
    let broken = |error: io::Error| WorktreeError::from(LaunchError::Shim(error));
    let mut signal = None;
    let ended = loop {
        let [reported, noticed, grown] = wait(&shim, held, log).map_err(broken)?;
        if grown {
            log.drain().and_then(|()| log.tell(said)).map_err(broken)?;
        }
        if noticed && let Some(number) = held.noticed().map_err(WorktreeError::Signals)? {
            let grace_ms = u64::try_from(GRACE.as_millis()).unwrap_or(u64::MAX);
            let order = if signal.is_none() { Order::Stop { grace_ms } } else { Order::Kill };
            shim.order(order).map_err(broken)?;
            signal = signal.or(Some(number));
        }
        if reported {
            match shim.listen().map_err(broken)? {
                Some(Report::Started { .. } | Report::Health(_) | Report::Agent(_) | Report::Asks(_)) => {}
                Some(Report::Refused(refusal)) => break Err(LaunchError::from(refusal).into()),
                Some(Report::Ended(record)) => break Ok(record),
                None => break Err(broken(io::Error::other("the shim is gone"))),
            }
        }
    };
    shim.process.wait().map_err(broken)?;
    log.tell(said).map_err(broken)?;
    match (ended, signal) {
        (Ok(ended), signal) => Ok(Heard { ended, signal }),
        // It came before the shim could be asked, and took that along.
        (Err(_), Some(_)) => Ok(Heard { ended: ExitRecord::default(), signal }),
        (Err(error), None) => Err(error),
    }
}

/// Waits until there is something to hear: from the shim, a signal, in the log.
fn wait(shim: &Shim, held: &Held, log: &Growing) -> io::Result<[bool; 3]> {
    let fds = [shim.control.as_fd(), held.as_fd()].into_iter().chain(log.notices.as_ref().map(AsFd::as_fd));
    let mut polled: Vec<PollFd<'_>> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    loop {
        match poll(&mut polled, None) {
            Ok(_) => return Ok([0, 1, 2].map(|n| polled.get(n).is_some_and(|fd| !fd.revents().is_empty()))),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
