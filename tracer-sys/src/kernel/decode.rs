//! Decodes the records of the ring buffer into the core's events.

use tcpclose_common::{
    self as wire, RingRecordKind, SocketFlags, TcpFields, TcpState, TransitionRecord, flags,
};

use tcpclose_core::event::{Event, Evidence, Segment, Signal, SignalKind, Task, Transition};
use tcpclose_core::types::{
    CgroupId, EndpointId, IpVersion, Nanos, NetNs, SocketAddress, Thread, Tuple,
};

/// Why a record cannot be decoded: the program and its eBPF object are of different builds, or
/// memory is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record has no byte.
    #[error("it is empty")]
    Empty,
    /// The first byte names no kind of record.
    #[error("no kind of record has the number {0}")]
    UnknownKind(u8),
    /// The record is shorter or longer than others of its kind.
    #[error("a record of kind {kind} has {length} bytes")]
    WrongLength {
        /// The record's first byte.
        kind: u8,
        /// The record's length in bytes.
        length: usize,
    },
    /// A transition leads from or to something else than a TCP state.
    #[error("no TCP state has the number {0}")]
    UnknownState(u8),
    /// A transition is of neither IPv4 nor IPv6.
    #[error("there is no IP version {0}")]
    UnknownIpVersion(u8),
    /// A signal is about a segment that is not in the record.
    #[error("the segment that a signal is about is missing")]
    NoSegment,
}

/// The kernel's names of its reasons, by number.
#[derive(Clone, Debug, Default)]
pub struct ReasonNames {
    /// Those for which it sends a RST.
    pub resets: Vec<&'static str>,
    /// Those for which it drops a packet.
    pub drops: Vec<&'static str>,
}

/// Decodes one record. `reasons` are the kernel's names of its reasons.
///
/// # Errors
/// When the record's length, kind, states or IP version are unknown.
#[expect(
    clippy::unreachable,
    reason = "transitions are longer and return first"
)]
pub fn decode(bytes: &[u8], reasons: &ReasonNames) -> Result<Event, DecodeError> {
    let first = *bytes.first().ok_or(DecodeError::Empty)?;
    let kind = RingRecordKind::from_repr(first).ok_or(DecodeError::UnknownKind(first))?;
    let wrong_length = DecodeError::WrongLength {
        kind: first,
        length: bytes.len(),
    };
    if kind == RingRecordKind::Transition {
        return transition(&whole(bytes).ok_or(wrong_length)?);
    }
    let record = bytemuck::try_pod_read_unaligned(bytes);
    let record: wire::SignalRecord = record.map_err(|_| wrong_length)?;
    let kind = match kind {
        RingRecordKind::ResetSent => SignalKind::ResetSent {
            reason: name_of(&reasons.resets, record.reason),
            answers: segment(&record),
            minisocket: record.state == TcpState::TimeWait as u8,
        },
        RingRecordKind::ResetReceived => SignalKind::ResetReceived,
        RingRecordKind::FinRetransmitted => SignalKind::FinRetransmitted,
        RingRecordKind::MinisocketArmed => SignalKind::MinisocketArmed {
            time_wait: record.state == TcpState::TimeWait as u8,
        },
        RingRecordKind::MinisocketDescheduled => SignalKind::MinisocketDescheduled,
        RingRecordKind::MinisocketKilled => SignalKind::MinisocketKilled,
        RingRecordKind::MinisocketSegment => SignalKind::MinisocketSegment {
            segment: segment(&record).ok_or(DecodeError::NoSegment)?,
            time_wait: record.state == TcpState::TimeWait as u8,
        },
        RingRecordKind::SegmentDropped => SignalKind::SegmentDropped {
            segment: segment(&record).ok_or(DecodeError::NoSegment)?,
            reason: name_of(&reasons.drops, record.reason),
        },
        RingRecordKind::Transition => unreachable!("it was decoded above"),
    };
    Ok(Event::Signal(Signal {
        at: Nanos(record.at),
        id: EndpointId(record.id),
        kind,
    }))
}

fn name_of(names: &[&'static str], number: u32) -> Option<&'static str> {
    let name = names.get(number as usize).copied();
    name.filter(|name| !name.is_empty())
}

/// Returns the transition with zeros for the fields that its record leaves out; `None` where the
/// record has the wrong length.
fn whole(bytes: &[u8]) -> Option<TransitionRecord> {
    const LEN_IPV4: usize = TransitionRecord::LEN_IPV4;
    const LEN_IPV4_WITH_TASK: usize = TransitionRecord::LEN_IPV4_WITH_TASK;

    let mut whole = [0; TransitionRecord::LEN_MAX];
    // Each length has a branch of its own: copies of a constant length are a few moves.
    match bytes.len() {
        LEN_IPV4 => whole[..LEN_IPV4].copy_from_slice(bytes),
        LEN_IPV4_WITH_TASK => whole[..LEN_IPV4_WITH_TASK].copy_from_slice(bytes),
        TransitionRecord::LEN_MAX => whole.copy_from_slice(bytes),
        _ => return None,
    }
    let record: TransitionRecord = bytemuck::pod_read_unaligned(&whole);
    let needed = TransitionRecord::len_for(record.ip, record.flags & flags::TASK != 0);
    (bytes.len() >= needed).then_some(record)
}

/// Returns the segment of a signal that has one: a segment always has a flag.
fn segment(record: &wire::SignalRecord) -> Option<Segment> {
    use wire::segment_flags::{ACK, FIN, RST};

    let flags = record.segment_flags;
    (flags != 0).then_some(Segment {
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
        has_ack: flags & ACK != 0,
        seq: record.seq,
        end: record.end_seq,
        ack: record.ack_seq,
    })
}

fn padded([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Returns the thread that stands in the place of the socket's fields.
fn calling_thread(record: &TransitionRecord) -> Thread {
    let bytes = bytemuck::bytes_of(&record.tcp);
    let wire::CallingThread { tid, mut comm } =
        bytemuck::pod_read_unaligned(&bytes[..size_of::<wire::CallingThread>()]);
    // Linux 5.18 to 6.3 leave what stood there behind the name (`strscpy` in
    // `bpf_get_current_comm`).
    if let Some(end) = comm.iter().position(|byte| *byte == 0) {
        comm[end..].fill(0);
    }
    Thread { id: tid, comm }
}

fn transition(record: &TransitionRecord) -> Result<Event, DecodeError> {
    let has = |flag: u32| record.flags & flag != 0;
    let (ip, local, peer) = match record.ip {
        4 => (
            IpVersion::V4,
            padded(record.local_v4),
            padded(record.peer_v4),
        ),
        6 => (IpVersion::V6, record.local_v6, record.peer_v6),
        other => return Err(DecodeError::UnknownIpVersion(other)),
    };
    let state = |raw| TcpState::from_repr(raw).ok_or(DecodeError::UnknownState(raw));
    let calls = has(flags::CALLING_THREAD);
    let task = has(flags::TASK).then_some(Task {
        pid: record.pid,
        uid: record.uid,
        cgroup: CgroupId::new(record.cgroup),
        comm: record.comm,
        exits: match (has(flags::PROCESS_EXITING), has(flags::PROCESS_ALIVE)) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        thread: calls.then(|| calling_thread(record)),
    });
    let evidence = has(flags::EVIDENCE).then(|| Evidence {
        // Before connect() the socket's fields show nothing.
        tcp: match calls {
            true => TcpFields::default(),
            false => record.tcp,
        },
        flags: SocketFlags::from_bits(record.flags),
    });
    Ok(Event::Transition(Transition {
        at: Nanos(record.at),
        id: EndpointId(record.id),
        skaddr: SocketAddress::new(record.skaddr),
        netns: NetNs::new(record.netns),
        tuple: Tuple::new(ip, (local, record.local_port), (peer, record.peer_port)),
        old: state(record.old)?,
        new: state(record.new)?,
        task,
        evidence,
    }))
}

#[cfg(test)]
mod tests {
    use tcpclose_common::TcpState;

    use super::{DecodeError, ReasonNames, TransitionRecord, decode, flags, wire};
    use tcpclose_core::event::{Event, Segment, SignalKind};

    #[test]
    fn bytes_of_any_length_and_kind_never_panic() {
        for kind in 0..=255 {
            for length in 0..200 {
                let mut bytes = vec![kind; length];
                bytes.iter_mut().skip(1).for_each(|byte| *byte = 3);
                let _ = decode(&bytes, &ReasonNames::default());
            }
        }
    }

    #[test]
    fn what_cannot_be_decoded_has_a_reason() {
        let reason = |bytes: &[u8]| decode(bytes, &ReasonNames::default()).unwrap_err();
        assert_eq!(reason(&[]), DecodeError::Empty);
        assert_eq!(reason(&[0; 40]), DecodeError::UnknownKind(0));
        let (kind, length) = (1, 103);
        let short = reason(&[kind; 103]);
        assert_eq!(short, DecodeError::WrongLength { kind, length });
        assert_eq!(short.to_string(), "a record of kind 1 has 103 bytes");
        let (kind, length) = (2, 41);
        let long = reason(&[kind; 41]);
        assert_eq!(long, DecodeError::WrongLength { kind, length });
        let mut transition = [1; TransitionRecord::LEN_MAX];
        assert_eq!(reason(&transition), DecodeError::UnknownIpVersion(1));
        transition[3] = 6;
        transition[2] = 13;
        assert_eq!(reason(&transition), DecodeError::UnknownState(13));
        transition[1] = 0;
        assert_eq!(reason(&transition), DecodeError::UnknownState(0));
        let mut took = [0; size_of::<wire::SignalRecord>()];
        took[0] = 8;
        assert_eq!(reason(&took), DecodeError::NoSegment);
    }

    #[test]
    fn what_a_record_leaves_out_is_not_there() {
        let mut bytes = [1; TransitionRecord::LEN_MAX];
        let v6 = "[101:101:101:101:101:101:101:101]:257";
        for (ip, has_task, length, local) in [
            (4, false, TransitionRecord::LEN_IPV4, "1.1.1.1:257"),
            (4, true, TransitionRecord::LEN_IPV4_WITH_TASK, "1.1.1.1:257"),
            (6, true, TransitionRecord::LEN_MAX, v6),
        ] {
            bytes[3] = ip;
            bytes[4..8].copy_from_slice(&(u32::from(has_task) * flags::TASK).to_ne_bytes());
            let Ok(Event::Transition(read)) = decode(&bytes[..length], &ReasonNames::default())
            else {
                panic!("{length} bytes are a transition");
            };
            assert_eq!(read.tuple.local().to_string(), local);
            assert_eq!(read.task.is_some(), has_task);
            let lengths = [
                TransitionRecord::LEN_IPV4,
                TransitionRecord::LEN_IPV4_WITH_TASK,
                length - 1,
            ];
            for shorter in lengths.into_iter().filter(|shorter| *shorter < length) {
                assert!(
                    decode(&bytes[..shorter], &ReasonNames::default()).is_err(),
                    "{shorter}"
                );
            }
        }
    }

    #[test]
    fn a_reset_carries_the_kernels_name_for_its_reason_and_the_segment_that_it_answers() {
        let mut bytes = [0; size_of::<wire::SignalRecord>()];
        bytes[0] = 2;
        bytes[1] = TcpState::TimeWait as u8;
        bytes[2] = 1 | 16;
        bytes[24] = 1;
        bytes[28] = 7;
        bytes[32] = 9;
        bytes[36] = 3;
        let reasons = ReasonNames {
            resets: vec!["NOT_SPECIFIED", "NO_SOCKET"],
            drops: vec!["NOT_SPECIFIED", "NETFILTER_DROP"],
        };
        let event = decode(&bytes, &reasons).unwrap();
        let Event::Signal(signal) = event else {
            panic!("not a signal")
        };
        assert_eq!(
            signal.kind,
            SignalKind::ResetSent {
                reason: Some("NO_SOCKET"),
                answers: Some(Segment {
                    fin: true,
                    rst: false,
                    has_ack: true,
                    seq: 7,
                    end: 9,
                    ack: 3
                }),
                minisocket: true,
            }
        );
        bytes[0] = 9;
        let event = decode(&bytes, &reasons).unwrap();
        let Event::Signal(signal) = event else {
            panic!("not a signal")
        };
        let reason = match signal.kind {
            SignalKind::SegmentDropped { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason, Some("NETFILTER_DROP"));
    }
}
