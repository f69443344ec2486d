//! `leaks --destroy`: what it destroys, and what the process then sees.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::thread::CapabilitySet;

use crate::program::leaks;
use crate::stuck::{Pair, not_accepted};
use tcpclose_kit::TestResult;
use tcpclose_kit::command::with_only_capabilities;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;

fn destroy(netns: &str, args: &[&str]) -> io::Result<CommandOutput> {
    let common = ["--netns", netns, "--min-age", "1s", "--destroy"];
    leaks(&[&common[..], args].concat())
        .output()
        .map(CommandOutput::from)
}

/// A connection whose server has bytes and the end of stream to read.
fn unread() -> io::Result<TcpStream> {
    Pair::new()?.closed_after(b"hello", Some(0))
}

fn errno(result: io::Result<usize>) -> Option<i32> {
    result.err()?.raw_os_error()
}

#[test]
fn what_the_process_sees_of_a_destroyed_socket() -> TestResult {
    in_own_network(|netns| {
        let mut reads = unread()?;
        let asks = Pair::forgotten()?;
        let mut writes = Pair::forgotten()?;
        let half = Pair::new()?;
        half.client.shutdown(Shutdown::Write)?;
        let (mut waits, held) = (half.client, half.server);
        // It waits to be accepted.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let queued = not_accepted(&listener)?;
        thread::sleep(Duration::from_millis(1_200));
        let mut buffer = [0; 16];

        let ended = destroy(netns, &[])?;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let would = |socket: &TcpStream| -> io::Result<String> {
            let (local, peer) = (socket.local_addr()?, socket.peer_addr()?);
            Ok(format!("destroy {local} → {peer}"))
        };
        for socket in [&reads, &asks, &writes, &waits] {
            let line = format!("would {}", would(socket)?);
            assert!(ended.stdout.contains(&line), "{line}\n{}", ended.stdout);
        }
        assert!(ended.stdout.contains("--yes destroys them"));
        let spared = format!("does not destroy {} → {queued}", listener.local_addr()?);
        assert!(ended.stdout.contains(&spared), "{}", ended.stdout);
        assert!(asks.take_error()?.is_none(), "nothing was done");

        // Before the other end, which would reset it.
        let port = waits.local_addr()?.port().to_string();
        let ended = destroy(netns, &["-L", &port, "--yes"])?;
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(errno(waits.read(&mut buffer)), Some(libc::ECONNABORTED));

        let ended = destroy(netns, &["--yes"])?;
        assert_eq!(ended.code, Some(1), "one waits to be accepted");
        assert!(
            ended.stdout.contains("destroyed "),
            "{}{}",
            ended.stdout,
            ended.stderr
        );
        assert_eq!(reads.read(&mut buffer)?, 5, "what was received stays");
        assert_eq!(reads.read(&mut buffer)?, 0);
        let error = asks.take_error()?.and_then(|error| error.raw_os_error());
        assert_eq!(error, Some(libc::ECONNABORTED));
        assert_eq!(errno(writes.write(b"x")), Some(libc::ECONNABORTED));
        assert_eq!(errno(writes.write(b"x")), Some(libc::EPIPE));
        drop(held);
        Ok(())
    })
}

#[test]
fn without_the_right_nothing_is_destroyed() -> TestResult {
    in_own_network(|netns| {
        let mut server = unread()?;
        thread::sleep(Duration::from_millis(1_100));
        let mut command = leaks(&["--netns", netns, "--min-age", "1s", "--destroy", "--yes"]);
        with_only_capabilities(
            &mut command,
            CapabilitySet::all() - CapabilitySet::NET_ADMIN,
        );
        let ended = CommandOutput::from(command.output()?);
        assert_eq!(ended.code, Some(2), "{}", ended.stdout);
        assert!(ended.stderr.contains("CAP_NET_ADMIN"), "{}", ended.stderr);
        assert!(server.take_error()?.is_none());
        assert_eq!(server.read(&mut [0; 16])?, 5);
        Ok(())
    })
}
