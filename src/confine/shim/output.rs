//! A child's output on disk: both streams in one log, each kept up to a limit, the child never held up by a full one.
//! Bounded in memory and on disk, whatever the child prints.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::agent::Words;
use super::pulse::LastOutput;
use crate::confine::mask::{Mask, MaskedStream};

/// The stream on which an agent speaks of itself; the other one has words for a person.
const STDOUT: &str = "stdout";

/// A log that several streams write into.
#[derive(Clone, Debug)]
pub struct Log {
    file: Arc<Mutex<File>>,
    limit: u64,
    mask: Arc<Mask>,
    last: Arc<LastOutput>,
}

impl Log {
    /// A log on an open file; of each stream at most `limit` bytes are kept, without what the mask keeps out.
    /// `last` hears when something comes.
    pub fn new(file: File, limit: u64, mask: Arc<Mask>, last: Arc<LastOutput>) -> Log {
        Log { file: Arc::new(Mutex::new(file)), limit, mask, last }
    }

    /// Copies a stream to its end. What is beyond the limit is read and dropped, with a line that says so. What the disk
    /// does not take (it is full) is lost, with a line that says so when it takes something again; the child goes on.
    /// `words` reads it first, where it is an agent's.
    pub async fn copy(self, name: &'static str, stream: Option<impl AsyncRead + Unpin>, words: Option<Arc<Words>>) {
        let Some(mut stream) = stream else { return };
        let mask = Arc::clone(&self.mask);
        let (mut buffer, mut masked) = (vec![0u8; 64 * 1024], MaskedStream::new(&mask));
        let last = Arc::clone(&self.last);
        let mut keeper = Keeper { log: self, name, kept: 0, cut: false, lost: 0 };
        let mut take = |bytes: &[u8], is_end: bool| match &words {
            Some(words) if name == STDOUT => words.feed(bytes, is_end, &mut |piece| keeper.keep(piece)),
            Some(words) => {
                words.feed_aside(bytes);
                keeper.keep(bytes);
            }
            None => keeper.keep(bytes),
        };
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return take(&masked.rest(), true),
                Ok(read) => {
                    last.note();
                    take(&masked.piece(&buffer[..read]), false);
                }
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(bytes)
    }
}

/// What is kept of one stream.
struct Keeper {
    log: Log,
    name: &'static str,
    kept: u64,
    cut: bool,
    /// Bytes that the disk did not take since it took something last.
    lost: u64,
}

impl Keeper {
    fn keep(&mut self, bytes: &[u8]) {
        let limit = self.log.limit;
        let room = usize::try_from(limit.saturating_sub(self.kept)).unwrap_or(usize::MAX);
        let fits = bytes.len().min(room);
        if fits > 0 {
            self.write(&bytes[..fits]);
        }
        if fits < bytes.len() && !self.cut {
            self.cut = true;
            let line = format!("\n[treehand: {} went beyond {limit} bytes; the rest is dropped]\n", self.name);
            self.write(line.as_bytes());
        }
        self.kept += bytes.len() as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.lost > 0 {
            let line = format!("\n[treehand: the disk did not take {} bytes of {} here]\n", self.lost, self.name);
            match self.log.write(line.as_bytes()) {
                Ok(()) => self.lost = 0,
                Err(_) => return self.lose(bytes),
            }
        }
        if let Err(error) = self.log.write(bytes) {
            tracing::warn!(stream = self.name, %error, "the log cannot be written");
            self.lose(bytes);
        }
    }

    fn lose(&mut self, bytes: &[u8]) {
        self.lost += bytes.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_stream_beyond_the_limit_is_read_to_its_end_and_cut_with_a_line_that_says_so() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let log = Log::new(file.reopen().expect("reopened"), 10, Arc::default(), Arc::new(LastOutput::begin()));
        let flood = vec![b'x'; 200_000];
        runtime.block_on(log.copy("stdout", Some(&flood[..]), None));
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        assert!(text.starts_with("xxxxxxxxxx\n[treehand: stdout went beyond 10 bytes"), "{text}");
        assert!(text.len() < 200);
    }

    #[test]
    fn a_stream_that_fills_its_log_to_the_byte_is_said_to_be_cut_when_more_comes() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let log = Log::new(file.reopen().expect("reopened"), 4, Arc::default(), Arc::new(LastOutput::begin()));
        let mut keeper = Keeper { log, name: "stderr", kept: 0, cut: false, lost: 0 };
        keeper.keep(b"four");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "four", "nothing is dropped yet");
        keeper.keep(b"more");
        keeper.keep(b"more");
        file.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "four\n[treehand: stderr went beyond 4 bytes; the rest is dropped]\n");
    }
}
