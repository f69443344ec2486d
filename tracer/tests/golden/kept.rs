//! The kept outputs of one recording, and the program that makes them anew.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::difference::difference;

/// Set to 1, outputs are written anew and not compared.
pub const REWRITE: &str = "TCPCLOSE_TEST_REWRITE";

/// What each run said on stderr, with its exit code.
const STDERR: &str = "stderr.txt";

/// The directory of the recordings. The outputs of `NAME.rec` are in `NAME/`.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden")
}

/// The names of the recordings, without `.rec`.
pub fn recordings() -> Vec<String> {
    let files = names(&directory());
    let recordings = files.iter().filter_map(|file| file.strip_suffix(".rec"));
    recordings.map(str::to_owned).collect()
}

/// What is in a directory; nothing where there is none.
fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let names = entries.map(|entry| entry.expect("a directory can be listed").file_name());
    names
        .map(|name| name.into_string().expect("names are UTF-8"))
        .collect()
}

/// The kept outputs of a recording, as far as they have been compared.
pub struct Kept {
    name: String,
    rewrite: bool,
    compared: BTreeSet<String>,
    messages: String,
    faults: Vec<String>,
}

impl Kept {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            rewrite: std::env::var(REWRITE).is_ok_and(|value| value == "1"),
            compared: BTreeSet::new(),
            messages: String::new(),
            faults: Vec::new(),
        }
    }

    /// Runs the program beside the recordings, and returns what it writes to stdout. Nothing of the
    /// host shows: neither its time zone nor its locale, nor a terminal, nor other variables of the
    /// environment.
    pub fn run(&mut self, args: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .args(args)
            .current_dir(directory())
            .env_clear()
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null())
            .output()
            .expect("the program can be started");
        let (command, code) = (args.join(" "), output.status.code());
        self.messages += &format!("$ tcpclose {command}\n");
        self.messages += &String::from_utf8_lossy(&output.stderr);
        match code {
            Some(code) => self.messages += &format!("exit code {code}\n"),
            None => self.messages += &format!("{}\n", output.status),
        }
        String::from_utf8(output.stdout).expect("the program writes UTF-8")
    }

    /// Compares a text with what is kept of it, or keeps it. An empty one has no file.
    pub fn compare(&mut self, file: &str, text: &str) {
        let directory = directory().join(&self.name);
        let path = directory.join(file);
        if !text.is_empty() {
            self.compared.insert(file.to_owned());
        }
        if !self.rewrite {
            let kept = fs::read_to_string(&path).unwrap_or_default();
            return self.agree(file, &kept, text);
        }
        if !text.is_empty() {
            fs::create_dir_all(directory).expect("a directory can be made");
            fs::write(&path, text).expect("an output can be kept");
        } else if path.exists() {
            fs::remove_file(&path).expect("an output can be removed");
        }
    }

    /// Compares a text with one that says the same.
    pub fn agree(&mut self, what: &str, expected: &str, text: &str) {
        if let Some(difference) = difference(expected, text) {
            self.fault(format_args!("{what}\n{difference}"));
        }
    }

    /// Compares what was said, and returns all that is not as it was.
    pub fn finish(mut self) -> Vec<String> {
        let messages = std::mem::take(&mut self.messages);
        self.compare(STDERR, &messages);
        let there = names(&directory().join(&self.name));
        for stray in &there - &self.compared {
            self.fault(format_args!("{stray}: no command writes it"));
        }
        self.faults
    }

    fn fault(&mut self, fault: std::fmt::Arguments<'_>) {
        self.faults.push(format!("{}: {fault}", self.name));
    }
}
