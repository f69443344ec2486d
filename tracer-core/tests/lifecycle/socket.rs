//! A socket as the kernel would show it: scenarios say what happens to it, and it keeps the
//! evidence.

use tcpclose_common::TcpState;
use tcpclose_core::event::{
    Event, Evidence, Signal, SignalKind, SocketFlags, Task, TcpFields, Transition,
};
use tcpclose_core::finding::{Close, Finding};
use tcpclose_core::types::{CgroupId, EndpointId, Nanos, NetNs, SocketAddress, Thread, Tuple};
use tcpclose_core::{MinisocketState, ProbeRequest, Tracker};

use crate::input_methods::InputMethods as _;

/// The network namespace that the sockets live in.
pub const NETNS: NetNs = NetNs::new(1).expect("it is not 0");

/// Initial sequence numbers, near the wrap so that every scenario crosses it.
pub const ISS: u32 = u32::MAX - 2;
pub const IRS: u32 = u32::MAX - 4;

/// This host sends a RST, of its own accord.
pub const fn reset_sent(reason: Option<&'static str>) -> SignalKind {
    SignalKind::ResetSent {
        reason,
        answers: None,
        minisocket: false,
    }
}

/// A tracker and its clock.
pub struct World {
    pub tracker: Tracker,
    pub now: Nanos,
    /// The transitions so far.
    pub transitions: Vec<Event>,
}

impl World {
    pub fn new() -> Self {
        Self::with_capacity(16)
    }

    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            tracker: Tracker::new(capacity),
            now: Nanos::from_secs(1000),
            transitions: Vec::new(),
        }
    }

    pub fn pass_ms(&mut self, ms: u64) {
        self.now = self.now + Nanos::from_millis(ms);
        self.tracker.tick(self.now);
    }

    pub fn findings(&mut self) -> Vec<Finding> {
        std::iter::from_fn(|| self.tracker.next_finding()).collect()
    }

    /// The one close that must have been found by now.
    pub fn close(&mut self) -> Close {
        let mut findings = self.findings();
        assert_eq!(findings.len(), 1, "{findings:?}");
        match findings.remove(0) {
            Finding::Close(close) => *close,
            other => panic!("not a close: {other:?}"),
        }
    }

    pub fn signal(&mut self, id: u64, kind: SignalKind) {
        self.tracker.ingest(&Event::Signal(Signal {
            at: self.now,
            id: EndpointId(id),
            kind,
        }));
    }

    /// The minisockets that are asked for now.
    pub fn requests(&mut self) -> Vec<ProbeRequest> {
        let mut requests = Vec::new();
        self.tracker.due_probes(self.now, &mut requests);
        requests
    }

    /// Answers the one question that must be asked now.
    pub fn answer(&mut self, minisocket: MinisocketState) {
        let requests = self.requests();
        assert_eq!(requests.len(), 1);
        self.tracker
            .apply_minisocket_probe(requests[0].id, minisocket, self.now);
    }
}

/// One endpoint, with the fields that its transitions will carry.
pub struct Socket {
    pub id: u64,
    pub state: TcpState,
    pub evidence: Evidence,
    pub task: Option<Task>,
    pub tuple: Tuple,
    /// `rcv_nxt` when this host last sent a segment.
    pub rcv_wup: u32,
    /// What the process has read (`copied_seq`).
    pub read_up_to: u32,
    /// The classic tracepoint shows no evidence.
    pub classic: bool,
}

/// The thread by which process 77 connects.
pub const POOL_THREAD: Thread = Thread {
    id: 79,
    comm: *b"pool-2\0\0\0\0\0\0\0\0\0\0",
};

pub fn task(pid: u32, comm: &str) -> Task {
    let mut padded = [0; 16];
    padded[..comm.len()].copy_from_slice(comm.as_bytes());
    Task {
        pid,
        uid: 1000,
        cgroup: CgroupId::new(7),
        comm: padded,
        exits: Some(false),
        thread: None,
    }
}

pub fn tuple(local_port: u16, peer_port: u16) -> Tuple {
    let end = |port: u16| format!("127.0.0.1:{port}").parse().unwrap();
    Tuple::from((end(local_port), end(peer_port)))
}

/// The same, with a peer on another host.
fn remote_tuple(local_port: u16, peer_port: u16) -> Tuple {
    let end = |host: u8, port: u16| format!("192.0.2.{host}:{port}").parse().unwrap();
    Tuple::from((end(1, local_port), end(2, peer_port)))
}

impl Socket {
    /// A client that has just been connected.
    pub fn client(world: &mut World, id: u64) -> Self {
        Self::client_on(world, id, 40_000)
    }

    /// As [`Self::client`], from this port.
    pub fn client_on(world: &mut World, id: u64, port: u16) -> Self {
        let mut socket = Self::connecting(world, id);
        socket.tuple = tuple(port, 3306);
        socket.is_connected(world);
        socket
    }

    /// The peer answers the SYN.
    pub fn is_connected(&mut self, world: &mut World) {
        self.evidence.tcp.bytes_acked = 1;
        self.evidence.tcp.snd_una = ISS.wrapping_add(1);
        self.evidence.tcp.rcv_nxt = IRS.wrapping_add(1);
        self.rcv_wup = IRS.wrapping_add(1);
        self.evidence.tcp.snd_wl1 = IRS;
        self.evidence.tcp.segs_in = 1;
        self.to(world, TcpState::Established);
    }

    /// A socket under `TCP_REPAIR`, in the middle of connect().
    pub fn restoring(world: &mut World, id: u64) -> Self {
        let mut socket = Self::new(id, TcpState::Close, tuple(0, 3306));
        socket.evidence.flags.repair = true;
        socket.to(world, TcpState::SynSent);
        socket
    }

    /// A client that has sent its SYN.
    pub fn connecting(world: &mut World, id: u64) -> Self {
        let mut socket = Self::new(id, TcpState::Close, tuple(0, 3306));
        socket.task = Some(Task {
            thread: Some(POOL_THREAD),
            ..task(77, "client")
        });
        socket.to(world, TcpState::SynSent);
        socket.task = None;
        socket.evidence.tcp.segs_out = 1;
        socket.evidence.tcp.snd_nxt = ISS.wrapping_add(1);
        socket.evidence.tcp.write_seq = ISS.wrapping_add(1);
        socket
    }

    /// A server's endpoint that has just been opened by its peer.
    pub fn server(world: &mut World, id: u64) -> Self {
        Self::server_with(world, id, tuple(3306, 40_000))
    }

    /// As [`Self::server`], with a peer on another host.
    pub fn remote_server(world: &mut World, id: u64) -> Self {
        Self::server_with(world, id, remote_tuple(3306, 40_000))
    }

    fn server_with(world: &mut World, id: u64, tuple: Tuple) -> Self {
        let mut socket = Self::new(id, TcpState::SynRecv, tuple);
        socket.evidence.tcp.segs_in = 2;
        socket.evidence.tcp.segs_out = 1;
        socket.to(world, TcpState::Established);
        socket
    }

    /// A server's endpoint that the kernel has just made.
    pub fn child(id: u64) -> Self {
        let mut socket = Self::new(id, TcpState::SynRecv, tuple(3306, 40_000));
        socket.evidence.tcp.segs_in = 1;
        socket
    }

    fn new(id: u64, state: TcpState, tuple: Tuple) -> Self {
        let (snd, rcv) = (ISS.wrapping_add(1), IRS.wrapping_add(1));
        let evidence = Evidence {
            tcp: TcpFields {
                snd_una: snd,
                snd_nxt: snd,
                write_seq: snd,
                rcv_nxt: rcv,
                snd_wnd: 65_535,
                snd_wl1: IRS,
                ..TcpFields::default()
            },
            flags: SocketFlags::default(),
        };
        Self {
            id,
            state,
            evidence,
            task: None,
            tuple,
            rcv_wup: rcv,
            read_up_to: rcv,
            classic: false,
        }
    }

    /// The state changes; the tracepoint shows the socket as it is.
    pub fn to(&mut self, world: &mut World, new: TcpState) {
        let old = std::mem::replace(&mut self.state, new);
        let fin = self.evidence.tcp.rcv_nxt.wrapping_sub(1);
        let acked_before = new == TcpState::CloseWait && self.rcv_wup == fin;
        self.evidence.flags.fin_without_data =
            self.evidence.flags.done && (acked_before || self.read_up_to == fin);
        let transition = Event::Transition(Transition {
            at: world.now,
            id: EndpointId(self.id),
            skaddr: SocketAddress::new(0xffff_8881_0a2b_3c40),
            netns: Some(NETNS),
            tuple: self.tuple,
            old,
            new,
            task: self.task,
            evidence: (!self.classic).then_some(self.evidence),
        });
        world.tracker.ingest(&transition);
        world.transitions.push(transition);
        // tcp_send_fin follows its transition.
        if matches!(new, TcpState::FinWait1 | TcpState::LastAck) && old != new {
            self.evidence.tcp.write_seq = self.evidence.tcp.write_seq.wrapping_add(1);
            self.evidence.tcp.snd_nxt = self.evidence.tcp.write_seq;
            self.evidence.tcp.segs_out += 1;
            self.rcv_wup = self.evidence.tcp.rcv_nxt;
        }
    }

    /// The application writes, and it is sent and acknowledged.
    pub fn sends(&mut self, bytes: u32) {
        let evidence = &mut self.evidence;
        evidence.tcp.write_seq = evidence.tcp.write_seq.wrapping_add(bytes);
        evidence.tcp.snd_nxt = evidence.tcp.write_seq;
        evidence.tcp.snd_una = evidence.tcp.write_seq;
        evidence.tcp.bytes_acked += u64::from(bytes);
        evidence.tcp.segs_out += 1;
        evidence.tcp.segs_in += 1;
        self.rcv_wup = evidence.tcp.rcv_nxt;
    }

    /// The application writes, and it is sent.
    pub fn writes(&mut self, bytes: u32) {
        let tcp = &mut self.evidence.tcp;
        tcp.write_seq = tcp.write_seq.wrapping_add(bytes);
        tcp.snd_nxt = tcp.write_seq;
        tcp.segs_out += 1;
        self.rcv_wup = tcp.rcv_nxt;
    }

    /// Data was last sent and received so long ago.
    pub fn is_silent(&mut self, sent_ms: u32, received_ms: u32) {
        self.evidence.tcp.sent_ms_ago = sent_ms + 1;
        self.evidence.tcp.received_ms_ago = received_ms + 1;
    }

    /// Data comes in and is acknowledged; the application reads `read` bytes of it.
    pub fn receives(&mut self, bytes: u32, read: u32) {
        self.read_up_to = self.read_up_to.wrapping_add(read);
        let evidence = &mut self.evidence;
        evidence.tcp.rcv_nxt = evidence.tcp.rcv_nxt.wrapping_add(bytes);
        self.rcv_wup = evidence.tcp.rcv_nxt;
        evidence.tcp.bytes_received += u64::from(bytes);
        evidence.flags.unread |= read < bytes;
        evidence.tcp.snd_wl1 = evidence.tcp.rcv_nxt.wrapping_sub(bytes);
        evidence.tcp.segs_in += 1;
        evidence.tcp.segs_out += 1;
    }

    /// The peer's FIN is taken: tcp_fin() up to its transition.
    pub fn receives_fin(&mut self) {
        self.evidence.tcp.snd_wl1 = self.evidence.tcp.rcv_nxt;
        self.evidence.tcp.rcv_nxt = self.evidence.tcp.rcv_nxt.wrapping_add(1);
        self.evidence.tcp.bytes_received += 1;
        self.evidence.tcp.segs_in += 1;
        self.evidence.flags.done = true;
    }

    /// This host acknowledges what has come.
    pub fn acknowledges(&mut self) {
        self.evidence.tcp.segs_out += 1;
        self.rcv_wup = self.evidence.tcp.rcv_nxt;
    }

    /// The process closes its side, and the peer acknowledges that: FIN_WAIT2.
    pub fn closes_first(&mut self, world: &mut World) {
        self.closes(world, TcpState::FinWait1);
        self.is_acknowledged();
        self.to(world, TcpState::FinWait2);
    }

    /// The peer closes its side too: the kernel acknowledges that, and calls TIME_WAIT CLOSE.
    pub fn enters_time_wait(&mut self, world: &mut World) {
        self.receives_fin();
        self.acknowledges();
        self.to(world, TcpState::Close);
    }

    /// The peer acknowledges all that was sent, in a segment of its own.
    pub fn is_acknowledged(&mut self) {
        let evidence = &mut self.evidence;
        evidence.tcp.snd_wl1 = evidence.tcp.rcv_nxt;
        evidence.tcp.bytes_acked +=
            u64::from(evidence.tcp.snd_nxt.wrapping_sub(evidence.tcp.snd_una));
        evidence.tcp.snd_una = evidence.tcp.snd_nxt;
        evidence.tcp.segs_in += 1;
    }

    /// The process calls close() or shutdown(): the transition that goes with it.
    pub fn closes(&mut self, world: &mut World, new: TcpState) {
        self.task = Some(task(88, "closer"));
        self.to(world, new);
        self.task = None;
    }
}
