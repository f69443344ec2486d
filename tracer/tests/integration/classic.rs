//! What the classic tracepoint shows of a close: which states an endpoint passed and who began. The
//! socket's own evidence is missing, so it does not show how many segments there were, how many
//! bytes moved, and whether a reset ended the connection.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::program;
use crate::harness::record::Close;
use crate::harness::requirements;
use crate::harness::sockets::{Connection, Family, expect, ports_of, read_to_end, send};
use crate::harness::watch::Watch;
use tcpclose_kit::command::with_tracefs;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{Client, Server};

const CLOSE_DELAY: Duration = Duration::from_millis(300);

for_ipv4_and_ipv6!(
    the_peers_fin_comes_late,
    the_server_follows_at_once,
    one_half_is_closed_first,
    a_reset_on_close,
    a_refused_connect,
    a_client_has_the_thread_that_called_connect,
);

/// A laboratory, and the program that watches it by the classic tracepoint. Nothing is filtered:
/// the tracepoint does not name the namespace.
fn lab(family: Family) -> Option<(Lab, Watch)> {
    if !requirements::has_classic_tracepoint() {
        return None;
    }
    let lab = Lab::not_yet_watching(family)?;
    let mut command = lab.ns.command(program::path());
    with_tracefs(command.args(["watch", "--no-btf", "--format", "json"]));
    let watch = Watch::spawn(&mut command);
    Some((lab, watch))
}

/// What no record of the classic tracepoint has.
fn has_no_evidence(close: &Close) {
    close
        .has("/netns", ())
        .has("/bytes/sent", ())
        .has("/bytes/received", ())
        .has("/close/segments", ())
        .has("/conn/seen_from_start", true);
}

fn the_peers_fin_comes_late(family: Family) {
    let Some((lab, watch)) = lab(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("hello", "hello, you");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(CLOSE_DELAY);
    drop(server);

    // Whether the peer's FIN or a reset ended it cannot be seen.
    let client = watch.close(ports, Client);
    client
        .closed("unknown", "local")
        .passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"])
        .has("/conn/role", "client");
    has_no_evidence(&client);
    let server = watch.close(ports, Server);
    server
        .has("/close/initiator", "peer")
        .passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"])
        .has("/conn/role", "server");
    has_no_evidence(&server);
    assert!(server.ms_in("CLOSE_WAIT") > 0.0, "{server}");
    watch.stop_raw();
}

fn the_server_follows_at_once(family: Family) {
    let Some((lab, watch)) = lab(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("hello", "hello, you");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    drop(server);
    let client = watch.close(ports, Client);
    client.has("/close/initiator", "local");
    has_no_evidence(&client);
    let server = watch.close(ports, Server);
    server
        .has("/close/initiator", "peer")
        .passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"]);
    has_no_evidence(&server);
    watch.stop_raw();
}

fn one_half_is_closed_first(family: Family) {
    let Some((lab, watch)) = lab(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.connect();
    send(&client, "question");
    client.shutdown(Shutdown::Write).unwrap();
    expect(&server, "question");
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(CLOSE_DELAY);
    send(&server, "answer");
    drop(server);
    assert_eq!(read_to_end(&client), "answer".len());
    drop(client);
    let client = watch.close(ports, Client);
    client.has("/close/initiator", "local");
    client.passed(&["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2"]);
    let server = watch.close(ports, Server);
    server.has("/close/initiator", "peer");
    server.passed(&["ESTABLISHED", "CLOSE_WAIT", "LAST_ACK"]);
    watch.stop_raw();
}

fn a_reset_on_close(family: Family) {
    let Some((lab, watch)) = lab(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("hello", "hello, you");
    reset_on_close(&client);
    drop(client);
    // Nobody has evidence of the reset: the end left ESTABLISHED at once.
    for end in [Client, Server] {
        let close = watch.close(ports, end);
        close.passed(&["ESTABLISHED"]);
        close.has("/close/path", "unknown");
        has_no_evidence(&close);
    }
    drop(server);
    watch.stop_raw();
}

fn a_refused_connect(family: Family) {
    let Some((lab, watch)) = lab(family) else {
        return;
    };
    let ports = lab.ns.run(|| {
        let socket = || {
            let domain = Domain::for_address(lab.client_address(0));
            let socket = Socket::new(domain, Type::STREAM, None).unwrap();
            socket.bind(&lab.client_address(0).into()).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            (socket, port)
        };
        // A bound port on which nobody listens.
        let ((_bound, server), (client_socket, client)) = (socket(), socket());
        let refused = client_socket.connect(&lab.client_address(server).into());
        refused.expect_err("nobody listens");
        Ports { client, server }
    });
    let close = watch.close(ports, Client);
    close
        .has("/close/path", "connect_failed")
        .passed(&["SYN_SENT"]);
    watch.stop_raw();
}

fn a_client_has_the_thread_that_called_connect(family: Family) {
    let Some((lab, watch)) = lab(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    let (client, thread) = lab.dial_in_thread(address, c"pool-1");
    let (server, _) = listener.accept().unwrap();
    let ports = ports_of(&client);
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    drop(server);
    watch
        .close(ports, Client)
        .is_our_client()
        .has("/owner/thread/name", "pool-1")
        .has("/owner/thread/id", thread);
    watch.stop_raw();
}
