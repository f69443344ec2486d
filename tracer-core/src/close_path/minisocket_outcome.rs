//! How the wait for the peer's FIN ended.

use crate::types::Nanos;

/// How an endpoint ended, where the transitions alone do not show it: after FIN_WAIT2 the kernel
/// parks the socket of a process that called close() in a minisocket, and the peer's FIN is still
/// to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MinisocketOutcome {
    /// The transitions show all of it.
    SeenInTransitions,
    /// The peer's FIN reached the minisocket at this time, and TIME_WAIT began.
    PeerFin(Nanos),
    /// `tcp_fin_timeout` ended the wait for the peer's FIN.
    FinTimeout(Nanos),
    /// A RST was sent: the peer had sent data to the closed socket.
    ResetByLocal(Nanos),
    /// The peer's RST killed the minisocket.
    ResetByPeer(Nanos),
    /// The minisocket is gone, and it was not seen how.
    Unseen(Nanos),
}

impl MinisocketOutcome {
    /// Returns when the peer's FIN reached the minisocket, if it did.
    pub(super) const fn peer_fin(self) -> Option<Nanos> {
        match self {
            Self::PeerFin(at) => Some(at),
            Self::SeenInTransitions
            | Self::FinTimeout(_)
            | Self::ResetByLocal(_)
            | Self::ResetByPeer(_)
            | Self::Unseen(_) => None,
        }
    }

    /// Returns when it ended, unless the transitions show that.
    pub(crate) const fn at(self) -> Option<Nanos> {
        match self {
            Self::SeenInTransitions => None,
            Self::PeerFin(at)
            | Self::FinTimeout(at)
            | Self::ResetByLocal(at)
            | Self::ResetByPeer(at)
            | Self::Unseen(at) => Some(at),
        }
    }
}
