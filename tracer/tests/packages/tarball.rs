//! The tarball in roots that have next to nothing.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use tcpclose_kit::TestResult;
use tcpclose_kit::process::{output_of, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::find_program;

use crate::agent;
use crate::built::{VERSION, tarball, unpack};
use crate::receiver::{NAME, NameServer, Receiver};
use crate::root::Root;

const PROGRAM: &str = "/opt/tcpclose/tcpclose";

/// Puts the tarball into a root.
fn install(tarball: &Path, root: &Root) -> io::Result<()> {
    let unpacked = unpack(tarball, &root.path("opt"));
    fs::rename(unpacked, root.path("opt/tcpclose"))
}

/// Runs a test with an empty root where the tarball is.
fn alone(test: impl FnOnce(&Root) -> TestResult + Send) -> TestResult {
    let Some(tarball) = tarball() else {
        return Ok(());
    };
    Root::empty(|root| {
        install(&tarball, root)?;
        test(root)
    })
}

#[test]
fn nothing_in_it_belongs_to_a_user_of_the_host_that_made_it() {
    let Some(tarball) = tarball() else { return };
    let mut list = Command::new("tar");
    let list = output_of(list.args(["--numeric-owner", "-tvzf"]).arg(tarball));
    assert!(list.lines().count() > 20, "{list}");
    for line in list.lines() {
        let mode = line.split(' ').next().unwrap_or_default();
        let is_known = ["-rw-r--r--", "-rwxr-xr-x", "drwxr-xr-x"].contains(&mode);
        assert!(is_known && line.contains(" 0/0 "), "{line}");
    }
}

#[test]
fn the_agent_works_with_nothing_but_proc_and_sys() -> TestResult {
    alone(|root| {
        let version = output_of(root.command(PROGRAM).arg("--version"));
        assert_eq!(version.trim(), format!("tcpclose {VERSION}"));
        let doctor = run(root.command(PROGRAM).arg("doctor"));
        assert_eq!(doctor.code, Some(0), "{}{}", doctor.stdout, doctor.stderr);
        let leaks = run(root.command(PROGRAM).args(["leaks", "--format", "json"]));
        assert!(leaks.code < Some(2), "{}", leaks.stderr);
        agent::is_at_work(root.command(PROGRAM).args([
            "agent",
            "--config",
            "/opt/tcpclose/agent.toml",
        ]));
        Ok(())
    })
}

#[test]
fn busybox_is_all_that_it_takes_to_install_it() -> TestResult {
    let (Some(tarball), Some(busybox)) = (tarball(), find_program("busybox")) else {
        return Ok(());
    };
    let libraries = run(Command::new("ldd").arg(&busybox));
    if libraries.code == Some(0) {
        tcpclose_kit::skip::skip("busybox is not linked statically");
        return Ok(());
    }
    Root::empty(|root| {
        fs::create_dir(root.path("bin"))?;
        fs::copy(&busybox, root.path("bin/busybox"))?;
        fs::copy(&tarball, root.path("tcpclose.tar.gz"))?;
        let script = "busybox tar xzf tcpclose.tar.gz && ./tcpclose-*/tcpclose doctor";
        let mut shell = root.command("/bin/busybox");
        let ended = run(shell.args(["sh", "-c", script]));
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        Ok(())
    })
}

#[test]
fn a_receivers_name_comes_from_the_hosts_file() -> TestResult {
    alone(|root| {
        root.write("/etc/hosts", &format!("127.0.0.1 {NAME}\n"))?;
        Receiver::plain()?.gets_records_of(root, PROGRAM);
        Ok(())
    })
}

#[test]
fn a_receivers_name_comes_from_the_name_server() -> TestResult {
    alone(|root| {
        root.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")?;
        let server = NameServer::start()?;
        Receiver::plain()?.gets_records_of(root, PROGRAM);
        assert!(server.was_asked(), "nobody has asked for {NAME}");
        Ok(())
    })
}

#[test]
fn a_receiver_with_tls_is_known_by_the_ca_file_alone() -> TestResult {
    alone(|root| {
        root.write("/etc/hosts", &format!("127.0.0.1 {NAME}\n"))?;
        Receiver::with_tls(root)?.gets_records_of(root, PROGRAM);
        Ok(())
    })
}

/// The program's bytes do not tell where it was built.
#[test]
fn the_program_names_no_folder_of_the_host_that_made_it() {
    let Some(tarball) = tarball() else { return };
    let scratch = Scratch::new();
    let program = crate::built::program_in(&tarball, scratch.folder());
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the checkout");
    for folder in [checkout.as_os_str().as_encoded_bytes(), b"/.cargo/registry"] {
        let is_named = program.windows(folder.len()).any(|window| window == folder);
        assert!(!is_named, "{}", String::from_utf8_lossy(folder));
    }
}
