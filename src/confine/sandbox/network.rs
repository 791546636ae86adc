//! The network inside: a loopback interface that reaches nothing but the sandbox itself, and listeners that are handed out.
//! Whoever connects to such a listener inside is served by the shim outside.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketType, bind, ipproto, listen, socket_with};
use rustix::net::{SocketFlags, sockopt};

use super::raw;

/// Brings the loopback interface up.
pub fn up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    raw::loopback_up(&socket)
}

/// A listener on a port of the loopback interface inside.
pub fn listener(port: u16) -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listen(&socket, 128)?;
    Ok(socket)
}
