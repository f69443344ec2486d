//! A look at the whole host: every namespace's sockets in CLOSE_WAIT, and who holds those that are stuck. Joins the doors
//! to the kernel and the host with the core's [`tcpclose_core::stuck`]; nothing is traced.

mod close_wait_tracer;
mod collect;
pub(crate) mod coverage;
mod holders;
mod listeners;
mod probe;
mod report;
mod scanner;
mod sockstat;
mod task_file_iter;

pub use close_wait_tracer::{CloseWaitHistory, CloseWaitTracer};
pub use coverage::CoverageGap;
pub use holders::SocketHolders;
pub use probe::Prober;
pub use report::{Owner, Report};
pub use scanner::{Resolved, Scanner, Wanted};
