//! `tcpclose top` on this host, with a program that leaks and one that is refused.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::program;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::tmux::Terminal;

#[test]
fn without_a_terminal_each_interval_shows_what_is_wrong() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let _stuck = listener.accept()?;
        drop(client);
        let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut top = Command::new(program::path())
            .args([
                "top",
                "--netns",
                netns,
                "--min-age",
                "0s",
                "--interval",
                "500ms",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let is_over = AtomicBool::new(false);
        let mut wanted = vec![
            "1 socket is stuck in CLOSE_WAIT".to_owned(),
            // Behind its cause, which the classic tracepoint does not show.
            format!(" :{}", closed.port()),
        ];
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let _ = TcpStream::connect(closed);
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let lines = top.stdout.take().map(BufReader::new);
            for line in lines.into_iter().flat_map(BufReader::lines) {
                let line = line.unwrap_or_default();
                wanted.retain(|words| !line.contains(words.as_str()));
                if wanted.is_empty() {
                    break;
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        top.kill()?;
        top.wait()?;
        assert!(wanted.is_empty(), "not shown: {wanted:?}");
        Ok(())
    })
}

#[test]
fn leaks_on_a_terminal_is_its_list_of_stuck_sockets_even_where_nothing_can_be_traced() -> TestResult
{
    // What scans need, without what eBPF does.
    const SCANS_ONLY: &str = "setpriv --inh-caps -all --bounding-set \
                              -all,+net_admin,+dac_read_search,+sys_ptrace";
    in_own_network(|netns| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let _stuck = listener.accept()?;
        drop(client);
        let program = program::path();
        let args = format!("leaks --watch 1s --min-age 0s --agent none --netns {netns}");
        for (size, prefix, headline) in [
            (
                (80, 24),
                SCANS_ONLY,
                "tcpclose top  scans only: closes not seen",
            ),
            ((200, 50), "", "tcpclose top"),
        ] {
            let command = format!("{prefix} {} {args}; echo ended $?; sleep 600", program);
            let Some(terminal) = Terminal::start(size.0, size.1, &command) else {
                return Ok(());
            };
            let screen = terminal.wait_for("2 Stuck 1");
            assert!(screen.contains(headline), "{screen}");
            assert!(screen.contains("STUCK  OLDEST PROCESS"), "{screen}");
            terminal.press(&["Enter"]);
            terminal.wait_for("WHY");
            terminal.press(&["q"]);
            terminal.wait_for("ended 0");
        }
        Ok(())
    })
}
