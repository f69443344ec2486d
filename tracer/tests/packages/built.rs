//! The packages that have been made.

use std::env;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tcpclose_kit::process::output_of;
use tcpclose_kit::skip::skip;

const VARIABLE: &str = "TCPCLOSE_PACKAGES";

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Debian's name of this host's architecture.
pub fn debian_arch() -> &'static str {
    match ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}

/// The package of this name; `None` where packages have not been made: the test is skipped.
#[track_caller]
pub fn package(name: &str) -> Option<PathBuf> {
    let Some(folder) = env::var_os(VARIABLE) else {
        skip(&format!("{VARIABLE} names no packages"));
        return None;
    };
    let file = Path::new(&folder).join(name);
    if !file.exists() {
        skip(&format!("there is no {name}"));
        return None;
    }
    Some(file)
}

/// The tarball of this host's architecture.
#[track_caller]
pub fn tarball() -> Option<PathBuf> {
    package(&format!("tcpclose-{VERSION}-{ARCH}.tar.gz"))
}

/// Unpacks the tarball and returns its folder.
pub fn unpack(tarball: &Path, into: &Path) -> PathBuf {
    fs::create_dir_all(into).expect("a folder for the tarball");
    output_of(
        Command::new("tar")
            .arg("-xzf")
            .arg(tarball)
            .arg("-C")
            .arg(into),
    );
    into.join(format!("tcpclose-{VERSION}-{ARCH}"))
}

/// The program in a tarball.
pub fn program_in(tarball: &Path, scratch: &Path) -> Vec<u8> {
    let program = unpack(tarball, &scratch.join("unpacked")).join("tcpclose");
    fs::read(program).expect("the tarball has the program")
}

#[test]
fn every_package_has_the_sum_that_is_listed() {
    let Some(sums) = package("SHA256SUMS") else {
        return;
    };
    let mut check = Command::new("sha256sum");
    check.args(["--check", "--strict", "SHA256SUMS"]);
    let text = output_of(check.current_dir(sums.parent().expect("it is in a folder")));
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.iter().all(|line| line.ends_with(": OK")), "{text}");
    let packages = fs::read_dir(sums.parent().expect("it is in a folder")).unwrap();
    assert_eq!(lines.len() + 1, packages.count(), "a package has no sum");
}

#[test]
fn the_lists_of_crates_have_what_is_inside_and_nothing_that_only_tests_need() {
    for (program, is_inside, is_not) in [
        ("tcpclose", "tokio", "proptest"),
        ("tcpclose-ebpf", "aya-ebpf", "tokio"),
    ] {
        let Some(list) = package(&format!("{program}-{VERSION}.cdx.json")) else {
            return;
        };
        let list: Value = serde_json::from_slice(&fs::read(list).expect("it is there"))
            .expect("CycloneDX's lists are JSON");
        assert_eq!(list["metadata"]["component"]["name"], program);
        let crates = list["components"].as_array().expect("components");
        let has = |name: &str| crates.iter().any(|component| component["name"] == name);
        assert!(has(is_inside) && !has(is_not), "{program}: {crates:?}");
    }
}
