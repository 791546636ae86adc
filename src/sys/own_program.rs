//! Our own program, asked for an answer by somebody who serves others meanwhile: what it writes, and its end when nobody wants that any more.
//!
//! Promises: nobody is waited for who only holds its pipes; whoever is no longer wanted is asked to end, then killed. It has our environment.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{env, notify, proc};

/// What it said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code, as a shell would give it.
    pub code: u8,
    /// What it wrote to standard output.
    pub output: Vec<u8>,
    /// What it wrote to standard error.
    pub errors: Vec<u8>,
}

/// How long it may take to end that was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// How long its pipes may stay open when it has ended: somebody else, whom it has started, may hold them for ever.
const LEFT_OPEN: Duration = Duration::from_secs(2);

/// Most that is kept of what it writes.
const OUTPUT_MAX: u64 = 64 << 20;

/// Asks it with these arguments and this standard input; `None` when `unwanted` was first, and it was ended.
#[expect(clippy::disallowed_methods, reason = "this is the gateway to our own processes")]
pub async fn ask(
    args: &[OsString],
    directory: &Path,
    input: &[u8],
    unwanted: impl Future<Output = ()>,
) -> io::Result<Option<Said>> {
    let mut command = Command::new(env::self_again()?);
    command.args(args).current_dir(directory).stdin(notify::in_memory(input)?);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let (output, errors) = (collected(child.stdout.take()), collected(child.stderr.take()));
    let status = tokio::select! {
        status = child.wait() => status?,
        () = unwanted => return ended(child).await.map(|()| None),
    };
    let (output, errors) = (output.taken().await?, errors.taken().await?);
    Ok(Some(Said { code: proc::exit_code(status), output, errors }))
}

/// Asks it to end, and kills it when it does not.
async fn ended(mut child: Child) -> io::Result<()> {
    // Not reaped yet, it is who it says; one that is not found has ended already.
    if let Some(process) = child.id().and_then(proc::identify) {
        // One that has just ended needs no signal.
        let _gone_or_sent = proc::terminate(&process)?;
        if timeout(GRACE, child.wait()).await.is_err() {
            child.kill().await?;
        }
    }
    child.wait().await.map(|_| ())
}

/// What is being read of one pipe.
struct Collected {
    bytes: tokio::sync::watch::Receiver<Vec<u8>>,
    reader: tokio::task::JoinHandle<io::Result<()>>,
}

fn collected(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Collected {
    let (tell, bytes) = tokio::sync::watch::channel(Vec::new());
    let reader = tokio::spawn(async move {
        let Some(pipe) = pipe else { return Ok(()) };
        let (mut pipe, mut chunk) = (pipe.take(OUTPUT_MAX), vec![0; 64 << 10]);
        loop {
            let count = pipe.read(&mut chunk).await?;
            if count == 0 {
                return tokio::io::copy(&mut pipe.into_inner(), &mut tokio::io::sink()).await.map(|_| ());
            }
            tell.send_modify(|bytes| bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()));
        }
    });
    Collected { bytes, reader }
}

impl Collected {
    /// What was read of a child that has ended: its own words are all there, although somebody else may hold the pipe.
    async fn taken(mut self) -> io::Result<Vec<u8>> {
        match timeout(LEFT_OPEN, &mut self.reader).await {
            Ok(read) => read.map_err(io::Error::other)??,
            Err(_still_open) => self.reader.abort(),
        }
        Ok(self.bytes.borrow().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_says_what_it_wrote_and_how_it_ended() {
        let ask = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            async move { ask(&args, Path::new("/"), b"", std::future::pending()).await.expect("started").expect("wanted") }
        };
        // Our own program is that of the tests here.
        let listed =
            ask(&["--list", "--exact", "sys::own_program::tests::it_says_what_it_wrote_and_how_it_ended"]).await;
        assert_eq!(listed.code, 0);
        assert!(String::from_utf8_lossy(&listed.output).contains("it_says_what_it_wrote"), "{listed:?}");
        let wrong = ask(&["--no-such-flag"]).await;
        assert_ne!(wrong.code, 0);
        assert!(!wrong.errors.is_empty(), "{wrong:?}");
    }
}
