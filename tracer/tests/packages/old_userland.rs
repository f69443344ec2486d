//! An old distribution, whose C library is older than the one inside the program.
//! `TCPCLOSE_OLD_ROOT` names a folder with Debian 11.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tcpclose_kit::TestResult;
use tcpclose_kit::process::{output_of, run};
use tcpclose_kit::skip::skip;

use crate::agent;
use crate::built::{VERSION, debian_arch, package, tarball, unpack};
use crate::receiver::{NAME, NameServer, Receiver};
use crate::root::Root;

const VARIABLE: &str = "TCPCLOSE_OLD_ROOT";
const PROGRAM: &str = "/usr/bin/tcpclose";

#[track_caller]
fn old_root() -> Option<PathBuf> {
    let root = env::var_os(VARIABLE).map(PathBuf::from);
    if root.is_none() {
        skip(&format!("{VARIABLE} names no root"));
    }
    root
}

#[test]
fn its_dpkg_installs_the_package_and_the_agent_works() -> TestResult {
    let name = format!("tcpclose_{VERSION}-1_{}.deb", debian_arch());
    let (Some(folder), Some(deb)) = (old_root(), package(&name)) else {
        return Ok(());
    };
    Root::like(&folder, |root| {
        fs::copy(&deb, root.path("/tmp/package.deb"))?;
        output_of(root.command("dpkg").args(["--install", "/tmp/package.deb"]));
        let doctor = run(root.command(PROGRAM).arg("doctor"));
        assert_eq!(doctor.code, Some(0), "{}{}", doctor.stdout, doctor.stderr);
        agent::is_at_work(root.command(PROGRAM).args([
            "agent",
            "--config",
            "/etc/tcpclose/agent.toml",
        ]));
        output_of(root.command("dpkg").args(["--purge", "tcpclose"]));
        Ok(())
    })
}

/// Modules for names that are none of glibc's own are libraries of the distribution, which want its
/// C library.
#[test]
fn names_are_found_though_the_distribution_has_modules_for_them() -> TestResult {
    let (Some(folder), Some(tarball)) = (old_root(), tarball()) else {
        return Ok(());
    };
    Root::like(&folder, |root| {
        let module = format!(
            "/usr/lib/{}-linux-gnu/libnss_myhostname.so.2",
            env::consts::ARCH
        );
        assert!(root.exists(&module), "the distribution has {module}");
        root.write(
            "/etc/nsswitch.conf",
            "passwd: files systemd\ngroup: files systemd\nhosts: myhostname files dns\n",
        )?;
        root.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")?;
        let unpacked = unpack(&tarball, &root.path("opt"));
        let inside = Path::new("/").join(unpacked.strip_prefix(root.folder())?);
        let program = inside.join("tcpclose");
        let server = NameServer::start()?;
        Receiver::plain()?.gets_records_of(root, program.to_str().expect("plain"));
        assert!(server.was_asked(), "nobody has asked for {NAME}");
        Ok(())
    })
}
