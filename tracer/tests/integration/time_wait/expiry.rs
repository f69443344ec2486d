//! TIME_WAIT to its end: a whole minute, waited for once, for all who have to.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::capture::Ports;
use crate::harness::lab::Lab;
use crate::harness::minisockets::{self, Moment};
use crate::harness::sockets::{Connection, Family, read_to_end};
use crate::harness::wire::Fate;
use crate::time_wait::namespaces::{OutOfReach, Vanished};
use crate::time_wait::{close_first, inject_reset};
use tcpclose_parity::segment::Endpoint::{Client, Server};

/// The timer wheel may be late by an eighth, and the restart is some seconds later than the
/// beginning.
const EXPIRY_TIMEOUT: Duration = Duration::from_secs(80);

/// So long the wire loses what would end the restarted connection's close. FINs are sent again
/// after 0.2, 0.6, 1.4, 3 s.
const LOSS_DELAY: Duration = Duration::from_secs(2);

#[test]
fn each_lasts_as_long_as_reported() {
    let Some(lab) = Lab::on_wire(Family::V4) else {
        return;
    };
    lab.set("tcp_rfc1337", 1);
    let unreachable = OutOfReach::begin();
    let vanished = Vanished::begin();

    let plain = lab.converse("ping", "pong");
    let orphan = lab.converse("ping", "pong");
    let shot_at = lab.converse("ping", "pong");
    let entered = [
        (plain.ports, close_first(&lab, &plain, Client)),
        close_as_orphan(&lab, orphan),
        (shot_at.ports, close_first(&lab, &shot_at, Client)),
    ];
    // RFC 1337 forbids that it has an effect.
    inject_reset(&lab, shot_at.ports);
    let restarted = lab.converse("ping", "pong");
    let restarted_entered = restart(&lab, &restarted);

    let left = thread::scope(|scope| {
        let ports = entered.map(|(ports, _)| (&lab, ports));
        let out_of_reach = (&unreachable.lab, unreachable.ports);
        [
            ports[0],
            ports[1],
            ports[2],
            (&lab, restarted.ports),
            out_of_reach,
        ]
        .map(|(lab, ports)| {
            scope.spawn(move || minisockets::leaves(&lab.ns, ports, Client, EXPIRY_TIMEOUT))
        })
        .map(|looking| looking.join().unwrap())
    });

    for ((ports, entered), left) in entered.into_iter().zip(left) {
        let reported = lab.time_wait(ports, Client);
        reported
            .ended("expired")
            .measured_by_hook_or("timer")
            .has("/time_wait/restarts", 0)
            .lasted(entered, left);
        assert!(
            reported.dwell_ms() >= 59_900.0,
            "TCP_TIMEWAIT_LEN: {reported}"
        );
    }
    let reported = lab.time_wait(restarted.ports, Client);
    reported
        .ended("expired")
        .measured_by_hook_or("timer")
        .has("/time_wait/restarts", 1)
        .lasted(restarted_entered, left[3]);
    assert!(
        reported.dwell_ms() >= 59_900.0 + LOSS_DELAY.as_secs_f64() * 1e3,
        "it was started anew: {reported}"
    );
    lab.finish();
    unreachable.end(left[4]);
    vanished.end();
}

/// Its process closes it, and the peer follows: it waits in a minisocket for the FIN that puts it
/// into TIME_WAIT.
fn close_as_orphan(lab: &Lab, connection: Connection) -> (Ports, Moment) {
    let Connection {
        client,
        server,
        ports,
        listener: _,
    } = connection;
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    let since = Instant::now();
    drop(server);
    (ports, minisockets::enters(&lab.ns, ports, Client, since))
}

/// The acknowledgement of the server's FIN is lost for a while, so the FIN comes again, once.
fn restart(lab: &Lab, connection: &Connection) -> Moment {
    let ports = connection.ports;
    let until = Instant::now() + LOSS_DELAY;
    let fins = Arc::new(Mutex::new(Vec::new()));
    let passed = Arc::clone(&fins);
    lab.wire().judge_by(move |packet| {
        let Some(sender) = packet.sender(ports) else {
            return Fate::Pass;
        };
        let mut passed = passed.lock().unwrap();
        let is_fin = sender == Server && packet.flags.fin;
        if !passed.is_empty() && Instant::now() < until {
            return Fate::Lost;
        }
        if is_fin {
            passed.push(Instant::now());
        }
        Fate::Pass
    });
    let entered = close_first(lab, connection, Client);
    // Its acknowledgement ends the server's socket.
    minisockets::leaves(&lab.ns, ports, Server, EXPIRY_TIMEOUT);
    let fins = fins.lock().unwrap();
    assert_eq!(fins.len(), 2, "the FIN came once more: {fins:?}");
    entered
}
