//! Which side opened a connection, as the counters of both endpoints prove it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};
use tcpclose_common::TcpState;
use tcpclose_core::types::Opening::{self, Active, Passive};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::sockets::set_option;
use tcpclose_kit::wait::eventually;
use tcpclose_sys::kernel::sock_diag::{DiagClient, SocketLookup};

use crate::connections::{AnyResult, ConnectedPair, cookie, tuple, wait_for};

/// Waits until nothing is on its way, and returns what the kernel shows then.
fn opening(stream: &TcpStream) -> AnyResult<Option<Opening>> {
    let lookup = SocketLookup::new(tuple(stream)?)
        .with_id(cookie(stream))
        .with_info();
    let rests = |info: &tcpclose_sys::kernel::sock_diag::TcpInfo| info.unacked == 0;
    let socket = wait_for(&mut DiagClient::open()?, &lookup, |socket| {
        socket.is_none_or(|socket| socket.info.as_ref().is_some_and(rests))
    })?;
    Ok(socket.ok_or("it is gone")?.opening())
}

fn openings(pair: &ConnectedPair) -> AnyResult<(Option<Opening>, Option<Opening>)> {
    Ok((opening(&pair.client)?, opening(&pair.server)?))
}

const PROVEN: (Option<Opening>, Option<Opening>) = (Some(Active), Some(Passive));

fn exchange(pair: &ConnectedPair, bytes: usize) -> TestResult {
    for (mut from, mut to) in [(&pair.client, &pair.server), (&pair.server, &pair.client)] {
        from.write_all(&vec![b'x'; bytes])?;
        to.read_exact(&mut vec![0; bytes])?;
    }
    Ok(())
}

#[test]
fn data_in_both_directions_hides_nothing() -> TestResult {
    in_own_network(|_| {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let address: SocketAddr = listen.parse()?;
            let pair = ConnectedPair::connect(listen, address.ip())?;
            assert_eq!(openings(&pair)?, PROVEN);
            for bytes in [1, 1, 40_000] {
                exchange(&pair, bytes)?;
                assert_eq!(openings(&pair)?, PROVEN, "after {bytes} bytes");
            }
        }
        Ok(())
    })
}

#[test]
fn it_is_proven_while_the_connection_closes() -> TestResult {
    in_own_network(|_| {
        for by_client in [true, false] {
            let pair = ConnectedPair::v4()?;
            exchange(&pair, 1)?;
            let closer = if by_client {
                &pair.client
            } else {
                &pair.server
            };
            closer.shutdown(Shutdown::Write)?;
            for (stream, expected) in [(&pair.client, PROVEN.0), (&pair.server, PROVEN.1)] {
                // The FIN and its ACK are on their way.
                let is_proven = || (opening(stream).ok()? == expected).then_some(());
                eventually(is_proven).ok_or_else(|| format!("by client: {by_client}"))?;
            }
        }
        Ok(())
    })
}

#[test]
fn a_socket_that_connects_from_a_listening_port_was_opened_actively() -> TestResult {
    in_own_network(|_| {
        let shared = || -> AnyResult<Socket> {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_port(true)?;
            Ok(socket)
        };
        let listening = shared()?;
        listening.bind(&"127.0.0.1:0".parse::<SocketAddr>()?.into())?;
        listening.listen(1)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let dialing = shared()?;
        dialing.bind(&listening.local_addr()?)?;
        dialing.connect(&listener.local_addr()?.into())?;
        let (server, _) = listener.accept()?;
        let pair = ConnectedPair {
            listener,
            client: dialing.into(),
            server,
        };
        assert_eq!(openings(&pair)?, PROVEN);
        Ok(())
    })
}

#[test]
fn one_opened_from_a_syn_cookie_was_opened_passively() -> TestResult {
    in_own_network(|_| {
        fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2")?;
        let pair = ConnectedPair::v4()?;
        exchange(&pair, 1)?;
        assert_eq!(openings(&pair)?, PROVEN);
        Ok(())
    })
}

#[test]
fn the_data_of_a_fast_open_counts_as_any_other() -> TestResult {
    in_own_network(|_| {
        // Both sides, and no cookie is asked for.
        fs::write("/proc/sys/net/ipv4/tcp_fastopen", "519")?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        set_option(&listener, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, 4);
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        set_option(&client, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT, 1);
        client.connect(&listener.local_addr()?.into())?;
        let mut client = TcpStream::from(client);
        client.write_all(b"x")?;
        let (server, _) = listener.accept()?;
        let mut pair = ConnectedPair {
            listener,
            client,
            server,
        };
        pair.server.read_exact(&mut [0])?;
        assert_eq!(openings(&pair)?, PROVEN);
        exchange(&pair, 1)?;
        assert_eq!(openings(&pair)?, PROVEN);
        Ok(())
    })
}

/// Both sides of it have sent a SYN.
#[test]
fn a_socket_that_is_connected_to_itself_was_opened_actively() -> TestResult {
    in_own_network(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>()?.into())?;
        socket.connect(&socket.local_addr()?)?;
        assert_eq!(opening(&socket.into())?, Some(Active));
        Ok(())
    })
}

#[test]
fn a_restored_socket_was_not_opened_actively() -> TestResult {
    in_own_network(|_| {
        let pair = ConnectedPair::v4()?;
        let (own, peer) = (pair.client.local_addr()?, pair.client.peer_addr()?);
        set_option(&pair.client, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1);
        drop(pair.client);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1);
        socket.bind(&own.into())?;
        socket.connect(&peer.into())?;
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 0);
        assert_eq!(opening(&socket.into())?, Some(Passive));
        Ok(())
    })
}

#[test]
fn where_data_is_on_its_way_nothing_is_proven() -> TestResult {
    in_own_network(|_| {
        let pair = ConnectedPair::v4()?;
        let mut socket = DiagClient::open()?
            .lookup(&SocketLookup::new(tuple(&pair.client)?).with_info())?
            .ok_or("no socket")?;
        exchange(&pair, 1)?;
        let info = socket.info.as_mut().ok_or("no counters")?;
        info.unacked = 1;
        assert_eq!(
            (socket.state, socket.opening()),
            (TcpState::Established, None)
        );
        Ok(())
    })
}
