//! Why a socket diagnostics request failed.

use std::io;

use crate::kernel::netns::NetNsError;

/// Why a socket diagnostics request gave no (complete) answer.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// No netlink socket could be opened or set up.
    #[error(
        "cannot open a netlink socket for socket diagnostics; a sandbox may forbid AF_NETLINK (systemd: \
         RestrictAddressFamilies=)"
    )]
    Open(#[source] io::Error),
    /// The network namespace the socket was to be opened in could not be entered.
    #[error("cannot list the sockets of a network namespace")]
    Namespace(#[from] NetNsError),
    /// The kernel has no TCP socket diagnostics, or may not load the module.
    #[error(
        "this kernel gives no TCP socket diagnostics; load the module tcp_diag (CONFIG_INET_TCP_DIAG)"
    )]
    Unavailable,
    /// The kernel has MPTCP, but no diagnostics of its sockets, or may not load the module.
    #[error(
        "this kernel lists no MPTCP sockets; load the module mptcp_diag (CONFIG_INET_MPTCP_DIAG, since Linux 5.9)"
    )]
    MptcpUnavailable,
    /// The request could not be sent.
    #[error("cannot send a socket diagnostics request")]
    Send(#[source] io::Error),
    /// The answer could not be received.
    #[error("cannot receive the kernel's socket diagnostics")]
    Receive(#[source] io::Error),
    /// The kernel dropped a part of its answer for lack of memory (`ENOBUFS`, `NLMSG_OVERRUN`).
    #[error("the kernel dropped a part of its list of sockets; try again")]
    Lost,
    /// A datagram was larger than the receive buffer and was cut off. The buffer has grown since.
    #[error(
        "a part of the kernel's list of sockets did not fit ({needed} bytes into {had}); try again"
    )]
    Truncated {
        /// Size of the datagram in bytes.
        needed: usize,
        /// Size of the buffer in bytes.
        had: usize,
    },
    /// The kernel answered with an error, at once or at the end of a dump.
    #[error("the kernel refused a socket diagnostics request")]
    Refused(#[source] io::Error),
    /// The kernel destroys no sockets.
    #[error("this kernel cannot destroy sockets (it has no CONFIG_INET_DIAG_DESTROY)")]
    DestroyUnavailable,
    /// A socket without a cookie is not destroyed.
    #[error("the socket has no cookie, so that another could be destroyed in its place")]
    NoCookie,
    /// This process may not destroy sockets.
    #[error(
        "destroying a socket needs CAP_NET_ADMIN in its network namespace: use sudo, or the namespace's root"
    )]
    DestroyForbidden,
    /// The answer contradicts the layout in `linux/inet_diag.h` or `linux/netlink.h`.
    #[error(
        "the kernel's list of sockets cannot be understood ({0}); please report this with the output of `uname -r`"
    )]
    Malformed(&'static str),
    /// It is not known whether the socket exists: it may be bound to an interface that was not
    /// tried.
    #[error("the network namespace has too many interfaces to search for a socket on each")]
    TooManyInterfaces,
    /// Nothing came within the socket's time limit.
    #[error("the kernel did not answer a socket diagnostics request in time; try again")]
    NoAnswer,
}

impl DiagError {
    /// Returns the error for an error number that the kernel answered with.
    pub(super) fn refused(errno: i32) -> Self {
        match errno {
            libc::ENOBUFS => Self::Lost,
            errno => Self::Refused(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Returns the error for an error number that the kernel refuses to destroy a socket with.
    pub(super) fn from_refused_destroy(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Self::DestroyUnavailable,
            Some(libc::EPERM) => Self::DestroyForbidden,
            _ => Self::Refused(error),
        }
    }

    /// Returns whether the same request may well succeed when it is made again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Lost | Self::Truncated { .. } | Self::NoAnswer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_destroys_no_sockets_is_named_as_such() {
        let refused = |errno| DiagError::from_refused_destroy(io::Error::from_raw_os_error(errno));
        let unavailable = refused(libc::EOPNOTSUPP);
        assert!(matches!(unavailable, DiagError::DestroyUnavailable));
        assert!(unavailable.to_string().contains("CONFIG_INET_DIAG_DESTROY"));
        assert!(matches!(refused(libc::EPERM), DiagError::DestroyForbidden));
        assert!(matches!(refused(libc::EBUSY), DiagError::Refused(_)));
    }
}
