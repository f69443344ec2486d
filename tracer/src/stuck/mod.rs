//! Finds stuck sockets on this host, and fills the core's [`tcpclose_core::stuck`] with them: in scans of the whole host
//! ([`Scanner`]) and in probes of single sockets ([`Prober`]). Neither traces anything.

mod close_wait_tracer;
mod collect;
mod holders;
mod listeners;
mod observe;
mod prober;
mod scanner;
mod sockstat;
mod task_file_iter;

pub use close_wait_tracer::{CloseWaitHistory, CloseWaitTracer};
pub use prober::Prober;
pub use scanner::{ScanOptions, Scanner};
