//! The line to who supervises a shim: orders come in, reports go out; when it breaks, a successor may take it up again.
//!
//! A supervisor is obeyed until a later one comes, and one that comes late is turned away. What was said before is said
//! again to whoever takes the line up.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::door::Caller;
use super::wire::{Order, Report, read_frame, send_frame, write_frame};
use crate::model::health::Health;

/// A line that may be broken.
#[derive(Debug)]
pub struct Line {
    ends: Option<(OwnedReadHalf, OwnedWriteHalf)>,
    read: Vec<u8>,
    epoch: u64,
    started: Option<Report>,
}

/// What came over the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// What to do.
    Order(Order),
    /// Nobody is there any more.
    Gone,
}

impl Line {
    /// The line to the supervisor with this number.
    pub fn new(control: std::os::unix::net::UnixStream, epoch: u64) -> io::Result<Line> {
        control.set_nonblocking(true)?;
        let ends = Some(UnixStream::from_std(control)?.into_split());
        Ok(Line { ends, read: Vec::new(), epoch, started: None })
    }

    /// The next thing that is heard; for ever when nobody is there. A wait that is given up loses nothing.
    pub async fn hear(&mut self) -> Heard {
        loop {
            if let Some(heard) = next_order(&mut self.read) {
                return self.gone_unless(heard);
            }
            let Some((reader, _)) = &mut self.ends else { return std::future::pending().await };
            match reader.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return self.gone_unless(Heard::Gone),
                Ok(_) => {}
            }
        }
    }

    fn gone_unless(&mut self, heard: Heard) -> Heard {
        if heard == Heard::Gone {
            (self.ends, self.read) = (None, Vec::new());
        }
        heard
    }

    /// Says something; false when nobody is there to hear it. Then the exit record on disk is what is left to say.
    pub async fn tell(&mut self, report: &Report) -> bool {
        if let Report::Started { .. } = report {
            self.started = Some(report.clone());
        }
        self.say(report).await
    }

    /// Says how the child is, where there is something to say and somebody listens. One who does not read (a supervisor that
    /// was stopped) holds up nothing: what it misses is on the line again with the next change, and at the door at any time.
    pub async fn mention(&mut self, health: Option<Health>) {
        if let Some(health) = health {
            self.offer(&Report::Health(health)).await;
        }
    }

    /// Says something to who listens; false where somebody is there who does not take it just now.
    pub async fn offer(&mut self, report: &Report) -> bool {
        let Some((_, writer)) = &mut self.ends else { return true };
        let mut frame = Vec::new();
        if write_frame(&mut frame, report).is_err() {
            // It is too long for anybody.
            return true;
        }
        // A broken line is noticed where orders are heard.
        let Ok(written) = writer.try_write(&frame) else { return false };
        if written < frame.len() && writer.write_all(&frame[written..]).await.is_err() {
            self.ends = None;
        }
        true
    }

    async fn say(&mut self, report: &Report) -> bool {
        let Some((_, writer)) = &mut self.ends else { return false };
        send_frame(writer, report).await.is_ok()
    }

    /// Lets a successor take the line up, and says to it what was said before; false for one that comes too late.
    pub async fn take_up(&mut self, caller: Caller) -> bool {
        if caller.epoch < self.epoch {
            return false;
        }
        (self.ends, self.read, self.epoch) = (Some(caller.stream.into_split()), Vec::new(), caller.epoch);
        match self.started.clone() {
            Some(started) => self.say(&started).await,
            None => true,
        }
    }
}

fn next_order(read: &mut Vec<u8>) -> Option<Heard> {
    let length = u32::from_be_bytes(*read.first_chunk()?) as usize;
    if read.len() < 4 + length {
        return None;
    }
    let frame: Vec<u8> = read.drain(..4 + length).collect();
    match read_frame(&frame[..]) {
        Ok(Some(order)) => Some(Heard::Order(order)),
        // Whoever speaks like that does not supervise.
        Ok(None) | Err(_) => Some(Heard::Gone),
    }
}
