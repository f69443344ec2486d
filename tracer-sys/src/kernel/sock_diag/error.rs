//! Why the kernel could not be asked about its sockets.

use std::fmt;
use std::io;

use crate::kernel::netns::NetNsError;

/// Why a socket diagnostics request gave no (complete) answer.
#[derive(Debug)]
pub enum DiagError {
    /// No netlink socket could be opened or set up.
    Open(io::Error),
    /// The network namespace the socket was to be opened in could not be entered.
    Namespace(NetNsError),
    /// The kernel has no TCP socket diagnostics, or may not load the module.
    Unavailable,
    /// The request could not be sent.
    Send(io::Error),
    /// The answer could not be received.
    Receive(io::Error),
    /// The kernel dropped a part of its answer for want of memory (`ENOBUFS`, `NLMSG_OVERRUN`).
    Lost,
    /// A datagram was larger than the receive buffer and lost its end. The buffer has grown since.
    Truncated {
        /// Bytes the datagram had.
        needed: usize,
        /// Bytes the buffer had.
        had: usize,
    },
    /// The kernel answered with an error, at once or at the end of a dump.
    Refused(io::Error),
    /// The answer contradicts the layout in `linux/inet_diag.h` or `linux/netlink.h`.
    Malformed(&'static str),
    /// Nothing came within the socket's time limit.
    NoAnswer,
}

impl DiagError {
    /// Whether the same request may well succeed when it is made again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Lost | Self::Truncated { .. } | Self::NoAnswer)
    }
}

impl fmt::Display for DiagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(_) => f.write_str(
                "cannot open a netlink socket for socket diagnostics; a sandbox may forbid AF_NETLINK \
                 (systemd: RestrictAddressFamilies=)",
            ),
            Self::Namespace(_) => f.write_str("cannot ask for the sockets of a network namespace"),
            Self::Unavailable => f.write_str(
                "this kernel gives no TCP socket diagnostics; load the module tcp_diag \
                 (CONFIG_INET_TCP_DIAG)",
            ),
            Self::Send(_) => f.write_str("cannot send a socket diagnostics request"),
            Self::Receive(_) => f.write_str("cannot receive the kernel's socket diagnostics"),
            Self::Lost => {
                f.write_str("the kernel dropped a part of its list of sockets; ask again")
            }
            Self::Truncated { needed, had } => write!(
                f,
                "a part of the kernel's list of sockets did not fit ({needed} bytes into {had}); ask again"
            ),
            Self::Refused(_) => f.write_str("the kernel refused a socket diagnostics request"),
            Self::Malformed(what) => write!(
                f,
                "the kernel's list of sockets cannot be understood ({what}); please report this \
                 with the output of `uname -r`"
            ),
            Self::NoAnswer => f.write_str(
                "the kernel did not answer a socket diagnostics request in time; ask again",
            ),
        }
    }
}

impl std::error::Error for DiagError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Open(error) | Self::Send(error) | Self::Receive(error) | Self::Refused(error) => {
                Some(error)
            }
            Self::Namespace(error) => Some(error),
            Self::Unavailable
            | Self::Lost
            | Self::Truncated { .. }
            | Self::Malformed(_)
            | Self::NoAnswer => None,
        }
    }
}

impl From<NetNsError> for DiagError {
    fn from(error: NetNsError) -> Self {
        Self::Namespace(error)
    }
}
