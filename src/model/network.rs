//! What of the network a command may reach, as it is written: `none`, `full`, or hosts with their ports.
//! Says what was asked for; whether anything enforces it is a matter of the level of confinement.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What of the network a command may reach.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// Everything that the user can reach.
    Full,
    /// These hosts.
    Hosts(Vec<HostPort>),
}

/// A host and a port: `api.example.com:443`, `[::1]:80`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// The name or address, without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

/// A text that is no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it must be `none`, `full` or hosts with ports like `api.example.com:443`")]
pub struct NetworkError;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    List(Vec<String>),
}

impl TryFrom<Written> for Network {
    type Error = NetworkError;
    fn try_from(written: Written) -> Result<Self, NetworkError> {
        match written {
            Written::Word(word) => word.parse(),
            Written::List(items) => Network::hosts(items.iter().map(String::as_str)),
        }
    }
}

impl From<Network> for Written {
    fn from(network: Network) -> Written {
        match network {
            Network::None => Written::Word("none".into()),
            Network::Full => Written::Word("full".into()),
            Network::Hosts(hosts) => Written::List(hosts.iter().map(ToString::to_string).collect()),
        }
    }
}

impl Network {
    /// The network of these hosts, each with its port.
    pub fn hosts<'t>(items: impl Iterator<Item = &'t str>) -> Result<Self, NetworkError> {
        Ok(Network::Hosts(items.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text {
            "none" => Ok(Network::None),
            "full" => Ok(Network::Full),
            hosts => Network::hosts(hosts.split(',').map(str::trim)),
        }
    }
}

impl FromStr for HostPort {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (host, port) = text.rsplit_once(':').ok_or(NetworkError)?;
        let (inner, bracketed) = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(inner) => (inner, true),
            None => (host, false),
        };
        let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | '@' | '[' | ']' | ',');
        let host_fits = !inner.is_empty() && !inner.contains(odd) && inner.contains(':') == bracketed;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| *port > 0 && digits && host_fits).ok_or(NetworkError)?;
        Ok(HostPort { host: inner.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for good in ["api.openai.com:443", "[::1]:80", "localhost:65535"] {
            assert_eq!(good.parse::<HostPort>().map(|host| host.to_string()), Ok(good.to_owned()));
        }
        let bad =
            ["", "host", ":443", "host:", "host:0", "host:65536", "host:+1", "a b:1", "https://x:1", "::1:80", "[x]:1"];
        for bad in bad {
            assert_eq!(bad.parse::<HostPort>(), Err(NetworkError), "{bad}");
        }
    }

    #[test]
    fn a_network_reads_back_as_it_was_written() {
        for text in ["\"none\"", "\"full\"", "[\"a.b:443\",\"[::1]:80\"]"] {
            let network: Network = serde_json::from_str(text).expect("a network");
            assert_eq!(serde_json::to_string(&network).expect("JSON"), text);
        }
        assert_eq!("a.b:443, c:1".parse::<Network>(), Network::hosts(["a.b:443", "c:1"].into_iter()));
        assert!("all".parse::<Network>().is_err());
    }
}
