//! What is known of one holder of a stuck socket.

use std::sync::Arc;

use super::duplicate::Duplicate;
use super::epoll::{EpollFinding, EpollRegistration};
use super::process::ProcessEvidence;
use super::threads::{SystemCall, ThreadEvidence};
use crate::stuck::verdict::Verdict;

/// The event that the kernel has reported of a stuck socket, or would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueEvent {
    /// The peer's FIN, and maybe bytes.
    EndOfStream,
    /// A connection that can be accepted, of the listening socket.
    Connection,
    /// None: the socket waits for its peer.
    Nothing,
}

impl DueEvent {
    /// Returns the event of a socket with this verdict.
    #[must_use]
    pub const fn from_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::NotAccepted => Self::Connection,
            Verdict::EofUnread | Verdict::EofRead | Verdict::NotClosed => Self::EndOfStream,
            Verdict::HalfClosed
            | Verdict::Unanswered
            | Verdict::PeerNotReading
            | Verdict::Silent
            | Verdict::StillSending
            | Verdict::StillReceiving => Self::Nothing,
        }
    }
}

/// What is known of one process that holds a stuck socket, or the listening socket in whose queue
/// it waits.
#[derive(Clone, Debug, PartialEq)]
pub struct HolderEvidence {
    /// The process's id in the tracer's namespace.
    pub pid: u32,
    /// What its epoll sets do with the socket; `None` where they could not be read.
    pub epoll: Option<EpollFinding>,
    /// The socket in these sets.
    pub registrations: Vec<EpollRegistration>,
    /// How it came to the socket, where it cannot have opened it.
    pub duplicate: Option<Duplicate>,
    /// Its descriptors of the socket; empty where they are in the table of a single thread.
    pub fds: Box<[u32]>,
    /// The process itself, shared by all of its sockets.
    pub process: Arc<ProcessEvidence>,
}

impl HolderEvidence {
    /// Returns the threads that sleep in a system call on the socket.
    pub fn threads_on_socket(&self) -> impl Iterator<Item = (&ThreadEvidence, SystemCall)> {
        self.process.threads.iter().flatten().filter_map(|thread| {
            let call = thread.slept_in()?;
            let is_on_it = call.fd.is_some_and(|fd| self.fds.contains(&fd));
            is_on_it.then_some((thread, call))
        })
    }
}
