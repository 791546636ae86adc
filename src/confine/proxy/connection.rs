//! One connection of a client: its request is read, judged, answered, and then bytes pass both ways until both are done.
//! Every wait has a deadline until the connection stands.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::allow::AllowList;
use super::request::{HEAD_MAX, Parsed, Wanted, http, socks_greeting, socks_request};

/// How long a client may take to say what it wants.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// How long one address may take to answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// How names become addresses.
pub trait Resolve {
    /// The addresses of a name.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// By the system, outside the sandbox.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Resolve for System {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.map(|address| address.ip()).collect())
    }
}

/// What became of a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it wanted to go.
    pub host: String,
    /// And to which port.
    pub port: u16,
    /// It was let through.
    pub allowed: bool,
    /// Bytes to there and from there.
    pub bytes: (u64, u64),
}

enum Speaks {
    Http,
    Socks,
}

/// Serves one client; `None` when it never said what it wanted.
pub async fn serve(mut client: TcpStream, allow: &AllowList, resolver: &impl Resolve) -> io::Result<Option<Outcome>> {
    let asked = timeout(HEAD_DEADLINE, ask(&mut client)).await;
    let (speaks, wanted, early) = match asked {
        Ok(Ok(Some(asked))) => asked,
        Ok(Ok(None)) | Err(_) => return Ok(None),
        Ok(Err(error)) => return Err(error),
    };
    let Wanted { host, port, head, tunnel } = wanted;
    let outcome = |allowed, bytes| Some(Outcome { host: host.clone(), port, allowed, bytes });
    if !allow.permits(&host, port) {
        refuse(&mut client, &speaks, 403, 2, &format!("{host}:{port} is not in the `net` list of this task")).await?;
        return Ok(outcome(false, (0, 0)));
    }
    let mut server = match connect(&host, port, allow, resolver).await {
        Ok(Some(server)) => server,
        Ok(None) => {
            let why = format!("{host} stands for an address that is not public, and that address is not listed");
            refuse(&mut client, &speaks, 403, 2, &why).await?;
            return Ok(outcome(false, (0, 0)));
        }
        Err(error) => {
            refuse(&mut client, &speaks, 502, 4, &format!("cannot reach {host}:{port}: {error}")).await?;
            return Ok(outcome(true, (0, 0)));
        }
    };
    match speaks {
        Speaks::Socks => client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?,
        Speaks::Http if tunnel => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
        Speaks::Http => {}
    }
    server.write_all(&head).await?;
    server.write_all(&early).await?;
    // A side that breaks off in the middle is not our error.
    let (sent, received) = copy_bidirectional(&mut client, &mut server).await.unwrap_or((0, 0));
    let sent = sent.saturating_add((head.len() + early.len()) as u64);
    Ok(outcome(true, (sent, received)))
}

/// Reads what the client wants, with what it sent after that already.
async fn ask(client: &mut TcpStream) -> io::Result<Option<(Speaks, Wanted, Vec<u8>)>> {
    let mut read = Vec::new();
    if client.read_buf(&mut read).await? == 0 {
        return Ok(None);
    }
    if read.first() != Some(&5) {
        let wanted = until(client, &mut read, http).await?;
        let Some(wanted) = wanted else {
            refuse(client, &Speaks::Http, 400, 1, "this is not what a proxy can be asked for").await?;
            return Ok(None);
        };
        return Ok(Some((Speaks::Http, wanted, read)));
    }
    if until(client, &mut read, socks_greeting).await? != Some(true) {
        client.write_all(&[5, 0xff]).await?;
        return Ok(None);
    }
    client.write_all(&[5, 0]).await?;
    match until(client, &mut read, socks_request).await? {
        Some(wanted) => Ok(Some((Speaks::Socks, wanted, read))),
        None => {
            refuse(client, &Speaks::Socks, 400, 7, "").await?;
            Ok(None)
        }
    }
}

/// Reads until a parser has what it wants, and takes that off; `None` when it never will.
async fn until<T>(
    client: &mut TcpStream,
    read: &mut Vec<u8>,
    parse: impl Fn(&[u8]) -> Parsed<T>,
) -> io::Result<Option<T>> {
    loop {
        match parse(read) {
            Parsed::Whole(found, length) => {
                read.drain(..length);
                return Ok(Some(found));
            }
            Parsed::Bad(_) => return Ok(None),
            Parsed::More if read.len() > HEAD_MAX => return Ok(None),
            Parsed::More => {
                if client.read_buf(read).await? == 0 {
                    return Ok(None);
                }
            }
        }
    }
}

/// Connects to the first address that is permitted and answers; `None` when none is permitted. What is connected is exactly
/// what was judged: nothing is looked up a second time.
async fn connect(host: &str, port: u16, allow: &AllowList, resolver: &impl Resolve) -> io::Result<Option<TcpStream>> {
    let addresses = match host.parse() {
        Ok(literal) => vec![literal],
        Err(_) => timeout(CONNECT_DEADLINE, resolver.resolve(host, port)).await??,
    };
    let permitted: Vec<IpAddr> =
        addresses.into_iter().filter(|address| allow.permits_address(host, *address, port)).collect();
    let mut last = None;
    for address in permitted {
        match timeout(CONNECT_DEADLINE, TcpStream::connect(SocketAddr::new(address, port))).await {
            Ok(Ok(stream)) => return Ok(Some(stream)),
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    last.map_or(Ok(None), Err)
}

async fn refuse(client: &mut TcpStream, speaks: &Speaks, status: u16, socks: u8, why: &str) -> io::Result<()> {
    match speaks {
        Speaks::Socks => client.write_all(&[5, socks, 0, 1, 0, 0, 0, 0, 0, 0]).await?,
        Speaks::Http => {
            let name = match status {
                400 => "Bad Request",
                403 => "Forbidden",
                _ => "Bad Gateway",
            };
            let body = format!("treehand: {why}\n");
            let head = format!(
                "HTTP/1.1 {status} {name}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            client.write_all(format!("{head}{body}").as_bytes()).await?;
        }
    }
    client.shutdown().await
}
