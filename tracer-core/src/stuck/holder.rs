//! Who holds a socket.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Forecast;
use crate::process::Process;
use crate::types::Nanos;

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id, in the pid namespace of whoever looked.
    pub pid: u32,
    /// Its name: any bytes but NUL. Escape it before it is shown.
    pub comm: Box<[u8]>,
    /// Its descriptors of the socket, at least one; where the socket was not accepted, of the one that listens.
    pub fds: Vec<u32>,
}

/// Why it is not known whose a leak is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OwnerUnknown {
    /// No process holds it, and all were looked into: its process is exiting, a socket of the kernel's own, a descriptor on its way between two
    /// processes, or one that only io_uring holds.
    NoHolder,
    /// Not every process could be looked into, or seen.
    NotInspectable,
    /// Whoever looked did not tell which of the two.
    NotTold,
}

impl OwnerUnknown {
    /// The word of the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoHolder => "no_holder",
            Self::NotInspectable => "not_inspectable",
            Self::NotTold => "not_told",
        }
    }
}

/// The process that a leak is laid to.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerProcess {
    /// When it was so.
    pub as_of: Nanos,
    /// What is known of it.
    pub process: Arc<Process>,
    /// How many of its sockets are stuck.
    pub stuck: usize,
    /// How that grows, once it was looked at often enough.
    pub forecast: Option<Forecast>,
}
