//! Connections that are older than the tracer: what it has not seen it must not claim.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::capture::Ports;
use crate::harness::families::{for_each_family, for_ipv4_and_ipv6};
use crate::harness::helper;
use crate::harness::lab::Lab;
use crate::harness::program;
use crate::harness::record::Close;
use crate::harness::sockets::{Connection, Family, expect, ports_of, read_to_end, send};
use crate::harness::watch::{Watch, closes_in};
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{self, Client, Server};

const BEFORE: Duration = Duration::from_millis(300);

for_each_family!(an_established_connection_closes);
for_ipv4_and_ipv6!(
    a_connection_in_close_wait_closes,
    a_connection_in_fin_wait2_closes,
    an_orphan_in_fin_wait2_gets_the_peers_fin,
    an_established_connection_is_reset,
    the_owner_is_who_holds_the_socket,
    in_another_namespace_than_the_tracers,
);

/// Asserts what an honest record of a connection older than the tracer can say, given what really
/// happened.
fn assert_honest(lab: &Lab, ports: Ports, end: Endpoint, sent: u64, received: u64) -> Close {
    let close = lab.close(ports, end);
    close
        .has("/conn/seen_from_start", false)
        .has("/conn/opened", ());
    let role = if end == Client { "client" } else { "server" };
    close.has_one_of("/conn/role", &[role, "unknown"]);
    for (pointer, truth) in [("/bytes/sent", sent), ("/bytes/received", received)] {
        let value = close.get(pointer);
        assert!(
            value.is_null() || *value == truth,
            "{pointer} is neither null nor {truth}: {close}"
        );
    }
    if let Some(lifetime) = close.get("/conn/lifetime_ms").as_f64() {
        assert!(
            lifetime >= BEFORE.as_millis() as f64,
            "it is older than that: {close}"
        );
    }
    // Each step that is given is one of the capture's, in its order; seq and ack are right or null.
    let captured = lab.captured(ports);
    let mut segments = captured.segments.iter();
    for step in close.closing().steps {
        let side = |from: Endpoint| if from == end { "local" } else { "peer" };
        assert!(
            segments.any(|segment| step.agrees(side(segment.0.from), segment)),
            "{step} was not captured: {captured}\n{close}"
        );
    }
    close
}

fn assert_owner_is_us_or_unknown(close: &Close) {
    if *close.get("/owner") != Value::Null {
        close.has("/owner/pid", std::process::id());
        close.has_one_of("/owner/source", &["proc", "close", "listen"]);
    }
}

fn older_connection(family: Family) -> Option<(Lab, Connection)> {
    let lab = Lab::not_yet_watching(family)?;
    let connection = lab.converse("from before", "indeed");
    thread::sleep(BEFORE);
    Some((lab, connection))
}

fn an_established_connection_closes(family: Family) {
    let Some((mut lab, connection)) = older_connection(family) else {
        return;
    };
    lab.watch();
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = connection;
    send(&client, "and now");
    expect(&server, "and now");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    drop(server);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );

    // The closing itself was seen from its first segment to its last.
    let client = assert_honest(&lab, ports, Client, 18, 6);
    client.closed("four_way", "local").counts_segments();
    assert_owner_is_us_or_unknown(&client);
    let server = assert_honest(&lab, ports, Server, 6, 18);
    server.closed("four_way", "peer").counts_segments();
    assert_owner_is_us_or_unknown(&server);
    assert_eq!(lab.finish().len(), 2);
}

fn a_connection_in_close_wait_closes(family: Family) {
    let Some((mut lab, connection)) = older_connection(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = connection;
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    lab.watch();
    drop(server);
    assert_eq!(read_to_end(&client), 0);
    drop(client);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );

    let server = assert_honest(&lab, ports, Server, 6, 11);
    server.has_one_of("/close/initiator", &["peer", "unknown"]);
    server.has_one_of("/close/path", &["four_way", "unknown"]);
    let client = assert_honest(&lab, ports, Client, 11, 6);
    client.has_one_of("/close/initiator", &["local", "unknown"]);
    client.has_one_of("/close/path", &["four_way", "unknown"]);
    assert_eq!(lab.finish().len(), 2);
}

/// The half that is still open goes on to work.
fn a_connection_in_fin_wait2_closes(family: Family) {
    let Some((mut lab, connection)) = older_connection(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = connection;
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), 0);
    lab.assert_captured(ports, "server FIN,ACK; client ACK");
    lab.watch();
    send(&client, "afterwards");
    expect(&server, "afterwards");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    drop(server);
    lab.assert_captured(
        ports,
        "server FIN,ACK; client ACK; client FIN,ACK; server ACK",
    );

    let server = assert_honest(&lab, ports, Server, 6, 21);
    server.has_one_of("/close/initiator", &["local", "unknown"]);
    let client = assert_honest(&lab, ports, Client, 21, 6);
    client.has_one_of("/close/initiator", &["peer", "unknown"]);
    assert_eq!(lab.finish().len(), 2);
}

/// The client's socket is only a minisocket when the tracer starts: it may say nothing of it, but
/// nothing false.
fn an_orphan_in_fin_wait2_gets_the_peers_fin(family: Family) {
    let Some((mut lab, connection)) = older_connection(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = connection;
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    lab.assert_captured(ports, "client FIN,ACK; server ACK");
    lab.watch();
    drop(server);
    lab.assert_captured(
        ports,
        "client FIN,ACK; server ACK; server FIN,ACK; client ACK",
    );

    assert_honest(&lab, ports, Server, 6, 11).has_one_of("/close/initiator", &["peer", "unknown"]);
    for close in lab.finish() {
        if close.ports() == ports.seen_from(Client) {
            close
                .has("/conn/seen_from_start", false)
                .has_one_of("/close/initiator", &["local", "unknown"]);
            close.has_one_of("/close/path", &["four_way", "unknown"]);
        }
    }
}

fn an_established_connection_is_reset(family: Family) {
    let Some((mut lab, connection)) = older_connection(family) else {
        return;
    };
    lab.watch();
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = connection;
    reset_on_close(&client);
    drop(client);
    lab.assert_captured(ports, "client RST,ACK");

    assert_honest(&lab, ports, Client, 11, 6)
        .closed("reset", "local")
        .has("/reset/reason", "linger");
    assert_honest(&lab, ports, Server, 6, 11).closed("reset", "peer");
    drop(server);
    assert_eq!(lab.finish().len(), 2);
}

/// No system call of the client's shows who it is: the server resets.
fn the_owner_is_who_holds_the_socket(family: Family) {
    let Some(mut lab) = Lab::not_yet_watching(family) else {
        return;
    };
    let mut helper = helper::Client::start(&lab.ns, b"holder");
    let (listener, address) = lab.listen();
    helper.connect(address);
    let (server, peer) = listener.accept().unwrap();
    let older = Ports {
        client: peer.port(),
        server: address.port(),
    };
    lab.watch();
    lab.watching().wait_until_old_sockets_are_known();
    reset_on_close(&server);
    drop(server);
    // And a connection that comes in on a listener older than the tracer.
    let client = lab.dial(address);
    let (server, _) = listener.accept().unwrap();
    let younger = ports_of(&client);
    reset_on_close(&client);
    drop(client);
    let ends = [
        (lab.close(older, Client), helper.pid(), "proc"),
        (lab.close(younger, Server), std::process::id(), "listen"),
    ];
    for (close, pid, source) in ends {
        close.closed("reset", "peer");
        if kernel_version() < (5, 12) {
            // Without cookies a snapshot cannot be joined with what comes.
            close.has("/owner", ());
            continue;
        }
        close
            .has("/owner/source", source)
            .has("/owner/pid", pid)
            .has("/owner/uid", 0);
    }
    drop(server);
    helper.finish();
    lab.finish();
}

/// The tracer looks into every namespace that it finds.
fn in_another_namespace_than_the_tracers(family: Family) {
    let Some(mut lab) = Lab::not_yet_watching(family) else {
        return;
    };
    lab.add_resident();
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("from before", "indeed");
    // Of this port alone: other tests make connections in other namespaces meanwhile.
    let port = ports.server.to_string();
    let watch = Watch::spawn(program::command().args(["watch", "--format", "json", "-L", &port]));
    watch.wait_until_old_sockets_are_known();
    reset_on_close(&client);
    drop(client);
    let ours = |lines: &[String], end: Endpoint| {
        let closes = closes_in(lines).into_iter();
        let mut ours = closes.filter(|close| {
            *close.get("/netns") == lab.ns.inode() && close.ports() == ports.seen_from(end)
        });
        ours.next()
    };
    // The peer's reset: no system call shows the server's owner, only the snapshot does.
    let close = watch.wait_for("the close in another namespace", |lines| {
        ours(lines, Server)
    });
    close
        .closed("reset", "peer")
        .has("/conn/seen_from_start", false);
    if kernel_version() >= (5, 12) {
        close.has("/owner/source", "proc").is_ours();
        close.has("/conn/role", "server");
    }
    drop(server);
    watch.stop();
}
