//! The wire between a supervisor and its clients: a Unix socket, one JSON object a line, versioned.
//!
//! A client says `watch` and then hears one line for every change, until the run is over and the socket closes; or it
//! says `cancel`. What changed is read from the store: the socket only wakes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::context::{Context, RunError};
use crate::model::RunId;
use crate::sys::{env, fs};

/// The version of the wire.
const VERSION: u32 = 1;
/// Longest line that a client may send.
const LINE_MAX: u64 = 4096;

/// What a client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Wake me at every change.
    Watch,
    /// Stop the run.
    Cancel,
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    version: u32,
    ask: Ask,
}

/// Where the socket of a run is: outside any repository, 0700.
pub fn socket_path(run: &RunId) -> Result<PathBuf, RunError> {
    let home = env::state_home()
        .ok_or_else(|| RunError::Usage { message: "neither HOME nor XDG_STATE_HOME is set".into() })?;
    Ok(home.join("treehand/sockets").join(format!("{run}.sock")))
}

/// A socket's address has 108 bytes at most, a path has more: through an open directory any path is short.
fn short_path(path: &Path) -> Result<(File, PathBuf), RunError> {
    let (parent, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
    let dir = File::open(parent).map_err(RunError::io(format!("cannot open {}", parent.display())))?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
    Ok((dir, short))
}

/// Listens for clients; what was left by an earlier holder is replaced (the caller holds the run's lock).
pub fn listen(run: &RunId) -> Result<UnixListener, RunError> {
    let path = socket_path(run)?;
    fs::create_private_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    fs::remove_file(&path)?;
    let (_dir, short) = short_path(&path)?;
    UnixListener::bind(short).map_err(RunError::io("cannot listen for clients"))
}

/// Removes the socket of a run that is over.
pub fn close(run: &RunId) -> Result<(), RunError> {
    Ok(fs::remove_file(&socket_path(run)?)?)
}

/// Serves clients for as long as the supervisor lives.
pub async fn serve(listener: UnixListener, context: Arc<Context>, cancel: mpsc::UnboundedSender<()>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve_one(stream, Arc::clone(&context), cancel.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a client could not be accepted");
                // Out of descriptors, for the most part: an ended attempt gives some back.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}

async fn serve_one(stream: UnixStream, context: Arc<Context>, cancel: mpsc::UnboundedSender<()>) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let read = BufReader::new(reader.take(LINE_MAX)).read_line(&mut line).await;
    let request: Option<Request> = read.ok().and_then(|_| serde_json::from_str(&line).ok());
    let answer = match request {
        Some(Request { version: VERSION, ask: Ask::Watch }) => watch(&mut writer, &context).await,
        Some(Request { version: VERSION, ask: Ask::Cancel }) => {
            let sent = cancel.send(());
            let answer: &[u8] = if sent.is_ok() { b"{\"ok\":true}\n" } else { b"{\"ok\":false}\n" };
            writer.write_all(answer).await
        }
        _ => writer.write_all(b"{\"ok\":false,\"error\":\"unknown request\"}\n").await,
    };
    if let Err(error) = answer {
        tracing::debug!(%error, "a client went away");
    }
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
    let path = socket_path(run)?;
    if !fs::exists(&path)? {
        return Ok(None);
    }
    let (_dir, short) = short_path(&path)?;
    let mut stream = match UnixStream::connect(short).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
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
