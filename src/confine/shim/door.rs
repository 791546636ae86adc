//! The door by which a successor finds a shim whose supervisor died: a socket of its own, known by the attempt's mark.
//!
//! Whoever comes says which supervisor of the run it is, counted; who speaks differently, or for another user, is not let
//! in. Decides nothing about the child.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;

use super::wire::{Greeting, read_frame};
use crate::sys::fs;
use crate::sys::socket::Address;

/// How long one who comes may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the door rests when nobody can be let in: out of descriptors, for the most part.
const REST: Duration = Duration::from_millis(200);

/// Most bytes of a greeting.
const GREETING_MAX: u32 = 4096;

/// A supervisor that stands at the door.
#[derive(Debug)]
pub struct Caller {
    /// The line to it.
    pub stream: UnixStream,
    /// Its number: a later supervisor of the run has a higher one.
    pub epoch: u64,
}

/// Opens the door at a path; what an earlier shim of this attempt left there is replaced.
pub fn open(path: &Path) -> io::Result<UnixListener> {
    fs::remove_file(path).map_err(|error| error.source)?;
    UnixListener::bind(Address::of(path)?.path())
}

/// Hands in whoever comes, for as long as somebody takes them.
pub async fn attend(listener: UnixListener, callers: UnboundedSender<Caller>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let callers = callers.clone();
                tokio::spawn(async move {
                    if let Ok(Some(caller)) = tokio::time::timeout(PATIENCE, greet(stream)).await {
                        // Nobody takes callers any more: the child has ended, and the record says how.
                        let _taken = callers.send(caller);
                    }
                });
            }
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

async fn greet(mut stream: UnixStream) -> Option<Caller> {
    let peer = stream.peer_cred().ok()?.uid();
    if peer != rustix::process::geteuid().as_raw() && peer != 0 {
        return None;
    }
    let length = stream.read_u32().await.ok().filter(|length| *length <= GREETING_MAX)?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + length as usize, 0);
    stream.read_exact(&mut frame[4..]).await.ok()?;
    let greeting: Greeting = read_frame(&frame[..]).ok().flatten()?;
    greeting.is_known().then_some(Caller { stream, epoch: greeting.epoch })
}
