//! `cargo xtask demo leak`, which the README shows.

use std::path::Path;
use std::process::{Command, Stdio};
use tcpclose_kit::TestResult;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::skip::{is_root, skip};

#[test]
fn the_demo_server_is_named_with_its_verdicts() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let program = env!("CARGO_BIN_EXE_tcpclose");
    let xtask = Path::new(program).with_file_name("xtask");
    if !xtask.exists() {
        skip("xtask is not built");
        return Ok(());
    }
    let mut command = Command::new(xtask);
    command.args(["demo", "leak", program]).stdin(Stdio::null());
    let ended = CommandOutput::from(command.output()?);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in [
        "leaky-server",
        "1 not_accepted: the peer has closed, and accept() was never called for it",
        "2 eof_unread: 10 bytes and the end of stream behind them were never read",
        "5 eof_read: everything was read, up to the end of stream",
        "local ports 8080 (8); peers 127.0.0.1 (8)",
        "8 sockets stuck in CLOSE_WAIT for 1.0s or longer",
    ] {
        // With --all and without.
        assert_eq!(
            ended.stdout.matches(line).count(),
            2,
            "{line}: {}",
            ended.stdout
        );
    }
    // One line a socket.
    assert_eq!(
        ended.stdout.matches(" unread ").count(),
        8,
        "{}",
        ended.stdout
    );
    Ok(())
}
