//! Why the holders of a stuck socket do nothing with it: what /proc shows of them, and the rules
//! that make findings of it. Nothing is concluded that this does not prove; what was not read is
//! unknown.

mod duplicate;
mod epoll;
mod holder;
mod next_command;
mod process;
mod runtime;
mod threads;

pub use duplicate::{Duplicate, HolderOrigin};
pub use epoll::{EpollEvents, EpollFinding, EpollRegistration, EpollSet};
pub use holder::{DueEvent, HolderEvidence};
pub use process::{ProcessCondition, ProcessEvidence};
pub use runtime::Runtime;
pub use threads::{SystemCall, ThreadActivity, ThreadEvidence, ThreadsFinding};
