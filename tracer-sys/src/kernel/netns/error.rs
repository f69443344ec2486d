//! Why a network namespace could not be found or entered.

use std::io;
use std::path::PathBuf;

use tcpclose_core::types::NetNs;

/// Why a network namespace could not be found or entered.
// Paths and names come from other people's mounts: Debug escapes control characters.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// Entering it is not allowed to the caller.
    #[error(
        "not permitted to enter network namespace {0}: run as root, or with CAP_SYS_ADMIN (and CAP_SYS_PTRACE, to reach \
         the ones of other users' processes)"
    )]
    NotPermitted(NetNs),
    /// Nothing that led to it does any more.
    #[error("network namespace {0} is gone")]
    Vanished(NetNs),
    /// No process and no mount refers to a namespace with this number.
    #[error(
        "no process and no mount refers to network namespace {0}; `lsns -t net` lists the ones of processes"
    )]
    NotFound(NetNs),
    /// The file is there, but is not a network namespace.
    #[error(
        "{0:?} is not a network namespace; give a file like /proc/PID/ns/net or /run/netns/NAME"
    )]
    NotANetNs(PathBuf),
    /// The file that leads to it cannot be opened.
    #[error("cannot open the network namespace {0:?}")]
    Open(PathBuf, #[source] io::Error),
    /// A name that names no file in `/run/netns`.
    #[error(
        "no network namespace is named {0:?}; `ip netns` lists the names, and a path or an inode number is accepted, too"
    )]
    UnknownName(String),
    /// It could not be entered for another reason than rights.
    #[error("cannot enter network namespace {0}")]
    Enter(NetNs, #[source] io::Error),
    /// No thread could be started to enter it.
    #[error("cannot start a thread to enter a network namespace")]
    Thread(#[source] io::Error),
}
