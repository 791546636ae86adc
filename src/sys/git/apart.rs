//! git elsewhere: commands go over a line to a process that starts git where we would not, because of what lies there.
//!
//! Both ends are this file: [`Line`] is ours, [`serve`] runs in the other place (a sandbox). What comes back is data of
//! whoever could write there: sizes are bounded, nothing in it is believed beyond being git's answer.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::command::{GitCommand, GitOutput};

/// Most bytes of a header, and of what git prints.
const HEADER_MAX: u32 = 64 << 20;
const OUTPUT_MAX: u64 = 2 << 30;

/// A line to a process that starts git elsewhere.
#[derive(Clone, Debug)]
pub struct Line(Arc<Mutex<UnixStream>>);

#[derive(Serialize, Deserialize)]
struct Request {
    args: Vec<Vec<u8>>,
    env: Vec<(Vec<u8>, Vec<u8>)>,
    directory: Option<Vec<u8>>,
    stdin: Option<u64>,
    output: Option<Vec<u8>>,
    deadline_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Response {
    status: Option<i32>,
    stdout: u64,
    stderr: u64,
}

impl Line {
    /// A line over a connected socket.
    pub fn new(socket: UnixStream) -> Line {
        Line(Arc::new(Mutex::new(socket)))
    }

    /// Runs a command at the other end. With `output` its standard output goes to a file there.
    pub(super) fn run(&self, parts: Parts<'_>) -> io::Result<GitOutput> {
        let bytes = |text: &OsString| text.as_bytes().to_vec();
        let request = Request {
            args: parts.args.iter().map(bytes).collect(),
            env: parts.env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            directory: parts.directory.map(|path| path.as_os_str().as_bytes().to_vec()),
            stdin: parts.stdin.map(|stdin| stdin.len() as u64),
            output: parts.output.map(|path| path.as_os_str().as_bytes().to_vec()),
            deadline_ms: parts.deadline.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        };
        // A panic between two commands cannot leave half a request behind: each is written at once.
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        send(&mut *socket, &request)?;
        socket.write_all(parts.stdin.unwrap_or_default())?;
        let response: Response = receive(&mut *socket)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let stdout = exactly(&mut *socket, response.stdout)?;
        let stderr = exactly(&mut *socket, response.stderr)?;
        let status = response.status.ok_or_else(|| io::Error::other(String::from_utf8_lossy(&stderr).into_owned()))?;
        Ok(GitOutput { status: ExitStatus::from_raw(status), stdout, stderr })
    }
}

/// What a command consists of.
pub(super) struct Parts<'a> {
    pub args: &'a [OsString],
    pub env: &'a [(OsString, OsString)],
    pub directory: Option<&'a Path>,
    pub stdin: Option<&'a [u8]>,
    pub output: Option<&'a Path>,
    pub deadline: Option<Duration>,
}

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

fn send(mut to: impl Write, header: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(header)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), &text[..]].concat())
}

fn receive<H: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<H>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_be_bytes(length);
    if length > HEADER_MAX {
        return Err(io::Error::other("a header that is too long"));
    }
    let text = exactly(from, u64::from(length))?;
    Ok(Some(serde_json::from_slice(&text)?))
}

fn exactly(from: impl Read, length: u64) -> io::Result<Vec<u8>> {
    if length > OUTPUT_MAX {
        return Err(io::Error::other("an answer that is too long"));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::git::Git;

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
