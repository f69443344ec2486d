//! What is on a terminal, with its colours: that of tmux.

use std::path::Path;

use anyhow::{Context as _, Result};
use tcpclose_kit::{tmux::Terminal, wait::eventually};

/// Written when the program has ended.
const END: &str = "[xtask: ended]";
/// More rows than any output has.
const ROWS: u16 = 500;

/// Returns what the program writes until it ends.
pub fn capture_output(program: &Path, folder: &Path, columns: u16, args: &str) -> Result<String> {
    let command = format!(
        "{}; echo '{END}'; sleep 600",
        command(program, folder, args)
    );
    let terminal = start(columns, ROWS, &command)?;
    let text = eventually(|| {
        let text = terminal.everything();
        Some(text.split_once(END)?.0.to_owned())
    });
    let text = text.with_context(|| format!("`tcpclose {args}` does not end"))?;
    Ok(trimmed(&text))
}

/// Returns the screen that these keys lead to.
pub fn capture_screen(
    program: &Path,
    folder: &Path,
    (columns, rows): (u16, u16),
    args: &str,
    keys: &[&str],
    shows: &str,
) -> Result<String> {
    let terminal = start(columns, rows, &command(program, folder, args))?;
    let wait_for = |words: &str| {
        let shown = eventually(|| terminal.screen().contains(words).then_some(()));
        shown.with_context(|| format!("no {words:?} on the screen of `tcpclose {args}`"))
    };
    wait_for("tcpclose")?;
    terminal.press(keys);
    wait_for(shows)?;
    Ok(trimmed(&terminal.everything()))
}

fn start(columns: u16, rows: u16, command: &str) -> Result<Terminal> {
    Terminal::start(columns, rows, command).context("needs tmux")
}

fn command(program: &Path, folder: &Path, args: &str) -> String {
    format!(
        "cd {}; env -u NO_COLOR LC_ALL=C.UTF-8 TZ=UTC {} {args}",
        folder.display(),
        program.display()
    )
}

/// Without the blanks at the ends of lines, and without empty lines at the end.
fn trimmed(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n")
}
