//! Programs of others that the tests need, and the Debian packages that have them.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    command::{announce, find_program},
    privilege::Privilege,
};

/// A program that tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestDependency {
    /// The program's name.
    program: &'static str,
    /// Debian's package with it.
    package: &'static str,
    /// The stages whose tests cannot do without it, or not all of them.
    stages: &'static [&'static str],
}

const fn dependency(
    program: &'static str,
    package: &'static str,
    stages: &'static [&'static str],
) -> TestDependency {
    TestDependency {
        program,
        package,
        stages,
    }
}

/// The programs that tests run. The `-core` packages have MariaDB's programs without its service.
const DEPENDENCIES: &[TestDependency] = &[
    dependency("tcpdump", "tcpdump", &["integration", "parity"]),
    dependency("tshark", "tshark", &["unit", "integration", "parity"]),
    dependency("ip", "iproute2", &["parity", "bench", "leaks"]),
    dependency("nft", "nftables", &["parity"]),
    dependency("tcpstates", "libbpf-tools", &["integration", "bench"]),
    dependency("tmux", "tmux", &["leaks", "screens", "unit"]),
    dependency("valgrind", "valgrind", &["bench"]),
    dependency("mariadbd", "mariadb-server-core", &["integration"]),
    dependency(
        "mariadb-install-db",
        "mariadb-server-core",
        &["integration"],
    ),
    dependency("mariadb", "mariadb-client-core", &["integration"]),
    dependency("nginx", "nginx", &["leaks"]),
    dependency("python3", "python3", &["leaks"]),
    dependency("prometheus", "prometheus", &["agent"]),
    dependency("promtool", "prometheus", &["agent", "dist"]),
    // The package that has systemd-journald too, outside PATH.
    dependency("journalctl", "systemd", &["sinks"]),
    dependency("rsyslogd", "rsyslog", &["sinks"]),
    dependency("systemd-analyze", "systemd", &["agent", "dist"]),
    dependency("logrotate", "logrotate", &["dist"]),
    dependency("runsv", "runit", &["dist"]),
    dependency("shellcheck", "shellcheck", &["dist"]),
    dependency("man", "man-db", &["dist"]),
    dependency("mandoc", "mandoc", &["dist"]),
    dependency("fish", "fish", &["dist"]),
    dependency("zsh", "zsh", &["dist"]),
    dependency("chromium", "chromium", &["dist"]),
    dependency("lintian", "lintian", &["package"]),
    dependency("rpm", "rpm", &["package"]),
    dependency("rpm2cpio", "rpm2cpio", &["package"]),
    dependency("cpio", "cpio", &["package"]),
    dependency("busybox", "busybox-static", &["package"]),
    dependency("skopeo", "skopeo", &["package"]),
    dependency("umoci", "umoci", &["package"]),
    dependency("runc", "runc", &["agent", "package"]),
    // No program, but a file by its whole path: the default seccomp profile of container runtimes.
    dependency(
        "/usr/share/containers/seccomp.json",
        "golang-github-containers-common",
        &["agent"],
    ),
    dependency("strace", "strace", &["agent"]),
    dependency("setpriv", "util-linux", &["agent"]),
];

/// Installs what is missing for the tests of a stage. What still is missing then is reported, and
/// is an error where it is `required`.
pub fn provide(privilege: Privilege, stage: &str, required: bool) -> Result<()> {
    provide_these(&for_stage(stage), privilege, required)
}

/// As [`provide`] for all stages.
pub fn provide_all(privilege: Privilege, required: bool) -> Result<()> {
    provide_these(DEPENDENCIES, privilege, required)
}

fn for_stage(stage: &str) -> Vec<TestDependency> {
    let all = DEPENDENCIES.iter().copied();
    all.filter(|dependency| dependency.stages.contains(&stage))
        .collect()
}

fn provide_these(wanted: &[TestDependency], privilege: Privilege, required: bool) -> Result<()> {
    let missing = missing(wanted, is_installed);
    if missing.is_empty() {
        return Ok(());
    }
    let installed = Apt::find(privilege)
        .map_err(anyhow::Error::msg)
        .and_then(|apt| apt.install(&packages(&missing)));
    let still_missing: Vec<_> = missing
        .into_iter()
        .filter(|dependency| !is_installed(dependency.program))
        .collect();
    if still_missing.is_empty() {
        return Ok(());
    }
    let reason = match installed {
        Err(error) => format!("{error:#}"),
        Ok(()) => "the packages do not have them".to_owned(),
    };
    let programs = programs(&still_missing).join(", ");
    let packages = packages(&still_missing).join(" ");
    if required {
        bail!(
            "the tests need {programs}, which could not be installed: {reason}; install {packages}, or unset CI to skip \
             the tests that need them"
        );
    }
    announce(format_args!(
        "skipping the tests that need {programs} (Debian's packages: {packages}), which could not be installed: {reason}"
    ));
    Ok(())
}

/// Returns whether a program, or a file by its whole path, is installed.
fn is_installed(name: &str) -> bool {
    find_program(name).is_some() || (name.starts_with('/') && Path::new(name).exists())
}

fn missing(wanted: &[TestDependency], is_here: impl Fn(&str) -> bool) -> Vec<TestDependency> {
    let all = wanted.iter().copied();
    all.filter(|dependency| !is_here(dependency.program))
        .collect()
}

fn programs(dependencies: &[TestDependency]) -> Vec<&'static str> {
    once_each(dependencies.iter().map(|dependency| dependency.program))
}

fn packages(dependencies: &[TestDependency]) -> Vec<&'static str> {
    once_each(dependencies.iter().map(|dependency| dependency.package))
}

fn once_each(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_installed_if_nothing_is_missing() {
        assert!(missing(DEPENDENCIES, |_| true).is_empty());
    }

    #[test]
    fn only_what_is_missing_is_installed_each_package_once() {
        let is_here = |program: &str| !program.starts_with("mariadb") && program != "tshark";
        let missing = missing(DEPENDENCIES, is_here);
        assert_eq!(
            packages(&missing),
            ["tshark", "mariadb-server-core", "mariadb-client-core"]
        );
    }

    #[test]
    fn a_stage_gets_what_its_tests_need() {
        assert_eq!(programs(&for_stage("unit")), ["tshark", "tmux"]);
        assert!(for_stage("fmt").is_empty());
    }

    #[test]
    fn a_program_or_a_file_by_its_whole_path_is_found() {
        assert!(is_installed("sh"));
        assert!(is_installed("/etc/passwd"));
        assert!(!is_installed("/etc/no-such-file"));
        assert!(!is_installed("no-such-program"));
    }

    #[test]
    fn no_program_is_listed_twice() {
        assert_eq!(programs(DEPENDENCIES).len(), DEPENDENCIES.len());
    }
}
