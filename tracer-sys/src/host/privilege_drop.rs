//! What the agent still may do once its programs are attached: everything else is given up, for good.

use std::fs;
use std::io;

use anyhow::Context as _;
use caps::{CapSet, Capability as Cap, CapsHashSet};

use super::capabilities::Capability;

/// A capability that is kept, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub capability: Capability,
    /// What it is needed for.
    pub why: &'static str,
}

/// What is needed after attaching. `one_namespace`: only the network namespace that the agent itself is in is traced.
#[must_use]
pub fn needed(one_namespace: bool) -> Vec<Kept> {
    let mut kept = vec![
        Kept {
            capability: Capability::DacReadSearch,
            why: "list the descriptors of other users' processes, to find who holds a stuck socket",
        },
        Kept {
            capability: Capability::SysPtrace,
            why: "read where those descriptors and namespaces of theirs lead",
        },
    ];
    if !one_namespace {
        kept.push(Kept {
            capability: Capability::SysAdmin,
            why: "enter the network namespaces of containers, to look at their sockets (setns)",
        });
    }
    if maps_need_bpf(&kernel_release(), &unprivileged_bpf_disabled()) {
        kept.push(Kept {
            capability: Capability::Bpf,
            why: "read the maps of its own programs, which kernels before 6.0 allow nobody else",
        });
    }
    kept
}

fn kernel_release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

fn unprivileged_bpf_disabled() -> String {
    fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap_or_default()
}

/// Since 6.0 `kernel.unprivileged_bpf_disabled` no longer keeps anybody from maps whose descriptors they have
/// (__sys_bpf of kernel/bpf/syscall.c).
fn maps_need_bpf(release: &str, disabled: &str) -> bool {
    let major = release.split('.').next();
    let is_new = major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= 6);
    !is_new && disabled.trim() != "0"
}

/// Gives up all capabilities of the calling thread, and of those it will start, but these; and the way to get them back
/// by executing a program.
///
/// # Errors
/// The kernel refuses: it never does.
pub fn give_up_all_but(kept: &[Kept]) -> anyhow::Result<()> {
    let keep: CapsHashSet = kept.iter().map(|kept| in_caps(kept.capability)).collect();
    let may: CapsHashSet = caps::read(None, CapSet::Permitted)?
        .intersection(&keep)
        .copied()
        .collect();
    // Needs CAP_SETPCAP; without it nobody can get more by executing a program either, by no_new_privs.
    for capability in caps::runtime::thread_all_supported().difference(&keep) {
        let _ = caps::drop(None, CapSet::Bounding, *capability);
    }
    // Kernels before 4.3 have none.
    let _ = caps::clear(None, CapSet::Ambient);
    caps::set(None, CapSet::Effective, &may).context("giving up capabilities failed")?;
    caps::set(None, CapSet::Permitted, &may).context("giving up capabilities failed")?;
    caps::clear(None, CapSet::Inheritable).context("giving up capabilities failed")?;
    // SAFETY: sets a flag of the calling thread; no memory is involved.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error()).context("setting no_new_privs failed");
    }
    Ok(())
}

/// What an agent that runs may still do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its process id.
    pub pid: u32,
    /// Names of all capabilities that one of its threads has or can have back, in the order of their numbers.
    pub capabilities: Vec<String>,
    /// Executing a program gives none of its threads more (`no_new_privs`).
    pub gets_no_more: bool,
}

/// All agents that run in sight of this process: by their names and arguments, as they have no other mark.
///
/// # Errors
/// /proc cannot be listed.
pub fn of_agents() -> io::Result<Vec<Left>> {
    let mut agents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // One that exits meanwhile is none.
        if let Ok(true) = is_agent(pid)
            && let Ok(left) = left(pid)
        {
            agents.push(left);
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

/// Capabilities belong to threads.
fn left(pid: u32) -> anyhow::Result<Left> {
    let mut all = CapsHashSet::new();
    let mut gets_no_more = true;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = thread?;
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok());
        all.extend(caps::read(id, CapSet::Permitted)?);
        let status = fs::read_to_string(thread.path().join("status"))?;
        gets_no_more &= status.contains("\nNoNewPrivs:\t1\n");
    }
    let mut all: Vec<Cap> = all.into_iter().collect();
    all.sort_unstable_by_key(|capability| capability.index());
    Ok(Left {
        pid,
        capabilities: all.iter().map(Cap::to_string).collect(),
        gets_no_more,
    })
}

const fn in_caps(capability: Capability) -> Cap {
    match capability {
        Capability::DacReadSearch => Cap::CAP_DAC_READ_SEARCH,
        Capability::NetAdmin => Cap::CAP_NET_ADMIN,
        Capability::SysPtrace => Cap::CAP_SYS_PTRACE,
        Capability::SysAdmin => Cap::CAP_SYS_ADMIN,
        Capability::SysResource => Cap::CAP_SYS_RESOURCE,
        Capability::Perfmon => Cap::CAP_PERFMON,
        Capability::Bpf => Cap::CAP_BPF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::capabilities::Capabilities;

    #[test]
    fn the_two_lists_of_capabilities_agree() {
        for capability in Capability::ALL {
            let other = in_caps(capability);
            assert_eq!(other.index(), capability as u8, "{other:?}");
            assert_eq!(other.to_string(), capability.name());
        }
    }

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
                .any(|kept| kept.capability == Capability::SysAdmin)
        };
        assert!(needs(false));
        assert!(!needs(true));
    }

    /// In a thread of its own, which is gone afterwards.
    #[test]
    fn what_is_given_up_is_gone() {
        let kept = needed(true);
        let before = Capabilities::effective();
        let status = std::thread::spawn(move || {
            give_up_all_but(&kept).expect("one may always have less");
            fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted")
        });
        let status = status.join().expect("it did not panic");
        let after = Capabilities::parse(&status).expect("the set is there");
        for capability in Capability::ALL {
            let kept = needed(true)
                .iter()
                .any(|kept| kept.capability == capability);
            let expected = kept && before.has(capability);
            assert_eq!(after.has(capability), expected, "{}", capability.name());
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}
