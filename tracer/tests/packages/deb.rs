//! The .deb: checked by lintian, installed, upgraded, removed and purged.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcpclose_kit::process::{output_of, run};
use tcpclose_kit::skip::has_programs;
use tcpclose_kit::{TestResult, scratch::Scratch};

use crate::agent;
use crate::built::{VERSION, debian_arch, package};
use crate::root::Root;

const CONFIGURATION: &str = "/etc/tcpclose/agent.toml";
const PROGRAM: &str = "/usr/bin/tcpclose";

fn deb() -> Option<PathBuf> {
    let file = package(&format!("tcpclose_{VERSION}-1_{}.deb", debian_arch()))?;
    has_programs(&["dpkg", "dpkg-deb"]).then_some(file)
}

#[test]
fn lintian_finds_no_error() {
    let Some(deb) = deb().filter(|_| has_programs(&["lintian"])) else {
        return;
    };
    let mut lintian = Command::new("lintian");
    // Debian's own lintian does not like to be root, and some of our tests have to be.
    lintian
        .args([
            "--allow-root",
            "--fail-on",
            "error",
            "--no-tag-display-limit",
        ])
        .arg(deb);
    let ended = run(&mut lintian);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
}

#[test]
fn it_has_what_a_package_of_debian_has() {
    let Some(deb) = deb() else { return };
    let contents = output_of(Command::new("dpkg-deb").arg("--contents").arg(&deb));
    for path in [
        "./usr/lib/systemd/system/tcpclose-agent.service",
        "./etc/logrotate.d/tcpclose-agent",
        "./usr/share/man/man1/tcpclose.1.gz",
        "./usr/share/man/man1/tcpclose-agent.1.gz",
        "./usr/share/bash-completion/completions/tcpclose",
        "./usr/share/fish/vendor_completions.d/tcpclose.fish",
        "./usr/share/zsh/vendor-completions/_tcpclose",
        "./usr/share/doc/tcpclose/copyright",
        "./usr/share/doc/tcpclose/changelog.Debian.gz",
        "./usr/share/doc/tcpclose/operations.md",
        "./usr/share/doc/tcpclose/THIRD-PARTY-LICENSES.txt",
        "./usr/share/doc/tcpclose/examples/prometheus/rules.yml",
    ] {
        let line = contents.lines().find(|line| line.ends_with(path));
        let line = line.unwrap_or_else(|| panic!("no {path} in\n{contents}"));
        assert!(line.starts_with("-rw-r--r-- root/root"), "{line}");
    }
}

#[test]
fn it_is_installed_runs_is_removed_and_purged() -> TestResult {
    let Some(deb) = deb() else { return Ok(()) };
    Root::like_this_host(|root| {
        let host = Host::new(root)?;
        host.dpkg(&["--install"], Some(&deb));
        assert_eq!(host.dpkg(&["--verify", "tcpclose"], None), "");
        assert_eq!(host.asked_of_systemd(), "--system daemon-reload\n");
        assert!(
            !root.exists("/etc/systemd/system/multi-user.target.wants/tcpclose-agent.service"),
            "nobody has enabled it"
        );
        let version = output_of(root.command(PROGRAM).arg("--version"));
        assert_eq!(version.trim(), format!("tcpclose {VERSION}"));
        agent::is_at_work(
            root.command(PROGRAM)
                .args(["agent", "--config", CONFIGURATION]),
        );

        root.write("/var/log/tcpclose/records.jsonl", "{}\n")?;
        host.dpkg(&["--remove", "tcpclose"], None);
        assert_eq!(
            host.asked_of_systemd(),
            "--no-reload disable --now tcpclose-agent.service\n--system daemon-reload\n"
        );
        assert!(!root.exists(PROGRAM));
        assert!(root.exists(CONFIGURATION), "the administrator's stays");
        assert!(root.exists("/var/log/tcpclose/records.jsonl"));

        host.dpkg(&["--purge", "tcpclose"], None);
        for path in [
            "/etc/tcpclose",
            "/etc/logrotate.d/tcpclose-agent",
            "/var/log/tcpclose",
            "/usr/share/doc/tcpclose",
            "/run/tcpclose",
        ] {
            assert!(!root.exists(path), "{path}");
        }
        Ok(())
    })
}

#[test]
fn an_upgrade_restarts_a_running_agent_and_keeps_the_administrators_configuration() -> TestResult {
    let Some(deb) = deb() else { return Ok(()) };
    let scratch = Scratch::new();
    let earlier = earlier_version(&deb, &scratch);
    for is_changed in [false, true] {
        Root::like_this_host(|root| {
            let host = Host::new(root)?;
            host.dpkg(&["--install"], Some(&earlier));
            assert_eq!(root.read(CONFIGURATION)?, OLD_CONFIGURATION);
            let own = "interval = \"30s\"\n";
            if is_changed {
                root.write(CONFIGURATION, own)?;
            }
            host.asked_of_systemd();
            host.dpkg(
                &["--force-confdef", "--force-confold", "--install"],
                Some(&deb),
            );
            assert_eq!(
                host.asked_of_systemd(),
                "--system daemon-reload\ntry-restart tcpclose-agent.service\n"
            );
            let configuration = root.read(CONFIGURATION)?;
            if is_changed {
                assert_eq!(configuration, own);
            } else {
                assert_eq!(
                    configuration,
                    output_of(
                        root.command(PROGRAM)
                            .args(["agent", "--print-default-config"])
                    ) + "\n"
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}

const OLD_CONFIGURATION: &str = "# As it came with an earlier version.\n";

/// The package as an earlier version, with another configuration.
fn earlier_version(deb: &Path, scratch: &Scratch) -> PathBuf {
    let (tree, earlier) = (scratch.path("tree"), scratch.path("earlier.deb"));
    let mut unpack = Command::new("dpkg-deb");
    output_of(unpack.arg("--raw-extract").arg(deb).arg(&tree));
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).expect("every package has it");
    let version = format!("Version: {VERSION}-1\n");
    assert!(text.contains(&version), "{text}");
    let text = text.replace(&version, "Version: 0.0.1-1\n");
    fs::write(&control, text).expect("our own folder is writable");
    fs::write(
        tree.join(CONFIGURATION.trim_start_matches('/')),
        OLD_CONFIGURATION,
    )
    .expect("our own folder is writable");
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "-Zgzip", "-z1", "--build"]);
    output_of(pack.arg(&tree).arg(&earlier));
    earlier
}

/// A root with dpkg, and with something in the place of systemd that writes down what it is asked
/// for: no systemd runs in it.
struct Host<'a> {
    root: &'a Root,
}

const ASKED: &str = "/run/asked";

impl<'a> Host<'a> {
    fn new(root: &'a Root) -> std::io::Result<Self> {
        fs::create_dir_all(root.path("/run/systemd/system"))?;
        let systemctl = "/usr/local/bin/systemctl";
        root.write(systemctl, &format!("#!/bin/sh\necho \"$@\" >> {ASKED}\n"))?;
        fs::set_permissions(root.path(systemctl), fs::Permissions::from_mode(0o755))?;
        // What this host has done with the package is not of interest.
        Ok(Self { root })
    }

    /// Runs dpkg inside and returns what it has to say on stdout.
    fn dpkg(&self, args: &[&str], deb: Option<&Path>) -> String {
        let mut command = self.root.command("dpkg");
        command
            .env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(args);
        if let Some(deb) = deb {
            let inside = "/tmp/package.deb";
            fs::copy(deb, self.root.path(inside)).expect("there is room for it");
            command.arg(inside);
        }
        output_of(&mut command)
    }

    /// What systemctl was asked for since the last time.
    fn asked_of_systemd(&self) -> String {
        let file = self.root.path(ASKED);
        let text = fs::read_to_string(&file).unwrap_or_default();
        drop(fs::remove_file(file));
        text
    }
}
