//! What really was on the wire, independent of the program under test.

use std::os::fd::OwnedFd;
use std::sync::Mutex;

use tcpclose_kit::loopback_tap;
use tcpclose_kit::netns::NetNs;
use tcpclose_parity::segment::{Endpoint, Flags, Segment};

/// Ports of a connection. Inside a namespace of its own they tell all of a test's connections
/// apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The connecting endpoint's port.
    pub client: u16,
    /// The listening endpoint's port.
    pub server: u16,
}

impl Ports {
    /// Local and peer's port as the given endpoint sees them.
    pub fn seen_from(self, end: Endpoint) -> (u16, u16) {
        match end {
            Endpoint::Client => (self.client, self.server),
            Endpoint::Server => (self.server, self.client),
        }
    }
}

/// One TCP segment with the absolute numbers of its header.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    source: u16,
    destination: u16,
    seq: u32,
    ack: u32,
    /// Bytes of payload.
    pub len: u32,
    /// The TCP flags of the segment.
    pub flags: Flags,
}

impl Packet {
    /// Reads an IP packet; `None` when it is not TCP or cut short.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        const TCP: u8 = 6;
        const IPV6_HEADER: usize = 40;
        let word = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
        let number = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        let (protocol, tcp, end) = match packet.first()? >> 4 {
            4 => (
                *packet.get(9)?,
                usize::from(packet[0] & 0xf) * 4,
                usize::from(word(2)?),
            ),
            6 => (
                *packet.get(6)?,
                IPV6_HEADER,
                IPV6_HEADER + usize::from(word(4)?),
            ),
            _ => return None,
        };
        if protocol != TCP {
            return None;
        }
        let header = usize::from(*packet.get(tcp + 12)? >> 4) * 4;
        Some(Self {
            source: word(tcp)?,
            destination: word(tcp + 2)?,
            seq: number(tcp + 4)?,
            ack: number(tcp + 8)?,
            len: u32::try_from(end.checked_sub(tcp + header)?).ok()?,
            flags: Flags::from_bits(*packet.get(tcp + 13)?),
        })
    }

    /// The number of a SYN that this port sent to the other.
    pub fn syn(&self, from: u16, to: u16) -> Option<u32> {
        let is_ours = self.flags.syn && (self.source, self.destination) == (from, to);
        is_ours.then_some(self.seq)
    }

    /// Which end of the connection sent it, if it belongs to that.
    pub fn sender(&self, ports: Ports) -> Option<Endpoint> {
        [Endpoint::Client, Endpoint::Server]
            .into_iter()
            .find(|&end| ports.seen_from(end) == (self.source, self.destination))
    }
}

/// The absolute number that an endpoint expects next, by the last segment that it sent.
pub fn expected_next(packets: &[Packet], ports: Ports, end: Endpoint) -> Option<u32> {
    let mut own = packets
        .iter()
        .rev()
        .filter(|packet| packet.flags.ack && packet.sender(ports) == Some(end));
    own.next().map(|packet| packet.ack)
}

/// The segments of each connection that used these ports, one after the other, numbered as
/// Wireshark does.
pub fn connections(packets: &[Packet], ports: Ports) -> Vec<Vec<Segment>> {
    let mut connections: Vec<Vec<Segment>> = Vec::new();
    // Number before the first byte: of the client, of the server.
    let mut bases: [Option<u32>; 2] = [None; 2];
    let mut is_answered = true;
    for packet in packets {
        let Some(from) = packet.sender(ports) else {
            continue;
        };
        let (own, other) = match from {
            Endpoint::Client => (0, 1),
            Endpoint::Server => (1, 0),
        };
        let opens = packet.flags.syn && !packet.flags.ack;
        if connections.is_empty() || (opens && bases[own] != Some(packet.seq)) {
            bases = [None; 2];
            is_answered = connections.is_empty();
            connections.push(Vec::new());
        }
        // A SYN on another CPU may overtake the reset of the connection before: then the server's
        // endpoint of that sends a challenge ACK (RFC 5961), and the client, which knows nothing of
        // it any more, a reset. Neither is of the new one.
        let is_challenge = !packet.flags.syn && !packet.flags.rst && from == Endpoint::Server;
        let is_its_answer = packet.flags.rst && !packet.flags.ack && from == Endpoint::Client;
        is_answered |= packet.flags.syn && packet.flags.ack;
        if !is_answered && (is_challenge || is_its_answer) {
            continue;
        }
        // Without a SYN, Wireshark takes the first segment's number as 1.
        let base = *bases[own].get_or_insert(packet.seq.wrapping_sub(u32::from(!packet.flags.syn)));
        let ack = if packet.flags.ack {
            packet.ack.wrapping_sub(bases[other].unwrap_or(0))
        } else {
            0
        };
        let segments = connections.last_mut().expect("one has been pushed");
        segments.push(Segment {
            from,
            flags: packet.flags,
            seq: packet.seq.wrapping_sub(base),
            ack,
            len: packet.len,
        });
    }
    connections
}

/// Everything that leaves on a namespace's loopback interface.
pub struct Capture {
    tap: OwnedFd,
    packets: Mutex<Vec<Packet>>,
}

impl Capture {
    /// Starts to capture. The kernel buffers; nothing needs to run beside the test.
    pub fn start(ns: &NetNs) -> Self {
        let tap = ns
            .run(loopback_tap::loopback_tap)
            .expect("a packet socket on loopback");
        Self {
            tap,
            packets: Mutex::default(),
        }
    }

    /// All packets so far.
    pub fn packets(&self) -> Vec<Packet> {
        const LARGEST: usize = 1 << 16;
        let mut packets = self.packets.lock().unwrap();
        let mut buffer = vec![0; LARGEST];
        while let Some(length) =
            loopback_tap::next_departing(&self.tap, &mut buffer).expect("reading the capture")
        {
            packets.extend(Packet::parse(&buffer[..length]));
        }
        packets.clone()
    }
}

#[test]
fn a_challenge_ack_to_a_syn_that_overtook_a_reset_is_of_no_connection() {
    const PORTS: Ports = Ports {
        client: 4000,
        server: 80,
    };
    let packet = |from, flags: &str, seq, ack| {
        let (source, destination) = PORTS.seen_from(from);
        let has = |flag| flags.contains(flag);
        Packet {
            source,
            destination,
            seq,
            ack,
            len: 0,
            flags: Flags {
                syn: has("SYN"),
                ack: has("ACK"),
                rst: has("RST"),
                ..Flags::default()
            },
        }
    };
    let packets = [
        packet(Endpoint::Client, "SYN", 100, 0),
        packet(Endpoint::Server, "SYN,ACK", 200, 101),
        packet(Endpoint::Client, "ACK", 101, 201),
        packet(Endpoint::Client, "RST,ACK", 101, 201),
        packet(Endpoint::Client, "SYN", 300, 0),
        packet(Endpoint::Server, "ACK", 201, 101),
        packet(Endpoint::Client, "RST", 101, 0),
        packet(Endpoint::Client, "SYN", 300, 0),
        packet(Endpoint::Server, "SYN,ACK", 400, 301),
        packet(Endpoint::Client, "ACK", 301, 401),
        packet(Endpoint::Client, "SYN", 500, 0),
        packet(Endpoint::Server, "RST,ACK", 0, 501),
    ];
    let connections = connections(&packets, PORTS);
    let lengths: Vec<_> = connections.iter().map(Vec::len).collect();
    assert_eq!(lengths, [4, 4, 2]);
    assert!(connections[1].iter().all(|segment| !segment.flags.rst));
}
