//! Why a network namespace could not be found or entered.

use std::fmt;
use std::io;
use std::path::PathBuf;

use tcpclose_core::types::NetNs;

/// Why a network namespace could not be found or entered.
#[derive(Debug)]
pub enum NetNsError {
    /// Entering it is not allowed to the caller.
    NotPermitted(NetNs),
    /// Nothing that led to it does any more.
    Vanished(NetNs),
    /// No process and no mount leads to a namespace with this number.
    NotFound(NetNs),
    /// The file is there, but is no network namespace.
    NotANetNs(PathBuf),
    /// The file that leads to it cannot be opened.
    Open(PathBuf, io::Error),
    /// A name that names no file in `/run/netns`.
    UnknownName(String),
    /// It could not be entered for another reason than rights.
    Enter(NetNs, io::Error),
    /// No thread could be started to enter it.
    Thread(io::Error),
}

impl fmt::Display for NetNsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths and names come from other people's mounts: Debug escapes control characters.
        match self {
            Self::NotPermitted(id) => write!(
                f,
                "not permitted to enter network namespace {id}: run as root, or with CAP_SYS_ADMIN \
                 (and CAP_SYS_PTRACE, to reach the ones of other users' processes)"
            ),
            Self::Vanished(id) => write!(f, "network namespace {id} is gone"),
            Self::NotFound(id) => write!(
                f,
                "no process and no mount leads to a network namespace {id}; `lsns -t net` lists \
                 the ones of processes"
            ),
            Self::NotANetNs(path) => write!(
                f,
                "{path:?} is no network namespace; give a file like /proc/PID/ns/net or \
                 /run/netns/NAME"
            ),
            Self::Open(path, _) => write!(f, "cannot open the network namespace {path:?}"),
            Self::UnknownName(name) => write!(
                f,
                "no network namespace is named {name:?}; `ip netns` lists the names, and a path or \
                 an inode number will do too"
            ),
            Self::Enter(id, _) => write!(f, "cannot enter network namespace {id}"),
            Self::Thread(_) => f.write_str("cannot start a thread to enter a network namespace"),
        }
    }
}

impl std::error::Error for NetNsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(_, error) | Self::Enter(_, error) | Self::Thread(error) => Some(error),
            Self::NotPermitted(_)
            | Self::Vanished(_)
            | Self::NotFound(_)
            | Self::NotANetNs(_)
            | Self::UnknownName(_) => None,
        }
    }
}
