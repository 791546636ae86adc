//! What a client asks the proxy for: HTTP CONNECT, plain HTTP in absolute form, or SOCKS5, told apart by the first byte.
//!
//! Decision file: bytes in, request out. A prefix of a request is never taken for a whole one, and whatever the bytes are,
//! this answers: more, bad, or what is wanted.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Most bytes of a request's head.
pub const HEAD_MAX: usize = 32 << 10;

/// Most bytes of a host: no name is longer, and what is asked for is kept.
const HOST_MAX: usize = 253;

/// What bytes came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// Not yet enough.
    More,
    /// Not what it should be.
    Bad(&'static str),
    /// This, from so many bytes.
    Whole(T, usize),
}

/// Where a client wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What goes to the host first: the head of a plain request, rewritten; nothing for a tunnel.
    pub head: Vec<u8>,
    /// A tunnel was asked for (CONNECT).
    pub tunnel: bool,
}

/// Headers that are between the client and the proxy.
const HOP_BY_HOP: &[&str] =
    &["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "upgrade"];

/// Parses the head of an HTTP request to a proxy. A plain request gets `Connection: close`: what follows it on the connection
/// goes to the host that was allowed, and to no other.
pub fn http(bytes: &[u8]) -> Parsed<Wanted> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_MAX => return Parsed::Bad("the head is too long"),
        Ok(httparse::Status::Partial) => return Parsed::More,
        Err(_) => return Parsed::Bad("this is no HTTP request"),
    };
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    if method == "CONNECT" {
        return match authority(target, None) {
            Some((host, port)) => Parsed::Whole(Wanted { host, port, head: Vec::new(), tunnel: true }, length),
            None => Parsed::Bad("CONNECT wants HOST:PORT"),
        };
    }
    let Some(rest) = target.strip_prefix("http://") else {
        return Parsed::Bad("a proxy wants CONNECT, or http:// with the whole address");
    };
    let (place, path) = rest.find(['/', '?']).map_or((rest, "/"), |at| rest.split_at(at));
    let Some((host, port)) = authority(place, Some(80)) else { return Parsed::Bad("the address names no host") };
    let version = request.version.unwrap_or(1);
    match plain_head(method, path, version, request.headers, place) {
        Ok(head) => Parsed::Whole(Wanted { host, port, head, tunnel: false }, length),
        Err(why) => Parsed::Bad(why),
    }
}

fn plain_head(
    method: &str,
    path: &str,
    version: u8,
    headers: &[httparse::Header<'_>],
    place: &str,
) -> Result<Vec<u8>, &'static str> {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut head = format!("{method} {slash}{path} HTTP/1.{version}\r\n").into_bytes();
    let is = |header: &httparse::Header<'_>, name: &str| header.name.eq_ignore_ascii_case(name);
    let count = |name: &str| headers.iter().filter(|header| is(header, name)).count();
    if count("content-length") > 1 || (count("content-length") > 0 && count("transfer-encoding") > 0) {
        return Err("two lengths of one body");
    }
    if count("host") > 1 || headers.iter().any(|h| is(h, "host") && !h.value.eq_ignore_ascii_case(place.as_bytes())) {
        return Err("Host is not the host of the address");
    }
    for header in headers.iter().filter(|header| !HOP_BY_HOP.iter().any(|name| is(header, name))) {
        head.extend_from_slice(header.name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(header.value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok(head)
}

/// `HOST:PORT`, `[::1]:PORT`; without a port only where there is a usual one.
fn authority(text: &str, usual: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => text.rsplit_once(':').unwrap_or((text, "")),
    };
    let port = if port.is_empty() { usual? } else { port.parse().ok().filter(|port| *port > 0)? };
    let fits =
        (1..=HOST_MAX).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_graphic() && !b"/@?#[]\\".contains(&b));
    let plain = text.starts_with('[') == host.contains(':');
    (fits && plain).then(|| (host.to_owned(), port))
}

/// Parses the greeting of SOCKS5: whether it offers to go without a password.
pub fn socks_greeting(bytes: &[u8]) -> Parsed<bool> {
    match bytes {
        [5, count, rest @ ..] => match rest.get(..usize::from(*count)) {
            Some(methods) => Parsed::Whole(methods.contains(&0), 2 + methods.len()),
            None => Parsed::More,
        },
        [] | [5] => Parsed::More,
        _ => Parsed::Bad("this is not SOCKS5"),
    }
}

/// Parses the request of SOCKS5.
pub fn socks_request(bytes: &[u8]) -> Parsed<Wanted> {
    let (rest, command, kind) = match bytes {
        [5, command, 0, kind, rest @ ..] => (rest, *command, *kind),
        [] | [5] | [5, _] | [5, _, 0] => return Parsed::More,
        _ => return Parsed::Bad("this is not a SOCKS5 request"),
    };
    if command != 1 {
        return Parsed::Bad("only CONNECT is served");
    }
    let (host, used) = match kind {
        1 => match rest.first_chunk::<4>() {
            Some(octets) => (Ipv4Addr::from(*octets).to_string(), 4),
            None => return Parsed::More,
        },
        4 => match rest.first_chunk::<16>() {
            Some(octets) => (Ipv6Addr::from(*octets).to_string(), 16),
            None => return Parsed::More,
        },
        3 => {
            let Some(length) = rest.first().map(|length| usize::from(*length)) else { return Parsed::More };
            let Some(name) = rest.get(1..1 + length) else { return Parsed::More };
            match std::str::from_utf8(name) {
                Ok(name) if (1..=HOST_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) => {
                    (name.to_owned(), 1 + length)
                }
                _ => return Parsed::Bad("this is no name"),
            }
        }
        _ => return Parsed::Bad("this is no kind of address"),
    };
    match rest.get(used..used + 2) {
        Some(port) => {
            let port = u16::from_be_bytes([port[0], port[1]]);
            Parsed::Whole(Wanted { host, port, head: Vec::new(), tunnel: true }, 4 + used + 2)
        }
        None => Parsed::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(parsed: Parsed<Wanted>) -> Option<(String, u16, String)> {
        match parsed {
            Parsed::Whole(wanted, _) => {
                Some((wanted.host, wanted.port, String::from_utf8_lossy(&wanted.head).into_owned()))
            }
            _ => None,
        }
    }

    #[test]
    fn what_clients_ask_for_is_understood() {
        let tunnel = wanted(http(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(tunnel, Some(("api.example.com".into(), 443, String::new())));
        let v6 = wanted(http(b"CONNECT [::1]:99 HTTP/1.1\r\n\r\n"));
        assert_eq!(v6, Some(("::1".into(), 99, String::new())));
        let plain =
            b"GET http://h.org:81/a?b HTTP/1.1\r\nHost: h.org:81\r\nProxy-Connection: keep-alive\r\nA: b\r\n\r\n";
        let head = "GET /a?b HTTP/1.1\r\nHost: h.org:81\r\nA: b\r\nConnection: close\r\n\r\n";
        assert_eq!(wanted(http(plain)), Some(("h.org".into(), 81, head.into())));
        let bare = wanted(http(b"GET http://h.org HTTP/1.0\r\nHost: h.org\r\n\r\n")).expect("whole");
        assert_eq!((bare.0.as_str(), bare.1), ("h.org", 80));
        let name = [&b"\x05\x01\x00\x03\x05h.org"[..], &[1, 187]].concat();
        assert_eq!(wanted(socks_request(&name)), Some(("h.org".into(), 443, String::new())));
        assert_eq!(wanted(socks_request(b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50")).expect("whole").0, "127.0.0.1");
        assert_eq!(socks_greeting(b"\x05\x02\x02\x00"), Parsed::Whole(true, 4));
    }

    #[test]
    fn what_contradicts_itself_is_bad() {
        for bad in [
            "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
            "GET https://h/ HTTP/1.1\r\n\r\n",
            "CONNECT h HTTP/1.1\r\n\r\n",
            "CONNECT h:0 HTTP/1.1\r\n\r\n",
            "CONNECT u@h:443 HTTP/1.1\r\n\r\n",
            "CONNECT ::1:443 HTTP/1.1\r\n\r\n",
            "GET http://allowed/ HTTP/1.1\r\nHost: other\r\n\r\n",
            "GET http://h/ HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
            "POST http://h/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST http://h/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "\0\r\n\r\n",
        ] {
            assert!(matches!(http(bad.as_bytes()), Parsed::Bad(_)), "{bad:?}: {:?}", http(bad.as_bytes()));
        }
        assert!(matches!(socks_request(b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x50"), Parsed::Bad(_)));
        assert!(matches!(socks_greeting(b"\x04\x01"), Parsed::Bad(_)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = http(&bytes);
            let _ = socks_greeting(&bytes);
            let _ = socks_request(&bytes);
            let _ = socks_request(&[&[5, 1, 0, 3], &bytes[..]].concat());
        }

        #[test]
        fn a_part_of_a_request_is_never_taken_for_a_whole_one(
            host in "[a-z]{1,20}(\\.[a-z]{1,10}){0,3}", port in 1u16.., cut in any::<prop::sample::Index>()
        ) {
            let whole = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            let part = &whole.as_bytes()[..cut.index(whole.len())];
            prop_assert_eq!(http(part), Parsed::More);
            prop_assert_eq!(wanted(http(whole.as_bytes())), Some((host.clone(), port, String::new())));
            let mut socks = vec![5, 1, 0, 3, u8::try_from(host.len()).expect("short")];
            socks.extend(host.bytes().chain(port.to_be_bytes()));
            prop_assert_eq!(socks_request(&socks[..cut.index(socks.len())]), Parsed::More);
            prop_assert_eq!(wanted(socks_request(&socks)), Some((host, port, String::new())));
        }
    }
}
