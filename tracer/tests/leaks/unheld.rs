//! Sockets that live without a descriptor, or with one that only a thread has: a scan and the
//! tracer agree on who holds them. The tracer has seen who connected and who listens.

use std::io::{Read as _, Write as _};
use std::mem::ManuallyDrop;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::thread;

use serde_json::{Value, json};

use crate::program::{close_wait_record, leaks};
use crate::stuck::{MOMENT, Pair};
use crate::traced::{in_traced_network, leak, watch_as_json};
use crate::watch::{Fallible, Watch};
use tcpclose_kit::TestResult;
use tcpclose_kit::descriptors;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::{SocketMapping, keep_in_io_uring, send_descriptor};

/// What a scan and the tracer say of the one stuck socket, which must be the same.
fn reported(netns: &str, watch: &mut Watch) -> Fallible<Value> {
    let traced = leak(watch)?;
    assert_eq!(traced["event"], "opened");
    let mut scan = leaks(&["--min-age", "300ms", "--netns", netns, "--format", "json"]);
    let scanned = close_wait_record(&CommandOutput::from(scan.output()?));
    for part in [
        "/owner",
        "/process/exe",
        "/holders",
        "/stuck/owner_unknown",
        "/stuck/fds",
    ] {
        assert_eq!(traced.pointer(part), scanned.pointer(part), "{part}");
    }
    Ok(traced)
}

/// Nobody is blamed, and nobody says that close() was not called.
fn assert_unheld(record: &Value) {
    assert_eq!(record["owner"], Value::Null, "{record}");
    assert_eq!(record["process"], Value::Null);
    assert_eq!(record["holders"], json!([]));
    // Some hosts protect a process even from root.
    let unknown = record["stuck"]["owner_unknown"].as_str();
    assert!(
        matches!(unknown, Some("no_holder" | "not_inspectable")),
        "{record}"
    );
    let advice = record["stuck"]["advice"].as_str().unwrap_or_default();
    assert!(!advice.contains("close() was never called"), "{advice}");
}

/// The client's end of a connection that the server has closed: connect() was seen.
fn forgotten_client() -> Fallible<TcpStream> {
    let Pair { mut client, server } = Pair::new()?;
    drop(server);
    assert_eq!(client.read(&mut [0])?, 0, "the end of stream");
    Ok(client)
}

/// Keeps the socket of each side in that way, and checks what is reported of it.
fn unheld<T>(keep: impl Fn(TcpStream) -> Fallible<T> + Sync) -> TestResult {
    in_traced_network(|netns| {
        for side in ["client", "server"] {
            let mut watch = watch_as_json(netns, &[])?;
            let socket = match side {
                "client" => forgotten_client()?,
                _ => Pair::forgotten()?,
            };
            let kept = keep(socket)?;
            let record = reported(netns, &mut watch)?;
            assert_eq!(record["conn"]["role"], side);
            assert_unheld(&record);
            drop(kept);
            assert_eq!(watch.stop()?, Some(0));
        }
        Ok(())
    })
}

#[test]
fn in_flight_between_two_processes() -> TestResult {
    unheld(|socket| {
        let (sender, receiver) = UnixStream::pair()?;
        send_descriptor(&sender, &socket)?;
        Ok((sender, receiver))
    })
}

#[test]
fn kept_by_io_uring() -> TestResult {
    if let Err(error) = keep_in_io_uring(&std::io::stdin()) {
        skip(&format!("no io_uring: {error}"));
        return Ok(());
    }
    unheld(|socket| Ok(keep_in_io_uring(&socket)?))
}

#[test]
fn kept_by_a_mapping() -> TestResult {
    unheld(|socket| Ok(SocketMapping::new(&socket)?))
}

#[test]
fn kept_by_a_write_that_close_did_not_end() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let Pair { client, server } = Pair::new()?;
        let fd = server.as_raw_fd();
        // It is closed by its number, which may be another file's after that.
        let mut server = ManuallyDrop::new(server);
        let writer = thread::spawn(move || {
            // One call, which waits until the peer reads or resets.
            server.write(&vec![0; 20_000_000])
        });
        thread::sleep(MOMENT);
        client.shutdown(Shutdown::Write)?;
        descriptors::close_number(fd)?;
        let record = reported(netns, &mut watch)?;
        assert_unheld(&record);
        let advice = record["stuck"]["advice"].as_str().unwrap_or_default();
        assert!(advice.contains("the peer has not read for "), "{advice}");
        drop(client);
        let _ = writer.join();
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}

#[test]
fn a_table_of_a_thread_s_own_is_searched() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let server = Pair::forgotten()?;
        let fd = server.as_raw_fd();
        let (ready, is_ready) = channel();
        let (over, end) = channel::<()>();
        thread::spawn(move || {
            let own = descriptors::unshare_files(fd);
            let _ = ready.send(own.map(|()| rustix::thread::gettid()));
            let _ = end.recv();
            drop(server);
        });
        let thread = is_ready.recv()??.as_raw_nonzero().get();
        // The copy in the table of all other threads.
        descriptors::close_number(fd)?;
        let record = reported(netns, &mut watch)?;
        assert_eq!(record["owner"]["pid"], std::process::id(), "{record}");
        let holders = &record["holders"];
        assert_eq!(holders[0]["thread"], thread, "{record}");
        assert_eq!(holders[0]["fds"], json!([fd]));
        drop(over);
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}
