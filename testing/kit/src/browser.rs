//! A real browser.

use std::path::Path;
use std::process::Command;

/// Gives `chromium` the arguments of a browser without a window that looks nothing up, with its
/// files in a folder of its own.
pub fn make_headless(chromium: &mut Command, profile: &Path) {
    chromium.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    chromium.arg(format!("--user-data-dir={}", profile.display()));
}
