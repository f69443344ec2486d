//! What the application has not done.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::program::{close_wait_record, records, scan};
use crate::stuck::{MOMENT, Pair, Sleeper, not_accepted};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;

#[test]
fn nothing_stuck_is_exit_code_0() -> TestResult {
    in_own_network(|netns| {
        let _pair = Pair::new()?;
        let ended = records(netns)?;
        assert_eq!(
            (ended.code, &*ended.stdout, &*ended.stderr),
            (Some(0), "", "")
        );
        Ok(())
    })
}

#[test]
fn everything_read_and_never_closed() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let ended = records(netns)?;
        let record = ended.record();
        assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
        assert_eq!(record["kind"], "stuck");
        assert_eq!(record["event"], "ongoing");
        assert_eq!(record["stuck"]["verdict"], "eof_read");
        assert_eq!(record["stuck"]["unread_bytes"], 0);
        assert_eq!(record["conn"]["local"]["port"], server.local_addr()?.port());
        assert_eq!(record["conn"]["peer"]["port"], server.peer_addr()?.port());
        assert_eq!(record["owner"]["pid"], std::process::id());
        assert_eq!(record["owner"]["source"], "proc");
        Ok(())
    })
}

#[test]
fn an_end_of_stream_that_was_not_read() -> TestResult {
    in_own_network(|netns| {
        let _server = Pair::new()?.closed_after(b"hello", Some(5))?;
        let leak = records(netns)?.record()["stuck"].clone();
        assert_eq!(
            (&leak["verdict"], &leak["unread_bytes"]),
            (&"eof_unread".into(), &0.into())
        );
        Ok(())
    })
}

#[test]
fn unread_bytes_before_the_end_of_stream_are_counted() -> TestResult {
    in_own_network(|netns| {
        let _server = Pair::new()?.closed_after(b"hello", Some(2))?;
        let leak = records(netns)?.record()["stuck"].clone();
        assert_eq!(
            (&leak["verdict"], &leak["unread_bytes"]),
            (&"eof_unread".into(), &3.into())
        );
        let advice = leak["advice"].as_str().ok_or("no advice")?;
        assert!(
            advice.starts_with("3 bytes and the end of stream behind them were never read"),
            "{advice}"
        );
        Ok(())
    })
}

#[test]
fn a_connection_that_was_not_accepted_is_its_listener_s() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("0.0.0.0:0")?;
        let port = listener.local_addr()?.port();
        let sleeper = Sleeper::with(&listener, &[205])?;
        let client = not_accepted(&listener)?;
        drop(listener);
        let ended = records(netns)?;
        let record = ended.record();
        assert_eq!(record["stuck"]["verdict"], "not_accepted");
        assert_eq!(record["conn"]["peer"]["port"], client.port());
        assert_eq!(
            (&record["conn"]["local"]["port"], &record["conn"]["role"]),
            (&port.into(), &"server".into())
        );
        assert_eq!(record["owner"]["pid"], sleeper.pid());
        assert_eq!(record["owner"]["source"], "listen");
        assert_eq!(record["stuck"]["fds"], serde_json::json!([205]));
        Ok(())
    })
}

#[test]
fn one_not_accepted_on_a_v4_mapped_address_is_its_listener_s() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("[::ffff:127.0.0.1]:0")?;
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
        drop(std::net::TcpStream::connect(to)?);
        thread::sleep(MOMENT);
        let record = records(netns)?.record();
        assert_eq!(record["stuck"]["verdict"], "not_accepted");
        assert_eq!(record["owner"]["pid"], std::process::id());
        Ok(())
    })
}

/// Writes until the peer's window is closed, as it does not read.
fn fill(server: &mut std::net::TcpStream) -> std::io::Result<()> {
    server.set_nonblocking(true)?;
    let block = vec![0; 1 << 20];
    while server.write(&block).is_ok() {}
    Ok(())
}

#[test]
fn a_half_close_in_use_is_not_stuck() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?.half_closed()?;
        fill(&mut pair.server)?;
        // It reads slower than the server writes: bytes wait at all times, and move.
        let (mut part, begun) = (vec![0; 256 * 1024], std::time::Instant::now());
        while begun.elapsed() < std::time::Duration::from_millis(2500) {
            pair.client.read_exact(&mut part)?;
            fill(&mut pair.server)?;
            thread::sleep(MOMENT);
        }
        let ended = crate::program::leaks(&["--netns", netns, "--min-age", "2s"]).output()?;
        let table = String::from_utf8(ended.stdout)?;
        assert_eq!(
            table,
            "0 sockets stuck for 2.0s or longer, 2 younger or still transferring data\n"
        );
        assert_eq!(ended.status.code(), Some(0));
        Ok(())
    })
}

#[test]
fn a_half_close_whose_peer_does_not_read_is_stuck() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?.half_closed()?;
        fill(&mut pair.server)?;
        thread::sleep(std::time::Duration::from_millis(1500));
        let args = ["--netns", netns, "--min-age", "500ms"];
        let ended = crate::program::leaks(&args)
            .args(["--format", "json"])
            .output()?;
        let record = close_wait_record(&CommandOutput::from(ended));
        let leak = &record["stuck"];
        assert_eq!(leak["verdict"], "eof_unread");
        let unsent = leak["unsent_bytes"].as_u64().ok_or("no number")?;
        let advice = leak["advice"].as_str().ok_or("no advice")?;
        assert!(
            advice.contains("; the peer has not read for ")
                && advice.ends_with(&format!("; {unsent} bytes wait")),
            "{advice}"
        );
        let table = CommandOutput::from(crate::program::leaks(&args).output()?);
        assert_eq!(table.code, Some(1));
        let line = "\n       the peer has not read for ";
        assert!(table.stdout.contains(line), "{}", table.stdout);
        drop(pair);
        Ok(())
    })
}

#[test]
fn ipv6_and_v4_mapped_connections_are_found_and_distinguished() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("[::]:0")?;
        let port = listener.local_addr()?.port();
        let mut held = vec![];
        for address in ["127.0.0.1", "::1"] {
            let client = std::net::TcpStream::connect((address, port))?;
            let (mut server, _) = listener.accept()?;
            drop(client);
            assert_eq!(server.read(&mut [0])?, 0);
            held.push(server);
        }
        for (flag, family) in [("-4", "ipv4"), ("-6", "ipv6")] {
            let ended = scan(&["--netns", netns, "--format", "json", flag])?;
            assert_eq!(ended.record()["conn"]["family"], family);
        }
        assert_eq!(records(netns)?.records().len(), 2);
        Ok(())
    })
}

#[test]
fn ports_and_ages_filter() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let (local, peer) = (
            server.local_addr()?.port().to_string(),
            server.peer_addr()?.port().to_string(),
        );
        let codes = |args: &[&str]| -> std::io::Result<Option<i32>> {
            scan(&[&["--netns", netns], args].concat()).map(|ended| ended.code)
        };
        assert_eq!(codes(&["-L", &local])?, Some(1));
        assert_eq!(codes(&["-L", &peer])?, Some(0));
        assert_eq!(codes(&["-D", &format!("1,{peer}")])?, Some(1));
        assert_eq!(codes(&["-D", &local])?, Some(0));
        assert_eq!(codes(&["-6"])?, Some(0));
        let young = crate::program::leaks(&["--netns", netns]).output()?;
        assert_eq!(young.status.code(), Some(0), "younger than a minute");
        assert!(
            String::from_utf8(young.stdout)?
                .ends_with("for 1m00s or longer, 1 younger or still transferring data\n")
        );
        Ok(())
    })
}
