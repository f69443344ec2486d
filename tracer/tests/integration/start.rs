//! The start on a host with many network namespaces: the programs are attached at once, and what
//! was open before is learnt afterwards.

use std::time::{Duration, Instant};

use crate::harness::lab::Lab;
use crate::harness::program;
use crate::harness::sockets::{Connection, Family};
use crate::harness::watch::{Watch, closes_in};
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::Server;

const NAMESPACES: usize = 300;
const ROUNDS: usize = 4;

/// Starts the program for the closes on a port, in all namespaces.
fn watch_all(port: u16) -> Watch {
    let port = port.to_string();
    Watch::spawn(program::command().args(["watch", "--format", "json", "-L", &port]))
}

/// The shortest time from exec until the program says that it watches.
fn shortest_start() -> Duration {
    let start = || {
        let begun = Instant::now();
        let watch = watch_all(1);
        let took = begun.elapsed();
        watch.stop();
        took
    };
    let rounds = (0..ROUNDS).map(|_| start());
    rounds.min().unwrap_or_default()
}

/// Both times are measured in one run, so how fast the machine is does not matter.
#[test]
fn it_is_attached_as_soon_with_many_namespaces_as_with_few() {
    let Some(mut lab) = Lab::not_yet_watching(Family::V4) else {
        return;
    };
    let few = shortest_start();
    let namespaces: Vec<_> = (0..NAMESPACES).map(|_| NetNs::new()).collect();
    let many = shortest_start();
    assert!(many < few * 2, "{few:?} with few, {many:?} with many");

    // A connection that is closed as soon as the program watches is reported, once.
    lab.add_resident();
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("from before", "indeed");
    let watch = watch_all(ports.server);
    reset_on_close(&client);
    drop(client);
    let ended = watch.wait_for("the close", |lines| {
        let mut closes = closes_in(lines).into_iter();
        closes.find(|close| close.ports() == ports.seen_from(Server))
    });
    ended
        .closed("reset", "peer")
        .has("/conn/seen_from_start", false)
        .has("/conn/opened", ());
    ended.has_one_of("/conn/role", &["server", "unknown"]);
    drop(server);
    watch.stop();
    drop(namespaces);
}
