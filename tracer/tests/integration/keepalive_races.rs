//! Connections that were idle when one side closed them, and that the other side used again; what
//! only looks like that; and the silence before a close.

use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::record::Close;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use crate::harness::watch::agree;
use crate::harness::wire::Fate;
use tcpclose_kit::process::run;
use tcpclose_kit::skip;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_client_writes_after_the_servers_fin,
    data_and_fin_pass_each_other,
    a_server_answers_a_client_that_has_gone,
    a_peer_that_has_closed_one_direction_takes_data,
    a_server_ends_an_upload,
    silence_ends_where_the_close_begins,
);

/// Clearly longer than the half second that the echo of a timestamp has to show.
const SILENCE: Duration = Duration::from_millis(700);
/// The longest tick of the kernel's clock, and the same for the test's own.
const TICKS_MS: f64 = 20.0;
/// What a client sends again: 27 bytes.
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n.";

/// A conversation, and then silence.
fn idle(lab: &Lab) -> (Connection, Instant) {
    let before = Instant::now();
    let connection = lab.converse("ping", "pong!");
    thread::sleep(SILENCE);
    (connection, before)
}

/// Asserts the silence that the record has: not shorter than it was, and not longer than since
/// `before`, when the conversation had not begun.
fn assert_silent(close: &Close, before: Instant) {
    let (idle, least) = (close.number("/close/idle_ms"), SILENCE.as_millis() as f64);
    let most = before.elapsed().as_secs_f64() * 1e3;
    assert!(
        (least - TICKS_MS..=most + TICKS_MS).contains(&idle),
        "{least} to {most}: {close}"
    );
}

fn is_reset(lab: &Lab, ports: Ports) -> Close {
    // Not compared with the capture: data that is sent again may carry the ACK of the FIN.
    let close = lab.close(ports, Client);
    close.closed("reset", "peer").has("/reset/by", "peer");
    close
}

fn a_client_writes_after_the_servers_fin(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (connection, before) = idle(&lab);
    drop(connection.server);
    assert_eq!(read_to_end(&connection.client), 0);
    send(&connection.client, REQUEST);

    let close = is_reset(&lab, connection.ports);
    close
        .has("/close/cause", "stale_keepalive")
        .has("/close/lost/unacknowledged_bytes", REQUEST.len())
        .has("/close/lost/unread_bytes", 0)
        .has("/half_close/bytes_sent", REQUEST.len());
    assert_silent(&close, before);
    // Its RST is seen from Linux 6.10 on.
    assert_silent(&lab.close(connection.ports, Server), before);
    assert_eq!(lab.finish().len(), 2);
}

fn data_and_fin_pass_each_other(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let (connection, before) = idle(&lab);
    let ports = connection.ports;
    lab.wire().judge_by(move |packet| {
        if packet.len > 0 && packet.sender(ports) == Some(Client) {
            Fate::Wait
        } else {
            Fate::Pass
        }
    });
    send(&connection.client, REQUEST);
    agree("data on the wire", &true, || lab.wire().waiting() > 0);
    drop(connection.server);
    assert_eq!(read_to_end(&connection.client), 0);
    lab.wire().release();

    let close = is_reset(&lab, ports);
    close.has("/close/cause", "crossed_keepalive");
    assert_silent(&close, before);
    assert_eq!(lab.finish().len(), 2);
}

fn a_server_answers_a_client_that_has_gone(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (connection, _) = idle(&lab);
    send(&connection.client, "ping");
    expect(&connection.server, "ping");
    drop(connection.client);
    assert_eq!(read_to_end(&connection.server), 0);
    send(&connection.server, "pong!");

    let close = lab.truthful_close(connection.ports, Server);
    close.closed("reset", "peer").has("/close/cause", ());
    assert_eq!(lab.finish().len(), 2);
}

fn a_peer_that_has_closed_one_direction_takes_data(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    // All in order.
    let (connection, before) = idle(&lab);
    connection.server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&connection.client), 0);
    send(&connection.client, REQUEST);
    expect(&connection.server, REQUEST);
    drop(connection.client);
    let close = lab.truthful_close(connection.ports, Client);
    close.has("/close/abnormal", false).has("/close/cause", ());
    assert_silent(&close, before);

    // It takes the data, and then closes without having read it.
    let (connection, _) = idle(&lab);
    connection.server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&connection.client), 0);
    send(&connection.client, REQUEST);
    lab.wait_until_acknowledged(connection.ports, Client);
    drop(connection.server);
    is_reset(&lab, connection.ports).has("/close/cause", ());
}

fn a_server_ends_an_upload(family: Family) {
    let Some(lab) = Lab::on_wire(family) else {
        return;
    };
    let connection = lab.converse("ping", "pong!");
    let ports = connection.ports;
    for _ in 0..4 {
        send(&connection.client, REQUEST);
        expect(&connection.server, REQUEST);
        thread::sleep(SILENCE / 4);
    }
    lab.wire().judge_by(move |packet| {
        if packet.len > 0 && packet.sender(ports) == Some(Client) {
            Fate::Wait
        } else {
            Fate::Pass
        }
    });
    send(&connection.client, REQUEST);
    agree("data on the wire", &true, || lab.wire().waiting() > 0);
    drop(connection.server);
    assert_eq!(read_to_end(&connection.client), 0);
    lab.wire().release();

    is_reset(&lab, ports).has("/close/cause", ());
    assert_eq!(lab.finish().len(), 2);
}

fn silence_ends_where_the_close_begins(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (connection, before) = idle(&lab);
    drop(connection.client);
    assert_eq!(read_to_end(&connection.server), 0);
    thread::sleep(SILENCE);
    drop(connection.server);
    for end in [Client, Server] {
        let close = lab.truthful_close(connection.ports, end);
        assert_silent(&close, before + SILENCE);
    }

    // A connection that was never established.
    let (listener, address) = lab.listen();
    drop(listener);
    lab.ns
        .run(|| std::net::TcpStream::connect(address))
        .unwrap_err();
    let failed = lab.finish().pop().unwrap();
    failed
        .has("/close/path", "connect_failed")
        .has("/close/idle_ms", Value::Null);
}

/// A server of Python's own that closes idle connections after a while, and a client that sends a
/// request over the same connection again.
#[test]
fn python_uses_a_connection_that_its_server_has_closed() {
    const SCRIPT: &str = r#"
import http.client, http.server, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 0.7
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_):
        pass

closed = threading.Event()

class Server(http.server.ThreadingHTTPServer):
    # Until then only one direction is closed, and data would be accepted.
    def shutdown_request(self, request):
        super().shutdown_request(request)
        closed.set()

server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = http.client.HTTPConnection("127.0.0.1", server.server_address[1])
client.request("GET", "/")
assert client.getresponse().read() == b"ok"
closed.wait()
try:
    client.request("GET", "/")
    client.getresponse()
except (http.client.RemoteDisconnected, ConnectionError) as error:
    print(type(error).__name__)
client.close()
"#;
    if !skip::has_programs(&["python3"]) {
        return;
    }
    let Some(lab) = Lab::on_loopback(Family::V4) else {
        return;
    };
    let before = Instant::now();
    let ran = run(lab.ns.command("python3").args(["-c", SCRIPT]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_ne!(ran.stdout, "", "the second request is answered");
    lab.wait_for_closes(2);
    let closes = lab.finish();
    let client = closes
        .iter()
        .find(|close| close.get("/conn/role") == "client")
        .unwrap();
    client
        .closed("reset", "peer")
        .has("/close/cause", "stale_keepalive");
    assert_silent(client, before);
}
