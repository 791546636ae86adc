//! Starting a sandbox: one `clone` into new namespaces, from a process without threads.
//! The new process is pid 1 of the sandbox; the caller keeps a handle to it and the line to it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::Pid;

use super::channel;
use super::init::{self, Start};
use super::raw::{self, Split};
use crate::confine::policy::Policy;
use crate::model::Network;

/// A sandbox that was started.
#[derive(Debug)]
pub struct Sandbox {
    /// Its pid 1, as it is called outside.
    pub pid: Pid,
    /// A handle to it: readable when it has ended.
    pub handle: OwnedFd,
    /// The line to it.
    pub channel: OwnedFd,
}

/// Starts a sandbox; what becomes of it is said on the line. Must be called before any thread is made.
pub fn spawn(policy: &Policy, streams: Option<[OwnedFd; 3]>, ports: &[u16]) -> io::Result<Sandbox> {
    let owner = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (ours, theirs) = channel::pair()?;
    let mut namespaces =
        libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if policy.network != Network::Full {
        namespaces |= libc::CLONE_NEWNET;
    }
    let split = match &policy.leaf {
        // Its root of the cgroups would be where we are: pid 1 makes it, see there.
        Some(leaf) => raw::clone_into_cgroup(namespaces, &leaf.open()?)?,
        None => raw::clone_into(namespaces | libc::CLONE_NEWCGROUP)?,
    };
    match split {
        Split::Parent(pid, handle) => Ok(Sandbox { pid, handle, channel: ours }),
        Split::Child => {
            drop(ours);
            init::live(Start { policy, channel: theirs, streams, ports, owner })
        }
    }
}
