//! What the kernel reports about a socket in CLOSE_WAIT.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use tcpclose_common::TcpState;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_sys::kernel::sock_diag::{DiagClient, DumpQuery, SocketLookup, StateSet};

use crate::connections::{ConnectedPair, cookie, in_state, tuple};

#[test]
fn close_wait_shows_unread_bytes_and_an_unread_fin() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let ConnectedPair {
            listener: _listener,
            mut client,
            mut server,
        } = ConnectedPair::v4()?;
        let lookup = SocketLookup::new(tuple(&server)?).with_id(cookie(&server));
        client.write_all(b"hello")?;
        let mut all = [0; 5];
        server.read_exact(&mut all)?;
        drop(client);
        let socket = in_state(&mut diag, &lookup, TcpState::CloseWait)?;
        assert_eq!(socket.rqueue, 1, "the FIN");
        assert_eq!(server.read(&mut all)?, 0);
        assert_eq!(diag.lookup(&lookup)?.map(|socket| socket.rqueue), Some(0));
        Ok(())
    })
}

#[test]
fn a_fin_that_joined_unread_bytes_is_read_with_the_last_of_them() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let ConnectedPair {
            listener: _listener,
            mut client,
            mut server,
        } = ConnectedPair::v4()?;
        let lookup = SocketLookup::new(tuple(&server)?).with_id(cookie(&server));
        client.write_all(b"hello")?;
        drop(client);
        assert_eq!(
            in_state(&mut diag, &lookup, TcpState::CloseWait)?.rqueue,
            5 + 1
        );
        let mut four = [0; 4];
        server.read_exact(&mut four)?;
        assert_eq!(
            diag.lookup(&lookup)?.map(|socket| socket.rqueue),
            Some(1 + 1)
        );
        // No read() has returned 0 yet.
        server.read_exact(&mut four[..1])?;
        assert_eq!(diag.lookup(&lookup)?.map(|socket| socket.rqueue), Some(0));
        Ok(())
    })
}

#[test]
fn tcp_info_counts_and_ages() -> TestResult {
    in_own_network(|_| {
        let mut diag = DiagClient::open()?;
        let ConnectedPair {
            listener: _listener,
            mut client,
            server,
        } = ConnectedPair::v4()?;
        let lookup = SocketLookup::new(tuple(&server)?)
            .with_id(cookie(&server))
            .with_info();
        let opener = SocketLookup::new(tuple(&client)?).with_info();
        let opener = diag.lookup(&opener)?.and_then(|socket| socket.info);
        let opener = opener.ok_or("no tcp_info")?;
        assert_eq!(opener.bytes_acked, 1, "the SYN of an active open counts");
        client.write_all(b"hello")?;
        thread::sleep(Duration::from_millis(200));
        drop(client);
        in_state(&mut diag, &lookup, TcpState::CloseWait)?;
        thread::sleep(Duration::from_millis(100));
        let info = diag.lookup(&lookup)?.and_then(|socket| socket.info);
        let info = info.ok_or("no tcp_info")?;
        assert_eq!(info.bytes_received, 5 + 1, "the FIN counts");
        assert_eq!((info.bytes_acked, info.bytes_sent), (0, Some(0)));
        assert_eq!((info.data_segs_in, info.data_segs_out), (1, 0));
        assert_eq!((info.total_retrans, info.notsent_bytes), (0, 0));
        assert!(info.segs_in >= 3 && info.segs_out >= 1, "{info:?}");
        // The FIN renews the age of the last ACK, and not that of the last data.
        let (ack, data) = (info.last_ack_recv_ms, info.last_data_recv_ms);
        assert!((90..5000).contains(&ack) && data >= ack + 150, "{info:?}");
        // Only a dump that asks for it carries it.
        let states = StateSet::from_states(&[TcpState::CloseWait]);
        let plain = diag.collect(&DumpQuery::new(states))?.0;
        let full = diag.collect(&DumpQuery::new(states).with_info())?.0;
        assert_eq!((plain.len(), full.len()), (1, 1));
        assert!(plain[0].info.is_none() && full[0].info.is_some());
        Ok(())
    })
}
