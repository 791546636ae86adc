//! Descriptors and signals that pass from treehand to a shim: given under a number, taken under it.
//! Only `launch` gives and only the shim takes; nothing else of treehand is open in a shim.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::fs::{MemfdFlags, SealFlags};

/// A file in memory that nobody can change any more, for what must be seen neither in arguments nor on a disk.
pub fn sealed(content: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("treehand-policy", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    io::Write::write_all(&mut file, content)?;
    io::Seek::rewind(&mut file)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file.into())
}

/// Leaves a descriptor open when a program is executed. To be called between fork and exec.
pub fn leave_open(fd: &OwnedFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?)
}

/// The same for a number: a canary of the self-test.
#[expect(unsafe_code, reason = "a number is not a descriptor that we own")]
pub fn leave_number_open(number: RawFd) -> io::Result<()> {
    // SAFETY: only changes a flag of whatever has this number, or fails.
    if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The number of a descriptor, as it is said to who takes it.
pub fn number(fd: &impl AsRawFd) -> String {
    fd.as_raw_fd().to_string()
}

/// Takes a descriptor that the parent left open under a number.
#[expect(unsafe_code, reason = "a number becomes a descriptor that we own")]
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only asks whether the number is an open descriptor.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the one who started this process left it for exactly this purpose.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Ignores what a terminal sends to everybody in front of it: it is for the child, not for who holds it.
#[expect(unsafe_code, reason = "nix marks every change of a signal's action so")]
pub fn ignore_terminal() -> io::Result<()> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: ignoring installs no code that could run.
        unsafe { sigaction(signal, &ignore) }?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_is_read_and_never_written() {
        let fd = sealed(b"policy").expect("sealed");
        let mut file = std::fs::File::from(fd);
        assert!(io::Write::write_all(&mut file, b"x").is_err());
        assert!(file.set_len(0).is_err());
        let mut text = String::new();
        io::Read::read_to_string(&mut file, &mut text).expect("read");
        assert_eq!(text, "policy");
    }

    #[test]
    fn numbers_of_no_descriptor_are_refused() {
        assert!(adopt(-1).is_err());
        assert!(adopt(1).is_err());
        assert!(adopt(100_000).is_err());
    }
}
