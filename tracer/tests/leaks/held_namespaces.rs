//! Namespaces in which no process lives and that are mounted nowhere: a descriptor keeps them
//! alive, of the namespace's own file or of a socket in it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::thread::CapabilitySet;
use serde_json::json;

use crate::program::{self, leaks, scan};
use crate::stuck::{Pair, Sleeper, not_accepted};
use crate::traced::can_trace;
use crate::watch::{Fallible, Watch};
use tcpclose_kit::TestResult;
use tcpclose_kit::command::{as_unprivileged_user, with_only_capabilities};
use tcpclose_kit::own_network::in_new_netns;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::skip::is_root;
use tcpclose_kit::sockets::send_descriptor;

/// A stuck socket, and the number of the namespace in which nobody lives any more.
fn left_behind() -> std::io::Result<(TcpStream, u64)> {
    in_new_netns(|netns| Ok((Pair::forgotten()?, File::open(netns)?.metadata()?.ino())))
}

/// All rights but that to open the namespace of a socket.
fn without_net_admin(command: &mut Command) -> &mut Command {
    with_only_capabilities(command, CapabilitySet::all() - CapabilitySet::NET_ADMIN);
    command
}

fn port(socket: &TcpStream) -> std::io::Result<String> {
    Ok(socket.local_addr()?.port().to_string())
}

#[test]
fn a_socket_leads_to_its_namespace() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let (server, netns) = left_behind()?;
    let (port, sleeper) = (port(&server)?, Sleeper::with(&server, &[207])?);
    drop(server);
    let (pid, number) = (sleeper.pid().to_string(), netns.to_string());
    for args in [&["-L", &port][..], &["-p", &pid], &["--netns", &number]] {
        let ended = scan(&[&["--format", "json"], args].concat())?;
        assert_eq!(ended.code, Some(1), "{args:?}: {}", ended.stderr);
        let record = ended.record();
        assert_eq!(record["netns"], netns, "{args:?}");
        assert_eq!(record["owner"]["pid"], sleeper.pid());
        assert_eq!(record["stuck"]["fds"], json!([207]));
    }
    drop(sleeper);
    let ended = scan(&["-L", &port])?;
    assert_eq!(
        ended.code,
        Some(0),
        "the namespace is gone: {}",
        ended.stderr
    );
    Ok(())
}

#[test]
fn a_listener_leads_to_the_namespace_of_its_queue() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let (listener, netns) = in_new_netns(|netns| {
        let listener = TcpListener::bind("[::1]:0")?;
        not_accepted(&listener)?;
        Ok((listener, File::open(netns)?.metadata()?.ino()))
    })?;
    let port = listener.local_addr()?.port().to_string();
    let ended = scan(&["--format", "json", "-L", &port])?;
    let record = ended.record();
    assert_eq!(record["netns"], netns);
    assert_eq!(record["stuck"]["verdict"], "not_accepted");
    assert_eq!(record["owner"]["pid"], std::process::id());
    Ok(())
}

#[test]
fn a_descriptor_of_the_namespace_leads_to_it() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let (here, _there) = UnixStream::pair()?;
    let file = in_new_netns(|netns| {
        let server = Pair::forgotten()?;
        send_descriptor(&here, &server)?;
        Ok((File::open(netns)?, port(&server)?))
    });
    let (file, port) = file?;
    // Only the message holds the socket, and only this process the namespace.
    let ended = scan(&["--format", "json", "-L", &port])?;
    let record = ended.record();
    assert_eq!(record["netns"], file.metadata()?.ino());
    assert_eq!(record["owner"], json!(null));
    drop(file);
    Ok(())
}

#[test]
fn a_namespace_that_may_not_be_opened_is_a_gap() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let (server, _) = left_behind()?;
    let port = port(&server)?;
    let mut command = leaks(&["--min-age", "0s", "-L", &port]);
    let ended = CommandOutput::from(without_net_admin(&mut command).output()?);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let words = format!(
        " of process {} keeps a network namespace alive that nothing else leads to",
        std::process::id()
    );
    assert!(ended.stderr.contains(&words), "{}", ended.stderr);
    assert!(ended.stderr.contains("CAP_NET_ADMIN"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn without_the_right_to_read_descriptors_a_warning_names_what_may_be_missing() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let (server, _) = left_behind()?;
    let mut command = leaks(&["--min-age", "0s", "-L", &port(&server)?]);
    as_unprivileged_user(&mut command);
    let ended = CommandOutput::from(command.output()?);
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let words = "network namespaces that only they keep alive are not found";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    Ok(())
}

/// Starts `tcpclose watch` with these rights taken away, and makes a socket stuck in a namespace
/// that nobody lives in by the time at which the socket counts as stuck.
fn watch(limit: impl FnOnce(&mut Command) -> &mut Command) -> Fallible<(Watch, TcpStream, u64)> {
    let listener = in_new_netns(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok((listener, File::open(netns)?))
    });
    let (listener, file) = listener?;
    let mut command = Command::new(program::path());
    let port = listener.local_addr()?.port().to_string();
    let args = ["--stuck-after", "1s", "--format", "json", "-L", &port];
    command.arg("watch").args(args).stdin(Stdio::null());
    let watch = Watch::attached(limit(&mut command))?;
    let inside = std::thread::scope(|scope| {
        let inside = || -> std::io::Result<TcpStream> {
            tcpclose_kit::namespace::enter_netns(&file)?;
            Pair::through(&listener)?.closed_after(b"hello", None)
        };
        let thread = scope.spawn(inside);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok((watch, inside, file.metadata()?.ino()))
}

#[test]
fn watch_finds_a_stuck_socket_in_such_a_namespace() -> TestResult {
    if !is_root() || !can_trace()? {
        return Ok(());
    }
    let (mut watch, server, netns) = watch(|command| command)?;
    let record = watch.record(r#""kind":"stuck""#)?;
    assert_eq!(record["netns"], netns);
    assert_eq!(record["owner"]["pid"], std::process::id());
    drop(server);
    Ok(())
}

#[test]
fn watch_names_the_namespace_that_it_may_not_open() -> TestResult {
    if !is_root() || !can_trace()? {
        return Ok(());
    }
    let (mut watch, server, netns) = watch(without_net_admin)?;
    let words = format!("stuck sockets in network namespace {netns} are not reported: ");
    watch.notice(&words)?;
    drop(server);
    Ok(())
}
