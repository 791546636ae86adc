//! The scope that a run has to itself, divided: a leaf for the supervisor and a leaf for each child, with its limits.
//!
//! Promises: only a scope that was made for us is touched; what is in a leaf is ended whole, whatever it did to hide, and a
//! leaf is gone when its child is. Decides nothing: `leaf_plan` does.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::leaf_plan::{self, Controllers, PROCESSES, SUPERVISOR};
use super::limits::Limits;
use crate::model::Token;
use crate::sys::marks::LEAF;

/// Where the kernel shows cgroups.
const ROOT: &str = "/sys/fs/cgroup";

/// How long the kernel may take to end what is in a leaf.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// The scope of a run, its supervisor in a leaf of it.
#[derive(Debug)]
pub struct Scope {
    directory: PathBuf,
    has: Controllers,
}

/// Why a scope cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScopeError {
    /// This process is somewhere else.
    #[error("this process is not in the scope {0}, which was to be its own")]
    Elsewhere(String),
    /// A file of it.
    #[error("cannot {step}: {source}")]
    Io {
        /// What was tried.
        step: String,
        /// The cause.
        source: io::Error,
    },
}

fn step<T>(step: &str, result: io::Result<T>) -> Result<T, ScopeError> {
    result.map_err(|source| ScopeError::Io { step: step.to_owned(), source })
}

impl Scope {
    /// Takes the scope of this name as ours, where this process is in it, and goes into a leaf, so that it can be divided.
    pub fn enter(unit: &str) -> Result<Scope, ScopeError> {
        let own = step("ask for our own cgroup", fs::read_to_string("/proc/self/cgroup"))?;
        let path = leaf_plan::scope_in(&own, unit).ok_or_else(|| ScopeError::Elsewhere(unit.to_owned()))?;
        let directory = Path::new(ROOT).join(path);
        let offered = step("read what a scope offers", fs::read_to_string(directory.join("cgroup.controllers")))?;
        let (has, own) = (Controllers::offered(&offered), directory.join(SUPERVISOR));
        let made = match fs::create_dir(&own) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        step("make a leaf of the scope", made)?;
        step("look for a way to kill a cgroup (Linux 5.14)", fs::metadata(own.join("cgroup.kill")))?;
        step("go into a leaf of the scope", fs::write(own.join(PROCESSES), "0"))?;
        for word in has.enable() {
            step("divide the scope", fs::write(directory.join("cgroup.subtree_control"), word))?;
        }
        Ok(Scope { directory, has })
    }

    /// What of the limits of its leaves the kernel keeps.
    pub fn keeps(&self) -> Controllers {
        self.has
    }

    /// Makes the leaf of a child.
    pub fn leaf(&self, token: &Token, limits: &Limits) -> io::Result<Leaf> {
        let directory = self.directory.join(format!("{LEAF}{}", token.as_str()));
        fs::create_dir(&directory)?;
        let memory = self.has.memory && limits.memory.is_some();
        let leaf = Leaf { directory, memory, processes: self.has.processes && limits.processes.is_some() };
        for setting in leaf_plan::settings(limits, self.has) {
            match fs::write(leaf.directory.join(setting.file), setting.value) {
                Err(error) if setting.optional && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    leaf.end()?;
                    return Err(error);
                }
                Ok(()) => {}
            }
        }
        Ok(leaf)
    }
}

/// The cgroup of one child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Where it is.
    pub directory: PathBuf,
    /// The kernel keeps the limit of memory for all processes in it together.
    pub memory: bool,
    /// The kernel keeps the limit of processes in it.
    pub processes: bool,
}

impl Leaf {
    /// The directory, to start a process in it.
    pub fn open(&self) -> io::Result<OwnedFd> {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(CWD, &self.directory, flags, Mode::empty())?)
    }

    /// Takes this process into it.
    pub fn take_us(&self) -> io::Result<()> {
        fs::write(self.directory.join(PROCESSES), "0")
    }

    /// Whether it was ended for going beyond its memory.
    pub fn went_beyond(&self) -> io::Result<bool> {
        if !self.memory {
            return Ok(false);
        }
        Ok(leaf_plan::went_beyond(&self.read("memory.events")?))
    }

    /// Kills everything in it at once and waits until it is empty; how many there were.
    pub fn kill(&self) -> io::Result<usize> {
        let count = self.read(PROCESSES)?.lines().count();
        match fs::write(self.directory.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            written => written?,
        }
        self.wait_empty()?;
        Ok(count)
    }

    /// A file of it; nothing when it is gone.
    fn read(&self, file: &str) -> io::Result<String> {
        match fs::read_to_string(self.directory.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            read => read,
        }
    }

    fn is_populated(&self, events: &fs::File) -> io::Result<bool> {
        let mut text = [0; 256];
        let read = rustix::io::pread(events, &mut text, 0)?;
        Ok(leaf_plan::is_populated(&String::from_utf8_lossy(&text[..read])))
    }

    /// The kernel tells when the last process has gone.
    fn wait_empty(&self) -> io::Result<()> {
        let events = fs::File::open(self.directory.join("cgroup.events"))?;
        let until = Instant::now() + LAST_MOMENTS;
        while self.is_populated(&events)? {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::other(format!("what is in {} does not die", self.directory.display())));
            }
            let mut watched = [PollFd::new(&events, PollFlags::PRI)];
            match poll(&mut watched, Timespec::try_from(left).ok().as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Kills what is still in it, and removes it; how many there were. One that is gone already is fine.
    pub fn end(&self) -> io::Result<usize> {
        // An empty one goes at once, whatever could be read of it.
        let killed = match fs::remove_dir(&self.directory) {
            Ok(()) => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(_) => self.kill()?,
        };
        self.remove()?;
        Ok(killed)
    }

    /// Without confinement a child may have divided its leaf as well: what is below goes first.
    fn remove(&self) -> io::Result<()> {
        remove_below(&self.directory, 0)
    }
}

/// How deep cgroups in a leaf are looked for.
const DEPTH_MAX: usize = 64;

fn remove_below(directory: &Path, depth: usize) -> io::Result<()> {
    if depth < DEPTH_MAX {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove_below(&entry.path(), depth + 1)?;
            }
        }
    }
    fs::remove_dir(directory)
}
