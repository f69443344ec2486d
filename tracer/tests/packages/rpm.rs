//! The .rpm: queried, unpacked, installed and erased.

use std::env::consts::ARCH;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tcpclose_kit::TestResult;
use tcpclose_kit::process::output_of;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::has_programs;

use crate::built::{VERSION, package, program_in, tarball};
use crate::root::Root;

const CONFIGURATION: &str = "/etc/tcpclose/agent.toml";

fn rpm() -> Option<PathBuf> {
    let file = package(&format!("tcpclose-{VERSION}-1.{ARCH}.rpm"))?;
    has_programs(&["rpm", "rpm2cpio", "cpio"]).then_some(file)
}

fn query(package: &PathBuf, args: &[&str]) -> String {
    let mut rpm = Command::new("rpm");
    output_of(rpm.arg("--query").args(args).arg("--package").arg(package))
}

#[test]
fn it_describes_itself_and_its_contents() {
    let Some(package) = rpm() else { return };
    let format = "%{NAME} %{VERSION} %{ARCH} %{PAYLOADCOMPRESSOR} %{BUILDHOST}";
    assert_eq!(
        query(&package, &["--queryformat", format]),
        format!("tcpclose {VERSION} {ARCH} gzip localhost")
    );
    assert_eq!(
        query(&package, &["--configfiles"]).trim(),
        "/etc/logrotate.d/tcpclose-agent\n/etc/tcpclose/agent.toml"
    );
    let files = query(&package, &["--list"]);
    for file in [
        "/usr/bin/tcpclose",
        "/usr/lib/systemd/system/tcpclose-agent.service",
        "/usr/share/man/man1/tcpclose-watch.1.gz",
        "/usr/share/zsh/site-functions/_tcpclose",
        "/usr/share/licenses/tcpclose/THIRD-PARTY-LICENSES.txt",
    ] {
        assert!(files.lines().any(|line| line == file), "{file}: {files}");
    }
    // Nothing but what every rpm is able to unpack: no library and no program.
    let needed = query(&package, &["--requires"]);
    let others = needed
        .lines()
        .filter(|line| !line.starts_with("rpmlib(") && !line.starts_with("config("))
        .filter(|line| *line != "/bin/sh");
    assert_eq!(others.count(), 0, "{needed}");
    // It is neither enabled nor started, nor does a preset enable it.
    let scripts = query(&package, &["--scripts"]);
    for word in ["systemctl enable", "systemctl start", "preset"] {
        assert!(!scripts.contains(word), "{scripts}");
    }
}

#[test]
fn it_unpacks_to_the_program_that_the_tarball_has() {
    let (Some(package), Some(tarball)) = (rpm(), tarball()) else {
        return;
    };
    let scratch = Scratch::new();
    let mut unpack = Command::new("rpm2cpio")
        .arg(&package)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is there");
    let archive = unpack.stdout.take().expect("piped");
    let status = Command::new("cpio")
        .args(["--quiet", "--extract", "--make-directories"])
        .current_dir(scratch.folder())
        .stdin(archive)
        .status();
    assert!(status.expect("it is there").success());
    assert!(unpack.wait().expect("it is ours").success());
    let program = fs::read(scratch.path("usr/bin/tcpclose")).expect("it has the program");
    assert!(program == program_in(&tarball, scratch.folder()));
}

#[test]
fn it_is_installed_verified_and_erased() -> TestResult {
    let Some(package) = rpm() else { return Ok(()) };
    Root::like_this_host(|root| {
        fs::copy(&package, root.path("/tmp/package.rpm"))?;
        let rpm = |args: &[&str]| {
            // Debian's rpm needs an option because it is not the only package manager.
            let mut rpm = root.command("rpm");
            output_of(rpm.arg("--dbpath=/tmp/rpm").args(args))
        };
        rpm(&[
            "--force-debian",
            "--nodeps",
            "--install",
            "/tmp/package.rpm",
        ]);
        assert_eq!(rpm(&["--verify", "--nodeps", "tcpclose"]), "");
        let version = output_of(root.command("/usr/bin/tcpclose").arg("--version"));
        assert_eq!(version.trim(), format!("tcpclose {VERSION}"));
        root.write(CONFIGURATION, "interval = \"30s\"\n")?;
        rpm(&["--force-debian", "--nodeps", "--erase", "tcpclose"]);
        assert!(!root.exists("/usr/bin/tcpclose"));
        assert!(!root.exists(CONFIGURATION));
        assert_eq!(
            root.read(&format!("{CONFIGURATION}.rpmsave"))?,
            "interval = \"30s\"\n"
        );
        Ok(())
    })
}
