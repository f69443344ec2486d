//! Gives up, for good, all rights that the agent does not need once its programs are attached.

use std::fs;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use rustix::thread::set_no_new_privs;

use super::kernel_release::kernel_release;

/// A capability that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptCapability {
    /// The capability itself.
    pub capability: Capability,
    /// What it is needed for.
    pub why: &'static str,
}

/// Returns the capabilities that are needed after attaching. `one_namespace`: only the network
/// namespace that the agent itself is in is traced.
#[must_use]
pub fn needed(one_namespace: bool) -> Vec<KeptCapability> {
    let mut kept = vec![
        KeptCapability {
            capability: Capability::CAP_DAC_READ_SEARCH,
            why: "list the descriptors of other users' processes, to find who holds a stuck socket",
        },
        KeptCapability {
            capability: Capability::CAP_SYS_PTRACE,
            why: "read where those descriptors and namespaces of theirs lead",
        },
    ];
    if !one_namespace {
        kept.push(KeptCapability {
            capability: Capability::CAP_SYS_ADMIN,
            why: "enter the network namespaces of containers, to look at their sockets (setns)",
        });
    }
    if maps_need_bpf(&kernel_release(), &unprivileged_bpf_disabled()) {
        kept.push(KeptCapability {
            capability: Capability::CAP_BPF,
            why: "read the maps of its own programs, which kernels before 6.0 allow nobody else",
        });
    }
    kept
}

fn unprivileged_bpf_disabled() -> String {
    fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap_or_default()
}

/// Since 6.0 `kernel.unprivileged_bpf_disabled` no longer restricts maps whose descriptors a
/// process has (__sys_bpf of kernel/bpf/syscall.c).
fn maps_need_bpf(release: &str, disabled: &str) -> bool {
    let major = release.split('.').next();
    let is_new = major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= 6);
    !is_new && disabled.trim() != "0"
}

/// Why rights could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel refuses to change the sets of capabilities.
    #[error("giving up capabilities failed")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The kernel refuses to forbid more rights by executing a program.
    #[error("setting no_new_privs failed")]
    NoNewPrivs(#[source] io::Error),
}

/// Gives up all capabilities but these, of the calling thread and of those it will start, also
/// those that executing a program could bring back.
///
/// # Errors
/// The kernel refuses, which is not known to happen.
pub fn give_up_all_but(kept: &[KeptCapability]) -> Result<(), PrivilegeError> {
    let keep: CapsHashSet = kept.iter().map(|kept| kept.capability).collect();
    let may: CapsHashSet = caps::read(None, CapSet::Permitted)?
        .intersection(&keep)
        .copied()
        .collect();
    // Needs CAP_SETPCAP; without it nobody can get more by executing a program either, by
    // no_new_privs.
    for capability in caps::runtime::thread_all_supported().difference(&keep) {
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
    // Kernels before 4.3 have none.
    let _ = caps::clear(None, CapSet::Ambient);
    caps::set(None, CapSet::Effective, &may)?;
    caps::set(None, CapSet::Permitted, &may)?;
    caps::clear(None, CapSet::Inheritable)?;
    set_no_new_privs(true).map_err(|error| PrivilegeError::NoNewPrivs(error.into()))
}

/// An agent that runs on this host, and what it still may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAgent {
    /// Its process id.
    pub pid: u32,
    /// All capabilities that one of its threads has or can have back, in the order of their
    /// numbers.
    pub capabilities: Vec<Capability>,
    /// Executing a program gives none of its threads more (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
}

/// Returns all agents that this process can see: by their names and arguments, as nothing else
/// identifies them.
///
/// # Errors
/// /proc cannot be listed.
pub fn running_agents() -> io::Result<Vec<RunningAgent>> {
    let mut agents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that exits meanwhile is left out.
        if let Ok(true) = is_agent(pid)
            && let Some(agent) = running_agent(pid)
        {
            agents.push(agent);
        }
    }
    Ok(agents)
}

fn is_agent(pid: u32) -> io::Result<bool> {
    let comm = fs::read(format!("/proc/{pid}/comm"))?;
    let command_line = fs::read(format!("/proc/{pid}/cmdline"))?;
    let mut arguments = command_line.split(|&byte| byte == 0).skip(1);
    Ok(comm == b"tcpclose\n" && arguments.any(|argument| argument == b"agent"))
}

/// Reads what an agent may do, from all its threads: capabilities belong to threads.
fn running_agent(pid: u32) -> Option<RunningAgent> {
    let mut all = CapsHashSet::new();
    let mut no_new_privs = true;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let thread = thread.ok()?;
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok());
        all.extend(caps::read(id, CapSet::Permitted).ok()?);
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        no_new_privs &= status.contains("\nNoNewPrivs:\t1\n");
    }
    let mut capabilities: Vec<Capability> = all.into_iter().collect();
    capabilities.sort_unstable_by_key(Capability::index);
    Some(RunningAgent {
        pid,
        capabilities,
        no_new_privs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::capabilities::{Capabilities, USED};

    #[test]
    fn old_kernels_want_cap_bpf_for_every_map_unless_all_may_use_bpf() {
        assert!(maps_need_bpf("5.10.0-30-cloud-amd64", "2\n"));
        assert!(maps_need_bpf("5.15.0", ""));
        assert!(!maps_need_bpf("5.10.0-30-cloud-amd64", "0\n"));
        assert!(!maps_need_bpf("6.1.0", "2\n"));
    }

    #[test]
    fn one_namespace_needs_no_entering_of_others() {
        let needs = |one| {
            let kept = needed(one);
            kept.iter()
                .any(|kept| kept.capability == Capability::CAP_SYS_ADMIN)
        };
        assert!(needs(false));
        assert!(!needs(true));
    }

    /// Rights are given up in a thread of its own, which ends with the test.
    #[test]
    fn what_is_given_up_is_gone() {
        let kept = needed(true);
        let before = Capabilities::effective();
        let (after, status) = std::thread::spawn(move || {
            give_up_all_but(&kept).expect("one may always have less");
            let status = fs::read_to_string("/proc/thread-self/status");
            (Capabilities::effective(), status.expect("/proc is mounted"))
        })
        .join()
        .expect("it did not panic");
        for capability in USED {
            let kept = needed(true)
                .iter()
                .any(|kept| kept.capability == capability);
            let expected = kept && before.has(capability);
            assert_eq!(after.has(capability), expected, "{capability}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}
