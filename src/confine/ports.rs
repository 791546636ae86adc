//! Which ports of the loopback interface inside a sandbox are served from outside.
//! Decision file: what a network that was asked for means for the sandbox.

use super::proxy::AllowList;
use crate::model::Network;

/// Where the proxy listens inside.
pub const PROXY: u16 = 3128;

/// The ports that pid 1 listens on and hands out.
pub fn of(network: &Network) -> Vec<u16> {
    match network {
        Network::None | Network::Full => Vec::new(),
        Network::Hosts(hosts) => {
            let loopback = AllowList::new(hosts).loopback_ports();
            std::iter::once(PROXY).chain(loopback.into_iter().filter(|port| *port != PROXY)).collect()
        }
    }
}
