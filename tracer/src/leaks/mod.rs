//! A look at the whole host: every namespace's sockets in CLOSE_WAIT, and who holds those that are stuck. Joins the doors
//! to the kernel and the host with the core's [`tcpclose_core::leak`]; nothing is traced.

mod ask;
pub(crate) mod blind;
mod held;
mod in_use;
mod listeners;
mod look;
mod report;
mod tables;
mod walk;
mod witness;

pub use ask::Asker;
pub use blind::Blind;
pub use held::Held;
pub use look::{Looker, Resolved, Wanted};
pub use report::{Owner, Report};
pub use witness::{Testimony, Witness};
