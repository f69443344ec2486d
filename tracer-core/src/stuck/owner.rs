//! Who holds a stuck socket, and which process it belongs to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::trend::Forecast;
use crate::process::Process;
use crate::types::Nanos;

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id, in the pid namespace of the prober.
    pub pid: u32,
    /// Its name: any bytes but NUL. Escape it before it is shown.
    pub comm: Box<[u8]>,
    /// Its descriptors of the socket, at least one; where the socket was not accepted, of the one
    /// that listens.
    pub fds: Vec<u32>,
}

/// Why the owner of a stuck socket is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum OwnerUnknown {
    /// No process holds it, and all could be inspected: its process is exiting, it is a socket of
    /// the kernel's own, its descriptor is on its way between two processes, or only io_uring holds
    /// it.
    NoHolder,
    /// Not every process could be inspected, or seen.
    NotInspectable,
    /// It may be either of these: probes do not distinguish them.
    #[strum(serialize = "not_told")]
    Unspecified,
}

/// The process that a stuck socket belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnerProcess {
    /// When this was known.
    pub as_of: Nanos,
    /// What /proc shows of it.
    pub process: Arc<Process>,
    /// How many of its sockets are stuck.
    pub stuck: usize,
    /// How that number grows, once it was counted often enough.
    pub forecast: Option<Forecast>,
}

impl OwnerProcess {
    /// A process whose stuck sockets are still to be counted.
    #[must_use]
    pub const fn new(process: Arc<Process>, as_of: Nanos) -> Self {
        Self {
            as_of,
            process,
            stuck: 0,
            forecast: None,
        }
    }

    /// Returns whether its descriptors are used up, or will be.
    pub(crate) fn runs_out(&self) -> bool {
        let foreseen = self.forecast.and_then(|forecast| forecast.exhausted_in);
        self.process.room() == Some(0) || foreseen.is_some()
    }
}
