//! A capture by tcpdump, read back with tshark: the tools a user would have reached for.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use super::capture::{self, Capture, Ports};
use super::sockets::{Family, expect, read_to_end, send};
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::{Process, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip;
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::{Endpoint, Flags, Segment};

/// tcpdump on a namespace's loopback interface.
pub struct Tcpdump {
    process: Process,
    file: PathBuf,
    /// Tells how many packets there should be.
    own: Capture,
}

impl Tcpdump {
    /// The programs this needs.
    pub const PROGRAMS: [&str; 2] = ["tcpdump", "tshark"];

    /// Starts it and waits until it captures.
    pub fn start(ns: &NetNs, scratch: &Scratch) -> Self {
        let file = scratch.path("capture.pcap");
        let mut command = ns.command(skip::program_path("tcpdump"));
        command
            .args([
                "-i",
                "lo",
                "-n",
                "--immediate-mode",
                "-U",
                "-s",
                "128",
                "-Z",
                "root",
                "-w",
            ])
            .arg(&file)
            .arg("tcp");
        let process = Process::spawn(&mut command);
        let listening = |lines: &[String]| {
            lines
                .iter()
                .any(|line| line.contains("listening on"))
                .then_some(())
        };
        assert!(
            process.stderr.wait(listening).is_some(),
            "tcpdump: {}",
            process.stderr.text()
        );
        let own = Capture::start(ns);
        Self { process, file, own }
    }

    /// Stops it and returns the segments of each connection, told apart as Wireshark does (`tcp.stream`).
    pub fn stop(mut self) -> Vec<(Ports, Vec<Segment>)> {
        // An interrupted tcpdump forgets what it has not read yet.
        let expected = self.own.packets().len();
        let written = || (count_packets(&fs::read(&self.file).ok()?) >= expected).then_some(());
        eventually(written).unwrap_or_else(|| panic!("tcpdump does not write {expected} packets"));
        self.process.interrupt();
        assert_eq!(
            self.process.wait().code(),
            Some(0),
            "tcpdump: {}",
            self.process.stderr.text()
        );
        let fields = [
            "tcp.stream",
            "tcp.srcport",
            "tcp.dstport",
            "tcp.flags",
            "tcp.seq",
            "tcp.ack",
            "tcp.len",
        ];
        let mut command = std::process::Command::new(skip::program_path("tshark"));
        command.arg("-r").arg(&self.file).args([
            "-n",
            "-o",
            "tcp.relative_sequence_numbers:TRUE",
            "-T",
            "fields",
        ]);
        for field in fields {
            command.args(["-e", field]);
        }
        let ended = run(&mut command);
        assert_eq!(ended.code, Some(0), "tshark: {}", ended.stderr);
        connections(&ended.stdout)
    }
}

/// How many whole packets a pcap file of this machine's byte order holds.
fn count_packets(pcap: &[u8]) -> usize {
    const FILE_HEADER: usize = 24;
    const PACKET_HEADER: usize = 16;
    let mut rest = pcap.get(FILE_HEADER..).unwrap_or_default();
    let mut packets = 0;
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_ne_bytes(length.try_into().expect("four bytes")) as usize;
        let Some(next) = rest.get(PACKET_HEADER + length..) else {
            break;
        };
        rest = next;
        packets += 1;
    }
    packets
}

/// Reads tshark's table. The end that sent the first segment of a stream is its client.
fn connections(table: &str) -> Vec<(Ports, Vec<Segment>)> {
    let mut connections: Vec<(Ports, Vec<Segment>)> = Vec::new();
    for line in table.lines() {
        let mut words = line.split('\t');
        let mut number = || -> u32 {
            let word = words.next().unwrap_or_default();
            let parsed = match word.strip_prefix("0x") {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => word.parse(),
            };
            parsed.unwrap_or_else(|_| panic!("no number {word:?} in tshark's {line:?}"))
        };
        let stream = number() as usize;
        let (source, destination) = (number() as u16, number() as u16);
        let flags = Flags::from_bits((number() & 0xff) as u8);
        if stream == connections.len() {
            connections.push((
                Ports {
                    client: source,
                    server: destination,
                },
                Vec::new(),
            ));
        }
        let (ports, segments) = &mut connections[stream];
        let from = if source == ports.client {
            Endpoint::Client
        } else {
            Endpoint::Server
        };
        segments.push(Segment {
            from,
            flags,
            seq: number(),
            ack: number(),
            len: number(),
        });
    }
    connections
}

#[test]
fn tables_of_tshark_become_segments() {
    let table = "0\t4000\t80\t0x0002\t0\t0\t0\n1\t4001\t80\t0x0002\t0\t0\t0\n0\t80\t4000\t0x0019\t1\t11\t5\n";
    let connections = connections(table);
    assert_eq!(connections.len(), 2);
    let (ports, segments) = &connections[0];
    assert_eq!(
        *ports,
        Ports {
            client: 4000,
            server: 80
        }
    );
    let flags = Flags {
        ack: true,
        fin: true,
        ..Flags::default()
    };
    assert_eq!(
        segments[1],
        Segment {
            from: Endpoint::Server,
            flags,
            seq: 1,
            ack: 11,
            len: 5
        }
    );
}

/// The tests' own capture numbers segments exactly as Wireshark does, so that either can be the truth of a scenario.
#[test]
fn the_tests_own_capture_shows_what_tshark_shows() {
    if !skip::is_root() || !skip::has_programs(&Tcpdump::PROGRAMS) {
        return;
    }
    let ns = NetNs::new();
    let scratch = Scratch::new();
    let tcpdump = Tcpdump::start(&ns, &scratch);
    let own = Capture::start(&ns);
    for family in [Family::V4, Family::V6, Family::Mapped] {
        let (server, port) = ns.run(|| {
            let listener = TcpListener::bind((family.listen_address(), 0)).expect("listening");
            let port = listener.local_addr().expect("a bound socket").port();
            let client = TcpStream::connect((family.connect_address(), port)).expect("connecting");
            let (server, _) = listener.accept().expect("accepting");
            send(&client, "question");
            expect(&server, "question");
            (server, port)
        });
        // The client is gone, and what the server still sends is answered with a reset.
        assert_eq!(read_to_end(&server), 0);
        send(&server, "too late");
        drop(server);
        // And nobody listens any more.
        ns.run(|| TcpStream::connect((family.connect_address(), port)).expect_err("refused"));
    }
    for (ports, segments) in tcpdump.stop() {
        let connections = capture::connections(&own.packets(), ports);
        assert!(
            connections.contains(&segments),
            "tshark: {segments:#?}\nown: {connections:#?}"
        );
    }
}
