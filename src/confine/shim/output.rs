//! A child's output on disk: both streams in one log, each kept up to a limit, the child never held up by a full one.
//! Bounded in memory and on disk, whatever the child prints.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};

/// A log that several streams write into.
#[derive(Clone, Debug)]
pub struct Log {
    file: Arc<Mutex<File>>,
    limit: u64,
}

impl Log {
    /// A log on an open file; of each stream at most `limit` bytes are kept.
    pub fn new(file: File, limit: u64) -> Log {
        Log { file: Arc::new(Mutex::new(file)), limit }
    }

    /// Copies a stream to its end. What is beyond the limit is read and dropped, with a line that says so. A log that
    /// cannot be written (a full disk) is given up with a warning; the child is not.
    pub async fn copy(self, name: &'static str, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let (mut buffer, mut kept, mut writable) = (vec![0u8; 64 * 1024], 0u64, true);
        loop {
            let read = match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => read,
            };
            let room = usize::try_from(self.limit.saturating_sub(kept)).unwrap_or(usize::MAX);
            let fits = read.min(room);
            if writable && fits > 0 {
                writable = self.write(&buffer[..fits], name);
            }
            if writable && fits < read && room > 0 {
                let limit = self.limit;
                writable = self.write(
                    format!("\n[treehand: {name} went beyond {limit} bytes; the rest is dropped]\n").as_bytes(),
                    name,
                );
            }
            kept += read as u64;
        }
    }

    fn write(&self, bytes: &[u8], name: &'static str) -> bool {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match file.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(stream = name, %error, "the log cannot be written");
                false
            }
        }
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
        let log = Log::new(file.reopen().expect("reopened"), 10);
        let flood = vec![b'x'; 200_000];
        runtime.block_on(log.copy("stdout", Some(&flood[..])));
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        assert!(text.starts_with("xxxxxxxxxx\n[treehand: stdout went beyond 10 bytes"), "{text}");
        assert!(text.len() < 200);
    }
}
