//! `tcpclose leaks --destroy`.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::cli::common::{PrintOutcome, scan_exit_code};
use crate::escape::push_for_terminal;
use crate::notice::notice;
use crate::output::duration::push_with_unit;
use crate::plural::plural;
use crate::stuck::{DestroyOutcome, SocketDestroyer};
use tcpclose_core::stuck::{AgeCertainty, Report, StuckSocket};
use tcpclose_sys::kernel::sock_diag::DiagError;

/// What destroying does to the process and to the peer, as tests have found it.
const CONSEQUENCES: &str = "\
A destroyed socket is closed in the kernel, and its peer gets a RST. Its descriptor stays until the process closes it.
What was received can still be read, up to the end of stream. The first write() or SO_ERROR gives ECONNABORTED, each
write() after that EPIPE (with SIGPIPE); in FIN_WAIT2 the first read() may give ECONNABORTED. poll() and epoll report an
error and a hang-up.
";

/// Lists the sockets that can be destroyed, and destroys them if `confirmed`. `complete`: whether
/// the scan could see everything that matters.
pub(super) fn run(report: &Report, confirmed: bool, complete: bool) -> anyhow::Result<ExitCode> {
    let (sockets, spared): (Vec<&StuckSocket>, Vec<&StuckSocket>) = report
        .worst_first()
        .filter(|stuck| stuck.is_stuck())
        .partition(|stuck| SocketDestroyer::may_destroy(stuck));
    let (mut text, mut left) = (String::new(), spared.len());
    let mut destroyer = SocketDestroyer::default();
    for stuck in &sockets {
        let what = match confirmed {
            false => "would destroy",
            true => match destroyer.destroy(stuck) {
                Ok(DestroyOutcome::Destroyed) => "destroyed",
                Ok(DestroyOutcome::NoLongerStuck) => "left alone, no longer stuck:",
                Err(error @ (DiagError::DestroyUnavailable | DiagError::DestroyForbidden)) => {
                    print(&text)?;
                    return Err(error.into());
                }
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    notice!("{}: {error:#}", stuck.socket.tuple.local());
                    left += 1;
                    continue;
                }
            },
        };
        push_socket(&mut text, what, report, stuck);
    }
    for stuck in &spared {
        push_socket(&mut text, "does not destroy", report, stuck);
    }
    let count = sockets.len();
    match (count, confirmed) {
        (0, _) => text.push_str("no socket is to be destroyed\n"),
        (_, true) => {}
        (_, false) => {
            let them = plural(count as u64, "it", "them");
            let sockets = plural(count as u64, "socket", "sockets");
            let _ = writeln!(
                text,
                "{count} {sockets}; --yes destroys {them}.\n{CONSEQUENCES}"
            );
            text.pop();
        }
    }
    if print(&text)? == PrintOutcome::ReaderGone {
        return Ok(ExitCode::SUCCESS);
    }
    let remain = if confirmed {
        left > 0
    } else {
        left + count > 0
    };
    Ok(scan_exit_code(remain, complete))
}

fn print(text: &str) -> anyhow::Result<PrintOutcome> {
    PrintOutcome::from_write(io::stdout().lock().write_all(text.as_bytes()))
}

fn push_socket(text: &mut String, what: &str, report: &Report, stuck: &StuckSocket) {
    let tuple = &stuck.socket.tuple;
    let estimated = match stuck.age.known {
        AgeCertainty::Estimated => "~",
        AgeCertainty::Observed => "",
    };
    let _ = write!(
        text,
        "{what} {} → {}  {} {} {estimated}",
        tuple.local(),
        tuple.peer(),
        stuck.socket.state,
        stuck.verdict
    );
    push_with_unit(text, report.at - stuck.age.since);
    for holder in &stuck.holders {
        text.push_str("  ");
        push_for_terminal(text, &holder.comm);
        let fds: Vec<String> = holder.fds.iter().map(u32::to_string).collect();
        let _ = write!(text, " {} fd {}", holder.pid, fds.join(","));
    }
    text.push('\n');
}
