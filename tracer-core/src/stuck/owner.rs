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
    /// The thread whose own table of descriptors these are in (`unshare(CLONE_FILES)`); `None`
    /// where they are in the table that the process's threads share.
    pub thread: Option<u32>,
}

/// Which processes were searched for holders.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HolderCoverage {
    /// That is not known: recordings did not hold it before format 4.
    #[default]
    Unrecorded,
    /// The descriptors of every process were looked at.
    All,
    /// Every process but these.
    AllBut(Vec<u32>),
    /// Not every one: /proc hides some, or too many could not be inspected.
    Partial,
}

impl HolderCoverage {
    /// Returns whether a process may hold a socket that it was not found to hold.
    #[must_use]
    pub fn may_have_missed(&self, pid: u32) -> bool {
        match self {
            Self::All => false,
            Self::AllBut(pids) => pids.contains(&pid),
            Self::Partial | Self::Unrecorded => true,
        }
    }

    /// Returns why the owner of a socket is unknown for which no holder was found.
    #[must_use]
    pub const fn owner_unknown(&self) -> OwnerUnknown {
        match self {
            Self::All => OwnerUnknown::NoHolder,
            Self::AllBut(_) | Self::Partial => OwnerUnknown::NotInspectable,
            Self::Unrecorded => OwnerUnknown::Unspecified,
        }
    }
}

/// Why the owner of a stuck socket is not known.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum OwnerUnknown {
    /// No process has a descriptor of it, and all could be inspected. Something else keeps it: a
    /// system call that close() did not end, io_uring, a mapping, a message that carries its
    /// descriptor; or its process is exiting, or it is a socket of the kernel's own.
    NoHolder,
    /// Not every process could be inspected, or seen.
    NotInspectable,
    /// Its process has closed it: the kernel alone keeps it, until the close is over.
    Closed,
    /// It may be either of the first two: the recording does not distinguish them.
    #[strum(serialize = "not_told")]
    Unspecified,
}

impl OwnerUnknown {
    /// Returns a sentence about a socket, or about the listening socket in whose queue it waits.
    #[must_use]
    pub const fn explain(self, is_accepted: bool) -> &'static str {
        match (self, is_accepted) {
            (Self::NoHolder, true) => {
                "no process has a descriptor of it: io_uring, a mapping, a message in flight, a system call that close() \
                 did not end or the kernel itself may keep it, or its process is exiting"
            }
            (Self::NoHolder, false) => {
                "no process has a descriptor of the listening socket: io_uring or a message in flight may keep it, or \
                 its process is exiting"
            }
            (Self::NotInspectable, _) => {
                "no holder was found, but not every process could be inspected"
            }
            (Self::Closed, _) => {
                "its process has closed it: the kernel alone keeps it until the close is over"
            }
            (Self::Unspecified, _) => "no holder was found when it was recorded",
        }
    }
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
    pub(crate) fn nears_fd_limit(&self) -> bool {
        let foreseen = self.forecast.and_then(|forecast| forecast.exhausted_in);
        self.process.fds_left() == Some(0) || foreseen.is_some()
    }
}
