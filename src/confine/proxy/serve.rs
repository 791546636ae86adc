//! The accept loops: of the proxy's port, and of listed loopback ports that are forwarded as they are.
//! At most so many connections at once; who comes later waits in the kernel's queue.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::allow::AllowList;
use super::connection::{self, Outcome, Resolve, System};
use super::ledger::Ledger;
use crate::confine::ports::PROXY;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 256;

/// Serves the proxy's port until it is dropped.
pub async fn serve(listener: StdListener, allow: AllowList, ledger: Arc<Mutex<Ledger>>) -> io::Result<()> {
    serve_with(listener, allow, ledger, System).await
}

pub(super) async fn serve_with(
    listener: StdListener,
    allow: AllowList,
    ledger: Arc<Mutex<Ledger>>,
    resolver: impl Resolve + Clone + Send + Sync + 'static,
) -> io::Result<()> {
    let allow = Arc::new(allow);
    accept(listener, ledger, move |client| {
        let (allow, resolver) = (Arc::clone(&allow), resolver.clone());
        async move { connection::serve(client, &allow, &resolver).await.ok().flatten() }
    })
    .await
}

/// Passes every connection on to the same port of this machine's loopback interface, to an address of it that is listed,
/// until it is dropped.
pub async fn forward(listener: StdListener, allow: AllowList, port: u16, ledger: Arc<Mutex<Ledger>>) -> io::Result<()> {
    let places: Arc<[SocketAddr]> = allow.loopback_addresses(port).into_iter().map(|to| (to, port).into()).collect();
    accept(listener, ledger, move |mut client: TcpStream| {
        let places = Arc::clone(&places);
        async move {
            let mut server = TcpStream::connect(&places[..]).await.ok()?;
            let host = server.peer_addr().ok()?.ip().to_string();
            let bytes = copy_bidirectional(&mut client, &mut server).await.unwrap_or((0, 0));
            Some(Outcome { host, port, allowed: true, bytes })
        }
    })
    .await
}

async fn accept<F>(
    listener: StdListener,
    ledger: Arc<Mutex<Ledger>>,
    serve: impl Fn(TcpStream) -> F + Clone,
) -> io::Result<()>
where
    F: Future<Output = Option<Outcome>> + Send + 'static,
{
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this future, and with it every connection.
    let mut at_work = JoinSet::new();
    loop {
        while at_work.try_join_next().is_some() {}
        let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            // One that was gone before it was taken, or no descriptor left for the moment.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        let (work, ledger) = (serve.clone()(client), Arc::clone(&ledger));
        at_work.spawn(async move {
            if let Some(Outcome { host, port, allowed, bytes }) = work.await {
                ledger.lock().unwrap_or_else(PoisonError::into_inner).count(&host, port, allowed, bytes);
            }
            drop(place);
        });
    }
}

/// The variables that lead programs to the proxy; what is on the loopback interface inside stays there. SOCKS is spoken with those who
/// ask for it by themselves: many that are told of it, as those that use Python's httpx, cannot, and then do without any network.
pub fn environment() -> Vec<(String, String)> {
    let http = format!("http://127.0.0.1:{PROXY}");
    let both = |name: &str| [(name.to_owned(), http.clone()), (name.to_lowercase(), http.clone())];
    let inside = "localhost,127.0.0.1,::1".to_owned();
    let none = [("NO_PROXY".to_owned(), inside.clone()), ("no_proxy".to_owned(), inside)];
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].into_iter().flat_map(both).chain(none).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostPort;
    use std::net::IpAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[derive(Clone)]
    struct Answers(Vec<IpAddr>);

    impl Resolve for Answers {
        async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    /// Says `request` to a proxy with this list and these answers of the resolver; the whole answer, and the account.
    fn ask(allow: &[String], answers: &[&str], requests: &[&[u8]]) -> (Vec<u8>, Ledger) {
        let entries: Vec<HostPort> = allow.iter().map(|entry| entry.parse().expect("an entry")).collect();
        let answers = Answers(answers.iter().map(|answer| answer.parse().expect("an address")).collect());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = StdListener::bind("127.0.0.1:0").expect("bound");
            let address = listener.local_addr().expect("an address");
            let ledger = Arc::new(Mutex::new(Ledger::default()));
            let serving = tokio::spawn(serve_with(listener, AllowList::new(&entries), Arc::clone(&ledger), answers));
            let mut client = TcpStream::connect(address).await.expect("connected");
            for request in requests {
                client.write_all(request).await.expect("written");
            }
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("read");
            drop(client);
            // The line is written when the connection is over.
            while ledger.lock().expect("whole").lines().is_empty() && answer.first() != Some(&b'x') {
                if answer.starts_with(b"HTTP/1.1 400") {
                    break;
                }
                tokio::task::yield_now().await;
            }
            serving.abort();
            let ledger = ledger.lock().expect("whole").clone();
            (answer, ledger)
        })
    }

    /// A server that says `hello` to everyone and hangs up; the answer of `peer` is what it was told.
    fn server() -> (u16, std::thread::JoinHandle<Vec<u8>>) {
        let listener = StdListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let heard = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut peer, _) = listener.accept().expect("accepted");
            let mut told = vec![0; 4096];
            let read = peer.read(&mut told).expect("read");
            told.truncate(read);
            peer.write_all(b"hello").expect("written");
            told
        });
        (port, heard)
    }

    #[test]
    fn mini_swe_agent_could_not_be_led_by_socks() {
        let all = environment();
        assert_eq!(all.len(), 8);
        let led = all.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("NO_PROXY"));
        assert!(led.into_iter().all(|(_, address)| address == "http://127.0.0.1:3128"), "{all:?}");
    }

    #[test]
    fn a_listed_host_is_reached_in_all_three_ways() {
        let loopback = |port: u16| vec![format!("allowed.test:{port}"), format!("127.0.0.1:{port}")];
        let (port, heard) = server();
        let connect = format!("CONNECT allowed.test:{port} HTTP/1.1\r\n\r\n");
        let (answer, ledger) = ask(&loopback(port), &["127.0.0.1"], &[connect.as_bytes(), b"ping"]);
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"hello"), "{answer:?}");
        assert_eq!(heard.join().expect("heard"), b"ping");
        let line = &ledger.lines()[0];
        assert_eq!((line.host.as_str(), line.allowed, line.sent, line.received), ("allowed.test", true, 4, 5));

        let (port, heard) = server();
        let plain = format!("GET http://allowed.test:{port}/x HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n");
        let (answer, _) = ask(&loopback(port), &["127.0.0.1"], &[plain.as_bytes()]);
        assert_eq!(answer, b"hello");
        assert!(heard.join().expect("heard").starts_with(b"GET /x HTTP/1.1\r\n"));

        let (port, heard) = server();
        let socks = [&b"\x05\x01\x00\x05\x01\x00\x03\x0callowed.test"[..], &port.to_be_bytes(), b"ping"].concat();
        let (answer, _) = ask(&loopback(port), &["127.0.0.1"], &[&socks]);
        assert!(answer.starts_with(&[5, 0, 5, 0, 0, 1]) && answer.ends_with(b"hello"), "{answer:?}");
        assert_eq!(heard.join().expect("heard"), b"ping");
    }

    #[test]
    fn a_forwarded_port_leads_to_the_listed_address_and_to_no_other() {
        let (port, heard) = server();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let say = |entry: String| {
            let allow = AllowList::new(&[entry.parse().expect("an entry")]);
            let ledger = Arc::new(Mutex::new(Ledger::default()));
            runtime.block_on(async {
                let listener = StdListener::bind("127.0.0.1:0").expect("bound");
                let address = listener.local_addr().expect("an address");
                let serving = tokio::spawn(forward(listener, allow, port, ledger));
                let mut client = TcpStream::connect(address).await.expect("connected");
                let _refused = client.write_all(b"ping").await;
                let mut answer = Vec::new();
                let _refused = client.read_to_end(&mut answer).await;
                serving.abort();
                answer
            })
        };
        assert_eq!(say(format!("[::1]:{port}")), b"", "nobody listens there");
        assert_eq!(say(format!("127.0.0.2:{port}")), b"");
        assert_eq!(say(format!("127.0.0.1:{port}")), b"hello");
        assert_eq!(heard.join().expect("heard"), b"ping");
    }

    #[test]
    fn what_is_not_listed_is_never_dialled() {
        let listener = StdListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("set");
        let allow = [format!("allowed.test:{port}")];
        let cases: [(String, &str); 4] = [
            (format!("CONNECT other.test:{port} HTTP/1.1\r\n\r\n"), "127.0.0.1"),
            (format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n"), "127.0.0.1"),
            (format!("CONNECT allowed.test:{port} HTTP/1.1\r\n\r\n"), "127.0.0.1"),
            (format!("CONNECT allowed.test:{port} HTTP/1.1\r\n\r\n"), "::ffff:127.0.0.1"),
        ];
        for (request, answer) in cases {
            let (answer, ledger) = ask(&allow, &[answer], &[request.as_bytes()]);
            assert!(answer.starts_with(b"HTTP/1.1 403"), "{request}: {}", String::from_utf8_lossy(&answer));
            assert!(!ledger.lines()[0].allowed);
        }
        let socks = [&b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01"[..], &port.to_be_bytes()].concat();
        let (answer, _) = ask(&allow, &[], &[&socks]);
        assert_eq!(answer[2..4], [5, 2], "not allowed by the rules");
        let (answer, _) = ask(&allow, &[], &[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]);
        assert!(answer.starts_with(b"HTTP/1.1 400"));
        assert!(listener.accept().is_err(), "nobody came");
    }
}
