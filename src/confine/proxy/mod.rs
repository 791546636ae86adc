//! The network proxy of a sandbox: the only way out of an empty network namespace, to listed hosts and ports alone.
//!
//! pid 1 listens inside and hands the listener out; the shim serves it here. HTTP CONNECT, plain HTTP in absolute form and
//! SOCKS5 on one port. Names are resolved here, and what they resolve to is judged before anything is connected.

mod allow;
mod connection;
mod ledger;
pub mod request;
mod serve;

pub use allow::AllowList;
pub use ledger::{Ledger, Line};
pub use serve::{environment, forward, serve};
