//! One endpoint of a simulated connection: what happens to it, and the events that the kernel would
//! report of it, with the evidence that its socket would show.

use std::net::SocketAddr;

use tcpclose_common::TcpState;
use tcpclose_core::event::{
    Event, Evidence, Segment, Signal, SignalKind, SocketFlags, Task, TcpFields, Transition,
};
use tcpclose_core::types::{EndpointId, Nanos, NetNs, Port, Tuple};

/// The initial network namespace, as every host numbers it.
pub const NETNS: NetNs = NetNs::new(4_026_531_840).expect("it is not 0");

/// What the kernel's `sk_err` says.
pub mod errno {
    pub const EPIPE: u16 = 32;
    pub const ECONNRESET: u16 = 104;
    pub const ETIMEDOUT: u16 = 110;
    pub const ECONNREFUSED: u16 = 111;
}

/// What identifies an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The host, by its position.
    pub host: usize,
    /// The socket's cookie.
    pub id: EndpointId,
    /// The process.
    pub task: Task,
    /// The endpoint's own address.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
    /// The initial sequence numbers, its own first.
    pub initial: (u32, u32),
}

/// An endpoint.
#[derive(Debug)]
pub struct Endpoint {
    identity: Identity,
    tuple: Tuple,
    state: TcpState,
    evidence: Evidence,
    events: Vec<Event>,
}

impl Endpoint {
    /// Returns an endpoint that does not exist yet.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let (iss, irs) = identity.initial;
        let (snd, rcv) = (iss.wrapping_add(1), irs.wrapping_add(1));
        let tcp = TcpFields {
            snd_una: snd,
            snd_nxt: snd,
            write_seq: snd,
            rcv_nxt: rcv,
            snd_wnd: 65_535,
            snd_wl1: irs,
            ..TcpFields::default()
        };
        Self {
            identity,
            tuple: Tuple::from((identity.local, identity.peer)),
            state: TcpState::Close,
            evidence: Evidence {
                tcp,
                flags: SocketFlags::default(),
            },
            events: Vec::new(),
        }
    }

    /// Returns the host and the events, in order.
    #[must_use]
    pub fn into_events(self) -> (usize, Vec<Event>) {
        (self.identity.host, self.events)
    }

    /// The socket, to say something that has no function of its own.
    pub fn flags(&mut self) -> &mut SocketFlags {
        &mut self.evidence.flags
    }

    /// Its process calls connect().
    pub fn connects(&mut self, at: Nanos) {
        self.tuple.local_port = None;
        self.transition(at, TcpState::SynSent, Some(self.identity.task));
        self.tuple.local_port = Port::new(self.identity.local.port());
        self.evidence.tcp.segs_out = 1;
    }

    /// connect() fails before it has a port.
    pub fn finds_no_port(&mut self, at: Nanos) {
        self.tuple.local_port = None;
        self.transition(at, TcpState::Close, Some(self.identity.task));
    }

    /// The peer has answered the SYN.
    pub fn is_connected(&mut self, at: Nanos) {
        let (_, irs) = self.identity.initial;
        self.evidence.tcp.bytes_acked = 1;
        self.evidence.tcp.segs_in = 1;
        self.evidence.tcp.snd_wl1 = irs;
        self.transition(at, TcpState::Established, None);
        self.evidence.tcp.segs_out += 1;
    }

    /// The kernel has accepted the connection.
    pub fn is_accepted(&mut self, at: Nanos) {
        self.state = TcpState::SynRecv;
        self.evidence.tcp.segs_in = 2;
        self.evidence.tcp.segs_out = 1;
        self.transition(at, TcpState::Established, None);
    }

    /// Data is sent and acknowledged.
    pub fn sends(&mut self, bytes: u32) {
        let tcp = &mut self.evidence.tcp;
        tcp.write_seq = tcp.write_seq.wrapping_add(bytes);
        tcp.snd_nxt = tcp.write_seq;
        tcp.snd_una = tcp.write_seq;
        tcp.bytes_acked += u64::from(bytes);
        tcp.segs_out += bytes.div_ceil(1448);
        tcp.segs_in += 1;
    }

    /// Data is sent, and nothing acknowledges it.
    pub fn writes(&mut self, bytes: u32) {
        let tcp = &mut self.evidence.tcp;
        tcp.write_seq = tcp.write_seq.wrapping_add(bytes);
        tcp.snd_nxt = tcp.write_seq;
        tcp.segs_out += 1;
    }

    /// Data comes in; the process reads it.
    pub fn receives(&mut self, bytes: u32) {
        let tcp = &mut self.evidence.tcp;
        tcp.snd_wl1 = tcp.rcv_nxt;
        tcp.rcv_nxt = tcp.rcv_nxt.wrapping_add(bytes);
        tcp.bytes_received += u64::from(bytes);
        tcp.segs_in += bytes.div_ceil(1448);
        tcp.segs_out += 1;
    }

    /// Data was last sent and received so long ago.
    pub fn is_silent(&mut self, sent_ms: u32, received_ms: u32) {
        self.evidence.tcp.sent_ms_ago = sent_ms + 1;
        self.evidence.tcp.received_ms_ago = received_ms + 1;
    }

    /// Its process calls close(), which sends a FIN.
    pub fn closes(&mut self, at: Nanos) {
        self.evidence.flags.dead = true;
        let new = match self.state {
            TcpState::CloseWait => TcpState::LastAck,
            _ => TcpState::FinWait1,
        };
        self.transition(at, new, Some(self.identity.task));
        let tcp = &mut self.evidence.tcp;
        tcp.write_seq = tcp.write_seq.wrapping_add(1);
        tcp.snd_nxt = tcp.write_seq;
        tcp.segs_out += 1;
    }

    /// The kernel sends the FIN again.
    pub fn sends_fin_again(&mut self, at: Nanos) {
        self.evidence.tcp.retransmits += 1;
        self.evidence.tcp.segs_out += 1;
        self.signal(at, SignalKind::FinRetransmitted);
    }

    /// The peer's FIN comes in ESTABLISHED, and is acknowledged in a segment of its own or not yet.
    pub fn is_closed_by_peer(&mut self, at: Nanos, acknowledges: bool) {
        self.takes_fin();
        self.evidence.flags.fin_without_data = true;
        self.transition(at, TcpState::CloseWait, None);
        self.evidence.tcp.segs_out += u32::from(acknowledges);
    }

    /// The peer acknowledges all that was sent. An endpoint that closed first waits for the peer's
    /// FIN in a minisocket then.
    pub fn is_acknowledged(&mut self, at: Nanos) {
        self.takes_ack();
        match self.state {
            TcpState::FinWait1 => {
                self.transition(at, TcpState::FinWait2, None);
                self.signal(at, SignalKind::MinisocketArmed { time_wait: false });
                self.transition(at, TcpState::Close, None);
            }
            _ => self.transition(at, TcpState::Close, None),
        }
    }

    /// The peer's FIN comes to the minisocket, which waits in TIME_WAIT from now on.
    pub fn minisocket_takes_fin(&mut self, at: Nanos, time_wait: Nanos) {
        let tcp = &self.evidence.tcp;
        let segment = Segment {
            fin: true,
            rst: false,
            has_ack: true,
            seq: tcp.rcv_nxt,
            end: tcp.rcv_nxt.wrapping_add(1),
            ack: tcp.snd_nxt,
        };
        let took = SignalKind::MinisocketSegment {
            segment,
            time_wait: true,
        };
        self.signal(at, took);
        self.enters_time_wait(at, time_wait);
    }

    /// The ACK and the peer's FIN come in one segment.
    pub fn takes_ack_and_fin(&mut self, at: Nanos, time_wait: Nanos) {
        self.takes_ack();
        self.transition(at, TcpState::FinWait2, None);
        self.takes_fin();
        self.evidence.tcp.segs_in -= 1;
        self.evidence.tcp.segs_out += 1;
        self.enters_time_wait(at, time_wait);
        self.transition(at, TcpState::Close, None);
    }

    /// The minisocket's timer fires.
    pub fn minisocket_expires(&mut self, at: Nanos) {
        self.signal(at, SignalKind::MinisocketKilled);
    }

    /// A RST comes.
    pub fn is_reset(&mut self, at: Nanos) {
        self.evidence.tcp.error = match self.state {
            TcpState::SynSent => errno::ECONNREFUSED,
            TcpState::CloseWait | TcpState::LastAck => errno::EPIPE,
            _ => errno::ECONNRESET,
        };
        self.evidence.tcp.segs_in += 1;
        self.signal(at, SignalKind::ResetReceived);
        self.transition(at, TcpState::Close, None);
    }

    /// The kernel gives up.
    pub fn times_out(&mut self, at: Nanos) {
        self.evidence.tcp.error = errno::ETIMEDOUT;
        self.transition(at, TcpState::Close, None);
    }

    /// Its process calls close(), which sends a RST as the flags of the socket say.
    pub fn aborts(&mut self, at: Nanos, reason: &'static str) {
        self.evidence.flags.dead = true;
        self.transition(at, TcpState::Close, Some(self.identity.task));
        self.sends_reset(at, reason, None, false);
    }

    /// Data comes to the minisocket in FIN_WAIT2, which answers with a RST and goes.
    pub fn minisocket_refuses_data(&mut self, at: Nanos, bytes: u32) {
        let tcp = &self.evidence.tcp;
        let data = Segment {
            fin: false,
            rst: false,
            has_ack: true,
            seq: tcp.rcv_nxt,
            end: tcp.rcv_nxt.wrapping_add(bytes),
            ack: tcp.snd_nxt,
        };
        self.sends_reset(at, "TCP_TIMEWAIT_SOCKET", Some(data), true);
        self.signal(at, SignalKind::MinisocketDescheduled);
        self.signal(at, SignalKind::MinisocketKilled);
    }

    fn sends_reset(
        &mut self,
        at: Nanos,
        reason: &'static str,
        answers: Option<Segment>,
        minisocket: bool,
    ) {
        let sent = SignalKind::ResetSent {
            reason: Some(reason),
            answers,
            minisocket,
        };
        self.signal(at, sent);
    }

    fn enters_time_wait(&mut self, at: Nanos, time_wait: Nanos) {
        self.signal(at, SignalKind::MinisocketArmed { time_wait: true });
        self.minisocket_expires(at + time_wait);
    }

    fn takes_ack(&mut self) {
        let tcp = &mut self.evidence.tcp;
        tcp.snd_wl1 = tcp.rcv_nxt;
        tcp.bytes_acked += u64::from(tcp.snd_nxt.wrapping_sub(tcp.snd_una));
        tcp.snd_una = tcp.snd_nxt;
        tcp.segs_in += 1;
    }

    fn takes_fin(&mut self) {
        let tcp = &mut self.evidence.tcp;
        tcp.snd_wl1 = tcp.rcv_nxt;
        tcp.rcv_nxt = tcp.rcv_nxt.wrapping_add(1);
        tcp.bytes_received += 1;
        tcp.segs_in += 1;
        self.evidence.flags.done = true;
    }

    fn transition(&mut self, at: Nanos, new: TcpState, task: Option<Task>) {
        let old = std::mem::replace(&mut self.state, new);
        self.events.push(Event::Transition(Transition {
            at,
            id: self.identity.id,
            skaddr: None,
            netns: Some(NETNS),
            tuple: self.tuple,
            old,
            new,
            task,
            evidence: Some(self.evidence),
        }));
    }

    fn signal(&mut self, at: Nanos, kind: SignalKind) {
        self.events.push(Event::Signal(Signal {
            at,
            id: self.identity.id,
            kind,
        }));
    }
}
