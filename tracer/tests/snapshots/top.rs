//! `tcpclose top` on a real terminal: that of tmux, which a recording is replayed to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::tmux::Terminal;
use tcpclose_kit::wait::eventually;

/// The first line of each screen.
const SHOWN: &str = "tcpclose top";
/// What is shown when the program has ended.
const END: &str = "the end:";

/// A terminal on which the program runs, between two reports of the terminal's modes.
struct Top {
    terminal: Terminal,
    scratch: Scratch,
}

impl Top {
    fn start(columns: u16, rows: u16, environment: &str, args: &str) -> Option<Self> {
        let scratch = Scratch::new();
        let program = env!("CARGO_BIN_EXE_tcpclose");
        let (pid, before, after) = (
            scratch.path("pid"),
            scratch.path("before"),
            scratch.path("after"),
        );
        // A prompt must not be swallowed by a screen that is still there.
        let command = format!(
            "stty -g > {before}; sh -c 'echo $$ > {pid}; exec env TZ=UTC {environment} {program} \
             top {args} --replay {}'; code=$?; stty -g > {after}; echo {END} $code; sleep 600",
            recording("live-closes.rec").display(),
            before = before.display(),
            pid = pid.display(),
            after = after.display(),
        );
        Some(Self {
            terminal: Terminal::start(columns, rows, &command)?,
            scratch,
        })
    }

    fn pid(&self) -> Pid {
        let text = eventually(|| {
            let text = fs::read_to_string(self.scratch.path("pid")).ok()?;
            text.trim().parse().ok()
        });
        text.and_then(Pid::from_raw).expect("it has started")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it runs");
    }

    /// The program has ended with a code, and the terminal is as it was before.
    fn has_ended(&self, code: u8) -> String {
        let screen = self.terminal.wait_for(&format!("{END} {code}"));
        assert!(
            !screen.contains(SHOWN),
            "the screen is still there: {screen}"
        );
        let modes = |name| fs::read_to_string(self.scratch.path(name)).expect("stty has run");
        assert_eq!(modes("before"), modes("after"));
        screen
    }

    /// Returns the state of the process, as in /proc.
    fn state(&self) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        rest.split(' ').next().map(str::to_owned)
    }
}

fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/golden")
        .join(name)
}

#[test]
fn it_seeks_pauses_lists_resizes_and_leaves_the_terminal_as_it_was() {
    let Some(top) = Top::start(80, 24, "LC_ALL=C.UTF-8", "") else {
        return;
    };
    let screen = top.terminal.wait_for("SERVICE");
    assert!(
        screen.contains("SERVICE") && screen.contains("? help"),
        "{screen}"
    );
    // Behind the end, which the recording reaches after 81 s.
    top.terminal.press(&[">", ">"]);
    top.terminal.wait_for("s end");
    top.terminal.press(&["3"]);
    let screen = top.terminal.wait_for("COUNT");
    assert!(screen.contains("reset by "), "{screen}");
    top.terminal.press(&["Enter"]);
    top.terminal.wait_for("The last one:");
    // Back to the begin, where nothing had closed yet.
    top.terminal.press(&["p", "1", "<", "<"]);
    let screen = top.terminal.wait_for("+0.00ms");
    assert!(screen.contains("PAUSED"), "{screen}");
    top.terminal.press(&["p", "?"]);
    top.terminal.wait_for("10 s back and forth");
    top.terminal.press(&["Escape"]);
    for (columns, rows) in [(20, 10), (200, 50), (3, 2), (80, 24)] {
        top.terminal.resize(columns, rows);
        let fits = eventually(|| {
            let screen = top.terminal.screen();
            let widest = screen.lines().map(|line| line.chars().count()).max();
            (widest <= Some(columns.into()) && !screen.trim().is_empty()).then_some(())
        });
        assert!(fits.is_some(), "{columns}: {}", top.terminal.screen());
    }
    top.terminal.wait_for("? help");
    top.terminal.press(&["q"]);
    top.has_ended(0);
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let Some(top) = Top::start(80, 24, "LC_ALL=C.UTF-8", "") else {
            return;
        };
        top.terminal.wait_for(SHOWN);
        top.signal(signal);
        top.has_ended(0);
    }
}

#[test]
fn it_stops_and_goes_on() {
    let Some(top) = Top::start(80, 24, "LC_ALL=C.UTF-8", "") else {
        return;
    };
    top.terminal.wait_for(SHOWN);
    let stopped = || eventually(|| (top.state()? == "T").then_some(()));
    for stop in ["key", "signal"] {
        match stop {
            "key" => top.terminal.press(&["C-z"]),
            _ => top.signal(Signal::TSTP),
        }
        assert!(stopped().is_some(), "{stop}: {:?}", top.state());
        let given_back = eventually(|| (!top.terminal.screen().contains(SHOWN)).then_some(()));
        assert!(given_back.is_some(), "{}", top.terminal.screen());
        top.signal(Signal::CONT);
        top.terminal.wait_for(SHOWN);
    }
    top.terminal.press(&["C-c"]);
    top.has_ended(0);
}

#[test]
fn it_ends_with_its_terminal_even_without_a_signal() {
    let scratch = Scratch::new();
    let pid = scratch.path("pid");
    let command = format!(
        "trap '' HUP; sh -c 'echo $$ > {}; exec {} top --replay {}'",
        pid.display(),
        env!("CARGO_BIN_EXE_tcpclose"),
        recording("live-closes.rec").display(),
    );
    let Some(terminal) = Terminal::start(80, 24, &command) else {
        return;
    };
    terminal.wait_for(SHOWN);
    let pid = fs::read_to_string(pid).expect("it has started");
    terminal.hang_up();
    let process = Path::new("/proc").join(pid.trim());
    let gone = eventually(|| (!process.exists()).then_some(()));
    assert!(gone.is_some(), "it still runs");
}

#[test]
fn a_dumb_terminal_and_a_pipe_get_blocks_of_text() {
    let Some(top) = Top::start(80, 24, "LC_ALL=C TERM=dumb", "--interval 40s") else {
        return;
    };
    let screen = top.terminal.wait_for(&format!("{END} 0"));
    assert!(screen.contains("SERVICE") && screen.is_ascii(), "{screen}");
    let output = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
        .args(["top", "--interval", "20s", "--replay"])
        .arg(recording("live-closes.rec"))
        .env("TZ", "UTC")
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("it is text");
    assert_eq!(output.status.code(), Some(0), "{text}");
    let blocks = text.matches(SHOWN).count();
    assert!((4..=6).contains(&blocks), "{blocks}: {text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn without_colours_the_screen_has_none() {
    let Some(top) = Top::start(80, 24, "LC_ALL=C.UTF-8 NO_COLOR=1", "") else {
        return;
    };
    top.terminal.wait_for(SHOWN);
    top.terminal.press(&[">", ">"]);
    top.terminal.wait_for("s end");
    let shown = top.terminal.everything();
    assert!(
        !shown.contains("\x1b[31m") && shown.contains("\x1b[1m"),
        "{shown:?}"
    );
}
