//! What keeps a socket in its state.

use std::fmt;

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::owner::OwnerUnknown;
use crate::types::{OwnerSource, Role};

/// What keeps a socket in its state: what its application has not done, or what its peer does not.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// CLOSE_WAIT, ESTABLISHED: it was never accepted.
    NotAccepted,
    /// CLOSE_WAIT: the end of stream was never read.
    EofUnread,
    /// CLOSE_WAIT: everything was read, to the end, and the socket never closed.
    EofRead,
    /// CLOSE_WAIT: the socket was never closed. Whether the end of stream was read is not known:
    /// the kernel does not show that of an MPTCP connection whose bytes were all read.
    NotClosed,
    /// FIN_WAIT2: shutdown() was called and close() never, and the peer has not closed its side
    /// and sends nothing.
    HalfClosed,
    /// FIN_WAIT1, CLOSING, LAST_ACK, ESTABLISHED: the peer does not acknowledge what was sent, or
    /// does not answer probes.
    Unanswered,
    /// FIN_WAIT1, CLOSING, LAST_ACK: the peer answers, and does not read the bytes in front of the
    /// FIN.
    PeerNotReading,
    /// ESTABLISHED: nothing has moved for long, and no keepalive timer finds out whether the peer
    /// is there. That may be as it should: it is listed and not counted.
    Silent,
    /// Nothing is wrong: bytes still get through to the peer. In CLOSE_WAIT the peer has closed its
    /// own direction only.
    StillSending,
    /// FIN_WAIT2: nothing is wrong, the peer still sends.
    StillReceiving,
}

impl Verdict {
    /// Returns whether the socket is certainly stuck.
    #[must_use]
    pub const fn is_stuck(self) -> bool {
        !matches!(
            self,
            Self::Silent | Self::StillSending | Self::StillReceiving
        )
    }

    /// Returns whether such a socket may be destroyed on request: it is certainly stuck, and its
    /// process has it. accept() would return one that was not accepted, destroyed.
    #[must_use]
    pub const fn may_be_destroyed(self) -> bool {
        self.is_stuck() && !matches!(self, Self::NotAccepted)
    }

    /// Returns whether a half-close is at work, so that nothing is wrong.
    #[must_use]
    pub const fn is_at_work(self) -> bool {
        matches!(self, Self::StillSending | Self::StillReceiving)
    }

    /// Returns how the owner of such a socket is known: one that was not accepted belongs to the
    /// process that listens.
    #[must_use]
    pub const fn owner_source(self) -> OwnerSource {
        match self {
            Self::NotAccepted => OwnerSource::Listen,
            Self::EofUnread
            | Self::EofRead
            | Self::NotClosed
            | Self::HalfClosed
            | Self::Unanswered
            | Self::PeerNotReading
            | Self::Silent
            | Self::StillSending
            | Self::StillReceiving => OwnerSource::Proc,
        }
    }

    /// Returns a sentence that a developer can act on, for a socket in this state with this many
    /// unread bytes, where that is known. It says only what is certain: that everything was read
    /// does not prove that a read() returned 0, as a FIN behind unread bytes is consumed together
    /// with the last of them. A socket without a descriptor may have been closed.
    #[must_use]
    pub fn explain(
        self,
        state: TcpState,
        unread: Option<u64>,
        fds: &[u32],
        owner: Option<OwnerUnknown>,
    ) -> String {
        let fds = Fds(fds);
        let is_held = !matches!(
            owner,
            Some(OwnerUnknown::NoHolder | OwnerUnknown::NotInspectable | OwnerUnknown::Closed)
        );
        let never_closed = |what: &str| match is_held {
            true => format!("{what}, and close() was never called{fds}"),
            false => what.to_owned(),
        };
        match (self, unread) {
            (Self::NotAccepted, _) if state == TcpState::Established => {
                format!("it is open, and accept() was never called for it{fds}")
            }
            (Self::NotAccepted, _) => {
                format!("the peer has closed, and accept() was never called for it{fds}")
            }
            (Self::EofUnread, Some(0)) => never_closed("the end of stream came and was never read"),
            (Self::EofUnread, Some(1)) => {
                never_closed("1 byte and the end of stream behind it were never read")
            }
            (Self::EofUnread, Some(unread)) => never_closed(&format!(
                "{unread} bytes and the end of stream behind them were never read"
            )),
            (Self::EofUnread, None) => {
                never_closed("received bytes and the end of stream behind them were never read")
            }
            (Self::NotClosed, _) => never_closed("all bytes were read"),
            (Self::EofRead, _) => never_closed("everything was read, up to the end of stream"),
            (Self::HalfClosed, Some(unread @ 1..)) => {
                let bytes = if unread == 1 { "byte" } else { "bytes" };
                let waits = "were not read; no timer of the kernel ends that";
                match is_held {
                    true => format!(
                        "shutdown() was called and close() never was{fds}: {unread} {bytes} {waits}"
                    ),
                    false => format!("shutdown() was called: {unread} {bytes} {waits}"),
                }
            }
            (Self::HalfClosed, _) => {
                let silent = "the peer has not closed its side and sends nothing; no timer of the \
                              kernel ends that";
                match is_held {
                    true => {
                        format!("shutdown() was called and close() never was{fds}: {silent}")
                    }
                    false => format!("shutdown() was called: {silent}"),
                }
            }
            (Self::Unanswered, _) if state == TcpState::Established => {
                format!("the peer answers nothing that is sent to it{fds}")
            }
            (Self::Unanswered, _) => format!(
                "this side has closed, and what it sent, the FIN last, does not get through: the \
                 peer does not acknowledge it{fds}"
            ),
            (Self::PeerNotReading, _) => format!(
                "this side has closed, and the peer answers without reading the bytes in front of \
                 the FIN{fds}"
            ),
            (Self::Silent, _) => format!(
                "nothing has moved either way{fds}, and no keepalive timer runs: whether the peer \
                 is still there is not known"
            ),
            (Self::StillSending, _) if state == TcpState::CloseWait => format!(
                "half-closed and in use: the peer still receives data{fds}, so this is not a leak"
            ),
            (Self::StillSending, _) => {
                format!("this side has closed, and what it wrote still gets through{fds}")
            }
            (Self::StillReceiving, _) => {
                format!("half-closed and in use: the peer still sends{fds}, so this is not a leak")
            }
        }
    }

    /// Returns what to do about such sockets in this state, which the side of this role holds; of
    /// `None` the role is not known, or they have several. `None`: nothing is to be done.
    #[must_use]
    pub const fn remedy(self, state: TcpState, role: Option<Role>) -> Option<&'static str> {
        Some(match (self, role) {
            (Self::NotAccepted, _) => {
                "look why the process accepts no more connections: its accept loop has stopped, or \
                 lags behind"
            }
            (Self::EofUnread, Some(Role::Server)) => {
                "look at the code that reads from these connections: it has stopped; it should read \
                 on until read() returns 0, and then close()"
            }
            (Self::EofUnread, _) => {
                "read on, or close connections that are not used any more: who never reads never \
                 learns that the peer has closed"
            }
            (Self::EofRead | Self::NotClosed, _) => {
                "call close() when read() returns 0, on every path, errors too"
            }
            (Self::HalfClosed, _) => {
                "call close() after shutdown(), or read until the peer closes, with a timeout"
            }
            (Self::Unanswered, _) if matches!(state, TcpState::Established) => {
                "look at the path to the peer, and at the peer; the kernel gives up after \
                 net.ipv4.tcp_retries2 or the keepalive probes, or earlier with TCP_USER_TIMEOUT"
            }
            (Self::Unanswered, _) => {
                "look at the path to the peer (a firewall that forgot the connection?), and at the \
                 peer; the kernel gives up by itself (net.ipv4.tcp_orphan_retries, \
                 net.ipv4.tcp_retries2)"
            }
            (Self::PeerNotReading, _) => {
                "look at the peer: it is there and does not read; TCP_USER_TIMEOUT ends such \
                 connections"
            }
            (Self::Silent, _) => {
                "set SO_KEEPALIVE or a timeout in the application, so that dead peers are found"
            }
            (Self::StillSending | Self::StillReceiving, _) => return None,
        })
    }
}

/// ` on fd 7`, ` on fds 7, 9`; nothing for none.
struct Fds<'a>(&'a [u32]);

impl fmt::Display for Fds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A process may hold a socket as often as it likes.
        const MAX_SHOWN_FDS: usize = 4;
        let Some((first, rest)) = self.0.split_first() else {
            return Ok(());
        };
        let s = if rest.is_empty() { "" } else { "s" };
        write!(f, " on fd{s} {first}")?;
        for fd in rest.iter().take(MAX_SHOWN_FDS - 1) {
            write!(f, ", {fd}")?;
        }
        if self.0.len() > MAX_SHOWN_FDS {
            f.write_str(", …")?;
        }
        Ok(())
    }
}
