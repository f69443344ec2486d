//! What the scenarios stand on.

pub mod capture;
pub mod families;
pub mod firewall;
pub mod helper;
pub mod lab;
pub mod minisockets;
pub mod pair;
pub mod program;
pub mod record;
pub mod requirements;
pub mod routed;
pub mod segment;
pub mod sock_diag;
pub mod sockets;
pub mod time_wait;
pub mod timeouts;
pub mod tshark;
pub mod watch;
pub mod wire;
