//! Finds stuck sockets on this host, and fills the core's [`tcpclose_core::stuck`] with them: in
//! scans of the whole host ([`Scanner`]) and in probes of single sockets ([`StuckProber`]). Neither
//! traces anything.

mod agent_answers;
mod collect;
mod destroyer;
mod evidence;
mod holders;
mod listeners;
mod mptcp;
mod observe;
mod preference;
mod prober;
mod scanner;
mod state_exits;
mod unreachable;

pub use collect::ScannedSockets;
pub(crate) use destroyer::{DestroyOutcome, SocketDestroyer};
pub use evidence::EvidenceScope;
pub use prober::StuckProber;
pub use scanner::{ScanOptions, Scanner};
pub use state_exits::StateExits;
