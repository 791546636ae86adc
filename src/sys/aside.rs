//! Pipes of children, read to their ends by threads of their own, so that who writes there is never held up.
//!
//! Who has ended is not waited for because of somebody whom it left behind with its pipes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// A pipe that is being read.
pub struct ReadAside {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: mpsc::Receiver<io::Result<()>>,
}

/// How long a pipe of a child that has ended may stay open: somebody else, whom it has started, may hold it for ever.
const LEFT_OPEN: Duration = Duration::from_secs(2);

/// Begins to read a pipe; nothing comes of none.
pub fn read_aside(pipe: Option<impl io::Read + Send + 'static>) -> ReadAside {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let (tell, end) = mpsc::channel();
    let into = Arc::clone(&bytes);
    std::thread::spawn(move || {
        let read = pipe.map_or(Ok(()), |pipe| read_into(pipe, &into));
        // Whoever asked may have gone on without it.
        let _told_or_gone = tell.send(read);
    });
    ReadAside { bytes, end }
}

fn read_into(mut pipe: impl io::Read, bytes: &Mutex<Vec<u8>>) -> io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                let read = chunk.get(..count).unwrap_or_default();
                bytes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What was read, when the pipe has ended.
pub fn joined(reader: ReadAside) -> io::Result<Vec<u8>> {
    reader.end.recv().unwrap_or_else(|_| Err(io::Error::other("a reader panicked")))?;
    Ok(reader.so_far())
}

/// What was read of a child that has ended, although somebody else may still hold the pipe: the child's own words are all there.
pub fn joined_soon(reader: ReadAside) -> io::Result<Vec<u8>> {
    match reader.end.recv_timeout(LEFT_OPEN) {
        Ok(read) => read?,
        Err(mpsc::RecvTimeoutError::Timeout) => {}
        Err(mpsc::RecvTimeoutError::Disconnected) => return Err(io::Error::other("a reader panicked")),
    }
    Ok(reader.so_far())
}

impl ReadAside {
    fn so_far(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
