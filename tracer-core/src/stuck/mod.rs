//! Sockets stuck in CLOSE_WAIT: since when, and what the application has not done.
//!
//! In: the sockets that one look at the kernel's tables found in CLOSE_WAIT. Out: which of them are stuck, each with its
//! age and a verdict. A [`ScanHistory`] joins looks: it knows what has moved since, and keeps the earliest estimate of an age.
//!
//! The age of a socket that nobody saw enter CLOSE_WAIT is estimated. The peer's FIN came with an ACK, so the last ACK is
//! no older than the FIN; no data can come after the FIN, so the last data is no younger. Between these two it lies, and
//! normally the FIN *is* the last ACK that came: the age of that is the estimate. What makes the estimate too small is an
//! ACK that came later: of bytes sent in CLOSE_WAIT, or of a keepalive probe. Where the peer's window is closed, answers to
//! probes of it come for ever: there, the last bytes that were sent take the ACK's place.

mod by_owner;
mod deadlines;
mod holder;
mod probe;
mod resolution;
#[cfg(test)]
mod tests;
mod trend;
mod verdict;

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kernel_ids::zero_is_none;
use super::types::{CgroupId, EndpointId, Inode, InterfaceIndex, Nanos, NetNs, Tuple};

pub use by_owner::{OwnerGroup, Peer, TopValues, group};
pub(super) use deadlines::Deadlines;
pub use holder::{Holder, OwnerProcess, OwnerUnknown};
pub use probe::{ProbeRequest, ProbeResponse, ProbedSocket};
pub use resolution::Resolution;
pub use trend::{Fit, Forecast, MIN_SAMPLES, Sample, Trend, Trends};
pub use verdict::Verdict;

/// Nobody is told to be stuck sooner. Every connection that its peer closes first is in CLOSE_WAIT for a moment: looking at
/// all of them would be too much.
pub const LEAST_STUCK_AFTER: Duration = Duration::from_millis(100);

/// A socket in CLOSE_WAIT as one look saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSocket {
    /// The socket cookie.
    pub id: EndpointId,
    /// The network namespace it lives in, where that is known.
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// The interface it is bound to, if to one.
    #[serde(with = "zero_is_none")]
    pub interface: Option<InterfaceIndex>,
    /// Inode in sockfs; `None` while the connection waits to be accepted.
    #[serde(with = "zero_is_none")]
    pub inode: Option<Inode>,
    /// User id of whoever accepted or created it; 0 while it waits to be accepted.
    pub uid: u32,
    /// Id of the cgroup (v2) that it was created in, where that is known.
    #[serde(with = "zero_is_none")]
    pub cgroup: Option<CgroupId>,
    /// Bytes received and not read, plus one for a FIN that was not consumed.
    pub queued: u32,
    /// Bytes written and not acknowledged by the peer.
    pub unsent: u32,
    /// The keepalive timer runs: an ACK may be the answer to a probe.
    pub keepalive: bool,
    /// When it was seen to enter CLOSE_WAIT; `None` where nobody saw that.
    pub entered: Option<Nanos>,
    /// What the kernel's `tcp_info` tells; `None` where it gave none.
    pub activity: Option<Activity>,
}

/// When something last moved on a connection, and how much has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Since data last came; `None` when none ever did.
    pub since_data: Option<Nanos>,
    /// Since a segment with an acceptable ACK last came. The peer's FIN is one.
    pub since_ack: Nanos,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Since data was last sent; `None` when none ever was, or when it was sent again for lack of an answer.
    pub since_sent: Option<Nanos>,
}

impl ObservedSocket {
    /// Bytes that the application has not read; the FIN is none.
    #[must_use]
    pub const fn unread(&self) -> u32 {
        self.queued.saturating_sub(1)
    }

    /// They change whenever the application writes or the peer takes something; not when the kernel sends again.
    pub(super) fn counters(&self) -> (u64, u32) {
        let moved = self.activity.unwrap_or_default();
        (moved.bytes_acked, self.unsent)
    }

    /// Bytes wait for the peer, which answers and does not take them: its window is closed. Were they on their way, they
    /// would have been sent again since.
    #[must_use]
    pub fn peer_reads_nothing_for(&self) -> Option<Nanos> {
        let activity = self.activity.filter(|_| self.unsent > 0)?;
        activity
            .since_sent
            .filter(|sent| *sent > activity.since_ack)
    }

    /// When bytes were sent that are still on their way, or after the FIN.
    pub(super) fn sent(&self, now: Nanos) -> Option<Nanos> {
        let sent = now - self.activity?.since_sent?;
        let after_fin = self.entered.is_some_and(|entered| sent > entered);
        (self.unsent > 0 || after_fin).then_some(sent)
    }
}

/// How an age is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgeKnown {
    /// The tracer saw the socket enter CLOSE_WAIT.
    Observed,
    /// From the age of the last ACK that came.
    Estimated,
}

impl AgeKnown {
    /// The word of the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Estimated => "estimated",
        }
    }
}

/// Since when a socket is in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// The moment, or the latest that it can have been.
    pub since: Nanos,
    /// How that is known.
    pub known: AgeKnown,
    /// The earliest that it can have been: the last data came then, and none comes after a FIN. `None` where no data
    /// ever came.
    pub earliest: Option<Nanos>,
}

impl Age {
    const fn observed(since: Nanos) -> Self {
        Self {
            since,
            known: AgeKnown::Observed,
            earliest: Some(since),
        }
    }

    /// What one look at `now` tells.
    pub(super) fn of(socket: &ObservedSocket, now: Nanos) -> Self {
        if let Some(entered) = socket.entered {
            return Self::observed(entered);
        }
        let activity = socket.activity.unwrap_or_default();
        // While the peer's window is closed it answers probes; nothing moves since bytes were last sent.
        let rested = socket.peer_reads_nothing_for();
        let rested = rested.map(|span| activity.since_data.map_or(span, |data| span.min(data)));
        let since = now - rested.unwrap_or_default().max(activity.since_ack);
        Self {
            since,
            known: AgeKnown::Estimated,
            earliest: activity.since_data.map(|span| (now - span).min(since)),
        }
    }

    /// The better of two: what was observed, else the earlier estimate.
    pub(super) fn or_earlier(self, before: Self) -> Self {
        match (self.known, before.known) {
            (AgeKnown::Observed, _) => self,
            (_, AgeKnown::Observed) => before,
            _ if before.since <= self.since => before,
            _ => self,
        }
    }
}

/// What is new about a leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StuckEvent {
    /// It was not told of before.
    Opened,
    /// It was, or this is the first look.
    Ongoing,
    /// It is no more.
    Resolved,
}

impl StuckEvent {
    /// The word of the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Ongoing => "ongoing",
            Self::Resolved => "resolved",
        }
    }
}

/// A socket that stays in CLOSE_WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leak {
    /// What is new about it.
    pub event: StuckEvent,
    /// The socket, as the last look that saw it did.
    pub socket: ObservedSocket,
    /// Since when.
    pub age: Age,
    /// Why.
    pub verdict: Verdict,
}

/// What one look found.
#[derive(Clone, Debug, Default)]
pub struct ScanOutcome {
    /// In CLOSE_WAIT for as long as asked or longer, [`Verdict::StillSending`] among them.
    pub old: Vec<Leak>,
    /// How many are in CLOSE_WAIT for a shorter time.
    pub younger: usize,
    /// Of those, the ones that may be older than they look: answers to keepalive probes hide their age.
    pub hidden: Vec<Leak>,
    /// What earlier looks found in `old` as leaks, and is not in CLOSE_WAIT any more.
    pub resolved: Vec<Leak>,
}

/// What earlier looks saw. It holds what is in CLOSE_WAIT, some 300 bytes a socket, and forgets what no look sees.
#[derive(Clone, Debug, Default)]
pub struct ScanHistory {
    seen: HashMap<EndpointId, Seen>,
    /// Number of the look.
    looks: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    leak: Leak,
    /// When counters were last found changed.
    moved: Option<Nanos>,
    /// It was told of as a leak.
    told: bool,
    look: u64,
}

impl ScanHistory {
    /// Takes in what a look at `now` found: every socket in CLOSE_WAIT that it could see, each once. Stuck are those
    /// that are at least `min_age` old and on which nothing moved for as long.
    pub fn look(
        &mut self,
        sockets: Vec<ObservedSocket>,
        now: Nanos,
        min_age: Nanos,
    ) -> ScanOutcome {
        self.looks += 1;
        let mut look = ScanOutcome::default();
        self.seen
            .reserve(sockets.len().saturating_sub(self.seen.len()));
        for socket in sockets {
            let seen = self.note(socket, now, min_age);
            if now - seen.leak.age.since < min_age {
                look.younger += 1;
                if may_be_older(&socket, min_age) {
                    look.hidden.push(seen.leak);
                }
                continue;
            }
            look.old.push(seen.leak);
            seen.told |= seen.leak.verdict.is_stuck();
        }
        let looks = self.looks;
        self.seen.retain(|_, seen| {
            let gone = seen.look != looks;
            if gone && seen.told {
                look.resolved.push(Leak {
                    event: StuckEvent::Resolved,
                    ..seen.leak
                });
            }
            !gone
        });
        look
    }

    /// The sockets that were told of as leaks and not resolved. That one is absent from the next dump is no proof that
    /// it is gone: look it up.
    pub fn told(&self) -> impl Iterator<Item = &ObservedSocket> {
        let told = self.seen.values().filter(|seen| seen.told);
        told.map(|seen| &seen.leak.socket)
    }

    /// A socket is found to be gone before the next look: as it was, where it was told of as a leak.
    pub fn forget(&mut self, id: EndpointId) -> Option<Leak> {
        let seen = self.seen.remove(&id).filter(|seen| seen.told)?;
        Some(Leak {
            event: StuckEvent::Resolved,
            ..seen.leak
        })
    }

    fn note(&mut self, socket: ObservedSocket, now: Nanos, min_age: Nanos) -> &mut Seen {
        let before = self.seen.get(&socket.id).copied();
        let age = Age::of(&socket, now);
        let changed = before.is_some_and(|seen| seen.leak.socket.counters() != socket.counters());
        let moved = if changed {
            Some(now)
        } else {
            before.and_then(|seen| seen.moved)
        };
        let told = before.is_some_and(|seen| seen.told);
        let event = if told || self.looks == 1 {
            StuckEvent::Ongoing
        } else {
            StuckEvent::Opened
        };
        let moved = moved.max(socket.sent(now));
        let moves = moved.is_some_and(|at| now - at <= min_age);
        let leak = Leak {
            event,
            socket,
            age: before.map_or(age, |seen| age.or_earlier(seen.leak.age)),
            verdict: judge(&socket, moves),
        };
        let seen = Seen {
            leak,
            moved,
            told,
            look: self.looks,
        };
        self.seen.entry(socket.id).insert_entry(seen).into_mut()
    }
}

pub(super) fn judge(socket: &ObservedSocket, moves: bool) -> Verdict {
    match socket {
        ObservedSocket { inode: None, .. } => Verdict::NotAccepted,
        _ if moves => Verdict::StillSending,
        ObservedSocket { queued: 0, .. } => Verdict::EofRead,
        _ => Verdict::EofUnread,
    }
}

fn may_be_older(socket: &ObservedSocket, min_age: Nanos) -> bool {
    let silent = |activity: Activity| activity.since_data.is_none_or(|span| span >= min_age);
    socket.keepalive && socket.activity.is_some_and(silent)
}
