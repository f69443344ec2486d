//! The textbook's example for real: a database client quits, and a capture shows how the connection
//! closes. What tcpclose says of each endpoint without a capture is the same.

use std::net::TcpListener;
use std::process::Command;

use crate::harness::capture::Ports;
use crate::harness::record::Close;
use crate::harness::requirements;
use crate::harness::tshark::Tcpdump;
use crate::harness::watch::Watch;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::{ChildProcess, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip;
use tcpclose_kit::skip::program_path;
use tcpclose_parity::closing::Closing;
use tcpclose_parity::segment::Endpoint;

const SESSIONS: usize = 3;

/// A MariaDB server in a namespace of its own.
struct Server {
    process: ChildProcess,
    port: u16,
}

impl Server {
    const PROGRAMS: [&str; 3] = ["mariadbd", "mariadb-install-db", "mariadb"];

    fn start(ns: &NetNs, scratch: &Scratch) -> Self {
        let folder = |name: &str| scratch.path(name).display().to_string();
        let datadir = format!("--datadir={}", folder("data"));
        let mut install = Command::new(program_path("mariadb-install-db"));
        install.args([
            "--no-defaults",
            "--user=root",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]);
        let installed = run(install.arg(&datadir));
        assert_eq!(
            installed.code,
            Some(0),
            "mariadb-install-db: {}{}",
            installed.stdout,
            installed.stderr
        );

        let port = ns
            .run(|| TcpListener::bind("127.0.0.1:0")?.local_addr())
            .expect("a free port")
            .port();
        let mut command = ns.command(program_path("mariadbd"));
        command.args([
            "--no-defaults",
            "--user=root",
            "--bind-address=127.0.0.1",
            "--skip-networking=0",
        ]);
        command.arg(datadir).arg(format!("--port={port}"));
        command
            .arg(format!("--socket={}", folder("socket")))
            .arg(format!("--pid-file={}", folder("pid")));
        let process = ChildProcess::spawn(&mut command);
        let ready = |lines: &[String]| {
            lines
                .iter()
                .any(|line| line.contains("ready for connections"))
                .then_some(())
        };
        assert!(
            process.stderr.wait(ready).is_some(),
            "mariadbd: {}",
            process.stderr.text()
        );
        Self { process, port }
    }

    /// One session of a client; its process id.
    fn session(&self, ns: &NetNs) -> u32 {
        let mut command = ns.command(program_path("mariadb"));
        command.args([
            "--no-defaults",
            "--protocol=TCP",
            "-h",
            "127.0.0.1",
            "-u",
            "root",
            "-N",
            "-B",
        ]);
        command
            .arg(format!("--port={}", self.port))
            .args(["-e", "SELECT 6*7;\nquit"]);
        let mut client = ChildProcess::spawn(&mut command);
        assert_eq!(
            client.wait().code(),
            Some(0),
            "mariadb: {}",
            client.stderr.text()
        );
        assert_eq!(client.stdout.text(), "42");
        client.pid()
    }
}

#[test]
fn a_client_quits_and_the_record_of_each_endpoint_matches_the_capture() {
    if !requirements::can_trace()
        || !skip::has_programs(&Server::PROGRAMS)
        || !skip::has_programs(&Tcpdump::PROGRAMS)
    {
        return;
    }
    let ns = NetNs::new();
    let scratch = Scratch::new();
    let server = Server::start(&ns, &scratch);
    let tcpdump = Tcpdump::start(&ns, &scratch);
    let watch = Watch::start(&ns, &[]);
    let clients: Vec<u32> = (0..SESSIONS).map(|_| server.session(&ns)).collect();
    let both_ends_of_all = |lines: &[String]| {
        let closes = crate::harness::watch::closes_in(lines);
        (closes.len() >= 2 * SESSIONS).then_some(closes)
    };
    let closes = watch.wait_for("records of all sessions", both_ends_of_all);
    assert_eq!(watch.stop().len(), 2 * SESSIONS);

    let captured = tcpdump.stop();
    assert_eq!(captured.len(), SESSIONS);
    for ((ports, segments), client) in captured.iter().zip(clients) {
        assert_eq!(ports.server, server.port);
        let closing = Closing::from_segments(segments);
        let client_end = assert_same(&closes, *ports, Endpoint::Client, &closing);
        client_end
            .has("/owner/pid", client)
            .has("/owner/comm", "mariadb")
            .has("/conn/role", "client");
        client_end.has("/owner/source", "connect");
        let server_end = assert_same(&closes, *ports, Endpoint::Server, &closing);
        server_end
            .has("/owner/pid", server.process.pid())
            .has("/conn/role", "server");
        // What one sent the other received, and it is what the capture counted.
        for end in [Endpoint::Client, Endpoint::Server] {
            let sent: u64 = segments
                .iter()
                .filter(|segment| segment.from == end)
                .map(|segment| u64::from(segment.len))
                .sum();
            let (sender, receiver) = if end == Endpoint::Client {
                (&client_end, &server_end)
            } else {
                (&server_end, &client_end)
            };
            sender.has("/bytes/sent", sent);
            receiver.has("/bytes/received", sent);
        }
    }
}

fn assert_same(closes: &[Close], ports: Ports, end: Endpoint, closing: &Closing) -> Close {
    let close = closes
        .iter()
        .find(|close| close.ports() == ports.seen_from(end));
    let close = close
        .unwrap_or_else(|| panic!("no record of the {end}'s end of {ports:?}"))
        .clone();
    let record = close.closing();
    let differences = closing.differences(end, &record);
    assert!(
        differences.is_empty(),
        "{differences:#?}\ncaptured: {closing:#?}\nrecord of the {end}: {close}"
    );
    // A number that is null agrees with everything, so each must be there. On loopback the peer's
    // FIN always has its own: a segment that the sender still holds is never merged with the next,
    // and one that it does not hold any more has been acknowledged.
    for step in &record.steps {
        assert!(step.ack.is_some() && step.seq.is_some(), "{step}: {close}");
    }
    close
}
