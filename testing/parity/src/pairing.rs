//! Which record is about which captured connection.

use std::collections::HashMap;
use std::net::SocketAddr;

use jiff::SignedDuration;

use crate::record::Record;
use crate::segment::Endpoint;
use crate::tshark::Stream;

/// How much earlier than its first captured segment a connection may seem to be: tcpclose derives
/// its times of day from another clock.
const MAX_CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_millis(2);

/// The streams captured at one endpoint, with their records.
#[derive(Debug, Default)]
pub struct Pairs {
    /// Each stream, and its record where there is one.
    pub streams: Vec<(Stream, Option<Record>)>,
    /// Records that belong to no captured connection, or to one that has a record already.
    pub strays: Vec<Record>,
    /// Records of connections that failed before anything was sent: no capture can show them.
    pub unsent: Vec<Record>,
}

/// Pairs what was captured at the endpoint `local` with what tcpclose reported about it.
/// Connections that used the same addresses and ports are distinguished by time: a record belongs
/// to the last one that had begun when it was established. A record of a connection that was never
/// established belongs to one that was never established in the capture.
#[must_use]
pub fn pair(streams: Vec<Stream>, local: Endpoint, records: Vec<Record>) -> Pairs {
    let mut by_ports: HashMap<(SocketAddr, SocketAddr), Vec<usize>> = HashMap::new();
    for (number, stream) in streams.iter().enumerate() {
        let endpoints = (stream.address(local), stream.address(local.other()));
        by_ports.entry(endpoints).or_default().push(number);
    }
    let mut pairs = Pairs {
        streams: streams.into_iter().map(|stream| (stream, None)).collect(),
        ..Pairs::default()
    };
    for record in records {
        let candidates = by_ports.get(&(record.local, record.peer));
        let fits = |number: &&usize| {
            let stream = &pairs.streams[**number].0;
            stream.began() <= record.at + MAX_CLOCK_DIFFERENCE
                && (record.opened || !stream.opened())
        };
        let place = candidates.and_then(|numbers| numbers.iter().rev().find(fits));
        match place.map(|place| &mut pairs.streams[*place].1) {
            Some(free @ None) => *free = Some(record),
            _ if !record.opened && record.close.segments == Some(0) => pairs.unsent.push(record),
            _ => pairs.strays.push(record),
        }
    }
    pairs
}

/// Returns whether the endpoint `local` ever had a socket of its own for this connection: a server
/// has one once its SYN is acknowledged, and none where it refused. If its only answer is a RST
/// without an ACK, the listening socket was closed before that acknowledgment came: a socket that
/// aborts acknowledges (`tcp_send_active_reset`).
#[must_use]
pub fn has_socket(stream: &Stream, local: Endpoint) -> bool {
    let mut segments = stream.frames.iter().map(|frame| &frame.segment);
    match local {
        Endpoint::Client => true,
        Endpoint::Server => {
            let all = stream.frames.iter().map(|frame| frame.segment);
            let mut answers =
                all.filter(|segment| segment.from == Endpoint::Server && !segment.flags.syn);
            if answers
                .next()
                .is_some_and(|segment| segment.flags.rst && !segment.flags.ack)
            {
                return false;
            }
            segments.any(|segment| segment.from == Endpoint::Server && segment.flags.syn)
                && segments.any(|segment| {
                    segment.from == Endpoint::Client && segment.flags.ack && !segment.flags.rst
                })
        }
    }
}
