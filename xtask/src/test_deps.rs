//! The real programs that the tests need on the other side, and where they come from.

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    command::{announce, find_program},
    privilege::Privilege,
};

/// A program that tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counterpart {
    /// The program's name.
    program: &'static str,
    /// Debian's package with it.
    package: &'static str,
    /// The tests that cannot run without it.
    suite: &'static str,
}

const fn counterpart(
    program: &'static str,
    package: &'static str,
    suite: &'static str,
) -> Counterpart {
    Counterpart {
        program,
        package,
        suite,
    }
}

/// All of them. The `-core` packages have MariaDB's programs without its service.
const COUNTERPARTS: &[Counterpart] = &[
    counterpart("tcpdump", "tcpdump", CAPTURES),
    counterpart("tshark", "tshark", CAPTURES),
    counterpart("ss", "iproute2", "killed sockets"),
    counterpart("tcpstates", "libbpf-tools", "comparison with tcpstates"),
    counterpart("valgrind", "valgrind", "the count of instructions"),
    counterpart("mariadbd", "mariadb-server-core", DATABASE),
    counterpart("mariadb-install-db", "mariadb-server-core", DATABASE),
    counterpart("mariadb", "mariadb-client-core", DATABASE),
    counterpart("prometheus", "prometheus", METRICS),
    counterpart("promtool", "prometheus", METRICS),
    // The package that has systemd-journald too, outside PATH.
    counterpart("journalctl", "systemd", "outputs to journald"),
    counterpart("rsyslogd", "rsyslog", "outputs to syslog"),
    counterpart("systemd-analyze", "systemd", OPERATIONS),
    counterpart("logrotate", "logrotate", OPERATIONS),
    counterpart("strace", "strace", OPERATIONS),
    counterpart("setpriv", "util-linux", OPERATIONS),
];

/// What `cargo xtask parity` needs.
const FOR_PARITY: &[Counterpart] = &[
    counterpart("tcpdump", "tcpdump", CAPTURES),
    counterpart("tshark", "tshark", CAPTURES),
    counterpart("ip", "iproute2", CAPTURES),
    counterpart("nft", "nftables", CAPTURES),
];

const METRICS: &str = "Prometheus, which reads the agent";
const CAPTURES: &str = "comparisons with captures";
const DATABASE: &str = "the database session";
const OPERATIONS: &str = "checks of the files for operators";

/// Installs what is missing. What still is then is said, and is a failure where `required`.
pub fn provide(privilege: Privilege, required: bool) -> Result<()> {
    provide_these(COUNTERPARTS, privilege, required)
}

/// As [`provide`] for what `cargo xtask parity` cannot do without.
pub fn provide_for_parity(privilege: Privilege) -> Result<()> {
    provide_these(FOR_PARITY, privilege, true)
}

fn provide_these(wanted: &[Counterpart], privilege: Privilege, required: bool) -> Result<()> {
    let missing = missing(wanted, |program| find_program(program).is_some());
    if missing.is_empty() {
        announce("counterparts: all here");
        return Ok(());
    }
    let installed = Apt::find(privilege)
        .map_err(anyhow::Error::msg)
        .and_then(|apt| apt.install(&packages(&missing)));
    let still_missing: Vec<_> = missing
        .into_iter()
        .filter(|counterpart| find_program(counterpart.program).is_none())
        .collect();
    if still_missing.is_empty() {
        return Ok(());
    }
    let reason = match installed {
        Err(error) => format!("{error:#}"),
        Ok(()) => "the packages do not have them".to_owned(),
    };
    if required {
        bail!(
            "the tests need {}, which could not be installed: {reason}; install {}, or unset CI to skip their suites",
            programs(&still_missing).join(", "),
            packages(&still_missing).join(" ")
        );
    }
    announce(format_args!("counterparts: not installed: {reason}"));
    for suite in suites(&still_missing) {
        let lacking: Vec<_> = still_missing
            .iter()
            .copied()
            .filter(|counterpart| counterpart.suite == suite)
            .collect();
        announce(format_args!(
            "counterparts: skipping {suite}: no {} (Debian's package: {})",
            programs(&lacking).join(", "),
            packages(&lacking).join(" ")
        ));
    }
    Ok(())
}

fn missing(wanted: &[Counterpart], is_here: impl Fn(&str) -> bool) -> Vec<Counterpart> {
    let all = wanted.iter().copied();
    all.filter(|counterpart| !is_here(counterpart.program))
        .collect()
}

fn programs(counterparts: &[Counterpart]) -> Vec<&'static str> {
    once_each(counterparts.iter().map(|counterpart| counterpart.program))
}

fn packages(counterparts: &[Counterpart]) -> Vec<&'static str> {
    once_each(counterparts.iter().map(|counterpart| counterpart.package))
}

fn suites(counterparts: &[Counterpart]) -> Vec<&'static str> {
    once_each(counterparts.iter().map(|counterpart| counterpart.suite))
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
    fn nothing_is_installed_where_all_is_here() {
        assert!(missing(COUNTERPARTS, |_| true).is_empty());
    }

    #[test]
    fn only_what_is_missing_is_installed_each_package_once() {
        let is_here = |program: &str| !program.starts_with("mariadb") && program != "tshark";
        let missing = missing(COUNTERPARTS, is_here);
        assert_eq!(
            packages(&missing),
            ["tshark", "mariadb-server-core", "mariadb-client-core"]
        );
        assert_eq!(suites(&missing), [CAPTURES, DATABASE]);
    }

    #[test]
    fn no_program_is_listed_twice() {
        assert_eq!(programs(COUNTERPARTS).len(), COUNTERPARTS.len());
    }
}
