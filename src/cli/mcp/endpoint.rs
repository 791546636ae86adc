//! The endpoint of an attempt: a socket of its shim, to which every call of a tool is handed.
//!
//! Promises: what was handed over is sent at least once while there is somebody to send it to, and sent again after the line broke until there is a
//! reply; nobody waits behind another. Nothing is connected before the first call.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::tool::Arguments;
use super::unsent::NotYet;
use super::wire::{self, Said, Waiting};
use crate::sys::socket::Address;

/// How long it is tried to have a line.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The rest between two tries to connect.
    pub between: Duration,
    /// Most tries in a row without a reply, where there was a line already.
    pub tries: u32,
    /// The same where there was none: there may be no endpoint at all.
    pub first_tries: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { between: Duration::from_secs(1), tries: 600, first_tries: 30 }
    }
}

/// The way to it.
pub struct Endpoint {
    calls: mpsc::UnboundedSender<Call>,
}

struct Call {
    tool: &'static str,
    arguments: Arguments,
    who: Who,
}

/// Who waits for a reply.
struct Who {
    reply: oneshot::Sender<Said>,
    not_yet: Option<NotYet>,
}

impl Endpoint {
    /// At this path. To be called where the runtime is.
    pub fn at(path: PathBuf, patience: Patience) -> Endpoint {
        let (calls, handed) = mpsc::unbounded_channel();
        tokio::spawn(attend(path, patience, handed));
        Endpoint { calls }
    }

    /// Hands a call over, and gives the reply to it. It is sent although the reply is not waited for; `not_yet` goes when it is.
    pub async fn ask(&self, tool: &'static str, arguments: Arguments, not_yet: Option<NotYet>) -> Said {
        if let Some(why) = wire::too_long(tool, &arguments) {
            return Err(why);
        }
        let (reply, said) = oneshot::channel();
        let lost = || "treehand's endpoint is no longer attended".to_owned();
        self.calls.send(Call { tool, arguments, who: Who { reply, not_yet } }).map_err(|_| lost())?;
        said.await.unwrap_or_else(|_| Err(lost()))
    }
}

/// Keeps the line while there are calls.
async fn attend(path: PathBuf, patience: Patience, mut calls: mpsc::UnboundedReceiver<Call>) {
    let mut waiting = Waiting::default();
    let (mut tries, mut most) = (0, patience.first_tries);
    while let Some(call) = calls.recv().await {
        take(&mut waiting, call);
        while !waiting.is_empty() {
            if tries > 0 {
                sleep(patience.between).await;
            }
            tries += 1;
            let why = match connected(&path).await {
                Err(error) => error.to_string(),
                Ok(stream) => {
                    most = patience.tries;
                    if talk(stream, &mut waiting, &mut calls).await {
                        tries = 0;
                    }
                    "it hangs up".to_owned()
                }
            };
            tracing::debug!(tries, why, "the line to the endpoint broke");
            if tries >= most {
                tries = 0;
                let why = format!("treehand cannot be reached at {}: {why}", path.display());
                waiting.give_up().for_each(|who| answer(who, Err(why.clone())));
            }
        }
    }
}

async fn connected(path: &std::path::Path) -> std::io::Result<UnixStream> {
    let address = Address::of(path)?;
    UnixStream::connect(address.path()).await
}

fn take(waiting: &mut Waiting<Who>, Call { tool, arguments, who }: Call) -> (u64, String) {
    waiting.take(|id| (wire::request(id, tool, &arguments), who))
}

fn answer(who: Who, said: Said) {
    // Whoever called may have gone on without the answer.
    let _told_or_gone = who.reply.send(said);
}

/// Sends what waits and what comes, and gives the replies, until the line breaks or nobody can call any more; true when there was a reply.
async fn talk(stream: UnixStream, waiting: &mut Waiting<Who>, calls: &mut mpsc::UnboundedReceiver<Call>) -> bool {
    let (read, write) = stream.into_split();
    let (write_line, lines) = mpsc::unbounded_channel();
    let (tell, mut written) = mpsc::unbounded_channel();
    let writer = tokio::spawn(write_all(write, lines, tell));
    let mut replies = BufReader::new(read).lines();
    let mut was_answered = false;
    // A writer that has ended shows in `written`.
    waiting.to_send(|who| !who.reply.is_closed()).into_iter().for_each(|line| drop(write_line.send(line)));
    loop {
        tokio::select! {
            call = calls.recv() => match call {
                Some(call) => drop(write_line.send(take(waiting, call))),
                None => break,
            },
            id = written.recv() => match id {
                Some(id) => drop(waiting.is_sent(id).and_then(|who| who.not_yet.take())),
                None => break,
            },
            line = replies.next_line() => match line {
                Ok(Some(line)) => match waiting.answered(&line) {
                    Some((who, said)) => {
                        was_answered = true;
                        answer(who, said);
                    }
                    None => tracing::debug!("the endpoint said something that nobody asked"),
                },
                Ok(None) | Err(_) => break,
            },
        }
    }
    writer.abort();
    was_answered
}

/// Writes lines and tells of each; ends when one cannot be written.
async fn write_all(
    mut write: OwnedWriteHalf,
    mut lines: mpsc::UnboundedReceiver<(u64, String)>,
    tell: mpsc::UnboundedSender<u64>,
) {
    while let Some((id, line)) = lines.recv().await {
        if write.write_all(line.as_bytes()).await.is_err() || tell.send(id).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HURRY: Patience = Patience { between: Duration::ZERO, tries: 3, first_tries: 3 };

    #[tokio::test]
    async fn where_nobody_listens_calls_fail_and_the_next_one_tries_anew() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("endpoint");
        let endpoint = Endpoint::at(path.clone(), HURRY);
        let why = endpoint.ask("fresh", Arguments::new(), None).await.expect_err("nobody listens");
        assert!(why.contains(&format!("cannot be reached at {}: ", path.display())), "{why}");
        let listener = tokio::net::UnixListener::bind(&path).expect("bound");
        let serve = async {
            for round in 1..=4 {
                let (stream, _) = listener.accept().await.expect("a caller");
                let (read, mut write) = stream.into_split();
                let line = BufReader::new(read).lines().next_line().await.expect("read").expect("a request");
                assert!(line.contains(if round < 2 { "\"id\":2" } else { "\"id\":3" }), "{line}");
                if round == 1 {
                    write.write_all(b"{\"id\":2,\"ok\":7}\n").await.expect("written");
                }
            }
        };
        let ask = async {
            assert_eq!(endpoint.ask("fresh", Arguments::new(), None).await, Ok(7.into()));
            let why = endpoint.ask("fresh", Arguments::new(), None).await.expect_err("it hangs up each time");
            assert!(why.ends_with("it hangs up"), "{why}");
        };
        tokio::join!(serve, ask);
    }
}
