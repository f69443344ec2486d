//! MPTCP connections: sockets beside the TCP sockets that carry them.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{leaks, records, scan};
use crate::stuck::MOMENT;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::{mptcp_connect, mptcp_listener};
use tcpclose_kit::wait::eventually;

const V4: &str = "127.0.0.1:0";
const V6: &str = "[::1]:0";

/// `None`, and reported, where the kernel has no MPTCP.
fn listener(address: &str) -> io::Result<Option<TcpListener>> {
    let address = address.parse().map_err(io::Error::other)?;
    match mptcp_listener(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            skip(&format!("no MPTCP ({error})"));
            Ok(None)
        }
    }
}

/// A connection whose client, made with `connect`, has closed after it had said something, of which
/// `read` bytes were read.
fn stuck(
    listener: &TcpListener,
    connect: fn(SocketAddr) -> io::Result<TcpStream>,
    read: usize,
) -> io::Result<TcpStream> {
    let mut client = connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.write_all(b"hello")?;
    server.read_exact(&mut vec![0; read])?;
    drop(client);
    thread::sleep(MOMENT);
    Ok(server)
}

/// Scans until something is found: the end of an MPTCP connection passes through a worker of the
/// kernel, which may take its time on a busy host.
fn found(mut scan: impl FnMut() -> io::Result<CommandOutput>) -> io::Result<CommandOutput> {
    let found = eventually(|| match scan() {
        Ok(ended) if ended.code == Some(0) => None,
        ended => Some(ended),
    });
    found.unwrap_or_else(|| Err(io::Error::other("nothing was ever found")))
}

fn the_only(ended: &CommandOutput) -> Value {
    assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
    ended.record()
}

#[test]
fn an_mptcp_connection_is_reported_as_such() -> TestResult {
    in_own_network(|netns| {
        for address in [V4, V6] {
            let Some(listener) = listener(address)? else {
                return Ok(());
            };
            let server = stuck(&listener, mptcp_connect, 5)?;
            let record = the_only(&found(|| records(netns))?);
            assert_eq!(record["stuck"]["protocol"], "mptcp");
            assert_eq!(record["stuck"]["verdict"], "not_closed");
            assert_eq!(record["stuck"]["unread_bytes"], 0);
            assert_eq!(record["stuck"]["fds"], json!([server.as_raw_fd()]));
            assert_eq!(record["conn"]["role"], "unknown");
            assert_eq!(
                record["conn"]["local"]["port"],
                listener.local_addr()?.port()
            );
            let table = scan(&["--netns", netns, "--all"])?.stdout;
            assert!(table.contains("MPTCP connections: 1"), "{table}");
            assert!(table.contains("unread 0 unsent 0 mptcp"), "{table}");
        }
        Ok(())
    })
}

#[test]
fn of_unread_bytes_of_mptcp_the_number_is_not_known() -> TestResult {
    in_own_network(|netns| {
        let Some(listener) = listener(V4)? else {
            return Ok(());
        };
        let _server = stuck(&listener, mptcp_connect, 2)?;
        let leak = the_only(&found(|| records(netns))?)["stuck"].clone();
        assert_eq!(leak["protocol"], "mptcp");
        assert_eq!(leak["verdict"], "eof_unread");
        assert_eq!(leak["unread_bytes"], json!(null));
        let advice = leak["advice"].as_str().unwrap_or_default();
        assert!(advice.starts_with("received bytes and the end"), "{advice}");
        Ok(())
    })
}

#[test]
fn an_mptcp_connection_that_was_not_accepted_is_its_listener_s() -> TestResult {
    in_own_network(|netns| {
        let Some(listener) = listener(V4)? else {
            return Ok(());
        };
        let mut client = mptcp_connect(listener.local_addr()?)?;
        client.write_all(b"hello")?;
        drop(client);
        thread::sleep(MOMENT);
        let record = the_only(&found(|| records(netns))?);
        assert_eq!(record["stuck"]["protocol"], "mptcp");
        assert_eq!(record["stuck"]["verdict"], "not_accepted");
        assert_eq!(record["owner"]["pid"], std::process::id());
        Ok(())
    })
}

#[test]
fn a_tcp_client_of_an_mptcp_listener_is_reported_once() -> TestResult {
    in_own_network(|netns| {
        let Some(listener) = listener(V4)? else {
            return Ok(());
        };
        let server = stuck(&listener, TcpStream::connect, 5)?;
        let record = the_only(&found(|| records(netns))?);
        assert_eq!(record["stuck"]["fds"], json!([server.as_raw_fd()]));
        assert_eq!(
            record["stuck"]["protocol"],
            json!(null),
            "it is a TCP socket"
        );
        Ok(())
    })
}

#[test]
fn a_client_that_fell_back_to_tcp_is_reported_once() -> TestResult {
    in_own_network(|netns| {
        if listener(V4)?.is_none() {
            return Ok(());
        }
        // The server closes, and the client, an MPTCP socket, does not.
        let listener = TcpListener::bind(V4)?;
        let client = mptcp_connect(listener.local_addr()?)?;
        drop(listener.accept()?);
        thread::sleep(MOMENT);
        let record = the_only(&found(|| records(netns))?);
        assert_eq!(record["stuck"]["fds"], json!([client.as_raw_fd()]));
        assert_eq!(record["stuck"]["protocol"], "mptcp");
        Ok(())
    })
}

#[test]
fn the_age_of_an_mptcp_connection_is_that_of_the_fin() -> TestResult {
    in_own_network(|netns| {
        let Some(listener) = listener(V4)? else {
            return Ok(());
        };
        let _server = stuck(&listener, mptcp_connect, 5)?;
        thread::sleep(Duration::from_millis(1000));
        let mut command = leaks(&["--netns", netns, "--format", "json"]);
        command.args(["--min-age", "1s"]);
        let ended = found(|| Ok(CommandOutput::from(command.output()?)))?;
        if ended.stderr.contains("have no known age on this kernel") {
            assert_eq!(ended.code, Some(2));
            return Ok(());
        }
        let age = the_only(&ended)["stuck"]["age_ms"].as_f64();
        assert!(
            age.is_some_and(|age| (1000.0..10_000.0).contains(&age)),
            "{age:?}"
        );
        Ok(())
    })
}

#[test]
fn an_mptcp_connection_that_is_closed_is_resolved() -> TestResult {
    in_own_network(|netns| {
        let Some(listener) = listener(V4)? else {
            return Ok(());
        };
        let server = stuck(&listener, mptcp_connect, 5)?;
        assert_eq!(found(|| records(netns))?.code, Some(1));
        drop(server);
        let resolved = eventually(|| records(netns).ok().filter(|ended| ended.code != Some(1)));
        let ended = resolved.ok_or_else(|| io::Error::other("it is never resolved"))?;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
        Ok(())
    })
}
