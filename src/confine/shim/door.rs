//! The door by which a successor finds a shim whose supervisor died: a socket of its own, known by the attempt's mark.
//!
//! Whoever comes says which supervisor of the run it is, counted, or asks how the child is: that one is answered, supervises
//! nothing and is waited for by nobody. Who speaks differently, or for another user, is not let in. Decides nothing about the
//! child.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;

use super::wire::{FirstWord, Report, receive_frame, write_frame};
use crate::model::health::Health;
use crate::sys::fs;
use crate::sys::socket::Address;

/// How long one who comes may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the door rests when nobody can be let in: out of descriptors, for the most part.
const REST: Duration = Duration::from_millis(200);

/// Most bytes of what one who comes says first.
const FIRST_WORD_MAX: u32 = 4096;

/// Who stands at the door.
#[derive(Debug)]
pub enum Visitor {
    /// A supervisor that takes the child over.
    Successor(Caller),
    /// One who wants to know how the child is.
    Onlooker(UnixStream),
}

/// A supervisor that stands at the door.
#[derive(Debug)]
pub struct Caller {
    /// The line to it.
    pub stream: UnixStream,
    /// Its number: a later supervisor of the run has a higher one.
    pub epoch: u64,
}

/// Opens a socket at a path; what an earlier shim of this attempt left there is replaced.
pub fn open(path: &Path) -> io::Result<UnixListener> {
    fs::remove_file(path).map_err(|error| error.source)?;
    UnixListener::bind(Address::of(path)?.path())
}

/// Lets in whoever comes to a socket.
pub async fn let_in(listener: UnixListener, heard: impl Fn(UnixStream)) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => heard(stream),
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

/// Hands in whoever comes, for as long as somebody takes them.
pub async fn attend(listener: UnixListener, visitors: UnboundedSender<Visitor>) -> io::Result<()> {
    let heard = |stream| {
        let visitors = visitors.clone();
        tokio::spawn(async move {
            if let Ok(Some(visitor)) = tokio::time::timeout(PATIENCE, greet(stream)).await {
                // Nobody takes visitors any more: the child has ended, and the record says how.
                let _taken = visitors.send(visitor);
            }
        });
    };
    let_in(listener, heard).await
}

/// Tells one who asked how the child is. Who asked and does not read is not waited for.
pub fn answer(mut stream: UnixStream, health: Option<Health>) {
    let mut frame = Vec::new();
    if health.is_some_and(|health| write_frame(&mut frame, &Report::Health(health)).is_ok()) {
        tokio::spawn(async move { tokio::time::timeout(PATIENCE, stream.write_all(&frame)).await });
    }
}

async fn greet(mut stream: UnixStream) -> Option<Visitor> {
    let peer = stream.peer_cred().ok()?.uid();
    if peer != rustix::process::geteuid().as_raw() && peer != 0 {
        return None;
    }
    match receive_frame(&mut stream, FIRST_WORD_MAX).await? {
        FirstWord::Greeting(greeting) if greeting.is_known() => {
            Some(Visitor::Successor(Caller { stream, epoch: greeting.epoch }))
        }
        FirstWord::Question(question) if question.is_known() => Some(Visitor::Onlooker(stream)),
        FirstWord::Greeting(_) | FirstWord::Question(_) => None,
    }
}
