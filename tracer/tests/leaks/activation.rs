//! Socket activation and servers that fork: a process listens, and another one that holds the
//! listening socket accepts.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{leaks, scan};
use crate::stuck::not_accepted;
use crate::traced::{in_traced_network, leak, watch_as_json};
use tcpclose_kit::TestResult;
use tcpclose_kit::command::inherit;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::{ChildGuard, CommandOutput};

/// A service with the manager's listening socket and a connection that it has accepted there, which
/// is still open.
fn service(listener: &TcpListener) -> std::io::Result<(ChildGuard, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    // Started a tick of the kernel's clock after this process.
    let mut command = Command::new("sleep");
    command
        .arg("1000")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    inherit(&mut command, listener, &[207]);
    inherit(&mut command, &accepted, &[208]);
    Ok((ChildGuard::spawn(&mut command)?, client))
}

#[test]
fn a_connection_that_waits_belongs_to_the_process_that_accepts_there() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (service, _client) = service(&listener)?;
        not_accepted(&listener)?;
        let ended = scan(&["--netns", netns, "--format", "json"])?;
        let record = ended.record();
        assert_eq!(record["stuck"]["verdict"], "not_accepted");
        assert_eq!(record["owner"]["pid"], service.pid(), "{record}");
        assert_eq!(record["owner"]["source"], "listen");
        assert_eq!(record["stuck"]["fds"], serde_json::json!([207]));
        assert_eq!(record["holders"].as_array().map(Vec::len), Some(2));
        let table = scan(&["--netns", netns])?.stdout;
        assert!(
            table.contains("owner of 1 found through the listening socket"),
            "{table}"
        );
        Ok(())
    })
}

#[test]
fn of_two_that_only_hold_the_listening_socket_the_first_is_the_owner() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let _service = crate::stuck::Sleeper::with(&listener, &[207])?;
        not_accepted(&listener)?;
        let record = scan(&["--netns", netns, "--format", "json"])?.record();
        assert_eq!(record["owner"]["pid"], std::process::id(), "{record}");
        Ok(())
    })
}

#[test]
fn a_scan_and_the_tracer_name_the_same_process() -> TestResult {
    in_traced_network(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (service, _client) = service(&listener)?;
        let mut watch = watch_as_json(netns, &[])?;
        not_accepted(&listener)?;
        let traced = leak(&mut watch)?;
        let scan = leaks(&["--min-age", "300ms", "--netns", netns, "--format", "json"]).output()?;
        let scanned = CommandOutput::from(scan).record();
        assert_eq!(traced["owner"]["pid"], service.pid(), "{traced}");
        for part in ["/owner", "/holders", "/stuck/fds"] {
            assert_eq!(traced.pointer(part), scanned.pointer(part), "{part}");
        }
        // What it waited for is reset when the queue goes, which shows no process.
        drop(service);
        drop(listener);
        let close = watch.record(r#""kind":"close""#)?;
        assert_eq!(close["owner"]["source"], "listen", "{close}");
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}

#[test]
fn connections_belong_to_the_only_process_that_closes_them() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        // It accepts two connections and closes them, then two more that it leaves open.
        let script = "import socket, time
listener = socket.socket(fileno=207)
for _ in range(2):
    listener.accept()[0].close()
kept = [listener.accept()[0] for _ in range(2)]
time.sleep(1000)";
        let mut command = Command::new("python3");
        command.args(["-c", script]).stdin(Stdio::null());
        inherit(&mut command, &listener, &[207]);
        let Ok(service) = ChildGuard::spawn(&mut command) else {
            tcpclose_kit::skip::skip("no python3");
            return Ok(());
        };
        for _ in 0..2 {
            let mut client = TcpStream::connect(address)?;
            assert_eq!(client.read(&mut [0])?, 0, "the service closes first");
        }
        thread::sleep(Duration::from_millis(100));
        let client = TcpStream::connect(address)?;
        tcpclose_kit::sockets::reset_on_close(&client);
        let port = client.local_addr()?.port();
        drop(client);
        // No process here closed it: the peer reset it.
        let close = loop {
            let close: Value = watch.record(r#""kind":"close""#)?;
            if close["conn"]["peer"]["port"] == port {
                break close;
            }
        };
        assert_eq!(close["close"]["path"], "reset", "{close}");
        assert_eq!(close["owner"]["pid"], service.pid(), "{close}");
        assert_eq!(close["owner"]["source"], "listen");
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}
