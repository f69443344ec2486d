//! One direction closed, the other still at work.

use std::io::Read as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::harness::families::for_each_family;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, expect, read_to_end, send};
use tcpclose_parity::segment::Endpoint::{Client, Server};

const WORK: Duration = Duration::from_millis(200);
/// The halves are timed in the kernel, a little before and after the test's own clock.
const ALMOST_WORK: f64 = 190.0;
const ANSWER: usize = 70_000;

for_each_family!(
    the_answer_comes_after_the_question_is_closed,
    the_server_closes_first
);

fn the_answer_comes_after_the_question_is_closed(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("hello", "ready");

    send(&client, "question");
    client.shutdown(Shutdown::Write).unwrap();
    expect(&server, "question");
    assert_eq!(read_to_end(&server), 0);
    thread::sleep(WORK);
    let answering = thread::spawn(move || {
        send(&server, &"x".repeat(ANSWER));
        server
    });
    (&client).read_exact(&mut vec![0; ANSWER]).unwrap();
    // Closed earlier, the FIN might wait for the window, and the half-close have no known end.
    drop(answering.join().unwrap());
    assert_eq!(read_to_end(&client), 0);
    drop(client);

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "local")
        .moved(13, 5 + ANSWER as u64)
        .is_our_client()
        .was_watched_from_start();
    client.has("/half_close/by", "local");
    client
        .has("/half_close/bytes_sent", 0)
        .has("/half_close/bytes_received", ANSWER);
    assert!(client.number("/half_close/ms") >= ALMOST_WORK, "{client}");

    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "peer")
        .moved(5 + ANSWER as u64, 13)
        .is_our_server()
        .was_watched_from_start();
    server.has("/half_close/by", "peer");
    server
        .has("/half_close/bytes_sent", ANSWER)
        .has("/half_close/bytes_received", 0);
    assert!(server.number("/half_close/ms") >= ALMOST_WORK, "{server}");
    assert_eq!(lab.finish().len(), 2);
}

fn the_server_closes_first(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("hello", "goodbye");

    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), 0);
    thread::sleep(WORK);
    send(&client, "wait, one more thing");
    expect(&server, "wait, one more thing");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    drop(server);

    let client = lab.truthful_close(ports, Client);
    client
        .closed("four_way", "peer")
        .moved(25, 7)
        .has("/half_close/by", "peer");
    client
        .has("/half_close/bytes_sent", 20)
        .has("/half_close/bytes_received", 0);
    let server = lab.truthful_close(ports, Server);
    server
        .closed("four_way", "local")
        .moved(7, 25)
        .has("/half_close/by", "local");
    server
        .has("/half_close/bytes_sent", 0)
        .has("/half_close/bytes_received", 20);
    assert_eq!(lab.finish().len(), 2);
}
