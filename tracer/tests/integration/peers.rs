//! Connections whose endpoints are both on this host: each names the other's process, and an
//! endpoint that was reset says what the other one knows of it.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::firewall::nft_in;
use crate::harness::helper::{Client as ClientProcess, Server as ServerProcess};
use crate::harness::lab::Lab;
use crate::harness::program;
use crate::harness::record::Close;
use crate::harness::requirements;
use crate::harness::routed::{MIDDLE, Routed};
use crate::harness::sockets::{Family, expect, ports_of, read_to_end, send};
use crate::harness::watch::Watch;
use tcpclose_kit::process::run;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::skip;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    the_endpoint_that_was_reset_shows_why,
    each_end_names_the_other
);

/// How often a proof is tried that a busy host may prevent.
const MAX_TRIES: usize = 10;

/// Two bytes of which the server reads one before it exits.
const TOO_MUCH: &str = "ab";

/// Peers find each other among endpoints with cookies.
fn watched_with_cookies(family: Family) -> Option<Lab> {
    if !requirements::finds_peers() {
        skip("before 5.12 sockets have no cookie here, so no peer is found");
        return None;
    }
    Lab::on_loopback(family)
}

fn the_endpoint_that_was_reset_shows_why(family: Family) {
    let Some(lab) = watched_with_cookies(family) else {
        return;
    };
    let mut server = ServerProcess::start(&lab.ns, lab.client_address(0));
    let client = lab.dial(lab.client_address(server.port));
    let ports = ports_of(&client);
    send(&client, TOO_MUCH);
    server.wait();

    let reset = lab.truthful_close(ports, Client);
    reset
        .closed("reset", "peer")
        .has("/close/cause", Value::Null)
        .has("/close/peer_cause", "process_exited")
        .has("/conn/peer_owner/pid", server.pid())
        .has("/conn/peer_owner/source", "close");
    lab.truthful_close(ports, Server)
        .closed("reset", "local")
        .has("/close/cause", "process_exited")
        .has("/close/peer_cause", Value::Null)
        .has("/conn/peer_owner/pid", std::process::id())
        .has("/conn/peer_owner/source", "connect");
    assert_eq!(lab.finish().len(), 2);
}

/// The server closes first and the client, another process, after that.
fn each_end_names_the_other(family: Family) {
    let Some(lab) = watched_with_cookies(family) else {
        return;
    };
    let mut client = ClientProcess::start(&lab.ns, b"curl");
    let (listener, address) = lab.listen();
    client.connect(address);
    let (server, peer) = listener.accept().unwrap();
    let ports = Ports {
        client: peer.port(),
        server: address.port(),
    };
    drop(server);
    let pid = client.pid();
    lab.close(ports, Server)
        .has("/close/abnormal", false)
        .has("/conn/peer_owner/pid", pid)
        .has("/conn/peer_owner/comm", "curl");
    lab.close(ports, Client)
        .has("/close/abnormal", false)
        .has("/conn/peer_owner/pid", std::process::id());
    client.finish();
}

/// `tcpclose explain` waits for both records.
#[test]
fn both_ends_of_a_connection_are_drawn_as_one() {
    let Some(lab) = Lab::not_yet_watching(Family::V4) else {
        return;
    };
    if !requirements::finds_peers() {
        return skip("before 5.12 sockets have no cookie here, so no peer is found");
    }
    let mut explain = lab.ns.command(program::path());
    explain.args(["explain", "--ascii", "--netns"]);
    let explain = Watch::spawn(explain.arg(lab.ns.inode().to_string()));
    let connection = lab.converse("a question", "an answer");
    let ports = connection.ports;
    drop(connection.server);
    assert_eq!(read_to_end(&connection.client), 0);
    drop(connection.client);
    let is_drawn = |lines: &[String]| {
        let title = format!("-> 127.0.0.1:{}", ports.server);
        let at = lines.iter().position(|line| line.contains(&title))?;
        let drawing = lines.get(at..)?;
        let end = drawing
            .iter()
            .position(|line| line.starts_with("    CLOSED"))?;
        drawing.get(..=end).map(<[String]>::to_vec)
    };
    let drawing = explain.wait_for("the drawing", is_drawn);
    let both = |left: &str, right: &str| {
        let has_both = |line: &String| line.contains(left) && line.trim_end().contains(right);
        assert!(drawing.iter().any(has_both), "{left} {right}: {drawing:#?}");
    };
    both("ESTABLISHED", "  ESTABLISHED ");
    both("CLOSE_WAIT ", "  FIN_WAIT1 ");
    both("CLOSED", "  TIME_WAIT");
    assert!(
        !drawing.iter().any(|line| line.contains('?')),
        "each segment was seen by both: {drawing:#?}"
    );
    explain.stop_raw();
}

/// Both records of a connection over the routed namespaces, in which the server's process has
/// aborted with unread data.
fn assert_lent_across(routed: &Routed, server: &mut ServerProcess, to: SocketAddr) {
    let watch = Routed::watch(server.port, &[]);
    let client = routed.client.run(|| TcpStream::connect(to)).unwrap();
    let local = client.local_addr().unwrap().port();
    send(&client, TOO_MUCH);
    server.wait();
    // Through NAT the two records have different ports.
    let seen_by_client = Ports {
        client: local,
        server: to.port(),
    };
    let seen_by_server = Ports {
        client: local,
        server: server.port,
    };
    let reset = watch.close(seen_by_client, Client);
    reset
        .closed("reset", "peer")
        .has("/netns", routed.client.inode())
        .has("/close/peer_cause", "process_exited")
        .has("/conn/peer_owner/pid", server.pid());
    let abort = watch.close(seen_by_server, Server);
    abort
        .has("/netns", routed.server.inode())
        .has("/close/cause", "process_exited")
        .has("/conn/pair", reset.get("/conn/pair").clone())
        .has("/conn/peer_owner/pid", std::process::id());
    watch.stop();
}

#[test]
fn two_namespaces_lend_each_other_what_they_know() {
    let Some(routed) = Routed::new() else { return };
    let mut server = ServerProcess::start(&routed.server, Routed::listen_address());
    let to = SocketAddr::new(Routed::listen_address().ip(), server.port);
    assert_lent_across(&routed, &mut server, to);
}

#[test]
fn two_ends_find_each_other_through_nat() {
    let Some(routed) = Routed::new() else { return };
    let mut server = ServerProcess::start(&routed.server, Routed::listen_address());
    let port = server.port;
    let ip = Routed::listen_address().ip();
    let dnat = format!(
        "table ip nat {{\nchain prerouting {{\ntype nat hook prerouting priority -100\n\
         ip daddr {MIDDLE} tcp dport {port} dnat to {ip}\n}}\n}}\n"
    );
    if nft_in(&routed.middle, &dnat) {
        assert_lent_across(&routed, &mut server, (MIDDLE, port).into());
    }
}

/// Rejects what the client sends to this port from now on.
fn reject(routed: &Routed, port: u16) -> bool {
    let rule = format!(
        "table inet firewall {{\nchain forward {{\ntype filter hook forward priority 0\n\
         tcp dport {port} reject with tcp reset\n}}\n}}\n"
    );
    nft_in(&routed.middle, &rule)
}

/// Lets the segments pass again.
fn admit(routed: &Routed) -> bool {
    nft_in(&routed.middle, "delete table inet firewall\n")
}

/// An established connection over the routed namespaces, and its ports.
fn connect(routed: &Routed, listener: &std::net::TcpListener) -> (TcpStream, TcpStream, Ports) {
    let address = listener.local_addr().unwrap();
    let client = routed.client.run(|| TcpStream::connect(address)).unwrap();
    let (server, _) = listener.accept().unwrap();
    send(&client, "ping");
    expect(&server, "ping");
    let ports = ports_of(&client);
    (client, server, ports)
}

#[test]
fn a_reset_that_a_firewall_between_the_two_has_sent_came_from_the_path() {
    let Some(routed) = Routed::new() else { return };
    let (listener, address) = routed.listen();
    let scratch = Scratch::new();
    let file = scratch.path("recording");
    let record = ["--record", file.to_str().unwrap()];
    let watch = Routed::watch(address.port(), &record);
    if !reject(&routed, address.port()) || !admit(&routed) {
        return;
    }
    // On a busy host the proof may come too late, or a record may be lost: then nothing is claimed.
    let proven = (0..MAX_TRIES).find_map(|_| {
        let (client, server, ports) = connect(&routed, &listener);
        assert!(reject(&routed, address.port()));
        send(&client, "again");
        let reset = watch.close(ports, Client);
        reset
            .closed("reset", "peer")
            .has("/close/peer_cause", Value::Null)
            .has("/conn/peer_owner/pid", std::process::id());
        assert!(admit(&routed));
        drop(server);
        (*reset.get("/close/cause") == "from_path").then_some(reset)
    });
    let lines = watch.stop();
    let reset = proven.unwrap_or_else(|| panic!("never from the path: {lines:?}"));

    let mut replay = Command::new(program::path());
    replay
        .args(["watch", "--format", "json", "--replay"])
        .arg(&file);
    let replayed = run(&mut replay);
    let lines = replayed.stdout.lines();
    let mut closes = lines.map(|line| serde_json::from_str(line).map(Close::new));
    assert!(
        closes.any(|close| close.is_ok_and(|close| close == reset)),
        "{}",
        replayed.stdout
    );
}

/// The same firewall, and a server that is gone: nobody knows who sent the RST.
#[test]
fn a_reset_from_the_path_is_not_claimed_where_the_peer_is_gone() {
    let Some(routed) = Routed::new() else { return };
    let (listener, address) = routed.listen();
    let watch = Routed::watch(address.port(), &[]);
    let (client, server, ports) = connect(&routed, &listener);
    // Orderly, so that only the server's socket is gone.
    drop(server);
    assert_eq!(read_to_end(&client), 0);
    if !reject(&routed, address.port()) {
        return;
    }
    send(&client, "again");
    let reset = watch.close(ports, Client);
    reset
        .closed("reset", "peer")
        .has("/close/peer_cause", Value::Null);
    assert_ne!(reset.get("/close/cause"), "from_path", "{reset}");
    watch.stop();
}

/// A connection that is older than the tracer proves nothing. What was open before is learnt while
/// records come already, so the first ones may close before that.
#[test]
fn a_reset_of_an_older_connection_is_not_claimed_to_come_from_the_path() {
    let Some(routed) = Routed::new() else { return };
    let (listener, address) = routed.listen();
    let older: Vec<_> = (0..MAX_TRIES)
        .map(|_| connect(&routed, &listener))
        .collect();
    let watch = Routed::watch(address.port(), &[]);
    if !reject(&routed, address.port()) {
        return;
    }
    // They have each other's addresses, and nobody else has.
    let is_known = older.iter().any(|(client, _server, ports)| {
        send(client, "again");
        let reset = watch.close(*ports, Client);
        reset
            .closed("reset", "peer")
            .has("/close/cause", Value::Null);
        *reset.get("/conn/peer_owner/pid") == std::process::id()
    });
    assert!(is_known, "{:?}", watch.lines());
    watch.stop();
}
