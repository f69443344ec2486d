//! What may forbid eBPF to a process that has the capabilities for it: the kernel's lockdown, a
//! seccomp filter, AppArmor, SELinux. The kernel reports an errno alone, so these are suspects,
//! not proofs.
//!
//! Read from /proc and /sys by hand: `procfs` has neither the files of security modules nor the
//! lockdown, and takes the whole of `status` apart for the one line that matters.

use std::fmt;
use std::fs;
use std::path::Path;

/// The longest name of a profile or domain that is kept, in characters.
const MAX_NAME_LEN: usize = 80;

/// Something that confines this process, or the whole kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// A seccomp filter of this process.
    Seccomp,
    /// The kernel is locked down for confidentiality.
    Lockdown,
    /// An AppArmor profile that is enforced, with its name.
    AppArmor(String),
    /// SELinux enforces its policy on this domain.
    SeLinux(String),
}

impl Confinement {
    /// Returns what can be done about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Seccomp => {
                "allow bpf, perf_event_open and setns in the container's seccomp profile, or in SystemCallFilter= of the unit"
            }
            Self::Lockdown => {
                "boot the kernel with lockdown=integrity; confidentiality lets nobody read the kernel's memory"
            }
            Self::AppArmor(_) => {
                "run tcpclose unconfined, or allow it in that profile; `dmesg` shows what was denied"
            }
            Self::SeLinux(_) => {
                "run it in another domain; `ausearch -m avc -c tcpclose` shows what was denied"
            }
        }
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seccomp => write!(f, "a seccomp filter restricts this process"),
            Self::Lockdown => write!(f, "the kernel is locked down for confidentiality"),
            Self::AppArmor(profile) => {
                write!(f, "the AppArmor profile {profile} confines this process")
            }
            Self::SeLinux(domain) => write!(f, "SELinux confines this process in {domain}"),
        }
    }
}

/// Returns everything that confines this process, the most likely one first.
#[must_use]
pub fn confinements() -> Vec<Confinement> {
    confinements_in(Path::new("/"))
}

fn confinements_in(root: &Path) -> Vec<Confinement> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let seccomp = read("proc/thread-self/status").filter(|status| has_seccomp_filter(status));
    let lockdown = read("sys/kernel/security/lockdown").filter(|text| is_confidential(text));
    // The older file has the label of whichever module is the main one.
    let is_enforcing = read("sys/fs/selinux/enforce").is_some_and(|text| text.trim() == "1");
    let label = read("proc/thread-self/attr/apparmor/current")
        .filter(|label| !label.is_empty())
        .or_else(|| read("proc/thread-self/attr/current"));
    let label = label.and_then(|label| label_of(&label, is_enforcing));
    seccomp
        .map(|_| Confinement::Seccomp)
        .into_iter()
        .chain(lockdown.map(|_| Confinement::Lockdown))
        .chain(label)
        .collect()
}

/// Mode 2 (`Seccomp: 2`) is a filter (seccomp(2)).
fn has_seccomp_filter(status: &str) -> bool {
    status
        .lines()
        .filter_map(|line| line.strip_prefix("Seccomp:"))
        .any(|mode| mode.trim() == "2")
}

/// `none integrity [confidentiality]`: the level in force is in brackets.
fn is_confidential(lockdown: &str) -> bool {
    lockdown.contains("[confidentiality]")
}

/// AppArmor: `docker-default (enforce)`, or `unconfined`. SELinux:
/// `system_u:system_r:container_t:s0`.
fn label_of(label: &str, is_selinux_enforcing: bool) -> Option<Confinement> {
    let label = label.trim_end_matches(['\0', '\n']);
    let name = |text: &str| {
        let text: String = text.chars().take(MAX_NAME_LEN).collect();
        text.escape_debug().to_string()
    };
    if let Some(profile) = label.strip_suffix(" (enforce)") {
        return Some(Confinement::AppArmor(name(profile)));
    }
    let is_confined = !label.contains("unconfined") && label.contains(':');
    (is_selinux_enforcing && is_confined).then(|| Confinement::SeLinux(name(label)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_mode_two() {
        assert!(has_seccomp_filter(
            "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"
        ));
        assert!(!has_seccomp_filter("Seccomp:\t0\nSeccomp_filters:\t2\n"));
    }

    #[test]
    fn the_level_in_force_is_in_brackets() {
        assert!(is_confidential("none integrity [confidentiality]\n"));
        assert!(!is_confidential("none [integrity] confidentiality\n"));
        assert!(!is_confidential("[none] integrity confidentiality\n"));
    }

    #[test]
    fn enforced_profiles_and_domains_are_named_and_escaped() {
        let apparmor = |name: &str| Some(Confinement::AppArmor(name.to_owned()));
        assert_eq!(
            label_of("docker-default (enforce)\n", false),
            apparmor("docker-default")
        );
        assert_eq!(
            label_of("a\x1b[2J (enforce)\n", false),
            apparmor("a\\u{1b}[2J")
        );
        for free in ["unconfined\n", "docker-default (complain)\n", ""] {
            assert_eq!(label_of(free, false), None, "{free:?}");
        }
        let container = "system_u:system_r:container_t:s0:c1,c2\0";
        let domain = Confinement::SeLinux("system_u:system_r:container_t:s0:c1,c2".to_owned());
        assert_eq!(label_of(container, true), Some(domain));
        assert_eq!(label_of(container, false), None);
        let free = "unconfined_u:unconfined_r:unconfined_t:s0\0";
        assert_eq!(label_of(free, true), None);
    }

    #[test]
    fn a_root_without_these_files_has_no_confinement() {
        assert_eq!(confinements_in(Path::new("/nonexistent")), []);
    }

    #[test]
    fn everything_in_a_root_is_found_the_most_likely_first() {
        let root = std::env::temp_dir().join(format!("tcpclose-confined-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            let file = root.join(path);
            fs::create_dir_all(file.parent().expect("it has one")).expect("a folder");
            fs::write(file, text).expect("our own folder");
        };
        write("proc/thread-self/status", "Seccomp:\t2\n");
        write(
            "sys/kernel/security/lockdown",
            "none integrity [confidentiality]\n",
        );
        write(
            "proc/thread-self/attr/current",
            "cri-containerd.apparmor.d (enforce)\n",
        );
        let found = confinements_in(&root);
        fs::remove_dir_all(&root).expect("our own folder");
        let profile = Confinement::AppArmor("cri-containerd.apparmor.d".to_owned());
        assert_eq!(
            found,
            [Confinement::Seccomp, Confinement::Lockdown, profile]
        );
    }
}
