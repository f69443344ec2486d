//! What a process's epoll sets do with a socket.

use std::collections::BTreeMap;
use std::fmt;

/// `EPOLLIN` and `EPOLLRDNORM`: bytes, the end of stream or a connection to be accepted.
const READABLE: u32 = 0x41;
/// `EPOLLRDHUP`: the peer's FIN has come.
const PEER_CLOSED: u32 = 0x2000;
/// `EPOLLONESHOT` of `uapi/linux/eventpoll.h`.
const ONESHOT: u32 = 1 << 30;
/// `EPOLLET` of `uapi/linux/eventpoll.h`.
const EDGE: u32 = 1 << 31;
/// `EP_PRIVATE_BITS` of fs/eventpoll.c: what is left of the mask when `EPOLLONESHOT` has fired.
const PRIVATE_BITS: u32 = EDGE | ONESHOT | (1 << 29) | (1 << 28);

/// The events that a descriptor is registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpollEvents(pub u32);

impl EpollEvents {
    /// Returns whether it is registered for something that a FIN causes, or on a listening socket
    /// a new connection.
    const fn includes_reading(self, listens: bool) -> bool {
        let wanted = if listens {
            READABLE
        } else {
            READABLE | PEER_CLOSED
        };
        self.0 & wanted != 0
    }

    /// Returns whether `EPOLLONESHOT` has fired, and nothing has armed the registration again.
    const fn has_fired(self) -> bool {
        self.0 & ONESHOT != 0 && self.0 & !PRIVATE_BITS == 0
    }

    const fn is_edge_triggered(self) -> bool {
        self.0 & EDGE != 0
    }
}

/// One descriptor in an epoll set, as `/proc/PID/fdinfo/FD` lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EpollRegistration {
    /// The descriptor of the set.
    pub set: u32,
    /// The number under which the socket was registered.
    pub fd: u32,
    /// The events that the set waits for.
    pub events: EpollEvents,
}

/// An epoll set of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpollSet {
    /// The descriptor of the set.
    pub fd: u32,
    /// The sockets in it by their inodes, each with the registered numbers and events.
    pub sockets: BTreeMap<u32, Vec<(u32, EpollEvents)>>,
    /// Whether it is itself in another set of the process: that one is waited on then.
    pub is_nested: bool,
}

/// What the epoll sets of a process do with a socket.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum EpollFinding {
    /// The process has no epoll set.
    NoSet,
    /// The socket is in none of the process's sets.
    InNoSet,
    /// It is in a set, and not for events that a FIN (or a new connection) causes.
    NoReadEvents,
    /// It is in a set, level-triggered: each epoll_wait() returns it until it is read or closed.
    LevelTriggered,
    /// It is in a set, edge-triggered, and a thread sleeps in epoll_wait() on that set: so the
    /// event was delivered, and has not led to a close.
    EdgeDelivered,
    /// It is in a set, edge-triggered. Whether the event was delivered or still waits is not known.
    EdgeTriggered,
    /// It is in a set with `EPOLLONESHOT`, which has fired and was not armed again.
    OneshotFired,
    /// The descriptor that was registered is closed, and a duplicate keeps the socket.
    NumberClosed,
}

impl EpollFinding {
    /// Judges a socket by the sets of a process. `open`: whether any holder has the socket under
    /// this number. `listens`: whether it is a listening socket. `is_waited_on`: whether a thread
    /// sleeps in epoll_wait() on the set of this descriptor.
    #[must_use]
    pub fn judge(
        sets: &[EpollSet],
        inode: u32,
        listens: bool,
        open: impl Fn(u32) -> bool,
        is_waited_on: impl Fn(u32) -> bool,
    ) -> (Self, Vec<EpollRegistration>) {
        let mut registrations = Vec::new();
        let mut best: Option<Self> = None;
        for set in sets {
            for &(fd, events) in set.sockets.get(&inode).into_iter().flatten() {
                registrations.push(EpollRegistration {
                    set: set.fd,
                    fd,
                    events,
                });
                let found = match events {
                    _ if !open(fd) => Self::NumberClosed,
                    events if events.has_fired() => Self::OneshotFired,
                    events if !events.includes_reading(listens) => Self::NoReadEvents,
                    events if !events.is_edge_triggered() => Self::LevelTriggered,
                    _ if !set.is_nested && is_waited_on(set.fd) => Self::EdgeDelivered,
                    _ => Self::EdgeTriggered,
                };
                if best.is_none_or(|known| found.reach() > known.reach()) {
                    best = Some(found);
                }
            }
        }
        let otherwise = if sets.is_empty() {
            Self::NoSet
        } else {
            Self::InNoSet
        };
        (best.unwrap_or(otherwise), registrations)
    }

    /// Returns how much a registration can still do for the socket: of several the one counts that
    /// can do most.
    const fn reach(self) -> u8 {
        match self {
            Self::NoSet | Self::InNoSet => 0,
            Self::NumberClosed => 1,
            Self::NoReadEvents => 2,
            Self::OneshotFired => 3,
            Self::EdgeDelivered => 4,
            Self::EdgeTriggered => 5,
            Self::LevelTriggered => 6,
        }
    }
}

impl fmt::Display for EpollEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(fd: u32, events: u32) -> EpollSet {
        EpollSet {
            fd,
            sockets: [(77, vec![(5, EpollEvents(events))])].into(),
            is_nested: false,
        }
    }

    fn judge(sets: &[EpollSet], waited_on: u32) -> EpollFinding {
        EpollFinding::judge(sets, 77, false, |fd| fd == 5, |fd| fd == waited_on).0
    }

    #[test]
    fn the_mask_shows_the_kind_of_a_registration() {
        for (events, finding) in [
            (0x19, EpollFinding::LevelTriggered),
            (0x2018, EpollFinding::LevelTriggered),
            (0x1c, EpollFinding::NoReadEvents),
            (0x18, EpollFinding::NoReadEvents),
            (0x4000_0000, EpollFinding::OneshotFired),
            (0xc000_0000, EpollFinding::OneshotFired),
            // Armed, not yet fired.
            (0x4000_0019, EpollFinding::LevelTriggered),
            (0x8000_0019, EpollFinding::EdgeTriggered),
        ] {
            assert_eq!(judge(&[set(4, events)], 0), finding, "{events:x}");
        }
    }

    #[test]
    fn an_edge_was_delivered_only_if_a_thread_sleeps_on_that_very_set() {
        let mut one = set(4, 0x8000_2019);
        assert_eq!(judge(&[one.clone()], 4), EpollFinding::EdgeDelivered);
        assert_eq!(judge(&[one.clone()], 9), EpollFinding::EdgeTriggered);
        // Somebody waits on the set around it; what that has got is not known.
        one.is_nested = true;
        assert_eq!(judge(&[one], 4), EpollFinding::EdgeTriggered);
    }

    #[test]
    fn sockets_in_no_set_differ_from_processes_without_one() {
        assert_eq!(judge(&[], 0), EpollFinding::NoSet);
        let mut other = set(4, 0x19);
        other.sockets = [(78, vec![(6, EpollEvents(0x19))])].into();
        assert_eq!(judge(&[other], 0), EpollFinding::InNoSet);
    }

    #[test]
    fn of_several_registrations_the_one_counts_that_can_do_most() {
        let sets = [set(4, 0x18), set(6, 0x19), set(8, 0x4000_0000)];
        let (found, all) = EpollFinding::judge(&sets, 77, false, |_| true, |_| false);
        assert_eq!(found, EpollFinding::LevelTriggered);
        assert_eq!(all.iter().map(|one| one.set).collect::<Vec<_>>(), [4, 6, 8]);
    }

    #[test]
    fn a_number_that_is_closed_everywhere_leaves_the_socket_to_its_duplicate() {
        let closed = EpollFinding::judge(&[set(4, 0x19)], 77, false, |_| false, |_| true);
        assert_eq!(closed.0, EpollFinding::NumberClosed);
    }

    #[test]
    fn a_listening_socket_is_not_woken_by_rdhup_alone() {
        let judge =
            |events| EpollFinding::judge(&[set(4, events)], 77, true, |_| true, |_| false).0;
        assert_eq!(judge(0x2018), EpollFinding::NoReadEvents);
        assert_eq!(judge(0x1), EpollFinding::LevelTriggered);
    }
}
