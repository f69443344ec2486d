//! Drops, permanently, all privileges that the agent does not need once its programs are attached.

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
pub fn needed_after_attach(one_namespace: bool) -> Vec<KeptCapability> {
    let mut kept = vec![
        KeptCapability {
            capability: Capability::CAP_DAC_READ_SEARCH,
            why: "list the descriptors of other users' processes, to find who holds a stuck socket",
        },
        KeptCapability {
            capability: Capability::CAP_SYS_PTRACE,
            why: "read what those descriptors and their namespaces refer to",
        },
    ];
    if !one_namespace {
        kept.push(KeptCapability {
            capability: Capability::CAP_SYS_ADMIN,
            why: "enter the network namespaces of containers, to list their sockets (setns)",
        });
    }
    if maps_need_bpf(&kernel_release(), &unprivileged_bpf_disabled()) {
        kept.push(KeptCapability {
            capability: Capability::CAP_BPF,
            why: "read the maps of its own programs, which kernels before 6.0 require",
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

/// Why privileges could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel refuses to change the sets of capabilities.
    #[error("dropping capabilities failed")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The kernel refuses to forbid more rights by executing a program.
    #[error("setting no_new_privs failed")]
    NoNewPrivs(#[source] io::Error),
}

/// Drops all capabilities except these, of the calling thread and of those it will start, also
/// those that executing a program could bring back.
///
/// # Errors
/// The kernel refuses, which is not known to happen.
pub fn drop_all_except(kept: &[KeptCapability]) -> Result<(), PrivilegeError> {
    let keep: CapsHashSet = kept.iter().map(|kept| kept.capability).collect();
    let may: CapsHashSet = caps::read(None, CapSet::Permitted)?
        .intersection(&keep)
        .copied()
        .collect();
    // Needs CAP_SETPCAP. Without it, no_new_privs prevents that executing a program adds any.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::capabilities::{Capabilities, USED_CAPABILITIES};

    #[test]
    fn old_kernels_need_cap_bpf_unless_unprivileged_bpf_is_allowed() {
        assert!(maps_need_bpf("5.10.0-30-cloud-amd64", "2\n"));
        assert!(maps_need_bpf("5.15.0", ""));
        assert!(!maps_need_bpf("5.10.0-30-cloud-amd64", "0\n"));
        assert!(!maps_need_bpf("6.1.0", "2\n"));
    }

    #[test]
    fn cap_sys_admin_is_needed_for_other_namespaces_only() {
        let needs = |one| {
            let kept = needed_after_attach(one);
            kept.iter()
                .any(|kept| kept.capability == Capability::CAP_SYS_ADMIN)
        };
        assert!(needs(false));
        assert!(!needs(true));
    }

    /// Capabilities are dropped in a thread of its own, which ends with the test.
    #[test]
    fn dropped_capabilities_are_gone() {
        let kept = needed_after_attach(true);
        let before = Capabilities::effective();
        let (after, status) = std::thread::spawn(move || {
            drop_all_except(&kept).expect("one may always have less");
            let status = fs::read_to_string("/proc/thread-self/status");
            (Capabilities::effective(), status.expect("/proc is mounted"))
        })
        .join()
        .expect("it did not panic");
        for capability in USED_CAPABILITIES {
            let kept = needed_after_attach(true)
                .iter()
                .any(|kept| kept.capability == capability);
            let expected = kept && before.has(capability);
            assert_eq!(after.has(capability), expected, "{capability}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}
