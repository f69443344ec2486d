//! What could not be inspected, and whether that can have hidden a socket or its holder.
//!
//! A process whose namespace link may not be read matters only when it lives in a namespace that
//! was not scanned through another process: its `/proc/PID/net` shows that, and needs no rights.
//! (It may hold the only mount of yet another namespace, in which no process lives.) A process
//! whose descriptors may not be read matters only while some stuck socket has no holder.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use crate::plural::plural;
use tcpclose_core::types::NetNs;
use tcpclose_sys::host::capabilities::{self, Capability};
use tcpclose_sys::host::descriptors::HolderSearch;
use tcpclose_sys::kernel::netns::{ScanGap, ScanTarget};

/// Something that could not be inspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoverageGap {
    /// For stderr: what, why, and what to do.
    pub text: String,
    /// Whether sockets or their holders can have been missed; `false` if another source already
    /// covered it.
    pub matters: bool,
}

impl CoverageGap {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            matters: true,
        }
    }

    pub(crate) fn note(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            matters: false,
        }
    }
}

/// Returns a network namespace as messages name it. Its number is unknown where /proc does not show
/// it.
pub(crate) fn namespace_text(netns: Option<NetNs>) -> String {
    match netns {
        Some(netns) => format!("network namespace {}", netns.get()),
        None => "a network namespace of unknown number".to_owned(),
    }
}

/// Returns a number that identifies the network namespace of a process among all that exist at the
/// same time: the inode of one of its files in procfs, which are made anew for each
/// (`proc_net_ns_init` in `fs/proc/proc_net.c`).
pub(crate) fn net_identity(process: &str) -> io::Result<u64> {
    fs::metadata(format!("/proc/{process}/net/dev")).map(|file| file.ino())
}

/// Returns the gaps of a scan for namespaces, given the identities of those that were inspected.
/// `pids_requested`: only certain processes were asked for, whose namespaces are known.
pub(crate) fn scan_gaps(
    unseen: &[ScanGap],
    inspected: &HashSet<u64>,
    pids_requested: bool,
) -> Vec<CoverageGap> {
    let mut gaps = Vec::new();
    let mut elsewhere: BTreeMap<Option<u64>, (&ScanGap, usize)> = BTreeMap::new();
    for unseen in unseen {
        match unseen.target {
            ScanTarget::Process(pid) => match net_identity(&pid.to_string()) {
                Ok(identity) if inspected.contains(&identity) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                identity => elsewhere.entry(identity.ok()).or_insert((unseen, 0)).1 += 1,
            },
            ScanTarget::OtherPidNamespaces => gaps.push(CoverageGap {
                text: unseen.to_string(),
                matters: !pids_requested,
            }),
            ScanTarget::Descriptors { .. } => gaps.push(descriptors_gap(unseen)),
            ScanTarget::Proc
            | ScanTarget::HiddenProcesses
            | ScanTarget::Mounts(_)
            | ScanTarget::NamespaceOfSocket { .. } => {
                gaps.push(CoverageGap::new(unseen.to_string()))
            }
        }
    }
    gaps.extend(elsewhere.into_values().map(|(unseen, count)| match count {
        1 => CoverageGap::new(unseen.to_string()),
        _ => CoverageGap::new(format!(
            "{unseen} ({} more in the same namespace)",
            count - 1
        )),
    }));
    gaps
}

/// Returns the gap that is left where descriptors cannot be examined. A process that is protected
/// even from root is only noted: more rights would not help.
fn descriptors_gap(unseen: &ScanGap) -> CoverageGap {
    // Before 5.14 the namespace of every socket has to be opened, also of those in known ones.
    let is_refused = unseen.reason.raw_os_error() == Some(libc::EPERM);
    let may_open = !is_refused || capabilities::has(Capability::CAP_NET_ADMIN);
    let has_rights = may_read_all() && may_open;
    let remedy = match has_rights {
        true => more_rights(true),
        false => "run as root, or with CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH and CAP_NET_ADMIN",
    };
    CoverageGap {
        text: format!("{unseen}; {remedy}"),
        matters: !has_rights,
    }
}

/// What a search for the holders of sockets could not see, when `unheld` of them were not found.
/// `in_container`: there are processes that this /proc cannot show. `pids_requested`: only certain
/// processes were looked at, each because it was asked for.
pub(crate) fn search_gap(
    search: &HolderSearch,
    unheld: usize,
    in_container: bool,
    pids_requested: bool,
) -> Option<CoverageGap> {
    let Some((pid, reason)) = search.unreadable.first() else {
        let out_of_sight = (search.hidden || in_container) && unheld > 0 && !pids_requested;
        return out_of_sight.then(|| {
            CoverageGap::new(format!(
                "{} no holder among the processes that /proc shows; run as root in the host's pid namespace, or with \
                 CAP_SYS_PTRACE",
                sockets_have(unheld)
            ))
        });
    };
    let more = match search.unreadable.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    if pids_requested && reason.kind() == io::ErrorKind::NotFound && search.unreadable.len() == 1 {
        return Some(CoverageGap::new(format!("there is no process {pid}")));
    }
    if pids_requested {
        return Some(CoverageGap::new(format!(
            "the descriptors of process {pid}{more} cannot be read ({reason}); {}",
            more_rights(may_read_all())
        )));
    }
    (unheld > 0).then(|| {
        CoverageGap::new(format!(
            "{} no holder that can be seen, and the descriptors of process {pid}{more} cannot be read ({reason}); {}",
            sockets_have(unheld),
            more_rights(may_read_all())
        ))
    })
}

/// What helps against a refusal, where this program may read all processes or not.
const fn more_rights(may_read_all: bool) -> &'static str {
    if may_read_all {
        "the kernel protects it even from root (a security module, or another user namespace)"
    } else {
        "run as root, or with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"
    }
}

fn may_read_all() -> bool {
    [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH]
        .into_iter()
        .all(capabilities::has)
}

fn sockets_have(count: usize) -> String {
    format!(
        "{count} {}",
        plural(count as u64, "socket has", "sockets have")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreadable(pids: &[u32]) -> HolderSearch {
        let refused = |&pid| (pid, io::Error::from_raw_os_error(libc::EACCES));
        HolderSearch {
            unreadable: pids.iter().map(refused).collect(),
            ..HolderSearch::default()
        }
    }

    #[test]
    fn a_process_that_cannot_be_read_matters_only_while_a_holder_is_missing() {
        assert_eq!(search_gap(&unreadable(&[1]), 0, false, false), None);
        let gap =
            search_gap(&unreadable(&[1, 7, 9]), 4, false, false).expect("holders are missing");
        assert!(gap.matters);
        assert!(
            gap.text
                .starts_with("4 sockets have no holder that can be seen"),
            "{}",
            gap.text
        );
        assert!(
            gap.text.contains("process 1 and 2 more cannot be read"),
            "{}",
            gap.text
        );
    }

    #[test]
    fn a_requested_process_always_matters() {
        let gap = search_gap(&unreadable(&[7]), 0, false, true).expect("it was asked for");
        assert!(
            gap.text.contains("process 7 cannot be read"),
            "{}",
            gap.text
        );
    }

    #[test]
    fn a_requested_process_that_does_not_exist_is_reported() {
        let gone = HolderSearch {
            unreadable: vec![(7, io::Error::from_raw_os_error(libc::ENOENT))],
            ..HolderSearch::default()
        };
        let gap = search_gap(&gone, 0, false, true).expect("it was asked for");
        assert_eq!(gap.text, "there is no process 7");
    }

    #[test]
    fn capabilities_that_are_there_are_not_recommended() {
        assert!(more_rights(false).contains("run as root"));
        let kept = more_rights(true);
        assert!(!kept.contains("run as root"), "{kept}");
    }

    #[test]
    fn hidden_processes_matter_only_while_a_holder_is_missing() {
        let hidden = HolderSearch {
            hidden: true,
            ..HolderSearch::default()
        };
        assert_eq!(search_gap(&hidden, 0, false, false), None);
        assert!(search_gap(&hidden, 1, false, false).is_some_and(|gap| gap.matters));
    }

    #[test]
    fn within_a_container_the_holder_may_be_outside() {
        let gap =
            search_gap(&HolderSearch::default(), 1, true, false).expect("a holder is missing");
        assert!(
            gap.text.starts_with("1 socket has no holder"),
            "{}",
            gap.text
        );
        assert_eq!(search_gap(&HolderSearch::default(), 0, true, false), None);
        assert_eq!(
            search_gap(&HolderSearch::default(), 1, false, false),
            None,
            "a socket of the kernel's own"
        );
    }

    #[test]
    fn a_process_in_a_scanned_namespace_hides_nothing() -> io::Result<()> {
        let own = net_identity("thread-self")?;
        let refused = || io::Error::from_raw_os_error(libc::EACCES);
        let process = |pid| ScanGap {
            target: ScanTarget::Process(pid),
            reason: refused(),
        };
        let here = process(std::process::id());
        assert_eq!(scan_gaps(&[here], &HashSet::from([own]), false), []);
        let others = [
            process(std::process::id()),
            process(std::process::id()),
            process(u32::MAX),
        ];
        let gaps = scan_gaps(&others, &HashSet::new(), false);
        assert_eq!(gaps.len(), 1, "{gaps:?}");
        assert!(
            gaps[0].matters && gaps[0].text.contains("1 more in the same namespace"),
            "{gaps:?}"
        );
        Ok(())
    }

    #[test]
    fn what_a_container_does_not_show_matters_unless_certain_processes_were_asked_for() {
        for pids_requested in [false, true] {
            let unseen = ScanGap {
                target: ScanTarget::OtherPidNamespaces,
                reason: io::ErrorKind::PermissionDenied.into(),
            };
            let gaps = scan_gaps(&[unseen], &HashSet::new(), pids_requested);
            let matters: Vec<bool> = gaps.iter().map(|gap| gap.matters).collect();
            assert_eq!(matters, [!pids_requested]);
        }
    }
}
