//! Many connections at once: each endpoint has its record, none is lost and none comes twice.

use std::collections::HashMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::thread;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Family, ports_of};
use tcpclose_kit::sockets::reset_on_close;

for_ipv4_and_ipv6!(every_endpoint_of_a_burst_is_reported_once);

const CLIENTS: u64 = 4;
const VISITS: u64 = 250;

/// Half of the connections are reset, half are closed by the client and then by the server.
fn every_endpoint_of_a_burst_is_reported_once(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    let visits: Vec<(u16, bool)> = thread::scope(|scope| {
        let lab = &lab;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || {
                    (0..VISITS)
                        .map(|nth| visit(lab, address, nth))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        scope.spawn(|| {
            for _ in 0..CLIENTS * VISITS {
                let (mut server, _) = listener.accept().expect("accepting");
                // A reset ends the stream too.
                drop(server.read_to_end(&mut Vec::new()));
            }
        });
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });

    let wanted = 2 * (CLIENTS * VISITS) as usize;
    lab.wait_for_closes(wanted);
    let (closes, lost) = lab.finish_with_losses();
    assert_eq!(closes.len(), wanted);
    // A port may have been used again: what counts is how often it ended in which way, at both
    // endpoints.
    let mut expected = HashMap::<(u16, bool), u32>::new();
    for visit in visits {
        *expected.entry(visit).or_default() += 2;
    }
    let mut reported = HashMap::<(u16, bool), u32>::new();
    let mut missed = 0;
    for close in &closes {
        let (local, peer) = close.ports();
        let client = if peer == address.port() { local } else { peer };
        // An ACK and a FIN that waited in the backlog of a busy socket cannot be reported from one
        // segment.
        close.has_one_of(
            "/close/path",
            &["reset", "four_way", "three_way", "unknown"],
        );
        // The kernel skips a program that it interrupts, and there are kernels that run none while
        // certain tasks are on the CPU: the rest of such an endpoint is unknown.
        if close.get("/conn/lifetime_ms").is_null() {
            close.closed("unknown", "local");
            missed += 1;
        } else {
            close.is_ours().was_watched_from_start();
        }
        *reported
            .entry((client, close.path() == "reset"))
            .or_default() += 1;
    }
    assert_eq!(reported, expected);
    assert!(missed * 20 <= wanted, "{missed} of {wanted}");
    assert!(lost >= missed as u64, "{missed} missed, {lost} reported");
}

/// The client's port, and whether it reset the connection.
fn visit(lab: &Lab, address: SocketAddr, nth: u64) -> (u16, bool) {
    let client = lab.dial(address);
    let reset = nth.is_multiple_of(2);
    if reset {
        reset_on_close(&client);
    }
    (ports_of(&client).client, reset)
}
