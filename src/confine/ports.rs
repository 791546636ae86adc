//! Which ports of the loopback interface inside a sandbox are served from outside.
//! Decision file: what a network that was asked for means for the sandbox.

use crate::model::Network;

/// Where the proxy listens inside.
pub const PROXY: u16 = 3128;

/// The ports that pid 1 listens on and hands out.
pub fn of(network: &Network) -> Vec<u16> {
    match network {
        Network::None | Network::Full => Vec::new(),
        Network::Hosts(_) => vec![PROXY],
    }
}
