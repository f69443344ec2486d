//! A capture by tcpdump, read back with tshark: the tools a user would have reached for.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use super::capture::{self, Capture, Ports};
use super::sockets::{Family, expect, read_to_end, send};
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip;
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::Segment;
use tcpclose_parity::tshark;

/// tcpdump on a namespace's loopback interface.
pub struct Tcpdump {
    process: ChildProcess,
    file: PathBuf,
    /// Announces how many packets there should be.
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
        let process = ChildProcess::spawn(&mut command);
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

    /// Stops it and returns the segments of each connection, distinguished as Wireshark does
    /// (`tcp.stream`).
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
        let streams = tshark::read(&skip::program_path("tshark"), &self.file);
        let streams = streams.unwrap_or_else(|error| panic!("{error}"));
        let connection = |stream: &tshark::Stream| {
            let ports = Ports {
                client: stream.client.port(),
                server: stream.server.port(),
            };
            (ports, stream.segments())
        };
        streams.iter().map(connection).collect()
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

/// The tests' own capture numbers segments exactly as Wireshark does, so that either can be the
/// truth of a scenario.
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
