//! Takes the terminal for a full screen, and gives it back as it was: at the end, before the
//! program is stopped, and when something panics.

use std::fs::File;
use std::io::{self, Write as _};
use std::panic;
use std::sync::{Mutex, Once, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};

use crate::notice;
use crate::output::unbuffered_stdout::unbuffered_stdout;

/// The other screen, without a cursor, and empty.
const TAKE_SEQUENCE: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[2J";
/// No attributes, a cursor, and the screen before.
const GIVE_BACK_SEQUENCE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal with its modes before, while it is taken.
static TAKEN_TERMINAL: Mutex<Option<(File, Termios)>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// Takes the terminal on stdout, if it is not taken. Messages to the user are kept until it is
/// given back.
///
/// # Errors
/// It is no terminal, or gone.
pub(super) fn take() -> io::Result<()> {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
    let mut taken = TAKEN_TERMINAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if taken.is_some() {
        return Ok(());
    }
    let mut out = unbuffered_stdout()?;
    let modes = tcgetattr(&out)?;
    let mut raw = modes.clone();
    raw.make_raw();
    tcsetattr(&out, OptionalActions::Now, &raw)?;
    let written = out.write_all(TAKE_SEQUENCE);
    notice::keep();
    // Given back even if that has failed half-way.
    *taken = Some((out, modes));
    written
}

/// Sets the modes of a full screen again: the shell may have changed them while the program was
/// stopped.
///
/// # Errors
/// The terminal is gone.
pub(super) fn take_again() -> io::Result<()> {
    give_back_modes(false);
    take()
}

/// Gives the terminal back as it was, and prints the messages that were kept. Does nothing where it
/// is not taken.
pub(super) fn give_back() {
    give_back_modes(true);
    notice::print_kept();
}

fn give_back_modes(is_end: bool) {
    let mut taken = TAKEN_TERMINAL
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let Some((mut out, modes)) = taken.take() else {
        return;
    };
    // One that takes nothing (Ctrl-S, a dead connection) must not keep the program.
    if takes_output(&out) {
        let _ = out.write_all(GIVE_BACK_SEQUENCE);
    }
    if is_end {
        // Keys that nobody has read are not meant for the shell.
        let _ = tcflush(&out, QueueSelector::IFlush);
    }
    let _ = tcsetattr(&out, OptionalActions::Now, &modes);
}

fn takes_output(out: &File) -> bool {
    let mut ready = [PollFd::new(out, PollFlags::OUT)];
    let no_wait = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    matches!(poll(&mut ready, Some(&no_wait)), Ok(1..))
        && ready[0].revents().contains(PollFlags::OUT)
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;
    use tcpclose_kit::tmux::Terminal;

    /// Runs on the terminal of the other test only.
    #[test]
    #[ignore = "it panics on the terminal of another test"]
    fn panics_on_a_full_screen() {
        take().expect("it is on a terminal");
        crate::notice::notice!("kept for the end");
        let mut out = unbuffered_stdout().expect("it is open");
        out.write_all(b"the full screen").expect("it is a terminal");
        panic!("on purpose");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_is_shown() {
        let program = env::current_exe().expect("it has a path");
        let name = "cli::top::terminal_guard::tests::panics_on_a_full_screen";
        let command = format!(
            "before=$(stty -g); RUST_BACKTRACE=0 {} --exact --ignored --nocapture {name}; \
             [ \"$before\" = \"$(stty -g)\" ] && echo as before; sleep 600",
            program.display()
        );
        let Some(terminal) = Terminal::start(80, 24, &command) else {
            return;
        };
        terminal.wait_for("as before");
        let screen = terminal.everything();
        assert!(screen.contains("on purpose"), "{screen}");
        assert!(screen.contains("tcpclose: kept for the end"), "{screen}");
        assert!(!screen.contains("the full screen"), "{screen}");
    }
}
