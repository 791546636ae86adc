//! Our own program, started to do something that nobody waits for, at the lowest priority.
//!
//! Promises: it holds none of our pipes and no terminal, obeys the signals that we hold back, and has none of the variables by which a
//! run knows its own. Whoever started it does not keep it as a dead child.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use super::interrupt::release_in_child;

/// Starts it.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to our own processes in the background")]
pub fn start(program: &Path, args: &[&OsStr]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(args).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env_remove(super::proc::SUPERVISES);
    release_in_child(&mut command);
    let mut child = command.spawn()?;
    // One that lives on has to know of its end; one that ends itself leaves it to the system.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Makes this process one in the background: out of its session, and behind everybody else.
pub fn become_one() -> io::Result<()> {
    super::proc::leave_session()?;
    rustix::process::nice(19)?;
    Ok(())
}
