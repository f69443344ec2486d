//! Which side opened the connection of a stuck socket.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::program::records;
use crate::stuck::Pair;
use crate::traced::{can_trace, leak, watch_as_json};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;

/// A listener, and a connection from its port, which the peer has closed.
fn dialed_from_a_listening_port() -> io::Result<(Socket, TcpStream)> {
    let shared = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        Ok::<_, io::Error>(socket)
    };
    let listening = shared()?;
    listening.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    listening.listen(1)?;
    let elsewhere = TcpListener::bind("127.0.0.1:0")?;
    let dialing = shared()?;
    dialing.bind(&listening.local_addr()?)?;
    dialing.connect(&elsewhere.local_addr()?.into())?;
    let (peer, _) = elsewhere.accept()?;
    let stuck = Pair {
        client: peer,
        server: dialing.into(),
    };
    Ok((listening, stuck.closed_after(b"x", None)?))
}

#[test]
fn what_connected_from_a_listening_port_is_a_client() -> TestResult {
    in_own_network(|netns| {
        let (_listening, dialed) = dialed_from_a_listening_port()?;
        let port = dialed.local_addr()?.port();
        let record = records(netns)?.record();
        assert_eq!(record["conn"]["local"]["port"], port);
        assert_eq!(record["conn"]["role"], "client");
        if can_trace()? {
            let record = leak(&mut watch_as_json(netns, &[])?)?;
            assert_eq!(record["conn"]["local"]["port"], port);
            assert_eq!(record["conn"]["role"], "client");
        }
        Ok(())
    })
}

#[test]
fn what_was_accepted_is_a_server_while_its_listener_is_there() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let _server = Pair::through(&listener)?.closed_after(b"hello", None)?;
        assert_eq!(records(netns)?.record()["conn"]["role"], "server");
        drop(listener);
        // It may have been restored (TCP_REPAIR): the counters are the same.
        assert_eq!(records(netns)?.record()["conn"]["role"], "unknown");
        Ok(())
    })
}
