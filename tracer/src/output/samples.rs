//! Findings to format in tests.

use smallvec::smallvec;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::TimeZone;
use tcpclose_common::{COMM_LEN, TcpState};

use crate::cgroup_names::CgroupNames;
use crate::output::clock::WallClock;
use tcpclose_core::event::{Task, Transition};
use tcpclose_core::finding::{
    Bytes, Close, ClosePath, Endpoint, HalfClose, InitialSequenceNumbers, Initiator, Lost, Reset,
    ResetReason, SegmentFlags, Side, Step,
};
use tcpclose_core::process::Container;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    Age, AgeCertainty, Fit, Forecast, Holder, ObservedSocket, OwnerProcess, Resolution, StuckEvent,
    StuckSocket, Verdict,
};
use tcpclose_core::types::{
    Certainty, CgroupId, EndpointId, Inode, Nanos, NetNs, Owner, OwnerSource, Role, SocketAddress,
    Tuple,
};
use tcpclose_sys::host::cgroup::CgroupName;

/// Monotonic zero is 2026-01-31T12:00:00Z, and local time is UTC.
pub(crate) fn clock() -> WallClock {
    WallClock::fixed(1_769_860_800_000_000_000, TimeZone::UTC)
}

/// Returns so many microseconds.
pub(super) const fn us(us: u64) -> Nanos {
    Nanos(us * 1_000)
}

pub(crate) fn tuple(local: &str, peer: &str) -> Tuple {
    let end = |text: &str| text.parse::<SocketAddr>().expect("a sample's address");
    (end(local), end(peer)).into()
}

pub(crate) fn owner(pid: u32, comm: &[u8]) -> Option<Arc<Owner>> {
    Some(Arc::new(Owner {
        pid,
        uid: 0,
        cgroup: CgroupId::new(77),
        comm: comm.into(),
        source: OwnerSource::Connect,
        thread: None,
    }))
}

fn step(
    from: Side,
    flags: SegmentFlags,
    numbers: (u32, u32),
    at: Option<Nanos>,
    known: Certainty,
) -> Step {
    Step {
        from,
        flags,
        seq: Some(numbers.0),
        ack: Some(numbers.1),
        at,
        known,
    }
}

/// The endpoint of a MySQL client: the server closes first and the client's ACK and FIN are one
/// segment.
pub(crate) fn three_way() -> Close {
    use SegmentFlags::{Ack, FinAck};
    Close {
        at: us(8_500),
        endpoint: Endpoint {
            id: EndpointId(13),
            netns: NetNs::new(4_026_531_840),
            tuple: tuple("127.0.0.1:48350", "127.0.0.1:3306"),
            role: Role::Client,
            initial: Some(InitialSequenceNumbers {
                iss: 7,
                irs: 0x8000_0001,
            }),
            seen_from_start: true,
            opened: Some(us(100)),
            lifetime: Some(us(8_400)),
            peer: None,
            peer_owner: None,
        },
        owner: owner(28_089, b"mariadb"),
        path: ClosePath::ThreeWay,
        initiator: Initiator::Peer,
        cause: None,
        idle: Some(Nanos::from_millis(4)),
        peer_cause: None,
        connect_error: None,
        lost: None,
        steps: smallvec![
            step(
                Side::Peer,
                FinAck,
                (175, 212),
                Some(us(8_460)),
                Certainty::Observed,
            ),
            step(
                Side::Local,
                FinAck,
                (212, 176),
                Some(Nanos(8_550_400)),
                Certainty::Observed,
            ),
            step(Side::Peer, Ack, (176, 213), None, Certainty::Inferred),
        ],
        segments: Some(3),
        states: smallvec![
            (TcpState::Established, Some(us(8_360))),
            (TcpState::CloseWait, Some(us(90))),
            (TcpState::LastAck, Some(us(50))),
        ],
        bytes: Bytes {
            sent: Some(211),
            received: Some(174),
        },
        retransmits: Some(0),
        reset: None,
        half_close: None,
    }
}

/// The endpoint of an IPv6 server that was reset with data unread.
pub(crate) fn reset() -> Close {
    Close {
        endpoint: Endpoint {
            tuple: tuple("[2001:db8::1]:443", "[2001:db8::2]:50000"),
            role: Role::Server,
            initial: None,
            ..three_way().endpoint
        },
        path: ClosePath::Reset,
        initiator: Initiator::Local,
        cause: None,
        idle: None,
        peer_cause: None,
        connect_error: None,
        lost: Some(Lost {
            unacknowledged: 0,
            unread: None,
        }),
        steps: smallvec![step(
            Side::Local,
            SegmentFlags::RstAck,
            (1, 7),
            Some(us(8_500)),
            Certainty::Observed,
        )],
        segments: Some(1),
        states: smallvec![(TcpState::Established, Some(us(8_360)))],
        reset: Some(Reset {
            by: Side::Local,
            reason: Some(ResetReason::UnreadData),
            kernel_reason: Some("TCP_ABORT_ON_CLOSE"),
        }),
        ..three_way()
    }
}

/// A client that sent its FIN and read on.
pub(crate) fn half_closed() -> Close {
    Close {
        path: ClosePath::FourWay,
        initiator: Initiator::Local,
        cause: None,
        idle: None,
        peer_cause: None,
        connect_error: None,
        lost: None,
        segments: Some(4),
        steps: smallvec![],
        states: smallvec![
            (TcpState::Established, Some(us(2_000))),
            (TcpState::FinWait1, Some(us(40))),
            (TcpState::FinWait2, Some(Nanos::from_millis(1_500))),
        ],
        half_close: Some(HalfClose {
            by: Side::Local,
            lasted: Nanos(1_500_040_000),
            bytes_sent: 0,
            bytes_received: 65_536,
        }),
        ..three_way()
    }
}

/// An endpoint of which next to nothing is known.
pub(crate) fn unknown() -> Close {
    Close {
        at: us(8_500),
        endpoint: Endpoint {
            id: EndpointId(14),
            netns: None,
            tuple: tuple("10.0.0.1:22", "10.0.0.2:60000"),
            role: Role::Unknown,
            initial: None,
            seen_from_start: false,
            opened: None,
            lifetime: None,
            peer: None,
            peer_owner: None,
        },
        owner: None,
        path: ClosePath::Unknown,
        initiator: Initiator::Unknown,
        cause: None,
        idle: None,
        peer_cause: None,
        connect_error: None,
        lost: None,
        steps: smallvec![],
        segments: None,
        states: smallvec![
            (TcpState::Established, None),
            (TcpState::LastAck, Some(us(50))),
        ],
        bytes: Bytes::default(),
        retransmits: None,
        reset: None,
        half_close: None,
    }
}

/// The endpoint of a server that read everything and was never closed.
pub(crate) fn stuck() -> StuckSocket {
    let tuple = tuple("10.0.0.1:80", "10.0.0.2:40001");
    let entered = us(8_500);
    let socket = ObservedSocket {
        id: EndpointId(15),
        state: TcpState::CloseWait,
        netns: NetNs::new(4_026_531_840),
        tuple,
        interface: None,
        inode: Inode::new(11),
        uid: 0,
        cgroup: CgroupId::new(77),
        queued: 0,
        unsent: 0,
        unanswered: None,
        keepalive: false,
        mptcp: false,
        opening: None,
        entered: None,
        activity: None,
    };
    let process = Process {
        pid: 28_089,
        comm: (*b"web").into(),
        open_fds: 924,
        fd_limit: Some(1024),
        ..Process::default()
    };
    let fit = Fit {
        per_second: 0.5,
        r_squared: 0.998,
        samples: 5,
        span: Nanos::from_secs(40),
    };
    StuckSocket {
        at: entered + Nanos::from_secs(60),
        event: StuckEvent::Opened,
        endpoint: Endpoint {
            id: socket.id,
            tuple,
            role: Role::Server,
            initial: None,
            lifetime: None,
            ..three_way().endpoint
        },
        socket,
        age: Age {
            since: entered,
            known: AgeCertainty::Observed,
            earliest: Some(entered),
        },
        verdict: Verdict::EofRead,
        idle_before_fin: None,
        owner: Some(Arc::new(Owner {
            pid: 28_089,
            uid: 0,
            cgroup: None,
            comm: (*b"web").into(),
            source: OwnerSource::Proc,
            thread: None,
        })),
        owner_unknown: None,
        holders: vec![Holder {
            pid: 28_089,
            comm: (*b"web").into(),
            fds: vec![7],
            thread: None,
        }],
        process: Some(OwnerProcess {
            as_of: Nanos(0),
            process: Arc::new(process),
            stuck: 31,
            forecast: Some(Forecast {
                fit,
                open: None,
                exhausted_in: Some(Nanos::from_secs(200)),
            }),
        }),
        why: Vec::new(),
    }
}

/// The same when its process has exited.
pub(crate) fn resolved() -> StuckSocket {
    let mut stuck = stuck();
    let at = stuck.at + Nanos::from_secs(65);
    stuck.resolve(at, Resolution::ProcessExited);
    stuck
}

pub(crate) fn transition() -> Transition {
    let mut comm = [0; COMM_LEN];
    comm[..4].copy_from_slice(b"curl");
    Transition {
        at: us(8_500),
        id: EndpointId(13),
        skaddr: SocketAddress::new(0xffff_8881_0a2b_3c40),
        netns: NetNs::new(4_026_531_840),
        tuple: tuple("127.0.0.1:48350", "127.0.0.1:3306"),
        old: TcpState::Established,
        new: TcpState::FinWait1,
        task: Some(Task {
            pid: 28_089,
            uid: 1000,
            cgroup: CgroupId::new(77),
            comm,
            exits: Some(false),
            thread: None,
        }),
        evidence: None,
    }
}

/// Knows cgroup 77 only.
pub(crate) struct OneCgroup(CgroupName);

impl OneCgroup {
    pub(crate) fn new(path: &str, container: Option<Container>) -> Self {
        Self(CgroupName {
            path: path.to_owned(),
            container,
        })
    }
}

impl CgroupNames for OneCgroup {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        (id == 77).then_some(&self.0)
    }
}
