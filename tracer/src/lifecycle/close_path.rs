//! From the marks of a close to its path: what a capture would have shown, and how sure that is.
//!
//! The evidence of each transition is what the socket held just before it (KERNEL facts stand at the rules below; the
//! functions named are net/ipv4/tcp_input.c's and tcp.c's). A rule that lacks its evidence says so: it never guesses.

use tcpclose_common::TcpState;

use super::connection::{Connection, Mark};
use super::event::Evidence;
use super::finding::{
    Bytes, Close, ClosePath, Conn, HalfClose, Initiator, Reset, SegmentFlags, Side, Step,
};
use super::reset;
use super::types::{Known, Nanos};

/// How an end came to its end, where the transitions alone do not tell: after FIN_WAIT2 the kernel parks the socket of a
/// process that called close() in a minisocket, and the peer's FIN is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The transitions tell all.
    Told,
    /// The peer's FIN reached the minisocket at this time, and TIME_WAIT began.
    PeerFin(Nanos),
    /// `tcp_fin_timeout` ended the wait for the peer's FIN.
    FinTimeout(Nanos),
    /// A RST was sent: the peer had sent data to the closed socket.
    ResetByUs(Nanos),
    /// The minisocket is gone, and nobody saw how.
    Lost(Nanos),
}

impl Fate {
    const fn at(self) -> Option<Nanos> {
        match self {
            Self::Told => None,
            Self::PeerFin(at) | Self::FinTimeout(at) | Self::ResetByUs(at) | Self::Lost(at) => {
                Some(at)
            }
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
        segments: story.segments(path, &steps),
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
            Fate::PeerFin(_) => return Ending::Orderly,
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
        match self.first_old() {
            TcpState::CloseWait | TcpState::LastAck => Initiator::Peer,
            TcpState::FinWait1 | TcpState::FinWait2 => Initiator::Local,
            TcpState::Closing => Initiator::Both,
            _ if self.crossed.is_some() && self.was_overtaken() => Initiator::Peer,
            _ if self.crossed.is_some() => Initiator::Both,
            _ if self.peer_fin.is_some() => Initiator::Peer,
            _ if self.fin.is_some() && self.fin_left() => Initiator::Local,
            _ => match reset.map(|reset| reset.by) {
                Some(Side::Local) => Initiator::Local,
                Some(Side::Peer) => Initiator::Peer,
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

    /// The peer closed first.
    fn passive(&self, ending: Ending) -> (ClosePath, Vec<Step>) {
        let mut steps = Vec::with_capacity(4);
        if let Some(mark) = self.peer_fin {
            steps.push(self.peer_fin_step(mark, None));
        }
        // The mark that ended CLOSE_WAIT shows whether a segment went out since the peer's FIN: the first one that did
        // carried its ACK. (A FIN or RST of this end is sent after the transition; SOCK_DESTROY's RST before.)
        let left = self
            .fin
            .filter(|mark| mark.new == TcpState::LastAck)
            .unwrap_or(&self.last);
        let sent_since = match (self.peer_fin.and_then(|mark| mark.evidence), &left.evidence) {
            (Some(came), Some(left)) => {
                let own_reset = u32::from(ending == Ending::Destroyed && self.fin.is_none());
                let sent = left.segs_out.wrapping_sub(came.segs_out);
                Some((came, left, sent.saturating_sub(own_reset)))
            }
            _ => None,
        };
        if let Some((came, left, 1..)) = sent_since {
            let repeats = left.retransmits != came.retransmits;
            steps.push(Step {
                from: Side::Local,
                flags: SegmentFlags::Ack,
                seq: if repeats {
                    None
                } else {
                    self.local(came.snd_nxt)
                },
                ack: self.peer(came.rcv_nxt),
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
        let path = match (sent_since, self.fin.is_some() && !self.gap()) {
            (Some((_, _, 0)), true) => ClosePath::ThreeWay,
            (Some(_), true) => ClosePath::FourWay,
            _ => ClosePath::Unknown,
        };
        (path, steps)
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
        if let Fate::PeerFin(at) = self.fate {
            steps.push(self.ack_of_fin_step(acked, None));
            // Only a FIN without data, with exactly the next number, turns the minisocket to TIME_WAIT
            // (tcp_timewait_state_process).
            let evidence = self.last.evidence.as_ref();
            let seq = evidence.and_then(|evidence| self.peer(evidence.rcv_nxt));
            let end = evidence.and_then(|evidence| self.local(evidence.snd_nxt));
            steps.push(inferred(Side::Peer, SegmentFlags::FinAck, seq, end, at));
            steps.push(inferred(
                Side::Local,
                SegmentFlags::Ack,
                end,
                seq.map(|seq| seq.wrapping_add(1)),
                at,
            ));
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

    /// This end's FIN. `None` when there is no sign that it was ever sent (a closed window).
    fn fin_step(&self, mark: &Mark) -> Option<Step> {
        let Some(evidence) = mark.evidence else {
            return Some(inferred(
                Side::Local,
                SegmentFlags::FinAck,
                None,
                None,
                mark.at,
            ));
        };
        if !self.fin_left() {
            return None;
        }
        let number = evidence.write_seq;
        // Unsent data may take the FIN along in its last segment (tcp_send_fin), whose number is then not known.
        let alone = evidence.snd_nxt == number;
        // With nothing in flight the FIN left at once; else the ACK number is sure only if it did not move.
        let after = self.next_after(mark);
        let settled = evidence.snd_una == evidence.snd_nxt
            || mark.new == TcpState::LastAck
            || after.is_some_and(|after| {
                after.rcv_nxt.wrapping_sub(after.done.into()) == evidence.rcv_nxt
            });
        Some(Step {
            from: Side::Local,
            flags: SegmentFlags::FinAck,
            seq: if alone { self.local(number) } else { None },
            ack: if settled {
                self.peer(evidence.rcv_nxt)
            } else {
                None
            },
            at: Some(mark.at),
            known: Known::Observed,
        })
    }

    fn next_after(&self, mark: &Mark) -> Option<Evidence> {
        let marks = &self.connection.closing.as_ref()?.marks;
        marks
            .iter()
            .find(|next| next.at >= mark.at && next.old == mark.new)?
            .evidence
    }

    /// The peer's FIN, received at `mark`; its number is `rcv_nxt` - 1 unless data came with it. `start` is the number
    /// of its segment where that is known otherwise.
    fn peer_fin_step(&self, mark: &Mark, start: Option<u32>) -> Step {
        let Some(evidence) = mark.evidence else {
            return inferred(Side::Peer, SegmentFlags::FinAck, None, None, mark.at);
        };
        let number = evidence.rcv_nxt.wrapping_sub(1);
        // What had been acknowledged to the peer, or read by the application, came before this segment. In TIME_WAIT's
        // case and CLOSING's the ACK of the FIN has gone out already, so rcv_wup says nothing.
        let passive = mark.new == TcpState::CloseWait;
        let came_before = evidence.fin_alone
            || (passive && evidence.rcv_wup == number)
            || evidence.copied_seq == number;
        let untouched = self.fin_acked.or(self.fin).and_then(|mark| mark.evidence);
        let nothing_new = !passive && untouched.is_some_and(|before| before.rcv_nxt == number);
        let start = start.or_else(|| (came_before || nothing_new).then_some(number));
        Step {
            from: Side::Peer,
            flags: SegmentFlags::FinAck,
            seq: start.and_then(|start| self.peer(start)),
            ack: self.local(evidence.snd_una),
            at: Some(mark.at),
            // A FIN that waited for a lost segment is seen when that arrives, under that segment's ACK number.
            known: if evidence.out_of_order == 0 {
                Known::Observed
            } else {
                Known::Inferred
            },
        }
    }

    /// This end's ACK of the peer's FIN, sent by tcp_fin() on the spot.
    fn local_ack_step(&self, mark: &Mark) -> Step {
        let Some(evidence) = mark.evidence else {
            return inferred(Side::Local, SegmentFlags::Ack, None, None, mark.at);
        };
        Step {
            from: Side::Local,
            flags: SegmentFlags::Ack,
            seq: self.local(evidence.snd_nxt),
            ack: self.peer(evidence.rcv_nxt),
            at: Some(mark.at),
            known: Known::Observed,
        }
    }

    /// The peer's ACK of this end's FIN. Its own number is `rcv_nxt` if the peer sent no data after it.
    fn ack_of_fin_step(&self, mark: &Mark, peer_fin: Option<&Mark>) -> Step {
        let Some(evidence) = mark.evidence else {
            return inferred(Side::Peer, SegmentFlags::Ack, None, None, mark.at);
        };
        let later = match peer_fin {
            Some(fin) => fin
                .evidence
                .map(|evidence| evidence.rcv_nxt.wrapping_sub(1)),
            None => self.last.evidence.map(|evidence| evidence.rcv_nxt),
        };
        let silent = later == Some(evidence.rcv_nxt);
        Step {
            from: Side::Peer,
            flags: SegmentFlags::Ack,
            seq: self.peer(evidence.rcv_nxt),
            ack: self.local(evidence.snd_una),
            at: Some(mark.at),
            known: if silent {
                Known::Observed
            } else {
                Known::Inferred
            },
        }
    }

    /// The ACK that ended LAST_ACK or CLOSING: nothing can follow the peer's FIN, so its number is sure.
    fn last_ack_step(&self) -> Step {
        let Some(evidence) = self.last.evidence else {
            return inferred(Side::Peer, SegmentFlags::Ack, None, None, self.last.at);
        };
        Step {
            from: Side::Peer,
            flags: SegmentFlags::Ack,
            seq: self.peer(evidence.rcv_nxt),
            ack: self.local(evidence.snd_una),
            at: Some(self.last.at),
            known: Known::Observed,
        }
    }

    /// The RST that ended it.
    fn reset_step(&self, reset: &Reset) -> Step {
        let evidence = self.last.evidence.as_ref();
        let (sent, received) = (
            evidence.and_then(|evidence| self.local(evidence.snd_nxt)),
            evidence.and_then(|evidence| self.peer(evidence.rcv_nxt)),
        );
        let at = Some(self.fate.at().unwrap_or(self.last.at));
        let closing = self.connection.closing.as_deref();
        match reset.by {
            Side::Local => {
                // tcp_send_active_reset, or the answer to a segment, which has no ACK.
                let answers = reset.reason == Some(super::finding::ResetReason::DataAfterClose);
                Step {
                    from: Side::Local,
                    flags: if answers {
                        SegmentFlags::Rst
                    } else {
                        SegmentFlags::RstAck
                    },
                    seq: if answers { None } else { sent },
                    ack: if answers { None } else { received },
                    at: closing
                        .and_then(|closing| closing.reset_sent)
                        .map(|sent| sent.at)
                        .or(at),
                    known: match closing.and_then(|closing| closing.reset_sent) {
                        Some(_) if !answers => Known::Observed,
                        _ => Known::Inferred,
                    },
                }
            }
            // Only a RST with an acceptable ACK ends SYN_SENT (tcp_rcv_synsent_state_process). Its sequence number is 0
            // on the wire; Wireshark calls the first number of a side that never sent a SYN 1.
            Side::Peer if self.last.old == TcpState::SynSent => Step {
                from: Side::Peer,
                flags: SegmentFlags::RstAck,
                seq: Some(1),
                ack: Some(1),
                at,
                known: Known::Inferred,
            },
            // An abort carries an ACK, the answer of a socket that is gone does not; the kernel does not tell which
            // one it took. After the peer's FIN, data that it never acknowledged has likely met no socket any more.
            Side::Peer => {
                let unanswered =
                    evidence.is_some_and(|evidence| evidence.snd_una != evidence.snd_nxt);
                let answers = self.peer_fin.is_some() && unanswered;
                Step {
                    from: Side::Peer,
                    flags: if answers {
                        SegmentFlags::Rst
                    } else {
                        SegmentFlags::RstAck
                    },
                    seq: received,
                    ack: None,
                    at: closing.and_then(|closing| closing.reset_received).or(at),
                    known: Known::Inferred,
                }
            }
        }
    }

    fn segments(&self, path: ClosePath, steps: &[Step]) -> Option<u32> {
        let complete = match path {
            ClosePath::FourWay | ClosePath::Simultaneous => steps.len() == 4,
            ClosePath::ThreeWay => steps.len() == 3,
            ClosePath::Reset => !self.gap() && self.last.evidence.is_some(),
            ClosePath::ConnectFailed => self.last.evidence.is_some(),
            ClosePath::Timeout | ClosePath::Destroyed | ClosePath::Unknown => false,
        };
        let repeated = self
            .connection
            .closing
            .as_ref()
            .map_or(0, |closing| closing.fin_retransmits);
        complete.then(|| steps.len() as u32 + repeated)
    }

    /// From ESTABLISHED on; of a connection that never got there, what it had.
    fn states(&self) -> Vec<(TcpState, Option<Nanos>)> {
        let marks = self
            .connection
            .closing
            .as_ref()
            .map_or(&[][..], |closing| &closing.marks);
        let mut states: Vec<_> = marks.iter().map(|mark| (mark.old, mark.dwell)).collect();
        if let Some((TcpState::FinWait2, dwell)) = states.last_mut() {
            *dwell = match self.fate {
                // Without evidence nobody knows whether the wait ended here or went on in a minisocket.
                Fate::Told if self.last.evidence.is_none() => None,
                Fate::Told => *dwell,
                Fate::Lost(_) => None,
                Fate::PeerFin(end) | Fate::FinTimeout(end) | Fate::ResetByUs(end) => {
                    dwell.map(|dwell| dwell + (end - self.last.at))
                }
            };
        }
        states
    }

    /// Application bytes: the sequence space each way less SYN and FIN.
    fn bytes(&self) -> Bytes {
        let Some(evidence) = &self.last.evidence else {
            return Bytes::default();
        };
        let received = evidence
            .bytes_received
            .saturating_sub(u64::from(evidence.done));
        let sent = self.connection.origin.iss.map(|_| {
            let fin = self
                .fin
                .and_then(|mark| mark.evidence)
                .map(|at_fin| at_fin.write_seq);
            let end = fin
                .filter(|fin| before(*fin, evidence.snd_nxt))
                .unwrap_or(evidence.snd_nxt);
            // One less than nothing when the FIN has been acknowledged.
            let in_flight = i64::from(end.wrapping_sub(evidence.snd_una) as i32);
            let acked = evidence
                .bytes_acked
                .saturating_sub(self.connection.origin.acked_base.into());
            acked.saturating_add_signed(in_flight)
        });
        // A connection that never opened has at most a SYN in flight, which is no byte.
        let never_opened = matches!(self.last.old, TcpState::SynSent | TcpState::SynRecv);
        let sent = if never_opened { Some(0) } else { sent };
        Bytes {
            sent,
            received: Some(received),
        }
    }

    fn half_close(&self, path: ClosePath, end: Nanos) -> Option<HalfClose> {
        let gave_up = matches!(path, ClosePath::ConnectFailed | ClosePath::Simultaneous);
        if gave_up {
            return None;
        }
        if let Some(began) = self.peer_fin {
            let until = self.fin.unwrap_or(&self.last);
            let (before, after) = (began.evidence?, until.evidence?);
            let sent = after.write_seq.wrapping_sub(before.write_seq);
            return (sent > 0).then(|| HalfClose {
                by: Side::Peer,
                lasted: until.at - began.at,
                bytes_sent: sent.into(),
                bytes_received: 0,
            });
        }
        let (began, acked) = (self.fin?, self.fin_acked?);
        let (before, after) = (began.evidence?, self.last.evidence?);
        let done = u32::from(after.done);
        let received = after
            .rcv_nxt
            .wrapping_sub(before.rcv_nxt)
            .wrapping_sub(done);
        // With close() nobody is left to read (SOCK_DEAD); after shutdown(SHUT_WR) the process stays.
        let kept =
            acked.evidence.is_some_and(|evidence| !evidence.dead) && path != ClosePath::ThreeWay;
        (kept || received > 0).then(|| HalfClose {
            by: Side::Local,
            lasted: end - began.at,
            bytes_sent: 0,
            bytes_received: received.into(),
        })
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

fn inferred(
    from: Side,
    flags: SegmentFlags,
    seq: Option<u32>,
    ack: Option<u32>,
    at: Nanos,
) -> Step {
    Step {
        from,
        flags,
        seq,
        ack,
        at: Some(at),
        known: Known::Inferred,
    }
}

/// Whether sequence number `a` comes before `b` (RFC 9293, 3.4).
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
