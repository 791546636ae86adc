//! Scan: whether something listens on a port at this moment, found by trying to listen there.
//!
//! What cannot be tried (no IPv6, nothing may listen here) speaks for nothing: only an address that is in use says that somebody has
//! it. What listens in a network of its own, as in a sandbox, is not seen, and is in nobody's way.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

/// Where a server may listen. The addresses of the machine itself are not asked one by one: who has one of them keeps others from
/// all addresses at once.
const PLACES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// True where nothing listens on it.
pub fn is_free(port: u16) -> bool {
    let in_use =
        |place: &IpAddr| TcpListener::bind((*place, port)).is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    !PLACES.iter().any(in_use)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_wherever_somebody_listens_on_it() {
        for place in PLACES {
            let Ok(server) = TcpListener::bind((place, 0)) else { continue };
            let port = server.local_addr().expect("an address").port();
            assert!(!is_free(port), "{place}");
        }
    }
}
