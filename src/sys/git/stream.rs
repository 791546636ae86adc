//! A git that stays: what it is asked goes in piece by piece, what it answers comes back piece by piece.
//!
//! For the few commands of git that answer each line of their input before they read the next. Neither side can hold up the
//! other: while an answer is waited for, what is still to be asked goes in. Who waits longer than the deadline for any sign of
//! life gets an error. Dropping it kills git with everything that it started, and reaps it.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::command::{Ended, GitCommand, GitError, GitOutput, Until, kill_group};
use crate::sys::aside::{ReadAside, joined_soon, read_aside};

/// A running git that is asked one thing after the other.
pub struct GitStream {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: Option<ReadAside>,
    name: String,
    deadline: Option<Duration>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// How much of what came in has been given out.
    given: usize,
}

impl GitStream {
    /// Starts it. The deadline of the command is how long it may be silent while it is waited for.
    pub fn open(command: GitCommand) -> Result<GitStream, GitError> {
        let name = command.name();
        let fail = |source: io::Error| GitError::Io { command: name.clone(), source };
        if command.is_apart() {
            return Err(fail(io::Error::new(io::ErrorKind::Unsupported, "no pipe leads to where it would run")));
        }
        let deadline = command.limit();
        let mut child = command.start_with(Stdio::piped()).map_err(GitError::Start)?;
        let stderr = Some(read_aside(child.stderr.take()));
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => {
                let (outgoing, incoming, given) = (Vec::new(), Vec::new(), 0);
                let stream = GitStream { child, stdin, stdout, stderr, name, deadline, outgoing, incoming, given };
                stream.unblock().map_err(|errno| stream.fail(errno.into()))?;
                Ok(stream)
            }
            _ => {
                kill_group(&mut child).and_then(|()| child.wait()).map_err(&fail)?;
                Err(fail(io::Error::other("it has no pipes")))
            }
        }
    }

    /// Neither pipe makes us wait; each end of a pipe has its own such mark, so git knows nothing of it.
    fn unblock(&self) -> Result<(), Errno> {
        rustix::io::ioctl_fionbio(&self.stdin, true)?;
        rustix::io::ioctl_fionbio(&self.stdout, true)
    }

    fn fail(&self, source: io::Error) -> GitError {
        GitError::Io { command: self.name.clone(), source }
    }

    /// What git is to read next. It goes in while an answer is waited for.
    pub fn ask(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// What comes next of its answers, up to this byte, which is taken and not given.
    pub fn next_until(&mut self, end: u8) -> Result<Vec<u8>, GitError> {
        let mut searched = self.given;
        loop {
            let fresh = self.incoming.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == end) {
                let piece = self.incoming.get(self.given..searched + at).unwrap_or_default().to_vec();
                self.given = searched + at + 1;
                return Ok(piece);
            }
            self.incoming.drain(..self.given);
            (self.given, searched) = (0, self.incoming.len());
            self.exchange()?;
        }
    }

    /// So many bytes of its answers.
    pub fn next_exactly(&mut self, count: usize) -> Result<Vec<u8>, GitError> {
        while self.incoming.len() - self.given < count {
            self.incoming.drain(..self.given);
            self.given = 0;
            self.exchange()?;
        }
        let piece = self.incoming.get(self.given..self.given + count).unwrap_or_default().to_vec();
        self.given += count;
        Ok(piece)
    }

    /// Writes and reads what goes without waiting; waits where nothing does.
    fn exchange(&mut self) -> Result<(), GitError> {
        let (readable, writable) = self.wait().map_err(|errno| self.fail(errno.into()))?;
        if !readable && !writable {
            let limit = self.deadline.unwrap_or_default();
            return Err(GitError::Deadline { command: self.name.clone(), limit });
        }
        if writable {
            match self.stdin.write(&self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                // It has ended: what it said before comes first.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.outgoing.clear(),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(self.fail(error)),
            }
        }
        if readable {
            let mut chunk = [0; 64 << 10];
            match self.stdout.read(&mut chunk) {
                Ok(0) => return Err(self.ended()),
                Ok(count) => self.incoming.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(())
    }

    /// Whether there is something to read, and room for what is to be written; neither when the time is over.
    fn wait(&self) -> Result<(bool, bool), Errno> {
        let limit = self.deadline.and_then(|limit| rustix::time::Timespec::try_from(limit).ok());
        loop {
            let mut polled = vec![PollFd::new(&self.stdout, PollFlags::IN)];
            if !self.outgoing.is_empty() {
                polled.push(PollFd::new(&self.stdin, PollFlags::OUT));
            }
            match poll(&mut polled, limit.as_ref()) {
                Ok(_) => {
                    let has_come = |at: usize| polled.get(at).is_some_and(|fd| !fd.revents().is_empty());
                    return Ok((has_come(0), has_come(1)));
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// What is to be said of a git that has closed its output.
    fn ended(&mut self) -> GitError {
        match self.reap() {
            Ok((status, stderr)) => GitOutput { status, stdout: Vec::new(), stderr }.into_error(self.name.clone()),
            Err(error) => self.fail(error),
        }
    }

    fn reap(&mut self) -> io::Result<(ExitStatus, Vec<u8>)> {
        // Asked first: one that was reaped has a number that may be another's by now.
        let status = match self.child.try_wait()? {
            Some(status) => status,
            None => {
                let until = Until { deadline: self.deadline, called_off: None };
                if until.wait(&self.child)? != Ended::ByItself {
                    kill_group(&mut self.child)?;
                }
                self.child.wait()?
            }
        };
        let stderr = self.stderr.take().map(joined_soon).transpose()?;
        Ok((status, stderr.unwrap_or_default()))
    }

    fn kill(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_none() {
            kill_group(&mut self.child)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Drop for GitStream {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            tracing::warn!(command = self.name, %error, "a git stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;
    use crate::sys::git::Git;
    use crate::sys::proc;

    fn alias(script: &str) -> GitCommand {
        let git = Git::open().expect("git is there");
        git.command(["-c", &format!("alias.talk=!{script}"), "talk"]).deadline(Duration::from_secs(30))
    }

    #[test]
    fn one_question_after_the_other_is_answered() {
        let git = Git::open().expect("git is there");
        let mut stream = GitStream::open(git.command(["check-ref-format", "--branch", "x"])).expect("started");
        assert_eq!(stream.next_until(b'\n').expect("an answer"), b"x");
        let mut stream = GitStream::open(alias("cat")).expect("started");
        for word in ["one", "", "two"] {
            stream.ask(format!("{word}\0").as_bytes());
            assert_eq!(stream.next_until(0).expect("an answer"), word.as_bytes());
        }
    }

    #[test]
    fn more_than_a_pipe_holds_goes_in_and_out_at_once() {
        let mut stream = GitStream::open(alias("cat")).expect("started");
        let piece = [b'x'; 1023];
        for _ in 0..4096 {
            stream.ask(&piece);
            stream.ask(b"\n");
        }
        for _ in 0..4096 {
            assert_eq!(stream.next_until(b'\n').expect("an answer"), piece);
        }
        stream.ask(&piece);
        assert_eq!(stream.next_exactly(piece.len()).expect("an answer"), piece);
    }

    #[test]
    fn one_that_ends_is_an_error_with_what_it_said_and_stays_one() {
        let mut stream = GitStream::open(alias("printf 'last\\n'; echo no more >&2; exit 3 #")).expect("started");
        stream.ask(&[b'x'; 1 << 20]);
        assert_eq!(stream.next_until(b'\n').expect("said before it ended"), b"last");
        let error = stream.next_until(b'\n').expect_err("it has ended").to_string();
        assert!(error.contains("no more") && error.contains("status: 3"), "{error}");
        assert!(matches!(stream.next_until(b'\n'), Err(GitError::Failed { .. })));
    }

    #[test]
    fn one_that_is_silent_for_too_long_is_an_error_and_is_killed_with_its_helpers() {
        let command = alias("sleep 60 & echo $!; wait #").deadline(Duration::from_secs(2));
        let mut stream = GitStream::open(command).expect("started");
        let helper = stream.next_until(b'\n').expect("an answer");
        let helper = std::str::from_utf8(&helper).ok().and_then(|text| Pid::from_raw(text.parse().ok()?));
        let helper = pidfd_open(helper.expect("a number"), PidfdFlags::empty()).expect("it lives");
        assert!(matches!(stream.next_until(b'\n'), Err(GitError::Deadline { .. })));
        drop(stream);
        let gone = proc::first_readable(&[helper.as_fd()], Some(Duration::from_secs(30))).expect("waited");
        assert_eq!(gone, Some(0), "its helper lives");
    }
}
