//! A socket that lives twice: connect() to nowhere dissolves its connection, and it connects again.

use socket2::SockRef;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, expect, ports_of, read_to_end, send};
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::sockets::disconnect;
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(each_life_has_its_own_record);

fn each_life_has_its_own_record(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let Connection {
        client,
        server,
        listener,
        ports: first,
    } = lab.converse("one", "three");
    disconnect(&client).unwrap();
    lab.assert_captured(first, "client RST,ACK");
    drop(server);

    let again = lab.connect_address(first.server);
    SockRef::from(&client).connect(&again.into()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let second = ports_of(&client);
    send(&client, "twelve bytes");
    expect(&server, "twelve bytes");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    drop(server);

    // The same ports may be chosen again: then their order distinguishes the records.
    let (nth, lives) = if second == first { (1, 2) } else { (0, 1) };
    let before = lab.closes(first, Client, lives).remove(0);
    lab.assert_truthful(&before, first, Client, 0);
    before
        .closed("reset", "local")
        .has("/reset/by", "local")
        .moved(3, 5);
    before.is_our_client().was_watched_from_start();
    let after = lab.closes(second, Client, lives).remove(nth);
    lab.assert_truthful(&after, second, Client, nth);
    after
        .has("/close/initiator", "local")
        .moved(12, 0)
        .is_our_client()
        .was_watched_from_start();
    // Without cookies (before 5.12) a record's number ends with the connection.
    if kernel_version() >= (5, 12) {
        assert_eq!(before.id(), after.id(), "it is one socket");
    }
    let accepted = lab.closes(second, Server, lives).remove(nth);
    lab.assert_truthful(&accepted, second, Server, nth);
    accepted.has("/close/initiator", "peer").moved(0, 12);
    assert_eq!(lab.finish().len(), 4);
}
