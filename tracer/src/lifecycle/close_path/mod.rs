//! From the marks of a close to its path: what a capture would have shown, and how sure that is.
//!
//! The evidence of each transition is what the socket held just before it (KERNEL facts stand at the rules; the functions
//! named are net/ipv4/tcp_input.c's and tcp.c's). A rule that lacks its evidence says so: it never guesses. This file
//! decides the path, `steps.rs` the segments, `measure.rs` times and bytes.

mod measure;
mod steps;

use tcpclose_common::TcpState;

use super::connection::{Connection, Mark};
use super::finding::{
    Close, ClosePath, Conn, Initiator, Reset, ResetReason, SegmentFlags, Side, Step,
};
use super::reset;
use super::types::{Known, Nanos};
use steps::inferred;

/// How an end came to its end, where the transitions alone do not tell: after FIN_WAIT2 the kernel parks the socket of a
/// process that called close() in a minisocket, and the peer's FIN is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The transitions tell all.
    Told,
    /// The peer's FIN reached the minisocket at this time, and TIME_WAIT began.
    PeerFin(Nanos),
    /// The peer's FIN reached it some time before this one, when a new connection had taken its place.
    Replaced(Nanos),
    /// `tcp_fin_timeout` ended the wait for the peer's FIN.
    FinTimeout(Nanos),
    /// A RST was sent: the peer had sent data to the closed socket.
    ResetByUs(Nanos),
    /// The minisocket is gone, and nobody saw how.
    Lost(Nanos),
}

impl Fate {
    /// Whether the peer's FIN came, and when, where that is known.
    const fn peer_fin(self) -> Option<Option<Nanos>> {
        match self {
            Self::PeerFin(at) => Some(Some(at)),
            Self::Replaced(_) => Some(None),
            Self::Told | Self::FinTimeout(_) | Self::ResetByUs(_) | Self::Lost(_) => None,
        }
    }

    const fn at(self) -> Option<Nanos> {
        match self {
            Self::Told => None,
            Self::PeerFin(at)
            | Self::Replaced(at)
            | Self::FinTimeout(at)
            | Self::ResetByUs(at)
            | Self::Lost(at) => Some(at),
        }
    }
}

/// What ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// FINs and their ACKs.
    Orderly,
    /// A RST.
    Reset,
    /// No answer.
    Timeout,
    /// SOCK_DESTROY.
    Destroyed,
    /// The evidence does not tell.
    Unknown,
}

/// The close of an end whose last transition has been seen.
pub(super) fn reconstruct(connection: &Connection, fate: Fate) -> Close {
    let story = Story::new(connection, fate);
    let reset = reset::cause(connection, fate);
    let ending = story.ending(reset.as_ref());
    let (path, mut steps) = story.path(ending);
    if let Some(reset) = &reset {
        steps.push(story.reset_step(reset));
    }
    let states = story.states();
    let at = fate.at().unwrap_or(story.last.at);
    let lifetime = states
        .iter()
        .map(|(_, dwell)| *dwell)
        .sum_known()
        .filter(|_| !states.is_empty());
    Close {
        at,
        conn: Conn {
            id: connection.id,
            netns: connection.netns,
            tuple: connection.tuple,
            role: connection.role,
            seen_from_start: connection.seen_from_start,
            opened: connection.opened,
            lifetime,
        },
        owner: connection.owner.clone(),
        path,
        initiator: story.initiator(reset.as_ref()),
        segments: story.segments(path, reset.as_ref().and_then(|reset| reset.reason), &steps),
        half_close: story.half_close(path, at),
        steps,
        states,
        bytes: story.bytes(),
        retransmits: story.last.evidence.map(|evidence| evidence.retransmits),
        reset,
    }
}

trait SumKnown {
    fn sum_known(self) -> Option<Nanos>;
}

impl<I: Iterator<Item = Option<Nanos>>> SumKnown for I {
    fn sum_known(mut self) -> Option<Nanos> {
        self.try_fold(Nanos(0), |sum, dwell| Some(sum + dwell?))
    }
}

/// How this end acknowledged the peer's FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerFinAck {
    /// By its own FIN.
    WithFin,
    /// By an earlier segment, which began with this number where that is known.
    Apart { seq: Option<u32> },
}

/// The marks of one close, by the part they play.
struct Story<'a> {
    connection: &'a Connection,
    fate: Fate,
    /// This end's FIN.
    fin: Option<&'a Mark>,
    /// The peer's FIN came first: ESTABLISHED→CLOSE_WAIT.
    peer_fin: Option<&'a Mark>,
    /// The ACK of this end's FIN: FIN_WAIT1→FIN_WAIT2.
    fin_acked: Option<&'a Mark>,
    /// The FINs crossed: FIN_WAIT1→CLOSING.
    crossed: Option<&'a Mark>,
    last: Mark,
}

impl<'a> Story<'a> {
    fn new(connection: &'a Connection, fate: Fate) -> Self {
        let marks = connection
            .closing
            .as_ref()
            .map_or(&[][..], |closing| &closing.marks);
        let to = |state: TcpState| marks.iter().find(move |mark| mark.new == state);
        let nothing = Mark {
            at: connection.since.unwrap_or_default(),
            old: connection.state,
            new: TcpState::Close,
            dwell: None,
            evidence: None,
        };
        Self {
            connection,
            fate,
            fin: to(TcpState::FinWait1).or_else(|| to(TcpState::LastAck)),
            peer_fin: to(TcpState::CloseWait),
            fin_acked: to(TcpState::FinWait2),
            crossed: to(TcpState::Closing),
            last: marks.last().copied().unwrap_or(nothing),
        }
    }

    fn first_old(&self) -> TcpState {
        let marks = self
            .connection
            .closing
            .as_ref()
            .map(|closing| &closing.marks);
        marks
            .and_then(|marks| marks.first())
            .map_or(self.last.old, |mark| mark.old)
    }

    fn gap(&self) -> bool {
        self.connection
            .closing
            .as_ref()
            .is_some_and(|closing| closing.gap)
    }
    fn ending(&self, reset: Option<&Reset>) -> Ending {
        const ECONNABORTED: u16 = 103;
        match self.fate {
            Fate::FinTimeout(_) => return Ending::Timeout,
            Fate::Lost(_) => return Ending::Unknown,
            Fate::PeerFin(_) | Fate::Replaced(_) => return Ending::Orderly,
            Fate::Told | Fate::ResetByUs(_) => {}
        }
        let Some(evidence) = &self.last.evidence else {
            // Without evidence only the crossing of the FINs is beyond doubt; a RST looks like any other end.
            return if self.last.old == TcpState::Closing {
                Ending::Orderly
            } else {
                Ending::Unknown
            };
        };
        match evidence.error {
            ECONNABORTED => Ending::Destroyed,
            0 if reset.is_some() => Ending::Reset,
            0 => match self.last.old {
                TcpState::LastAck | TcpState::Closing => Ending::Orderly,
                TcpState::FinWait2 if evidence.done => Ending::Orderly,
                _ => Ending::Unknown,
            },
            _ if reset.is_some_and(|reset| reset.by == Side::Peer) => Ending::Reset,
            error if reset::is_reset_error(error) => Ending::Reset,
            // tcp_write_err: ETIMEDOUT, or the last unreachable error that ICMP told.
            _ => Ending::Timeout,
        }
    }

    fn initiator(&self, reset: Option<&Reset>) -> Initiator {
        let answers = reset.is_some_and(|reset| reset.reason == Some(ResetReason::DataAfterClose));
        match self.first_old() {
            TcpState::CloseWait | TcpState::LastAck => Initiator::Peer,
            TcpState::FinWait1 | TcpState::FinWait2 => Initiator::Local,
            TcpState::Closing => Initiator::Both,
            _ if self.crossed.is_some() && self.was_overtaken() => Initiator::Peer,
            _ if self.crossed.is_some() => Initiator::Both,
            _ if self.peer_fin.is_some() => Initiator::Peer,
            // Data that crossed this end's FIN may have carried the peer's.
            _ if answers && self.fin_acked.is_none() => Initiator::Unknown,
            _ if self.fin.is_some() && self.fin_left() => Initiator::Local,
            _ => match reset {
                Some(reset) if reset.by == Side::Local => Initiator::Local,
                Some(_) => Initiator::Peer,
                None => Initiator::Unknown,
            },
        }
    }

    /// Whether this end's FIN was ever sent. A window that the peer keeps closed holds it back.
    fn fin_left(&self) -> bool {
        let Some(fin) = self.fin else { return false };
        match (fin.evidence, self.last.evidence) {
            (Some(at_fin), Some(end)) => before(at_fin.write_seq, end.snd_nxt),
            // Nothing tells, and it nearly always is.
            _ => true,
        }
    }

    /// Whether the peer's FIN came while this end's was still waiting to be sent: the FINs did not cross.
    fn was_overtaken(&self) -> bool {
        match (
            self.fin.and_then(|mark| mark.evidence),
            self.crossed.and_then(|mark| mark.evidence),
        ) {
            (Some(at_fin), Some(crossed)) => !before(at_fin.write_seq, crossed.snd_nxt),
            _ => false,
        }
    }

    fn path(&self, ending: Ending) -> (ClosePath, Vec<Step>) {
        let never_opened = self.connection.opened.is_none()
            && matches!(self.last.old, TcpState::SynSent | TcpState::SynRecv);
        if let (Some(at), None) = (self.fate.peer_fin(), self.fin) {
            // The socket was in its minisocket already when the tracer came: FIN and ACK had gone both ways.
            return (ClosePath::FourWay, self.unseen_four_way(at));
        }
        let (orderly, steps) = if self.peer_fin.is_some() || self.first_old() == TcpState::CloseWait
        {
            self.passive(ending)
        } else if self.fin.is_some() {
            self.active(ending)
        } else {
            let crossed = self.first_old() == TcpState::Closing;
            (
                if crossed {
                    ClosePath::Simultaneous
                } else {
                    ClosePath::Unknown
                },
                Vec::new(),
            )
        };
        let path = match ending {
            _ if never_opened => ClosePath::ConnectFailed,
            Ending::Orderly => orderly,
            Ending::Reset => ClosePath::Reset,
            Ending::Timeout => ClosePath::Timeout,
            Ending::Destroyed => ClosePath::Destroyed,
            Ending::Unknown => ClosePath::Unknown,
        };
        (path, steps)
    }

    /// The four segments of a close of which only the end was met.
    fn unseen_four_way(&self, peer_fin: Option<Nanos>) -> Vec<Step> {
        let step = |from: Side, flags: SegmentFlags, at: Option<Nanos>| Step {
            from,
            flags,
            seq: None,
            ack: None,
            at,
            known: Known::Inferred,
        };
        vec![
            step(Side::Local, SegmentFlags::FinAck, None),
            step(Side::Peer, SegmentFlags::Ack, None),
            step(Side::Peer, SegmentFlags::FinAck, peer_fin),
            step(Side::Local, SegmentFlags::Ack, peer_fin),
        ]
    }

    /// The peer closed first.
    fn passive(&self, ending: Ending) -> (ClosePath, Vec<Step>) {
        let mut steps = Vec::with_capacity(4);
        if let Some(mark) = self.peer_fin {
            steps.push(self.peer_fin_step(mark, None));
        }
        let ack = self.ack_of_peer_fin(ending);
        if let Some(PeerFinAck::Apart { seq }) = ack {
            steps.push(Step {
                from: Side::Local,
                flags: SegmentFlags::Ack,
                seq: seq.and_then(|seq| self.local(seq)),
                ack: self
                    .peer_fin
                    .and_then(|mark| self.peer(mark.evidence?.rcv_nxt)),
                at: None,
                known: Known::Observed,
            });
        }
        if let Some(mark) = self.fin {
            steps.extend(self.fin_step(mark));
        }
        if ending == Ending::Orderly && self.last.old == TcpState::LastAck {
            steps.push(self.last_ack_step());
        }
        let path = match ack {
            _ if self.fin.is_none() || self.gap() => ClosePath::Unknown,
            Some(PeerFinAck::WithFin) => ClosePath::ThreeWay,
            Some(PeerFinAck::Apart { .. }) => ClosePath::FourWay,
            None => ClosePath::Unknown,
        };
        (path, steps)
    }

    /// How the ACK of the peer's FIN went out: the first segment after that FIN carried it. The mark that ended CLOSE_WAIT
    /// shows whether there was one. (A FIN or RST of this end is sent after its transition; SOCK_DESTROY's RST before.)
    fn ack_of_peer_fin(&self, ending: Ending) -> Option<PeerFinAck> {
        let came = self.peer_fin?.evidence?;
        let own_fin = self.fin.filter(|mark| mark.new == TcpState::LastAck);
        let left = own_fin.unwrap_or(&self.last).evidence?;
        let own_reset = u32::from(ending == Ending::Destroyed && self.fin.is_none());
        let sent = left.segs_out.wrapping_sub(came.segs_out);
        if sent > own_reset {
            let repeats = left.retransmits != came.retransmits;
            let seq = (!repeats).then_some(came.snd_nxt);
            return Some(PeerFinAck::Apart { seq });
        }
        if own_fin.is_some() && left.fin_leaves_at_once() {
            return Some(PeerFinAck::WithFin);
        }
        // The FIN waited, for the window or behind data that it may have left with. What went out in all tells.
        let end = self.last.evidence?;
        if ending != Ending::Orderly || end.retransmits != came.retransmits {
            return None;
        }
        match end.segs_out.wrapping_sub(came.segs_out) {
            0 => None,
            1 => Some(PeerFinAck::WithFin),
            // The first may have been a probe of the window, with a number of its own.
            _ => Some(PeerFinAck::Apart { seq: None }),
        }
    }

    /// This end closed first.
    fn active(&self, ending: Ending) -> (ClosePath, Vec<Step>) {
        let Some(fin) = self.fin else {
            return (ClosePath::Unknown, Vec::new());
        };
        let mut steps = Vec::with_capacity(4);
        if let Some(crossed) = self.crossed
            && self.was_overtaken()
        {
            return self.overtaken(fin, crossed, ending);
        }
        steps.extend(self.fin_step(fin));
        if let Some(crossed) = self.crossed {
            steps.push(self.peer_fin_step(crossed, None));
            // tcp_fin() sends the ACK before it enters CLOSING.
            steps.push(self.local_ack_step(crossed));
            if ending == Ending::Orderly {
                steps.push(self.last_ack_step());
            }
            return (ClosePath::Simultaneous, steps);
        }
        let Some(acked) = self.fin_acked else {
            return (ClosePath::Unknown, steps);
        };
        if let Some(at) = self.fate.peer_fin() {
            steps.push(self.ack_of_fin_step(acked, None));
            // Only a FIN without data, with exactly the next number, turns the minisocket to TIME_WAIT
            // (tcp_timewait_state_process).
            let evidence = self.last.evidence.as_ref();
            let seq = evidence.and_then(|evidence| self.peer(evidence.rcv_nxt));
            let end = evidence.and_then(|evidence| self.local(evidence.snd_nxt));
            let step = |from, flags, seq, ack| Step {
                at,
                ..inferred(from, flags, seq, ack, self.last.at)
            };
            let next = seq.map(|seq| seq.wrapping_add(1));
            steps.push(step(Side::Peer, SegmentFlags::FinAck, seq, end));
            steps.push(step(Side::Local, SegmentFlags::Ack, end, next));
            return (ClosePath::FourWay, steps);
        }
        let done = self.last.old == TcpState::FinWait2
            && self.last.evidence.is_some_and(|evidence| evidence.done);
        if !done || self.fate != Fate::Told {
            steps.push(self.ack_of_fin_step(acked, None));
            return (ClosePath::Unknown, steps);
        }
        match self.one_segment_acked_and_closed(fin, acked) {
            Some(true) => {
                // The ACK was taken before the FIN in the same segment: rcv_nxt was still the segment's own number.
                steps.push(
                    self.peer_fin_step(&self.last, acked.evidence.map(|evidence| evidence.rcv_nxt)),
                );
                steps.push(self.local_ack_step(&self.last));
                (ClosePath::ThreeWay, steps)
            }
            Some(false) => {
                steps.push(self.ack_of_fin_step(acked, Some(&self.last)));
                steps.push(self.peer_fin_step(&self.last, None));
                steps.push(self.local_ack_step(&self.last));
                (ClosePath::FourWay, steps)
            }
            None => (ClosePath::Unknown, steps),
        }
    }

    /// The peer's FIN came before this end's could be sent: the peer closed first, whatever the states are called.
    fn overtaken(&self, fin: &Mark, crossed: &Mark, ending: Ending) -> (ClosePath, Vec<Step>) {
        let mut steps = vec![
            self.peer_fin_step(crossed, None),
            self.local_ack_step(crossed),
        ];
        if let Some(step) = self.fin_step(fin) {
            let ack = crossed
                .evidence
                .and_then(|evidence| self.peer(evidence.rcv_nxt));
            steps.push(Step {
                ack,
                at: None,
                ..step
            });
        }
        if ending == Ending::Orderly {
            steps.push(self.last_ack_step());
        }
        (ClosePath::FourWay, steps)
    }

    /// Whether the segment that acknowledged our FIN was the peer's FIN too. A segment is counted in `segs_in` when it
    /// arrives, but one that waits in the backlog of a locked socket is processed later: two may wait there and look
    /// like one, unless only one has come since our FIN.
    fn one_segment_acked_and_closed(&self, fin: &Mark, acked: &Mark) -> Option<bool> {
        let (before, acked, last) = (fin.evidence?, acked.evidence?, self.last.evidence?);
        if last.segs_in != acked.segs_in {
            return Some(false);
        }
        (!acked.owned || acked.segs_in.wrapping_sub(before.segs_in) == 1).then_some(true)
    }

    /// A number of this end as Wireshark prints it.
    fn local(&self, seq: u32) -> Option<u32> {
        self.connection.origin.iss.map(|iss| seq.wrapping_sub(iss))
    }

    /// A number of the peer as Wireshark prints it.
    fn peer(&self, seq: u32) -> Option<u32> {
        self.connection.origin.irs.map(|irs| seq.wrapping_sub(irs))
    }
}

/// Whether sequence number `a` comes before `b` (RFC 9293, 3.4).
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
