//! What the kernel says about sockets in every state that matters here.

use std::io::Write;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tcpclose_common::TcpState;
use tcpclose_core::types::{EndpointId, InterfaceIndex, IpVersion, Tuple};
use tcpclose_kit::Outcome;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::sockets::set_option;
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DumpQuery, KernelSocket, SocketFamilies, SocketLookup, SocketTimer, StateSet,
};

use crate::connections::{Any, Pair, cookie, in_state, tuple, wait_for};

#[test]
fn a_dump_shows_listeners_and_both_ends_of_connections() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let pair = Pair::v4()?;
        let (sockets, report) = diag.collect(&DumpQuery::states(StateSet::all()))?;
        assert_eq!(
            (report.sockets, report.skipped, report.interrupted),
            (3, 0, false)
        );
        let of = |id: EndpointId| sockets.iter().find(|socket| socket.id == id);

        let listener = of(cookie(&pair.listener)).ok_or("no listener")?;
        assert_eq!(listener.state, TcpState::Listen);
        assert_eq!((listener.rqueue, listener.tuple.peer_port), (0, None));
        assert!(listener.wqueue > 0, "the limit of its queue");
        for stream in [&pair.client, &pair.server] {
            let socket = of(cookie(stream)).ok_or("no socket")?;
            assert_eq!(socket.state, TcpState::Established);
            assert_eq!(socket.tuple, tuple(stream)?);
            assert_eq!(socket.netns, diag.netns());
            assert_eq!((socket.timer, socket.left_ms()), (SocketTimer::None, None));
            assert!(socket.inode.is_some());
            assert_eq!(diag_lookup(stream)?, Some(*socket));
        }
        let states = StateSet::of(&[TcpState::CloseWait, TcpState::Listen]);
        assert_eq!(diag.collect(&DumpQuery::states(states))?.0.len(), 1);
        let other = DumpQuery::states(StateSet::all()).family(SocketFamilies::Inet6);
        assert_eq!(diag.collect(&other)?.0, []);
        Ok(())
    })
}

fn diag_lookup(stream: &TcpStream) -> Any<Option<KernelSocket>> {
    let lookup = SocketLookup::tuple(tuple(stream)?).id(cookie(stream));
    Ok(DiagClient::open()?.lookup(&lookup)?)
}

#[test]
fn time_wait_is_found_by_tuple_and_tells_its_time_left() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let Pair {
            listener: _listener,
            client,
            server,
        } = Pair::v4()?;
        let (id, ends) = (cookie(&client), tuple(&client)?);
        drop(client);
        drop(server);
        let closed = Instant::now();
        for lookup in [
            SocketLookup::tuple(ends),
            SocketLookup::tuple(ends).id(id).with_info(),
        ] {
            let socket = in_state(&mut diag, &lookup, TcpState::TimeWait)?;
            assert_eq!((socket.id, socket.tuple, socket.inode), (id, ends, None));
            assert!(socket.is_minisocket() && socket.info.is_none());
        }
        thread::sleep(Duration::from_millis(300));
        let left = diag
            .lookup(&SocketLookup::tuple(ends))?
            .and_then(|socket| socket.left_ms());
        let left = u64::from(left.ok_or("gone")?);
        let age = closed.elapsed().as_millis() as u64;
        assert!(
            60_000u64.abs_diff(left + age) <= 20,
            "{left} ms left after {age} ms"
        );
        Ok(())
    })
}

#[test]
fn an_orphan_s_minisocket_in_fin_wait2_differs_from_a_full_socket() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        // close(): the minisocket waits for the peer's FIN.
        let orphan = Pair::v4()?;
        let lookup = SocketLookup::tuple(tuple(&orphan.client)?).id(cookie(&orphan.client));
        drop(orphan.client);
        let mini = in_state(&mut diag, &lookup, TcpState::FinWait2)?;
        assert!(mini.is_minisocket());
        assert!(
            mini.left_ms()
                .is_some_and(|left| (1..=60_000).contains(&left))
        );
        assert_eq!((mini.inode, mini.cgroup), (None, None));

        // shutdown(): the socket has an owner.
        let half = Pair::v4()?;
        let lookup = SocketLookup::tuple(tuple(&half.client)?).id(cookie(&half.client));
        half.client.shutdown(Shutdown::Write)?;
        let full = in_state(&mut diag, &lookup, TcpState::FinWait2)?;
        assert_eq!((full.timer, full.left_ms()), (SocketTimer::None, None));
        assert!(full.inode.is_some());

        // close() with TCP_LINGER2 over a minute: no owner, and yet no minisocket.
        let patient = Pair::v4()?;
        let lookup = SocketLookup::tuple(tuple(&patient.client)?).id(cookie(&patient.client));
        set_option(&patient.client, libc::IPPROTO_TCP, libc::TCP_LINGER2, 120);
        drop(patient.client);
        let full = in_state(&mut diag, &lookup, TcpState::FinWait2)?;
        assert_eq!((full.timer, full.inode), (SocketTimer::Keepalive, None));
        assert!(!full.is_minisocket());

        // A dump sorts minisockets by what they stand for.
        let fin_wait2 = DumpQuery::states(StateSet::of(&[TcpState::FinWait2]));
        assert_eq!(diag.collect(&fin_wait2)?.0.len(), 3);
        let time_wait = DumpQuery::states(StateSet::of(&[TcpState::TimeWait]));
        assert_eq!(diag.collect(&time_wait)?.0, []);

        // The peer's FIN promotes it, under the same identity.
        drop(orphan.server);
        let lookup = SocketLookup::from(&mini);
        assert!(in_state(&mut diag, &lookup, TcpState::TimeWait)?.is_minisocket());
        Ok(())
    })
}

#[test]
fn ipv6_is_found() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let Pair {
            listener: _listener,
            client,
            server,
        } = Pair::to("[::1]:0", Ipv6Addr::LOCALHOST.into())?;
        let lookup = SocketLookup::tuple(tuple(&client)?).id(cookie(&client));
        let socket = in_state(&mut diag, &lookup, TcpState::Established)?;
        assert_eq!(
            (socket.tuple, socket.tuple.ip()),
            (tuple(&client)?, IpVersion::V6)
        );
        let all = DumpQuery::states(StateSet::all());
        assert_eq!(diag.collect(&all.family(SocketFamilies::Inet))?.0, []);
        assert_eq!(diag.collect(&all.family(SocketFamilies::Inet6))?.0.len(), 3);
        drop(client);
        drop(server);
        let socket = in_state(&mut diag, &lookup, TcpState::TimeWait)?;
        assert!(socket.left_ms().is_some_and(|left| left > 59_000));
        Ok(())
    })
}

#[test]
fn a_v4_mapped_connection_is_found_as_ipv4_in_every_state() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let mapped = "::ffff:127.0.0.1".parse::<IpAddr>()?;
        let Pair {
            listener: _listener,
            client,
            server,
        } = Pair::to("[::]:0", mapped)?;
        for stream in [&client, &server] {
            assert!(stream.local_addr()?.is_ipv6(), "an AF_INET6 socket");
            let lookup = SocketLookup::tuple(tuple(stream)?).id(cookie(stream));
            assert_eq!(lookup.tuple.ip(), IpVersion::V4);
            let socket = in_state(&mut diag, &lookup, TcpState::Established)?;
            assert_eq!(socket.tuple, lookup.tuple);
        }
        let lookup = SocketLookup::tuple(tuple(&client)?).id(cookie(&client));
        drop(client);
        assert!(in_state(&mut diag, &lookup, TcpState::FinWait2)?.is_minisocket());
        drop(server);
        let socket = in_state(&mut diag, &lookup, TcpState::TimeWait)?;
        assert_eq!(socket.tuple, lookup.tuple);
        let dumped = diag
            .collect(&DumpQuery::states(StateSet::of(&[TcpState::TimeWait])))?
            .0;
        assert_eq!(
            dumped.iter().map(|socket| socket.tuple).collect::<Vec<_>>(),
            [lookup.tuple]
        );
        Ok(())
    })
}

#[test]
fn a_socket_that_is_gone_is_none_and_a_listener_does_not_stand_in() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let Pair {
            listener: _listener,
            client,
            server,
        } = Pair::v4()?;
        let ends = tuple(&server)?;
        let (server_id, client_id) = (cookie(&server), cookie(&client));
        assert_eq!(
            diag.lookup(&SocketLookup::tuple(ends).id(client_id))?,
            None,
            "another identity"
        );

        drop(client);
        drop(server);
        // The passive end is gone after its last ACK; the listener has the same local address and
        // port.
        wait_for(&mut diag, &SocketLookup::tuple(ends), |socket| {
            socket.is_none()
        })?;
        assert_eq!(diag.lookup(&SocketLookup::tuple(ends).id(server_id))?, None);
        Ok(())
    })
}

#[test]
fn a_socket_bound_to_an_interface_is_found_by_that() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let pair = Pair::v4()?;
        SockRef::from(&pair.client).bind_device(Some(b"lo"))?;
        let lookup = SocketLookup::tuple(tuple(&pair.client)?);
        assert_eq!(diag.lookup(&lookup)?, None);
        let loopback = InterfaceIndex::new(1);
        let socket = diag
            .lookup(&lookup.interface(loopback))?
            .ok_or("not found")?;
        assert_eq!(
            (socket.interface, socket.id),
            (loopback, cookie(&pair.client))
        );
        assert_eq!(diag.lookup(&SocketLookup::from(&socket))?, Some(socket));
        // Whatever is known of its interface.
        for known in [None, loopback, InterfaceIndex::new(77)] {
            let found = diag.find(&lookup.interface(known))?;
            assert_eq!(found.map(|found| found.id), Some(socket.id), "{known:?}");
        }
        let unbound = SocketLookup::tuple(tuple(&pair.server)?).interface(loopback);
        let found = diag.find(&unbound)?.map(|found| found.id);
        assert_eq!(found, Some(cookie(&pair.server)));
        assert_eq!(diag.find(&lookup.id(EndpointId(u64::MAX >> 2)))?, None);
        Ok(())
    })
}

#[test]
fn a_long_list_is_complete_and_one_left_halfway_does_no_harm() -> Outcome {
    in_own_network(|_| {
        const CONNECTIONS: usize = 400;
        let mut diag = DiagClient::open()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(TcpStream::connect(listener.local_addr()?)?);
            streams.push(listener.accept()?.0);
        }
        let query = DumpQuery::states(StateSet::connections()).with_info();
        let left = catch_unwind(AssertUnwindSafe(|| {
            diag.dump(&query, |_| std::panic::resume_unwind(Box::new("halfway")))
        }));
        assert!(left.is_err());
        assert!(
            diag.lookup(&SocketLookup::tuple(tuple(&streams[0])?))?
                .is_some()
        );

        let (sockets, report) = diag.collect(&query)?;
        assert_eq!(report.sockets as usize, 2 * CONNECTIONS);
        let mut wanted: Vec<EndpointId> = streams.iter().map(cookie).collect();
        wanted.sort_unstable();
        assert_eq!(
            sockets.iter().map(|socket| socket.id).collect::<Vec<_>>(),
            wanted
        );
        Ok(())
    })
}

#[test]
fn a_handshake_that_is_not_complete_has_the_identity_of_the_connection_to_be() -> Outcome {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // No socket is made before the first data comes.
        set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 10);
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let ends = Tuple::from((client.peer_addr()?, client.local_addr()?));
        let states = StateSet::of(&[TcpState::SynRecv]);
        let (sockets, _) = diag.collect(&DumpQuery::states(states))?;
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        let request = sockets[0];
        assert_eq!((request.state, request.tuple), (TcpState::SynRecv, ends));
        assert_eq!(
            (request.timer, request.inode),
            (SocketTimer::Retransmit, None)
        );
        let found = diag.lookup(&SocketLookup::from(&request))?;
        assert_eq!(found.map(|socket| socket.id), Some(request.id));

        client.write_all(b"now")?;
        let (server, _) = listener.accept()?;
        assert_eq!(cookie(&server), request.id);
        Ok(())
    })
}
