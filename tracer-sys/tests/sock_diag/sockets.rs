//! What the kernel reports about sockets in every state that matters here.

use std::io::Write as _;
use std::net::{IpAddr, Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tcpclose_common::TcpState;
use tcpclose_core::types::{EndpointId, InterfaceIndex, IpVersion, Tuple};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::sockets::set_option;
use tcpclose_sys::kernel::sock_diag::{
    DiagClient, DumpQuery, KernelSocket, SocketFamilies, SocketLookup, SocketTimer, StateSet,
};

use crate::connections::{AnyResult, ConnectedPair, cookie, in_state, tuple, wait_for};

#[test]
fn a_dump_shows_listeners_and_both_endpoints_of_connections() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let pair = ConnectedPair::v4()?;
        let (sockets, report) = diag.collect(&DumpQuery::new(StateSet::all()))?;
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
            assert_eq!(
                (socket.timer, socket.remaining_ms()),
                (SocketTimer::None, None)
            );
            assert!(socket.inode.is_some());
            assert_eq!(diag_lookup(stream)?, Some(*socket));
        }
        let states = StateSet::from_states(&[TcpState::CloseWait, TcpState::Listen]);
        assert_eq!(diag.collect(&DumpQuery::new(states))?.0.len(), 1);
        let other = DumpQuery::new(StateSet::all()).with_families(SocketFamilies::Inet6);
        assert_eq!(diag.collect(&other)?.0, []);
        Ok(())
    })
}

fn diag_lookup(stream: &TcpStream) -> AnyResult<Option<KernelSocket>> {
    let lookup = SocketLookup::new(tuple(stream)?).with_id(cookie(stream));
    Ok(DiagClient::open()?.lookup(&lookup)?)
}

#[test]
fn time_wait_is_found_by_tuple_with_its_remaining_time() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let ConnectedPair {
            listener: _listener,
            client,
            server,
        } = ConnectedPair::v4()?;
        let (id, endpoints) = (cookie(&client), tuple(&client)?);
        drop(client);
        drop(server);
        let closed = Instant::now();
        for lookup in [
            SocketLookup::new(endpoints),
            SocketLookup::new(endpoints).with_id(id).with_info(),
        ] {
            let socket = in_state(&mut diag, &lookup, TcpState::TimeWait)?;
            assert_eq!(
                (socket.id, socket.tuple, socket.inode),
                (id, endpoints, None)
            );
            assert!(socket.is_minisocket() && socket.info.is_none());
        }
        thread::sleep(Duration::from_millis(300));
        let left = diag
            .lookup(&SocketLookup::new(endpoints))?
            .and_then(|socket| socket.remaining_ms());
        let left = u64::from(left.ok_or("gone")?);
        let age = closed.elapsed().as_millis() as u64;
        assert!(
            60_000_u64.abs_diff(left + age) <= 20,
            "{left} ms left after {age} ms"
        );
        Ok(())
    })
}

#[test]
fn an_orphan_s_minisocket_in_fin_wait2_differs_from_a_full_socket() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        // close(): the minisocket waits for the peer's FIN.
        let orphan = ConnectedPair::v4()?;
        let lookup = SocketLookup::new(tuple(&orphan.client)?).with_id(cookie(&orphan.client));
        drop(orphan.client);
        let mini = in_state(&mut diag, &lookup, TcpState::FinWait2)?;
        assert!(mini.is_minisocket());
        assert!(
            mini.remaining_ms()
                .is_some_and(|left| (1..=60_000).contains(&left))
        );
        assert_eq!((mini.inode, mini.cgroup), (None, None));

        // shutdown(): the socket has an owner.
        let half = ConnectedPair::v4()?;
        let lookup = SocketLookup::new(tuple(&half.client)?).with_id(cookie(&half.client));
        half.client.shutdown(Shutdown::Write)?;
        let full = in_state(&mut diag, &lookup, TcpState::FinWait2)?;
        assert_eq!((full.timer, full.remaining_ms()), (SocketTimer::None, None));
        assert!(full.inode.is_some());

        // close() with TCP_LINGER2 over a minute: no owner, and yet no minisocket.
        let patient = ConnectedPair::v4()?;
        let lookup = SocketLookup::new(tuple(&patient.client)?).with_id(cookie(&patient.client));
        set_option(&patient.client, libc::IPPROTO_TCP, libc::TCP_LINGER2, 120);
        drop(patient.client);
        let full = in_state(&mut diag, &lookup, TcpState::FinWait2)?;
        assert_eq!((full.timer, full.inode), (SocketTimer::Keepalive, None));
        assert!(!full.is_minisocket());

        // A dump sorts minisockets by what they stand for.
        let fin_wait2 = DumpQuery::new(StateSet::from_states(&[TcpState::FinWait2]));
        assert_eq!(diag.collect(&fin_wait2)?.0.len(), 3);
        let time_wait = DumpQuery::new(StateSet::from_states(&[TcpState::TimeWait]));
        assert_eq!(diag.collect(&time_wait)?.0, []);

        // The peer's FIN promotes it, under the same identity.
        drop(orphan.server);
        let lookup = SocketLookup::from(&mini);
        assert!(in_state(&mut diag, &lookup, TcpState::TimeWait)?.is_minisocket());
        Ok(())
    })
}

#[test]
fn ipv6_is_found() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let ConnectedPair {
            listener: _listener,
            client,
            server,
        } = ConnectedPair::connect("[::1]:0", Ipv6Addr::LOCALHOST.into())?;
        let lookup = SocketLookup::new(tuple(&client)?).with_id(cookie(&client));
        let socket = in_state(&mut diag, &lookup, TcpState::Established)?;
        assert_eq!(
            (socket.tuple, socket.tuple.ip()),
            (tuple(&client)?, IpVersion::V6)
        );
        let all = DumpQuery::new(StateSet::all());
        assert_eq!(
            diag.collect(&all.with_families(SocketFamilies::Inet))?.0,
            []
        );
        assert_eq!(
            diag.collect(&all.with_families(SocketFamilies::Inet6))?
                .0
                .len(),
            3
        );
        drop(client);
        drop(server);
        let socket = in_state(&mut diag, &lookup, TcpState::TimeWait)?;
        assert!(socket.remaining_ms().is_some_and(|left| left > 59_000));
        Ok(())
    })
}

#[test]
fn a_v4_mapped_connection_is_found_as_ipv4_in_every_state() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let mapped = "::ffff:127.0.0.1".parse::<IpAddr>()?;
        let ConnectedPair {
            listener: _listener,
            client,
            server,
        } = ConnectedPair::connect("[::]:0", mapped)?;
        for stream in [&client, &server] {
            assert!(stream.local_addr()?.is_ipv6(), "an AF_INET6 socket");
            let lookup = SocketLookup::new(tuple(stream)?).with_id(cookie(stream));
            assert_eq!(lookup.tuple.ip(), IpVersion::V4);
            let socket = in_state(&mut diag, &lookup, TcpState::Established)?;
            assert_eq!(socket.tuple, lookup.tuple);
        }
        let lookup = SocketLookup::new(tuple(&client)?).with_id(cookie(&client));
        drop(client);
        assert!(in_state(&mut diag, &lookup, TcpState::FinWait2)?.is_minisocket());
        drop(server);
        let socket = in_state(&mut diag, &lookup, TcpState::TimeWait)?;
        assert_eq!(socket.tuple, lookup.tuple);
        let dumped = diag
            .collect(&DumpQuery::new(StateSet::from_states(&[
                TcpState::TimeWait,
            ])))?
            .0;
        assert_eq!(
            dumped.iter().map(|socket| socket.tuple).collect::<Vec<_>>(),
            [lookup.tuple]
        );
        Ok(())
    })
}

#[test]
fn a_closed_socket_is_not_found_nor_its_listener_instead() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let ConnectedPair {
            listener: _listener,
            client,
            server,
        } = ConnectedPair::v4()?;
        let endpoints = tuple(&server)?;
        let (server_id, client_id) = (cookie(&server), cookie(&client));
        assert_eq!(
            diag.lookup(&SocketLookup::new(endpoints).with_id(client_id))?,
            None,
            "another identity"
        );

        drop(client);
        drop(server);
        // The passive side is gone after its last ACK; the listener has the same local address and
        // port.
        wait_for(&mut diag, &SocketLookup::new(endpoints), |socket| {
            socket.is_none()
        })?;
        assert_eq!(
            diag.lookup(&SocketLookup::new(endpoints).with_id(server_id))?,
            None
        );
        Ok(())
    })
}

#[test]
fn a_socket_bound_to_an_interface_is_found_by_that_interface() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let pair = ConnectedPair::v4()?;
        SockRef::from(&pair.client).bind_device(Some(b"lo"))?;
        let lookup = SocketLookup::new(tuple(&pair.client)?);
        assert_eq!(diag.lookup(&lookup)?, None);
        let loopback = InterfaceIndex::new(1);
        let socket = diag
            .lookup(&lookup.with_interface(loopback))?
            .ok_or("not found")?;
        assert_eq!(
            (socket.interface, socket.id),
            (loopback, cookie(&pair.client))
        );
        assert_eq!(diag.lookup(&SocketLookup::from(&socket))?, Some(socket));
        // Whatever is known of its interface.
        for known in [None, loopback, InterfaceIndex::new(77)] {
            let found = diag.lookup_on_any_interface(&lookup.with_interface(known))?;
            assert_eq!(found.map(|found| found.id), Some(socket.id), "{known:?}");
        }
        let unbound = SocketLookup::new(tuple(&pair.server)?).with_interface(loopback);
        let found = diag
            .lookup_on_any_interface(&unbound)?
            .map(|found| found.id);
        assert_eq!(found, Some(cookie(&pair.server)));
        assert_eq!(
            diag.lookup_on_any_interface(&lookup.with_id(EndpointId(u64::MAX >> 2)))?,
            None
        );
        Ok(())
    })
}

#[test]
fn a_long_dump_is_complete_also_after_one_that_was_abandoned() -> TestResult {
    in_own_network(|_| {
        const CONNECTIONS: usize = 400;
        let mut diag = DiagClient::open()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(TcpStream::connect(listener.local_addr()?)?);
            streams.push(listener.accept()?.0);
        }
        let query = DumpQuery::new(StateSet::connections()).with_info();
        let left = catch_unwind(AssertUnwindSafe(|| {
            diag.dump(&query, |_| std::panic::resume_unwind(Box::new("halfway")))
        }));
        left.unwrap_err();
        assert!(
            diag.lookup(&SocketLookup::new(tuple(&streams[0])?))?
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
fn an_incomplete_handshake_has_the_cookie_of_its_later_connection() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // No socket is made before the first data comes.
        set_option(&listener, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 10);
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let endpoints = Tuple::from((client.peer_addr()?, client.local_addr()?));
        let states = StateSet::from_states(&[TcpState::SynRecv]);
        let (sockets, _) = diag.collect(&DumpQuery::new(states))?;
        assert_eq!(sockets.len(), 1, "{sockets:?}");
        let request = sockets[0];
        assert_eq!(
            (request.state, request.tuple),
            (TcpState::SynRecv, endpoints)
        );
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
