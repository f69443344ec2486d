//! Pages of `tcpclose report`, in a browser.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcpclose_kit::browser::make_headless;
use tcpclose_kit::scratch::Scratch;

use crate::tool::{find, run};

/// Makes the page of a kept recording in a folder.
fn page(folder: &Scratch) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let page = folder.path("report.html");
    let mut tcpclose = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    tcpclose.arg("report").arg(golden.join("live-closes.rec"));
    let (is_good, output) = run(&mut tcpclose, ["-o".as_ref(), page.as_os_str()]);
    assert!(is_good, "{output}");
    page
}

/// A browser without a window that looks nothing up.
fn browser(profile: &Path) -> Option<Command> {
    let mut chromium = find("chromium")?;
    make_headless(&mut chromium, profile);
    chromium.arg("--enable-logging=stderr");
    Some(chromium)
}

#[test]
fn a_browser_shows_it_without_an_error() {
    let folder = Scratch::new();
    let Some(mut chromium) = browser(&folder.path("profile")) else {
        return;
    };
    let page = page(&folder);
    let url = format!("file://{}", page.display());
    let (is_good, output) = run(&mut chromium, ["--dump-dom", &url]);
    assert!(is_good, "{output}");
    // The policy of the page refuses what it may not load, and the console has it.
    assert!(!output.contains("CONSOLE"), "{output}");
    // Elements that are not closed would swallow each other.
    assert!(
        !output.contains("<rect class=\"k0\" x=\"0.0\" y=\"0.0\"><"),
        "{output}"
    );
    assert!(
        output.contains("</rect></g>") && output.contains("</svg>"),
        "{output}"
    );
}

/// At the size of a phone and of a desktop, light and dark: something is drawn, and not the same.
#[test]
fn it_fits_a_phone_and_a_desktop() {
    let folder = Scratch::new();
    let page = page(&folder);
    let url = format!("file://{}", page.display());
    let mut pictures = Vec::new();
    for (size, dark) in [("390,844", false), ("390,844", true), ("1280,800", false)] {
        let Some(mut chromium) = browser(&folder.path("profile")) else {
            return;
        };
        let picture = folder.path("page.png");
        chromium.arg(format!("--window-size={size}"));
        if dark {
            chromium.arg("--blink-settings=preferredColorScheme=0");
        }
        chromium.arg(format!("--screenshot={}", picture.display()));
        let (is_good, output) = run(&mut chromium, [&url]);
        assert!(is_good, "{output}");
        pictures.push(fs::read(&picture).expect("a picture"));
    }
    assert!(pictures.iter().all(|picture| picture.len() > 10_000));
    assert_ne!(pictures[0], pictures[1], "dark and light are the same");
}
