//! A capture as tshark reads it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;

use crate::segment::{Endpoint, Flags, Segment};

/// One captured segment with its number, time and mark.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its number in the capture.
    pub number: u64,
    /// When it was captured.
    pub at: Timestamp,
    /// What it is.
    pub segment: Segment,
    /// tshark takes it for a retransmission.
    pub retransmission: bool,
}

/// One connection, distinguished from others with the same addresses as Wireshark does
/// (`tcp.stream`).
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Who sent the first segment.
    pub client: SocketAddr,
    /// The other endpoint.
    pub server: SocketAddr,
    /// Its segments in the capture's order.
    pub frames: Vec<Frame>,
}

impl Stream {
    /// Its segments without their marks.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        self.frames.iter().map(|frame| frame.segment).collect()
    }

    /// When its first segment was captured.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.frames.first().map_or(Timestamp::MIN, |frame| frame.at)
    }

    /// Returns whether both endpoints agreed to open it.
    #[must_use]
    pub fn opened(&self) -> bool {
        let mut flags = self.frames.iter().map(|frame| frame.segment.flags);
        flags.any(|flags| flags.syn && flags.ack)
    }

    /// Address and port of an endpoint.
    #[must_use]
    pub fn address(&self, endpoint: Endpoint) -> SocketAddr {
        match endpoint {
            Endpoint::Client => self.client,
            Endpoint::Server => self.server,
        }
    }
}

const FIELDS: [&str; 13] = [
    "frame.number",
    "frame.time_epoch",
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "tcp.seq",
    "tcp.ack",
    "tcp.len",
];
const RETRANSMISSION_FIELD: &str = "tcp.analysis.retransmission";

/// Reads a capture with tshark.
pub fn read(tshark: &Path, capture: &Path) -> Result<Vec<Stream>, String> {
    let mut command = Command::new(tshark);
    command.arg("-r").arg(capture).args([
        "-n",
        "-o",
        "tcp.relative_sequence_numbers:TRUE",
        "-Y",
        "tcp",
        "-T",
        "fields",
    ]);
    for field in FIELDS.iter().chain([&RETRANSMISSION_FIELD]) {
        command.args(["-e", field]);
    }
    let output = command
        .output()
        .map_err(|error| format!("cannot start {}: {error}", tshark.display()))?;
    if !output.status.success() {
        let messages = String::from_utf8_lossy(&output.stderr);
        return Err(format!("tshark -r {}: {messages}", capture.display()));
    }
    streams(&String::from_utf8_lossy(&output.stdout))
}

/// Reads tshark's table.
fn streams(table: &str) -> Result<Vec<Stream>, String> {
    let mut streams: Vec<Stream> = Vec::new();
    for line in table.lines() {
        let read =
            Line::parse(line).ok_or_else(|| format!("not understood of tshark: {line:?}"))?;
        if read.stream == streams.len() {
            streams.push(Stream {
                client: read.source,
                server: read.destination,
                frames: Vec::new(),
            });
        }
        let stream = streams
            .get_mut(read.stream)
            .ok_or_else(|| format!("tshark left streams out before {line:?}"))?;
        let mut frame = read.frame;
        if read.source != stream.client {
            frame.segment.from = Endpoint::Server;
        }
        stream.frames.push(frame);
    }
    Ok(streams)
}

struct Line {
    stream: usize,
    source: SocketAddr,
    destination: SocketAddr,
    frame: Frame,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [
            number,
            at,
            stream,
            v4_from,
            v6_from,
            v4_to,
            v6_to,
            source,
            destination,
            flags,
            seq,
            ack,
            len,
            marks @ ..,
        ] = &*fields
        else {
            return None;
        };
        let address = |v4: &str, v6: &str, port: &str| {
            let ip: IpAddr = if v4.is_empty() { v6 } else { v4 }.parse().ok()?;
            Some(SocketAddr::new(ip, port.parse().ok()?))
        };
        let flags = u16::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        Some(Self {
            stream: stream.parse().ok()?,
            source: address(v4_from, v6_from, source)?,
            destination: address(v4_to, v6_to, destination)?,
            frame: Frame {
                number: number.parse().ok()?,
                at: epoch(at)?,
                segment: Segment {
                    from: Endpoint::Client,
                    flags: Flags::from_bits((flags & 0xff) as u8),
                    seq: seq.parse().ok()?,
                    ack: ack.parse().ok()?,
                    len: len.parse().ok()?,
                },
                retransmission: marks.iter().any(|mark| !mark.is_empty()),
            },
        })
    }
}

/// Seconds since 1970 with nine decimals.
fn epoch(text: &str) -> Option<Timestamp> {
    let (seconds, nanos) = text.split_once('.')?;
    let nanos = format!("{nanos:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanos).ok()
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Segment {
            from,
            flags,
            seq,
            ack,
            len,
        } = self.segment;
        let mut names = Vec::new();
        for (name, set) in [
            ("SYN", flags.syn),
            ("FIN", flags.fin),
            ("RST", flags.rst),
            ("ACK", flags.ack),
        ] {
            if set {
                names.push(name);
            }
        }
        let flags = format!("[{}]", names.join(", "));
        let mark = if self.retransmission {
            " retransmission"
        } else {
            ""
        };
        let time = self.at.strftime("%H:%M:%S%.6f");
        write!(
            out,
            "{:>6} {time} {from:6} {flags:10} Seq={seq} Ack={ack} Len={len}{mark}",
            self.number
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_tshark_becomes_streams() {
        let table = "1\t1700000000.000001000\t0\t10.0.0.1\t\t10.0.0.2\t\t4000\t80\t0x0002\t0\t0\t0\t\n\
                     2\t1700000000.000002000\t1\t\tfd00::1\t\tfd00::2\t4000\t80\t0x0002\t0\t0\t0\t\n\
                     3\t1700000000.000003000\t0\t10.0.0.2\t\t10.0.0.1\t\t80\t4000\t0x0019\t1\t11\t5\t1\n";
        let streams = streams(table).unwrap();
        assert_eq!(streams.len(), 2);
        assert_eq!(streams[1].client, "[fd00::1]:4000".parse().unwrap());
        let last = &streams[0].frames[1];
        assert_eq!(
            (last.segment.from, last.segment.end()),
            (Endpoint::Server, 7)
        );
        assert!(last.retransmission && last.segment.flags.fin && last.segment.flags.ack);
        assert_eq!(last.at.as_microsecond(), 1_700_000_000_000_003);
    }

    #[test]
    fn a_malformed_table_is_refused() {
        streams("1\t2\t3").unwrap_err();
    }
}
