//! What the application of a stuck socket has not done.

use std::fmt;

use super::owner::OwnerUnknown;
use crate::types::OwnerSource;

/// What the application has not done about a socket in CLOSE_WAIT.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// It was never accepted.
    NotAccepted,
    /// The end of stream was never read.
    EofUnread,
    /// Everything was read, to the end, and the socket never closed.
    EofRead,
    /// The socket was never closed. Whether the end of stream was read is not known: the kernel
    /// does not show that of an MPTCP connection whose bytes were all read.
    NotClosed,
    /// Nothing is wrong: it still sends, and the peer closed its own direction only.
    StillSending,
}

impl Verdict {
    /// Returns whether the application is at fault.
    #[must_use]
    pub const fn is_stuck(self) -> bool {
        !matches!(self, Self::StillSending)
    }

    /// Returns how the owner of such a socket is known: one that was not accepted belongs to the
    /// process that listens.
    #[must_use]
    pub const fn owner_source(self) -> OwnerSource {
        match self {
            Self::NotAccepted => OwnerSource::Listen,
            Self::EofUnread | Self::EofRead | Self::NotClosed | Self::StillSending => {
                OwnerSource::Proc
            }
        }
    }

    /// Returns a sentence that a developer can act on, for a socket with this many unread bytes,
    /// where that is known. It says only what is certain: that everything was read does not prove
    /// that a read() returned 0, as a FIN behind unread bytes is consumed together with the last of
    /// them. A socket without a descriptor may have been closed.
    #[must_use]
    pub fn explain(self, unread: Option<u64>, fds: &[u32], owner: Option<OwnerUnknown>) -> String {
        let fds = Fds(fds);
        let is_held = !matches!(
            owner,
            Some(OwnerUnknown::NoHolder | OwnerUnknown::NotInspectable)
        );
        let never_closed = |what: &str| match is_held {
            true => format!("{what}, and close() was never called{fds}"),
            false => what.to_owned(),
        };
        match (self, unread) {
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
            (Self::StillSending, _) => {
                format!(
                    "half-closed and in use: the peer still receives data{fds}, so this is not a leak"
                )
            }
        }
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
