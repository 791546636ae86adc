//! The other end of a line: starts git where it runs, for whoever holds our end.
//! Runs inside a sandbox; ends when the line does.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use super::command::GitCommand;
use super::line::{Request, Response, exactly, receive, send};

/// Serves a line to its end: starts git for each request, one after the other.
pub fn serve(mut input: impl Read, mut output: impl Write) -> io::Result<()> {
    while let Some(request) = receive::<Request>(&mut input)? {
        let stdin = request.stdin.map(|length| exactly(&mut input, length)).transpose()?;
        let answer = command(request, stdin).output();
        let answer = answer.map_err(|error| io::Error::other(crate::model::cause::chain(&error)));
        let (status, stdout, stderr) = match answer {
            Ok(answer) => (Some(answer.status.into_raw()), answer.stdout, answer.stderr),
            Err(error) => (None, Vec::new(), error.to_string().into_bytes()),
        };
        send(&mut output, &Response { status, stdout: stdout.len() as u64, stderr: stderr.len() as u64 })?;
        output.write_all(&stdout)?;
        output.write_all(&stderr)?;
        output.flush()?;
    }
    Ok(())
}

fn command(request: Request, stdin: Option<Vec<u8>>) -> GitCommand {
    let mut command = GitCommand::new(None).args(request.args.into_iter().map(OsString::from_vec));
    for (name, value) in request.env {
        command = command.env(OsStr::from_bytes(&name), OsStr::from_bytes(&value));
    }
    if let Some(directory) = request.directory {
        command = command.directory(&path(directory));
    }
    if let Some(file) = request.output {
        command = command.into_file(&path(file));
    }
    if let Some(stdin) = stdin {
        command = command.stdin(stdin);
    }
    match request.deadline_ms {
        Some(limit) => command.deadline(Duration::from_millis(limit)),
        None => command,
    }
}

fn path(bytes: Vec<u8>) -> PathBuf {
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::git::{Git, Line};
    use std::os::unix::net::UnixStream;

    fn with_server<T>(work: impl FnOnce(&Git) -> T) -> T {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let server = std::thread::spawn(move || serve(&theirs, &theirs));
        let done = {
            let git = Git::open().expect("git is there").through(Line::new(ours));
            work(&git)
        };
        server.join().expect("no panic").expect("served to the end");
        done
    }

    #[test]
    fn a_command_over_the_line_answers_as_one_here() {
        with_server(|git| {
            let answer = git.command(["hash-object", "--stdin"]).stdin("x\n").text().expect("an id");
            assert_eq!(answer, "587be6b4c3f93f93c489c0111bba5596147a26cb");
            let failed = git.command(["no-such-command"]).output().expect("an answer");
            assert_eq!(failed.code(), 1);
            assert!(!failed.stderr.is_empty());
        });
    }

    #[test]
    fn what_a_command_prints_can_go_to_a_file_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("out");
        with_server(|git| {
            let answer = git.command(["version"]).into_file(&file).run().expect("run");
            assert!(answer.stdout.is_empty());
        });
        assert!(std::fs::read_to_string(file).expect("written").starts_with("git version"));
    }
}
