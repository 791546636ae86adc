//! What the shim and the sandbox's pid 1 say to each other, one message a packet, descriptors attached.
//! The socket is the lifeline as well: when one side is gone, the other reads the end of it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize};

use crate::confine::policy::LimitKind;

/// Most bytes of a message.
const MESSAGE_MAX: usize = 16 << 10;

/// A message, in either direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The sandbox cannot be made, or the program cannot be started: which step, and the number of the error.
    Failed {
        /// What was tried.
        step: String,
        /// The error's number, where the kernel gave one.
        errno: Option<i32>,
        /// The error in words.
        text: String,
        /// True when the sandbox stands and only the program did not start.
        program: bool,
    },
    /// A listener inside, attached; the port it is bound to.
    Listener {
        /// The port on the loopback interface inside.
        port: u16,
    },
    /// The program runs.
    Started,
    /// It ended, and everything that it started is gone.
    Ended(Ended),
    /// To pid 1: ask the program to end.
    Stop,
}

/// How a program in the sandbox ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Its exit code.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Processes that it left behind and that were killed.
    pub left_behind: usize,
    /// The limit that it was ended for.
    #[serde(default)]
    pub passed: Option<LimitKind>,
}

/// A pair of connected ends.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message, with a descriptor attached to it.
pub fn send(socket: impl AsFd, message: &Message, attached: Option<&OwnedFd>) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let attached: Vec<_> = attached.into_iter().map(AsFd::as_fd).collect();
    if !attached.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&attached));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&text)], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Takes the next message; `None` when the other side is gone.
pub fn receive(socket: impl AsFd) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let mut buffer = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC);
    let received = match received {
        Err(rustix::io::Errno::CONNRESET) => return Ok(None),
        received => received?,
    };
    let attached = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
        _ => None,
    });
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a message that is too long"));
    }
    Ok(Some((serde_json::from_slice(&buffer[..received.bytes])?, attached)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn messages_arrive_whole_with_what_is_attached_and_the_end_is_seen() {
        let (one, other) = pair().expect("a pair");
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, b"x").expect("written");
        send(&one, &Message::Listener { port: 7 }, Some(&file.into())).expect("sent");
        send(&one, &Message::Started, None).expect("sent");
        drop(one);
        let (message, attached) = receive(&other).expect("read").expect("a message");
        assert_eq!(message, Message::Listener { port: 7 });
        let mut text = String::new();
        let mut file = std::fs::File::from(attached.expect("a descriptor"));
        std::io::Seek::rewind(&mut file).expect("rewound");
        file.read_to_string(&mut text).expect("read");
        assert_eq!(text, "x");
        assert_eq!(receive(&other).expect("read").expect("a message").0, Message::Started);
        assert!(receive(&other).expect("read").is_none());
    }
}
