//! `-p`, `-L`, `-D`, `-4`, `-6`, `--netns`: what is asked for, all of it, and nothing else.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use crate::harness::capture::Ports;
use crate::harness::helper;
use crate::harness::requirements;
use crate::harness::sockets::{Family, ports_of};
use crate::harness::watch::Watch;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{self, Client, Server};

/// A place where connections can be had, before and while the program watches.
struct Place {
    ns: NetNs,
    listeners: Vec<(Family, TcpListener)>,
}

impl Place {
    /// Listens once for each of the families.
    fn with(families: &[Family]) -> Option<Self> {
        if !requirements::can_trace() {
            return None;
        }
        let ns = NetNs::new();
        let listen = |family: &Family| {
            (
                *family,
                TcpListener::bind((family.listen_address(), 0)).expect("listening"),
            )
        };
        let listeners = ns.run(|| families.iter().map(listen).collect());
        Some(Self { ns, listeners })
    }

    fn port(&self, listener: usize) -> u16 {
        self.listeners[listener]
            .1
            .local_addr()
            .expect("a bound socket")
            .port()
    }

    /// Opens a connection to a listener and resets it at once: a close whose record keeps nobody
    /// waiting.
    fn visit(&self, listener: usize) -> Ports {
        let (family, socket) = &self.listeners[listener];
        let address = (family.connect_address(), self.port(listener));
        let client = self
            .ns
            .run(|| TcpStream::connect(address))
            .expect("connecting");
        let (mut server, _) = socket.accept().expect("accepting");
        let ports = ports_of(&client);
        reset_on_close(&client);
        drop(client);
        server.read(&mut [0]).expect_err("the client resets");
        ports
    }
}

/// The ends that a watch has printed, as (local port, peer's port).
fn printed(watch: Watch) -> BTreeSet<(u16, u16)> {
    watch
        .stop()
        .iter()
        .map(crate::harness::record::Close::ports)
        .collect()
}

fn ends(visits: &[(Ports, &[Endpoint])]) -> BTreeSet<(u16, u16)> {
    visits
        .iter()
        .flat_map(|(ports, ends)| ends.iter().map(|&end| ports.seen_from(end)))
        .collect()
}

/// Visits all listeners twice under a filter; `wanted` says which endpoints of which listener's
/// visitors must come.
fn assert_filter(place: &Place, args: &[&str], wanted: impl Fn(usize) -> &'static [Endpoint]) {
    let watch = Watch::start(&place.ns, args);
    let mut expected = Vec::new();
    for _ in 0..2 {
        for listener in 0..place.listeners.len() {
            expected.push((place.visit(listener), wanted(listener)));
        }
    }
    for (ports, wanted) in &expected {
        for &end in *wanted {
            watch.close(*ports, end);
        }
    }
    assert_eq!(printed(watch), ends(&expected), "with {args:?}");
}

const BOTH: &[Endpoint] = &[Client, Server];
const NEITHER: &[Endpoint] = &[];

#[test]
fn without_a_filter_all_endpoints_are_reported() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::Mapped]) else {
        return;
    };
    assert_filter(&place, &[], |_| BOTH);
}

#[test]
fn the_ipv4_filter_passes_what_is_ipv4_on_the_wire() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::Mapped]) else {
        return;
    };
    assert_filter(
        &place,
        &["-4"],
        |listener| if listener == 1 { NEITHER } else { BOTH },
    );
}

#[test]
fn ipv6_alone_leaves_v4_mapped_connections_out() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::Mapped]) else {
        return;
    };
    assert_filter(
        &place,
        &["-6"],
        |listener| if listener == 1 { BOTH } else { NEITHER },
    );
}

#[test]
fn a_local_port_selects_the_servers_ends() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::V4]) else {
        return;
    };
    assert_filter(&place, &["-L", &place.port(0).to_string()], |listener| {
        if listener == 0 { &[Server] } else { NEITHER }
    });
}

#[test]
fn local_ports_can_be_a_list() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::V4]) else {
        return;
    };
    let list = format!("{},{}", place.port(0), place.port(1));
    assert_filter(&place, &["-L", &list], |listener| {
        if listener == 2 { NEITHER } else { &[Server] }
    });
}

/// A client's endpoint has no local port yet when it connects; the filter must not forget it for
/// that.
#[test]
fn a_remote_port_selects_the_clients_ends() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::Mapped]) else {
        return;
    };
    assert_filter(&place, &["-D", &place.port(1).to_string()], |listener| {
        if listener == 1 { &[Client] } else { NEITHER }
    });
}

#[test]
fn remote_ports_can_be_a_list() {
    let Some(place) = Place::with(&[Family::V4, Family::V6, Family::Mapped]) else {
        return;
    };
    let list = format!("{},{}", place.port(2), place.port(0));
    assert_filter(&place, &["-D", &list], |listener| {
        if listener == 1 { NEITHER } else { &[Client] }
    });
}

#[test]
fn filters_narrow_each_other() {
    let Some(place) = Place::with(&[Family::V4, Family::V6]) else {
        return;
    };
    let list = format!("{},{}", place.port(0), place.port(1));
    assert_filter(&place, &["-6", "-L", &list], |listener| {
        if listener == 1 { &[Server] } else { NEITHER }
    });
}

/// The record of a filtered connection is as complete as without the filter.
#[test]
fn a_filter_takes_nothing_from_a_record() {
    let Some(place) = Place::with(&[Family::V4]) else {
        return;
    };
    let all = Watch::start(&place.ns, &[]);
    let port = place.port(0).to_string();
    let by_local = Watch::start(&place.ns, &["-L", &port]);
    let by_remote = Watch::start(&place.ns, &["-D", &port]);
    let ports = place.visit(0);
    for (filtered, end) in [(by_local, Server), (by_remote, Client)] {
        let (plain, close) = (all.close(ports, end), filtered.close(ports, end));
        for pointer in [
            "/conn/role",
            "/conn/seen_from_start",
            "/owner",
            "/close",
            "/bytes",
            "/reset",
            "/conn/id",
        ] {
            assert_eq!(
                without_times(close.get(pointer)),
                without_times(plain.get(pointer)),
                "{pointer} of {close}"
            );
        }
        filtered.stop();
    }
    all.stop();
}

/// Times may be counted from each watcher's own reading of the clock, and who watches one port does
/// not see the other endpoint.
fn without_times(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(name, _)| !name.ends_with("_ms") && *name != "peer_cause");
            Value::Object(
                kept.map(|(name, value)| (name.clone(), without_times(value)))
                    .collect(),
            )
        }
        Value::Array(values) => values.iter().map(without_times).collect(),
        other => other.clone(),
    }
}

#[test]
fn a_process_id_selects_what_the_process_owns() {
    let Some(place) = Place::with(&[Family::V4]) else {
        return;
    };
    let mut helper = helper::Client::start(&place.ns, b"watched");
    let watch = Watch::start(&place.ns, &["-p", &helper.pid().to_string()]);
    let listener = &place.listeners[0].1;
    let mut expected = BTreeSet::new();
    for _ in 0..3 {
        place.visit(0);
        helper.connect(listener.local_addr().unwrap());
        let (server, peer) = listener.accept().unwrap();
        reset_on_close(&server);
        drop(server);
        let ports = Ports {
            client: peer.port(),
            server: place.port(0),
        };
        watch.close(ports, Client).has("/owner/pid", helper.pid());
        expected.insert(ports.seen_from(Client));
    }
    assert_eq!(printed(watch), expected);
    helper.finish();
}

#[test]
fn a_namespace_shows_its_own_connections_only() {
    let Some(here) = Place::with(&[Family::V4]) else {
        return;
    };
    let Some(elsewhere) = Place::with(&[Family::V4]) else {
        return;
    };
    let watch = Watch::start(&here.ns, &[]);
    elsewhere.visit(0);
    let ports = here.visit(0);
    elsewhere.visit(0);
    let last = here.visit(0);
    for end in [Client, Server] {
        watch.close(last, end).has("/netns", here.ns.inode());
    }
    assert_eq!(printed(watch), ends(&[(ports, BOTH), (last, BOTH)]));
}
