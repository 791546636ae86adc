//! The wire between a supervisor and its clients: a Unix socket, one JSON object a line, versioned.
//!
//! A client says `watch` and then hears one line for every change, until the run is over and the socket closes; or it
//! asks for something to be done and hears whether it was. What changed is read from the store: the socket only wakes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

use super::context::{Context, RunError};
use super::sockets;
use crate::model::mail::MessageKind;
use crate::model::{RunId, TaskId};
use crate::sys::fs;
use crate::sys::socket::{self, Address};

/// The version of the wire.
const VERSION: u32 = 1;
/// Longest line that a client may send.
const LINE_MAX: u64 = 512 << 10;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Wake me at every change.
    Watch,
    /// Do something.
    Do(Command),
}

/// What a person wants done with a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Stop it.
    Cancel,
    /// Stop it without grace.
    Kill,
    /// Stop one task, with these words.
    CancelTask {
        /// The task.
        task: TaskId,
        /// Why; may be empty.
        words: String,
    },
    /// Start and land nothing new.
    Pause,
    /// Go on.
    Unpause,
    /// Say something to a task.
    Say {
        /// The task.
        task: TaskId,
        /// Whether it is an answer.
        kind: MessageKind,
        /// What.
        text: String,
    },
    /// Land the results of these tasks.
    Accept {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Do these tasks again.
    Retry {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
}

/// A command, and where its answer goes: an error in words, or nothing.
pub type Asked = (Command, oneshot::Sender<Result<(), String>>);

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    version: u32,
    ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Listens for clients; what was left by an earlier holder is replaced (the caller holds the run's lock).
pub fn listen(run: &RunId) -> Result<UnixListener, RunError> {
    let path = sockets::of_run(run)?;
    fs::create_private_dir_all(&sockets::home()?)?;
    fs::remove_file(&path)?;
    let address = Address::of(&path).map_err(RunError::io("cannot listen for clients"))?;
    UnixListener::bind(address.path()).map_err(RunError::io("cannot listen for clients"))
}

/// Removes the socket of a run that is over.
pub fn close(run: &RunId) -> Result<(), RunError> {
    Ok(fs::remove_file(&sockets::of_run(run)?)?)
}

/// Serves clients for as long as the supervisor lives.
pub async fn serve(listener: UnixListener, context: Arc<Context>, asked: mpsc::UnboundedSender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_one(stream, Arc::clone(&context), asked.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                // Out of descriptors, for the most part: an ended attempt gives some back.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve_one(stream: UnixStream, context: Arc<Context>, asked: mpsc::UnboundedSender<Asked>) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let read = BufReader::new(reader.take(LINE_MAX)).read_line(&mut line).await;
    let request: Option<Request> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let told = match request {
        Some(Request { version: VERSION, ask: Ask::Watch }) => watch(&mut writer, &context).await,
        Some(Request { version: VERSION, ask: Ask::Do(command) }) => {
            let (answer, heard) = oneshot::channel();
            let gone = || Err("the supervisor is about to end".to_owned());
            let outcome = match asked.send((command, answer)) {
                Ok(()) => heard.await.unwrap_or_else(|_| gone()),
                Err(_) => gone(),
            };
            tell(&mut writer, outcome.err()).await
        }
        _ => tell(&mut writer, Some("unknown request".into())).await,
    };
    if let Err(error) = told {
        tracing::debug!(%error, "a client went away");
    }
}

async fn tell(writer: &mut (impl AsyncWriteExt + Unpin), error: Option<String>) -> std::io::Result<()> {
    let answer = serde_json::to_string(&Answer { ok: error.is_none(), error })?;
    writer.write_all(format!("{answer}\n").as_bytes()).await
}

async fn watch(writer: &mut (impl AsyncWriteExt + Unpin), context: &Context) -> std::io::Result<()> {
    let mut changes = context.changes();
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        writer.write_all(b"{\"changed\":true}\n").await?;
    }
    Ok(())
}

/// Connects to the supervisor of a run and asks; `None` when nobody listens.
pub async fn connect(run: &RunId, ask: Ask) -> Result<Option<BufReader<UnixStream>>, RunError> {
    let path = sockets::of_run(run)?;
    if !fs::exists(&path)? {
        return Ok(None);
    }
    let address = Address::of(&path).map_err(RunError::io("cannot reach the supervisor"))?;
    let mut stream = match UnixStream::connect(address.path()).await {
        Ok(stream) => stream,
        Err(error) if socket::is_deserted(&error) => return Ok(None),
        Err(error) => return Err(RunError::io("cannot reach the supervisor")(error)),
    };
    let request = serde_json::to_string(&Request { version: VERSION, ask }).unwrap_or_default();
    let sent = stream.write_all(format!("{request}\n").as_bytes()).await;
    match sent {
        Ok(()) => Ok(Some(BufReader::new(stream))),
        // It ended between the two calls.
        Err(_) => Ok(None),
    }
}

/// Has the supervisor of a run do something. `None` when there is none that answers; else whether it was done, or why not.
pub async fn command(run: &RunId, command: Command) -> Result<Option<Result<(), String>>, RunError> {
    let Some(stream) = connect(run, Ask::Do(command)).await? else { return Ok(None) };
    let mut line = String::new();
    if stream.take(LINE_MAX).read_line(&mut line).await.is_err() {
        return Ok(None);
    }
    let answer: Option<Answer> = serde_json::from_str(&line).ok();
    Ok(answer.map(|answer| match answer.ok {
        true => Ok(()),
        false => Err(answer.error.unwrap_or_else(|| "the supervisor did not say why".into())),
    }))
}
