//! Finds stuck sockets on this host, and fills the core's [`tcpclose_core::stuck`] with them: in
//! scans of the whole host ([`Scanner`]) and in probes of single sockets ([`Prober`]). Neither
//! traces anything.

mod collect;
mod departures;
mod holders;
mod listeners;
mod observe;
mod prober;
mod scanner;
mod sockstat;
mod task_file_iter;

pub use collect::Collected;
pub use departures::Departures;
pub use prober::Prober;
pub use scanner::{ScanOptions, Scanner};
