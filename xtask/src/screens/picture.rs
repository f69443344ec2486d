//! Which pictures there are.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

use super::capture::{capture_output, capture_screen};

/// The recording that is replayed.
pub const RECORDING: &str = "shop.rec";
/// The picture of a page of `tcpclose report`.
pub const REPORT: &str = "report.png";

/// The most lines of an output: what lies between its begin and its end is left out.
const MAX_LINES: usize = 34;
/// How many of them are the begin.
const FIRST_LINES: usize = 12;

/// One picture of a terminal.
pub struct Picture {
    /// The name of its file, without `.svg`.
    pub name: &'static str,
    /// The arguments of the program.
    pub args: &'static str,
    columns: u16,
    source: Source,
}

enum Source {
    /// What the program writes until it ends.
    Output,
    /// A full screen, after these keys, when it has these words.
    Screen {
        rows: u16,
        keys: &'static [&'static str],
        shows: &'static str,
    },
    /// What it wrote about a live host.
    Kept,
}

const fn replay(name: &'static str, args: &'static str) -> Picture {
    Picture {
        name,
        args,
        columns: 80,
        source: Source::Output,
    }
}

const fn scan(name: &'static str, args: &'static str) -> Picture {
    Picture {
        name,
        args,
        columns: 80,
        source: Source::Kept,
    }
}

/// All of them.
pub const PICTURES: &[Picture] = &[
    scan("triage", "triage --netns shop"),
    Picture {
        name: "top",
        args: "top --replay shop.rec",
        columns: 80,
        source: Source::Screen {
            rows: 24,
            // To the end.
            keys: &[">", ">", ">", ">", ">", ">", ">", ">", ">", ">"],
            shows: "s end",
        },
    },
    replay(
        "watch",
        "watch --replay shop.rec mariadb mariadbd billing_sync.py",
    ),
    scan("leaks", "leaks --netns shop"),
    scan("ports", "ports --netns shop"),
    replay("resets", "resets --replay shop.rec nginx health.py"),
    replay("explain", "explain --replay shop.rec mariadb --count 1"),
];

impl Picture {
    /// Returns what has been typed.
    pub fn prompt(&self) -> String {
        let root = match self.source {
            Source::Kept => "sudo ",
            Source::Output | Source::Screen { .. } => "",
        };
        format!("$ {root}tcpclose {}", self.args)
    }

    /// Returns what is on the terminal, with its colours. `kept` is where the recording is.
    pub fn text(&self, program: &Path, kept: &Path) -> Result<String> {
        match self.source {
            Source::Output => {
                // Notes on stderr come at any time.
                let args = format!("{} 2>/dev/null", self.args);
                capture_output(program, kept, self.columns, &args).map(|text| shortened(&text))
            }
            Source::Screen { rows, keys, shows } => {
                let size = (self.columns, rows);
                capture_screen(program, kept, size, self.args, keys, shows)
            }
            Source::Kept => {
                let path = self.kept(kept);
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
            }
        }
    }

    /// Scans the live host and keeps what is on the terminal, for [`Self::text`] of later.
    pub fn keep(&self, program: &Path, folder: &Path) -> Result<()> {
        if matches!(self.source, Source::Kept) {
            let text = capture_output(program, folder, self.columns, self.args)?;
            fs::write(self.kept(folder), text)?;
        }
        Ok(())
    }

    /// Returns the file with what was on the terminal.
    pub fn kept(&self, folder: &Path) -> std::path::PathBuf {
        folder.join(self.name).with_extension("ansi")
    }
}

/// Leaves out the middle of a long output, and says so.
fn shortened(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() <= MAX_LINES {
        return text.to_owned();
    }
    let last = lines.len() - (MAX_LINES - FIRST_LINES);
    let gap = format!("\x1b[0;2m⋮ {} more lines\x1b[0m", last - FIRST_LINES);
    [&lines[..FIRST_LINES], &[&gap], &lines[last..]]
        .concat()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_outputs_name_what_is_left_out() {
        let text = |lines: usize| vec!["x"; lines].join("\n");
        assert_eq!(shortened(&text(MAX_LINES)), text(MAX_LINES));
        let short = shortened(&text(MAX_LINES + 5));
        assert_eq!(short.lines().count(), MAX_LINES + 1);
        assert!(short.contains("⋮ 5 more lines"), "{short}");
    }
}
