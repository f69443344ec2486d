//! A real terminal for a program: that of tmux.

use std::process::Command;

use crate::scratch::Scratch;
use crate::skip::skip;
use crate::wait::eventually;

/// A terminal with a command on it; gone, with that, when dropped.
pub struct Terminal {
    scratch: Scratch,
}

impl Terminal {
    /// Runs a shell command on a new terminal of this size. Skips the test, and returns `None`,
    /// where there is no tmux.
    #[must_use]
    #[track_caller]
    pub fn start(columns: u16, rows: u16, command: &str) -> Option<Self> {
        if Command::new("tmux").arg("-V").output().is_err() {
            skip("needs tmux");
            return None;
        }
        let terminal = Self {
            scratch: Scratch::new(),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, command]);
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-S")
            .arg(self.scratch.path("socket"))
            .args(["-f", "/dev/null"])
            .args(args)
            .env_remove("TMUX")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("tmux runs");
        String::from_utf8(output.stdout).expect("tmux writes UTF-8")
    }

    /// Returns what is on the terminal, with its colours and with all that has scrolled away.
    #[must_use]
    pub fn everything(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-S", "-"])
    }

    /// Returns the characters on the terminal.
    #[must_use]
    pub fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Presses keys, by tmux's names.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// Takes the terminal away from whatever runs on it.
    pub fn hang_up(&self) {
        self.tmux(&["kill-server"]);
    }

    /// Waits until the terminal shows something, and returns all that is on it.
    ///
    /// # Panics
    /// It never does.
    #[expect(clippy::must_use_candidate, reason = "most wait only")]
    pub fn wait_for(&self, wanted: &str) -> String {
        let shown = eventually(|| {
            let screen = self.screen();
            screen.contains(wanted).then_some(screen)
        });
        shown.unwrap_or_else(|| panic!("no {wanted:?} on the terminal: {}", self.screen()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.hang_up();
    }
}
