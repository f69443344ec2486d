//! Connections that never come to be.

use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::harness::capture::Ports;
use crate::harness::families::{for_each_family, for_ipv4_and_ipv6};
use crate::harness::lab::Lab;
use crate::harness::sockets::Family;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::set_option;
use tcpclose_parity::segment::Endpoint::Client;

for_each_family!(connecting_to_a_port_without_a_listener);
for_ipv4_and_ipv6!(connecting_without_a_free_port);

fn connecting_to_a_port_without_a_listener(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    // A bound port on which nobody listens: no other socket can take it meanwhile.
    let (ports, _bound) = lab.ns.run(|| {
        let bound = Socket::new(
            Domain::for_address(lab.client_address(0)),
            Type::STREAM,
            None,
        )
        .unwrap();
        bound.bind(&lab.client_address(0).into()).unwrap();
        let port = bound.local_addr().unwrap().as_socket().unwrap().port();

        let client = Socket::new(
            Domain::for_address(lab.client_address(0)),
            Type::STREAM,
            None,
        )
        .unwrap();
        client.bind(&lab.client_address(0).into()).unwrap();
        let local: SocketAddr = client.local_addr().unwrap().as_socket().unwrap();
        let error = client
            .connect(&lab.client_address(port).into())
            .expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        (
            Ports {
                client: local.port(),
                server: port,
            },
            bound,
        )
    });
    lab.assert_captured(ports, "server RST,ACK");

    let close = lab.truthful_close(ports, Client);
    close
        .closed("connect_failed", "peer")
        .counts_segments()
        .is_our_client();
    close
        .has("/close/cause", "refused")
        .has("/close/errno", 111)
        .passed(&["SYN_SENT"])
        .moved(0, 0)
        .has("/conn/seen_from_start", true);
    close
        .has("/reset/by", "peer")
        .has("/reset/reason", "no_socket");
    // Where no program listens there is no second endpoint, and sockets that never connected do not
    // close.
    assert_eq!(lab.finish().len(), 1);
}

/// The port is chosen by connect() itself: it must be in the record all the same.
#[test]
fn the_port_that_connect_chose_is_known() {
    let Some(lab) = Lab::on_loopback(Family::V4) else {
        return;
    };
    let port = lab.ns.run(|| {
        let bound = std::net::TcpListener::bind(lab.client_address(0)).unwrap();
        bound.local_addr().unwrap().port()
    });
    lab.ns
        .run(|| TcpStream::connect(lab.client_address(port)).expect_err("nobody listens any more"));

    let closes = lab.finish();
    assert_eq!(closes.len(), 1);
    let (local, peer) = closes[0].ports();
    assert!(local != 0 && peer == port, "{}", closes[0]);
    closes[0].has("/close/path", "connect_failed");
}

/// A range that the program sets for its sockets is exhausted while the host's is not.
#[test]
fn connecting_without_a_free_port_in_the_sockets_own_range() {
    const IP_LOCAL_PORT_RANGE: i32 = 51;
    const PORT: u32 = 40_000;
    if kernel_version() < (6, 3) {
        skip("this kernel has no IP_LOCAL_PORT_RANGE");
        return;
    }
    let Some(lab) = Lab::on_loopback(Family::V4) else {
        return;
    };
    let (_listener, address) = lab.listen();
    let dial = || {
        lab.ns.run(|| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            let range = ((PORT << 16) | PORT).cast_signed();
            set_option(&socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, range);
            socket.connect(&address.into()).map(|()| socket)
        })
    };
    let _only_one = dial().expect("the port is free");
    let error = dial().expect_err("the one port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    let ports = Ports {
        client: 0,
        server: address.port(),
    };
    lab.close(ports, Client)
        .closed("connect_failed", "unknown")
        .has("/close/cause", "no_local_port");
}

fn connecting_without_a_free_port(family: Family) {
    let Some(lab) = Lab::on_loopback(family) else {
        return;
    };
    let (_listener, address) = lab.listen();
    lab.set_range(40_000, 40_000);
    let _only_one = lab.dial(address);
    let refused = lab.ns.run(|| TcpStream::connect(address));
    let error = refused.expect_err("the one port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);

    let ports = Ports {
        client: 0,
        server: address.port(),
    };
    let close = lab.close(ports, Client);
    close
        .closed("connect_failed", "unknown")
        .has("/close/abnormal", true)
        .has("/close/cause", "no_local_port")
        .has("/close/errno", ())
        .is_our_client();
}
