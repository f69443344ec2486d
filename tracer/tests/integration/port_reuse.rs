//! The same addresses and ports again, moments later: another connection with a record of its own.

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Family, connect_from, expect, ports_of, read_to_end, send};
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(after_a_reset, over_the_servers_time_wait);

const ROUNDS: u64 = 5;

fn after_a_reset(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    let mut local = lab.client_address(0);
    let mut ports = None;
    for round in 1..=ROUNDS {
        let client = lab.ns.run(|| connect_from(local, address)).unwrap();
        let (server, _) = listener.accept().unwrap();
        local = client.local_addr().unwrap();
        ports = Some(ports_of(&client));
        let text = "x".repeat(round as usize);
        send(&client, &text);
        expect(&server, &text);
        reset_on_close(&client);
        drop(client);
    }

    let ports = ports.expect("there were rounds");
    for end in [Client, Server] {
        let closes = lab.closes(ports, end, ROUNDS as usize);
        for (nth, close) in closes.iter().enumerate() {
            let bytes = nth as u64 + 1;
            lab.assert_truthful(close, ports, end, nth);
            if end == Client {
                close
                    .closed("reset", "local")
                    .moved(bytes, 0)
                    .is_our_client();
            } else {
                close
                    .closed("reset", "peer")
                    .moved(0, bytes)
                    .has("/conn/role", "server");
            }
            close.was_watched_from_start();
        }
    }
    assert_eq!(lab.finish().len(), 2 * ROUNDS as usize);
}

/// The server closes first and keeps TIME_WAIT; the client's next SYN from the same port recycles
/// it.
fn over_the_servers_time_wait(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (listener, address) = lab.listen();
    let mut local = lab.client_address(0);
    let mut ports = None;
    for round in 1..=ROUNDS {
        let client = lab.ns.run(|| connect_from(local, address)).unwrap();
        let (server, _) = listener.accept().unwrap();
        local = client.local_addr().unwrap();
        let now = ports_of(&client);
        ports = Some(now);
        send(&server, &"x".repeat(round as usize));
        drop(server);
        assert_eq!(read_to_end(&client), round as usize);
        drop(client);
        // TIME_WAIT begins with the last of the closing segments.
        lab.nth_ends_closed(now, round as usize - 1);
    }

    let ports = ports.expect("there were rounds");
    for end in [Client, Server] {
        let closes = lab.closes(ports, end, ROUNDS as usize);
        for (nth, close) in closes.iter().enumerate() {
            let bytes = nth as u64 + 1;
            lab.assert_truthful(close, ports, end, nth);
            // Before 5.12 nothing but a poll shows the peer's FIN to a minisocket, and the next SYN
            // may be faster; and no peer shows that its FIN was its first ACK.
            let paths: &[&str] = if kernel_version() < (5, 12) {
                &["three_way", "four_way", "unknown"]
            } else {
                &["three_way", "four_way"]
            };
            close
                .has_one_of("/close/path", paths)
                .was_watched_from_start();
            if end == Client {
                close.moved(0, bytes)
            } else {
                close.moved(bytes, 0)
            };
        }
    }
    assert_eq!(lab.finish().len(), 2 * ROUNDS as usize);
}
