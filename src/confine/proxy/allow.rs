//! What may be reached: exact hosts with their ports, and which addresses a name may stand for.
//!
//! Decision file: a name on the list that resolves to this machine, a private network or a cloud's metadata service is
//! refused all the same, unless that very address is listed: names are made by whoever owns their zone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::HostPort;

/// The hosts and ports that may be reached; an empty list allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    entries: Vec<HostPort>,
}

impl AllowList {
    /// A list of these.
    pub fn new(entries: &[HostPort]) -> AllowList {
        let entry = |entry: &HostPort| HostPort { host: canonical(&entry.host), port: entry.port };
        AllowList { entries: entries.iter().map(entry).collect() }
    }

    /// True when a host is listed with this port. A leading `*.` stands for one or more labels.
    pub fn permits(&self, host: &str, port: u16) -> bool {
        let host = canonical(host);
        let matches = |entry: &HostPort| match entry.host.strip_prefix("*.") {
            // An address has no labels that anybody could own.
            Some(zone) => {
                host.parse::<IpAddr>().is_err()
                    && host.strip_suffix(zone).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
            }
            None => entry.host == host,
        };
        host.is_ascii() && self.entries.iter().any(|entry| entry.port == port && matches(entry))
    }

    /// True when a permitted host may stand for this address: a public one, or one that the list names itself.
    pub fn permits_address(&self, host: &str, address: IpAddr, port: u16) -> bool {
        let literal = |entry: &HostPort| entry.host.parse() == Ok(address) && entry.port == port;
        let loopback_by_name = canonical(host) == "localhost" && address.is_loopback();
        is_public(address) || loopback_by_name || self.entries.iter().any(literal)
    }

    /// The addresses of this machine's loopback interface that are listed with a port.
    pub fn loopback_addresses(&self, port: u16) -> Vec<IpAddr> {
        let both = || vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        let of = |entry: &HostPort| match entry.host.as_str() {
            "localhost" => both(),
            host => host.parse().into_iter().filter(IpAddr::is_loopback).collect(),
        };
        self.entries.iter().filter(|entry| entry.port == port).flat_map(of).collect()
    }

    /// Ports of this machine's loopback interface that are listed.
    pub fn loopback_ports(&self) -> Vec<u16> {
        let loopback = |entry: &&HostPort| {
            entry.host == "localhost" || entry.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        let mut ports: Vec<u16> = self.entries.iter().filter(loopback).map(|entry| entry.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }
}

/// Lower case, without the dot that ends a full name.
fn canonical(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// True for an address of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

/// Only what is handed out as global unicast, and none of the forms that carry another address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, ..] = segments;
    let global = (0x2000..0x4000).contains(&first);
    let teredo_and_special = first == 0x2001 && second < 0x200;
    let documentation = (first == 0x2001 && second == 0xdb8) || first == 0x3fff;
    let six_to_four = first == 0x2002;
    global && !teredo_and_special && !documentation && !six_to_four
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> AllowList {
        let entries: Vec<HostPort> = entries.iter().map(|entry| entry.parse().expect("an entry")).collect();
        AllowList::new(&entries)
    }

    #[test]
    fn hosts_are_exact_unless_a_wildcard_is_written() {
        let allow = list(&["api.example.com:443", "*.zone.org:80", "10.0.0.7:5432", "[::1]:99"]);
        for (host, port) in [
            ("api.example.com", 443),
            ("API.Example.COM.", 443),
            ("a.zone.org", 80),
            ("b.a.zone.org", 80),
            ("10.0.0.7", 5432),
            ("::1", 99),
        ] {
            assert!(allow.permits(host, port), "{host}:{port}");
        }
        for (host, port) in [
            ("api.example.com", 80),
            ("example.com", 443),
            ("xapi.example.com", 443),
            ("api.example.com.evil.org", 443),
            ("zone.org", 80),
            ("evilzone.org", 80),
            (".zone.org", 80),
            ("10.0.0.8", 5432),
            ("api.example.c\u{43e}m", 443),
            ("", 443),
        ] {
            assert!(!allow.permits(host, port), "{host}:{port}");
        }
        assert!(!AllowList::default().permits("localhost", 1));
    }

    #[test]
    fn only_public_addresses_unless_listed_themselves() {
        for refused in [
            "127.0.0.1",
            "127.8.8.8",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "192.0.0.8",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
        ] {
            assert!(!is_public(refused.parse().expect("an address")), "{refused}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
        let allow = list(&["db.internal:5432", "10.0.0.7:5432", "localhost:8080"]);
        let permits =
            |host: &str, address: &str, port| allow.permits_address(host, address.parse().expect("an address"), port);
        assert!(permits("db.internal", "10.0.0.7", 5432));
        assert!(!permits("db.internal", "10.0.0.8", 5432));
        assert!(!permits("db.internal", "10.0.0.7", 80));
        assert!(permits("localhost", "127.0.0.1", 8080));
        assert!(!permits("db.internal", "127.0.0.1", 8080));
        assert_eq!(allow.loopback_ports(), [8080]);
    }
}
