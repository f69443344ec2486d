//! How the wait for the peer's FIN ended.

use crate::types::Nanos;

/// How an endpoint ended, where the transitions alone do not show it: after FIN_WAIT2 the kernel
/// parks the socket of a process that called close() in a minisocket, and the peer's FIN is still
/// to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The transitions show all of it.
    Seen,
    /// The peer's FIN reached the minisocket at this time, and TIME_WAIT began.
    PeerFin(Nanos),
    /// `tcp_fin_timeout` ended the wait for the peer's FIN.
    FinTimeout(Nanos),
    /// A RST was sent: the peer had sent data to the closed socket.
    ResetByUs(Nanos),
    /// The peer's RST killed the minisocket.
    ResetByPeer(Nanos),
    /// The minisocket is gone, and it was not seen how.
    Lost(Nanos),
}

impl Outcome {
    /// When the peer's FIN came to the minisocket, if it did.
    pub(super) const fn peer_fin(self) -> Option<Nanos> {
        match self {
            Self::PeerFin(at) => Some(at),
            Self::Seen
            | Self::FinTimeout(_)
            | Self::ResetByUs(_)
            | Self::ResetByPeer(_)
            | Self::Lost(_) => None,
        }
    }

    pub(super) const fn at(self) -> Option<Nanos> {
        match self {
            Self::Seen => None,
            Self::PeerFin(at)
            | Self::FinTimeout(at)
            | Self::ResetByUs(at)
            | Self::ResetByPeer(at)
            | Self::Lost(at) => Some(at),
        }
    }
}
