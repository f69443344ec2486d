//! The page of `tcpclose report`, as a browser shows it.

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tcpclose_kit::{browser::make_headless, scratch::Scratch};

use super::picture::RECORDING;
use crate::command::{announce, find_program, run, stdout_of};

/// The part of the page that is shown.
const WINDOW: &str = "700,520";

/// Returns the page of the recording.
pub fn page(program: &Path, kept: &Path) -> Result<String> {
    let mut report = Command::new(program);
    report.current_dir(kept).env("TZ", "UTC");
    stdout_of(report.args(["report", RECORDING, "-o", "-"]))
}

/// Returns by what the page is recognized.
pub fn digest(page: &str) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(page) {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// Takes a picture of the page. Returns `false`, and reports it, where there is no browser.
pub fn photograph(page: &str, to: &Path) -> Result<bool> {
    let Some(chromium) = find_program("chromium") else {
        announce("there is no chromium: the picture of the report stays as it is");
        return Ok(false);
    };
    let folder = Scratch::new();
    let html = folder.path("report.html");
    fs::write(&html, page).context("cannot write the page")?;
    let mut browser = Command::new(chromium);
    make_headless(&mut browser, &folder.path("profile"));
    browser
        .args(["--hide-scrollbars", &format!("--window-size={WINDOW}")])
        .arg(format!("--screenshot={}", to.display()))
        .arg(format!("file://{}", html.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    run(&mut browser, "chromium")?;
    Ok(true)
}
