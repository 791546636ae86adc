//! The endpoint of an agent: the socket by which its tools reach treehand, for this attempt alone.
//!
//! Lines of JSON, a request and a reply each (`{"id":1,"tool":"…","args":{}}`, `{"id":1,"ok":…}`). The shim passes them on to whoever
//! supervises and keeps what nobody has answered, so that a gap without supervisor loses none. Decides nothing about them.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::door;
use crate::model::agent::{AgentRequest, Reply};

/// Most bytes of a request.
const REQUEST_MAX: u64 = 128 << 10;

/// Most requests of an attempt that wait for an answer, and most that it may make: one that asks without end is no use.
const WAITING_MAX: usize = 64;
const REQUESTS_MAX: u64 = 20_000;

/// Requests that may come before the first of them is looked at.
const AHEAD_MAX: usize = 16;

/// Most connections at a time; one more is closed.
const CONNECTIONS_MAX: usize = 64;

/// Answers that wait until they are read: who does not read them gets no more, and takes up no more.
const UNREAD_MAX: usize = 128;

/// A request as it comes, with the way back.
#[derive(Debug)]
pub struct Incoming {
    id: Value,
    tool: String,
    args: Value,
    back: Sender<String>,
}

#[derive(Deserialize)]
struct Asked {
    id: Value,
    tool: String,
    #[serde(default)]
    args: Value,
}

#[derive(Serialize)]
struct Answered<'a> {
    id: &'a Value,
    #[serde(flatten)]
    reply: &'a Reply,
}

/// Lets in who comes, and hands on what they ask for. `requests` is bounded: who asks faster than it is heard waits.
pub async fn attend(listener: UnixListener, requests: Sender<Incoming>) -> io::Result<()> {
    // One that breaks its line, or says what is no request, is not heard any more; the agent goes on.
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let heard = |stream| {
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(hear(stream, requests.clone(), place));
        }
    };
    door::let_in(listener, heard).await
}

/// A channel for requests.
pub fn line() -> (Sender<Incoming>, tokio::sync::mpsc::Receiver<Incoming>) {
    channel(AHEAD_MAX)
}

async fn hear(stream: UnixStream, requests: Sender<Incoming>, place: OwnedSemaphorePermit) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    // Taken for as long as one of both ends is open.
    let place = Arc::new(place);
    let of_writer = Arc::clone(&place);
    let (back, mut replies) = channel::<String>(UNREAD_MAX);
    tokio::spawn(async move {
        let _place = of_writer;
        while let Some(reply) = replies.recv().await {
            if writer.write_all(reply.as_bytes()).await.is_err() {
                return;
            }
        }
    });
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(REQUEST_MAX + 1).read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(());
        }
        let back = back.clone();
        if read as u64 > REQUEST_MAX {
            send(&back, &Value::Null, &Reply::Error(format!("a request has at most {REQUEST_MAX} bytes")));
            return Ok(());
        }
        match serde_json::from_slice::<Asked>(&line) {
            Ok(Asked { id, tool, args }) => {
                if requests.send(Incoming { id, tool, args, back }).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => send(&back, &Value::Null, &Reply::Error(format!("this is no request: {error}"))),
        }
    }
}

/// Who asked may be gone: then nobody waits for it.
fn send(back: &Sender<String>, id: &Value, reply: &Reply) {
    if let Ok(mut line) = serde_json::to_string(&Answered { id, reply }) {
        line.push('\n');
        let _waits = back.try_send(line);
    }
}

/// What was asked for and not answered yet.
#[derive(Debug, Default)]
pub struct Requests {
    count: u64,
    waiting: BTreeMap<u64, (AgentRequest, Value, Sender<String>)>,
}

impl Requests {
    /// Takes a request in, to be passed on; `None` for one that is answered here: there are too many.
    pub fn take(&mut self, incoming: Incoming) -> Option<AgentRequest> {
        let Incoming { id, tool, args, back } = incoming;
        if self.waiting.len() >= WAITING_MAX || self.count >= REQUESTS_MAX {
            send(&back, &id, &Reply::Error("too many requests".into()));
            return None;
        }
        self.count += 1;
        let request = AgentRequest { n: self.count, tool, args };
        self.waiting.insert(self.count, (request.clone(), id, back));
        Some(request)
    }

    /// One that nobody has answered.
    pub fn get(&self, n: u64) -> Option<AgentRequest> {
        self.waiting.get(&n).map(|(request, ..)| request.clone())
    }

    /// Gives an answer to who asked.
    pub fn answer(&mut self, n: u64, reply: &Reply) {
        if let Some((_, id, back)) = self.waiting.remove(&n) {
            send(&back, &id, reply);
        }
    }

    /// What nobody has answered.
    pub fn unanswered(&self) -> Vec<AgentRequest> {
        self.waiting.values().map(|(request, ..)| request.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_connection_too_many_is_closed_and_makes_room_when_another_one_goes() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("endpoint");
        let (sender, mut incoming) = line();
        tokio::spawn(attend(door::open(&path).expect("bound"), sender));
        let connect = async || UnixStream::connect(&path).await.expect("connected");
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let mut one = connect().await;
            one.write_all(b"{\"half\":").await.expect("sent");
            held.push(one);
        }
        assert_eq!(connect().await.read(&mut [0]).await.expect("read"), 0, "it is closed");
        held.clear();
        loop {
            let mut one = connect().await;
            if one.write_all(b"{\"id\":1,\"tool\":\"inbox\"}\n").await.is_ok()
                && let Ok(heard) = tokio::time::timeout(std::time::Duration::from_millis(100), incoming.recv()).await
            {
                assert_eq!(heard.expect("a request").tool, "inbox");
                return;
            }
        }
    }

    #[tokio::test]
    async fn who_reads_no_answers_takes_up_no_more_than_a_few() {
        let (back, mut unread) = channel::<String>(UNREAD_MAX);
        let mut requests = Requests::default();
        for _ in 0..10_000 {
            let asked = Incoming { id: Value::Null, tool: "x".into(), args: Value::Null, back: back.clone() };
            if let Some(request) = requests.take(asked) {
                requests.answer(request.n, &Reply::Error("no".into()));
            }
        }
        drop((back, requests));
        let mut kept = 0;
        while unread.recv().await.is_some() {
            kept += 1;
        }
        assert_eq!(kept, UNREAD_MAX);
    }

    #[tokio::test]
    async fn what_is_asked_is_answered_in_any_order_and_nonsense_is_said_to_be_that() {
        let dir = tempfile::tempdir().expect("a temp dir");
        let path = dir.path().join("endpoint");
        let (sender, mut incoming) = line();
        let listener = door::open(&path).expect("bound");
        tokio::spawn(attend(listener, sender));
        let mut stream = UnixStream::connect(&path).await.expect("connected");
        stream
            .write_all(b"nonsense\n{\"id\":7,\"tool\":\"ask\",\"args\":{\"a\":1}}\n{\"id\":\"x\",\"tool\":\"fresh\"}\n")
            .await
            .expect("sent");
        let mut requests = Requests::default();
        let first = requests.take(incoming.recv().await.expect("a request")).expect("taken");
        let second = requests.take(incoming.recv().await.expect("a request")).expect("taken");
        assert_eq!((first.n, first.tool.as_str(), &first.args["a"]), (1, "ask", &serde_json::json!(1)));
        requests.answer(second.n, &Reply::Ok(serde_json::json!({"fresh": true})));
        requests.answer(99, &Reply::Error("nobody asked".into()));
        assert_eq!(requests.unanswered(), std::slice::from_ref(&first));
        requests.answer(first.n, &Reply::Error("no".into()));
        let mut lines = BufReader::new(stream).lines();
        let mut next = async || lines.next_line().await.expect("read").expect("a line");
        assert!(next().await.starts_with("{\"id\":null,\"error\":\"this is no request"));
        assert_eq!(next().await, "{\"id\":\"x\",\"ok\":{\"fresh\":true}}");
        assert_eq!(next().await, "{\"id\":7,\"error\":\"no\"}");
        assert!(requests.unanswered().is_empty());
    }
}
