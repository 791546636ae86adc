//! git elsewhere: commands go over a line to a process that starts git where we would not, because of what lies there.
//!
//! This is our end, and what both ends say to each other; `serve` is the other. What comes back is data of whoever could
//! write there: sizes are bounded, nothing in it is believed beyond being git's answer.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Most bytes of a header, and of what git prints.
const HEADER_MAX: u32 = 64 << 20;
const OUTPUT_MAX: u64 = 2 << 30;

/// A line to a process that starts git elsewhere.
#[derive(Clone, Debug)]
pub struct Line(Arc<Mutex<UnixStream>>);

/// What goes over the line; what git reads follows it.
#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) args: Vec<Vec<u8>>,
    pub(super) env: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) directory: Option<Vec<u8>>,
    pub(super) stdin: Option<u64>,
    pub(super) output: Option<Vec<u8>>,
    pub(super) deadline_ms: Option<u64>,
}

/// What comes back; what git printed follows it.
#[derive(Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) status: Option<i32>,
    pub(super) stdout: u64,
    pub(super) stderr: u64,
}

impl Line {
    /// A line over a connected socket.
    pub fn new(socket: UnixStream) -> Line {
        Line(Arc::new(Mutex::new(socket)))
    }

    /// Runs a command at the other end. With `output` its standard output goes to a file there.
    pub(super) fn run(&self, parts: Parts<'_>) -> io::Result<Answer> {
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
        Ok(Answer { status, stdout, stderr })
    }
}

/// How a command ended there: the status as the kernel gives it, and what git printed.
pub(super) struct Answer {
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
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

pub(super) fn send(mut to: impl Write, header: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(header)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_be_bytes(), &text[..]].concat())
}

pub(super) fn receive<H: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<H>> {
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

pub(super) fn exactly(from: impl Read, length: u64) -> io::Result<Vec<u8>> {
    if length > OUTPUT_MAX {
        return Err(io::Error::other("an answer that is too long"));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
