//! What the application of a stuck socket has not done.

use std::fmt;

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
            Self::EofUnread | Self::EofRead | Self::StillSending => OwnerSource::Proc,
        }
    }

    /// Returns a sentence that a developer can act on, for a socket with this many unread bytes. It
    /// says only what is certain: that everything was read does not prove that a read() returned 0,
    /// as a FIN behind unread bytes is consumed together with the last of them.
    #[must_use]
    pub fn explain(self, unread: u64, fds: &[u32]) -> String {
        let fds = Fds(fds);
        match (self, unread) {
            (Self::NotAccepted, _) => {
                format!("the peer has closed, and accept() was never called for it{fds}")
            }
            (Self::EofUnread, 0) => {
                format!(
                    "the end of stream came and was never read, and close() was never called{fds}"
                )
            }
            (Self::EofUnread, 1) => format!(
                "1 byte and the end of stream behind it were never read, and close() was never called{fds}"
            ),
            (Self::EofUnread, unread) => format!(
                "{unread} bytes and the end of stream behind them were never read, and close() was never called{fds}"
            ),
            (Self::EofRead, _) => format!(
                "everything was read, up to the end of stream, and close() was never called{fds}"
            ),
            (Self::StillSending, _) => {
                format!(
                    "the peer closed its direction only, and bytes still go to it{fds}: no leak"
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
        const SHOWN: usize = 4;
        let Some((first, rest)) = self.0.split_first() else {
            return Ok(());
        };
        let s = if rest.is_empty() { "" } else { "s" };
        write!(f, " on fd{s} {first}")?;
        for fd in rest.iter().take(SHOWN - 1) {
            write!(f, ", {fd}")?;
        }
        if self.0.len() > SHOWN {
            f.write_str(", …")?;
        }
        Ok(())
    }
}
