//! The scripts for hosts without systemd: runit's and OpenRC's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::tool::{dist, find, read, run};
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::wait::eventually;

const SCRIPTS: [&str; 3] = ["runit/run", "runit/finish", "openrc/tcpclose-agent"];

#[test]
fn the_shell_and_shellcheck_accept_them() {
    for name in SCRIPTS {
        let path = dist().join(name);
        let mode = fs::metadata(&path).expect("it is there").permissions();
        assert_eq!(mode.mode() & 0o111, 0o111, "{name} can be executed");
        let (is_good, output) = run(Command::new("sh").arg("-n"), [&path]);
        assert!(is_good, "{output}");
        let Some(mut shellcheck) = find("shellcheck") else {
            return;
        };
        // OpenRC itself reads the variables that are set and not used.
        let args = ["--shell=sh", "--exclude=SC2034"];
        let (is_good, output) = run(shellcheck.args(args), [&path]);
        assert!(is_good, "{output}");
    }
}

/// runit itself supervises the service, whose agent cannot start: its configuration is wrong.
#[test]
fn runit_keeps_an_agent_down_that_exits_with_2() {
    let (Some(mut runsv), Some(sv)) = (find("runsv"), find("sv")) else {
        return;
    };
    let scratch = Scratch::new();
    let configuration = scratch.path("agent.toml");
    fs::write(&configuration, "intervall = 1\n").expect("our own folder");
    let service = scratch.path("service");
    fs::create_dir(&service).expect("our own folder");
    for name in ["run", "finish"] {
        let script = read(&format!("runit/{name}"))
            .replace("/usr/bin/tcpclose", env!("CARGO_BIN_EXE_tcpclose"))
            .replace(
                "/etc/tcpclose/agent.toml",
                configuration.to_str().expect("text"),
            );
        let file = service.join(name);
        fs::write(&file, script).expect("our own folder");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our own file");
    }
    let log = scratch.path("log");
    runsv
        .arg(&service)
        .stdout(fs::File::create(&log).expect("our own folder"));
    let running = ChildGuard::spawn(&mut runsv).expect("it is installed");
    let is_down = eventually(|| {
        let messages = fs::read_to_string(&log).ok()?;
        (messages.contains("stays down") && status(&sv, &service).starts_with("down:"))
            .then_some(())
    });
    let messages = fs::read_to_string(&log).expect("our own file");
    assert!(is_down.is_some(), "{messages}{}", status(&sv, &service));
    assert!(messages.contains("did you mean `interval`?"), "{messages}");
    assert_eq!(messages.matches("did you mean").count(), 1, "{messages}");
    drop(running);
}

fn status(sv: &Command, service: &Path) -> String {
    let mut sv = Command::new(sv.get_program());
    run(sv.arg("status"), [service]).1
}
