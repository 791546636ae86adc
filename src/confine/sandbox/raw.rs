//! The system calls that no library offers safely, each wrapped once.
//! Callers are the single-threaded shim and the processes it makes: nothing here is for a process with threads.

#![expect(unsafe_code, reason = "system calls that neither rustix nor nix offers as safe functions")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use rustix::process::Pid;

/// What a process that just split in two is.
pub enum Split {
    /// The old process, with the new one's id and a handle to it.
    Parent(Pid, OwnedFd),
    /// The new process.
    Child,
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn pid(raw: libc::c_long) -> io::Result<Pid> {
    let raw = i32::try_from(raw).ok().and_then(Pid::from_raw);
    raw.ok_or_else(|| io::Error::other("the kernel gave an impossible process id"))
}

/// `fork` into new namespaces (`CLONE_NEW…`), with a handle to the child. Memory is copied, nothing is shared.
pub fn clone_into(namespaces: libc::c_int) -> io::Result<Split> {
    let flags = libc::c_long::from(namespaces | libc::CLONE_PIDFD | libc::SIGCHLD);
    let mut handle: RawFd = -1;
    // SAFETY: without CLONE_VM and with a null stack this is fork: the child goes on with a copy of everything. The
    // process has one thread, so no lock can be held by another; `handle` outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, 0, &raw mut handle, 0, 0) };
    match checked(result)? {
        0 => Ok(Split::Child),
        // SAFETY: the kernel has just made this descriptor for us alone.
        child => Ok(Split::Parent(pid(child)?, unsafe { OwnedFd::from_raw_fd(handle) })),
    }
}

/// The same, with the child in this cgroup from its first instruction on.
pub fn clone_into_cgroup(namespaces: libc::c_int, cgroup: &OwnedFd) -> io::Result<Split> {
    const INTO_CGROUP: u64 = 0x2_0000_0000;
    let number = |value: libc::c_int| u64::try_from(value).map_err(io::Error::other);
    let mut handle: RawFd = -1;
    // SAFETY: `clone_args` is plain data for which all zeroes is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = number(namespaces | libc::CLONE_PIDFD)? | INTO_CGROUP;
    arguments.exit_signal = number(libc::SIGCHLD)?;
    arguments.pidfd = (&raw mut handle).expose_provenance() as u64;
    arguments.cgroup = number(cgroup.as_raw_fd())?;
    // SAFETY: as in `clone_into`: no memory is shared, no stack is given; the structure, whose size is its own, and `handle`
    // outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match checked(result)? {
        0 => Ok(Split::Child),
        // SAFETY: the kernel has just made this descriptor for us alone.
        child => Ok(Split::Parent(pid(child)?, unsafe { OwnedFd::from_raw_fd(handle) })),
    }
}

/// Makes what this process is in the root of the cgroups that it sees.
pub fn hide_cgroups() -> io::Result<()> {
    // SAFETY: takes flags alone; a cgroup namespace shares nothing in memory.
    checked(libc::c_long::from(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })).map(drop)
}

/// `fork`; `None` in the child.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread (see the module), so its child may go on as it is.
    match checked(libc::c_long::from(unsafe { libc::fork() }))? {
        0 => Ok(None),
        child => pid(child).map(Some),
    }
}

/// Ends the process at once, without running what a copy of another process must not run.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any value and does not return.
    unsafe { libc::_exit(code) }
}

/// Sets attributes of a mount (and, if asked, of all below it).
pub fn mount_setattr(mount: impl AsFd, recursive: bool, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a valid empty C string, the structure outlives the call and its size is its own.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(drop)
}

/// Every descriptor from `first` on closes when a program is executed.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: takes integers alone; it only sets a flag on descriptors of this process.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    checked(result).map(drop)
}

/// The version of Landlock that the kernel offers; the error says why there is none.
pub fn landlock_version() -> io::Result<i32> {
    const VERSION: libc::c_int = 1;
    // SAFETY: with this flag the kernel takes no structure (null, size 0) and only answers with a number.
    let result = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, VERSION) };
    checked(result).and_then(|version| i32::try_from(version).map_err(io::Error::other))
}

/// Brings the loopback interface of this network namespace up.
pub fn loopback_up(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: `ifreq` is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    checked(libc::c_long::from(result)).map(drop)
}

/// Puts every signal back to its default and blocks none, as a program expects to start.
pub fn default_signals() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator().filter(|signal| !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: no handler of ours is installed by this, only the default.
        unsafe { sigaction(signal, &default) }?;
    }
    unblock_signals()
}

/// Blocks no signal.
pub fn unblock_signals() -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}
