//! Reads what this process may do (capabilities(7)).

use std::fs;

pub use caps::Capability;
use caps::{CapSet, CapsHashSet};

use super::namespace_link::in_initial_user_namespace;

/// The capabilities that some part of the program needs, in the order of their numbers.
pub const USED_CAPABILITIES: [Capability; 7] = [
    // Reads any file and lists any directory: tracefs and other users' /proc entries.
    Capability::CAP_DAC_READ_SEARCH,
    // Loads network programs, and destroys sockets.
    Capability::CAP_NET_ADMIN,
    // Reads the descriptors and namespaces of other users' processes.
    Capability::CAP_SYS_PTRACE,
    // All of the tracing rights on kernels before 5.8, and entering network namespaces on all.
    Capability::CAP_SYS_ADMIN,
    // Raises the limit of locked memory, which kernels before 5.11 charge maps to.
    Capability::CAP_SYS_RESOURCE,
    // Attaches tracing programs (5.8 and later).
    Capability::CAP_PERFMON,
    // Loads programs and makes maps (5.8 and later).
    Capability::CAP_BPF,
];

/// A set of capabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(CapsHashSet);

impl Capabilities {
    /// Returns the effective set of the calling thread; empty where the kernel does not give it.
    #[must_use]
    pub fn effective() -> Self {
        Self(caps::read(None, CapSet::Effective).unwrap_or_default())
    }

    /// Returns the effective set of the calling thread as /proc shows it. capget(2), which
    /// [`Self::effective`] asks, leaves out what an AppArmor profile denies (`apparmor_capget` of
    /// `security/apparmor/lsm.c`).
    #[must_use]
    pub fn in_proc() -> Self {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
        let is_in = |capability: &Capability| bits.unwrap_or(0) & capability.bitmask() != 0;
        Self(caps::all().into_iter().filter(is_in).collect())
    }

    /// Returns the effective set of the calling thread as far as it counts on the whole host: that
    /// of a process in a user namespace of its own (a rootless container) is worth nothing to
    /// `bpf()`, which checks the initial one.
    #[must_use]
    pub fn on_host() -> Self {
        if in_initial_user_namespace() {
            Self::effective()
        } else {
            Self::default()
        }
    }

    /// Returns whether `capability` is among them.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.0.contains(&capability)
    }

    /// Returns whether they suffice to load and attach tracing programs: `CAP_SYS_ADMIN`, or both
    /// `CAP_BPF` and `CAP_PERFMON`.
    #[must_use]
    pub fn may_trace(&self) -> bool {
        self.missing_for_tracing().is_empty()
    }

    /// Returns the fewest that would have to be added for [`Self::may_trace`]; empty when nothing
    /// is missing.
    #[must_use]
    pub fn missing_for_tracing(&self) -> Vec<Capability> {
        if self.has(Capability::CAP_SYS_ADMIN) {
            return vec![];
        }
        [Capability::CAP_BPF, Capability::CAP_PERFMON]
            .into_iter()
            .filter(|&capability| !self.has(capability))
            .collect()
    }
}

/// Returns whether this process may load and attach tracing programs on this host.
#[must_use]
pub fn may_trace() -> bool {
    Capabilities::on_host().may_trace()
}

/// Returns the capabilities that this process lacks for tracing; empty exactly when [`may_trace`]
/// is true.
#[must_use]
pub fn missing_for_tracing() -> Vec<Capability> {
    Capabilities::on_host().missing_for_tracing()
}

/// Returns whether this process has the capabilities for tracing, and a profile of AppArmor denies
/// them.
#[must_use]
pub fn are_denied() -> bool {
    !Capabilities::effective().may_trace() && Capabilities::in_proc().may_trace()
}

/// Returns whether this process has `capability` on the whole host.
#[must_use]
pub fn has(capability: Capability) -> bool {
    Capabilities::on_host().has(capability)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_array<const N: usize>(capabilities: [Capability; N]) -> Capabilities {
        Capabilities(capabilities.into_iter().collect())
    }

    #[test]
    fn the_effective_set_is_read_and_no_other() {
        assert_eq!(Capabilities::effective(), Capabilities::in_proc());
        assert!(!are_denied());
    }

    #[test]
    fn the_used_capabilities_are_sorted_and_named() {
        assert!(USED_CAPABILITIES.is_sorted_by_key(Capability::index));
        let names: Vec<_> = USED_CAPABILITIES
            .iter()
            .map(Capability::to_string)
            .collect();
        let expected = [
            "CAP_DAC_READ_SEARCH",
            "CAP_NET_ADMIN",
            "CAP_SYS_PTRACE",
            "CAP_SYS_ADMIN",
            "CAP_SYS_RESOURCE",
            "CAP_PERFMON",
            "CAP_BPF",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn tracing_needs_sys_admin_or_both_bpf_and_perfmon() {
        assert!(from_array([Capability::CAP_SYS_ADMIN]).may_trace());
        assert!(from_array([Capability::CAP_BPF, Capability::CAP_PERFMON]).may_trace());
        for lone in [
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
            Capability::CAP_NET_ADMIN,
        ] {
            assert!(!from_array([lone]).may_trace(), "{lone}");
        }
        assert!(!from_array([]).may_trace());
    }

    #[test]
    fn missing_for_tracing_is_the_smallest_sufficient_set() {
        let (bpf, perfmon) = (Capability::CAP_BPF, Capability::CAP_PERFMON);
        assert_eq!(from_array([]).missing_for_tracing(), [bpf, perfmon]);
        assert_eq!(from_array([bpf]).missing_for_tracing(), [perfmon]);
        assert_eq!(from_array([perfmon]).missing_for_tracing(), [bpf]);
        assert_eq!(
            from_array([Capability::CAP_SYS_ADMIN]).missing_for_tracing(),
            []
        );
        assert_eq!(from_array([bpf, perfmon]).missing_for_tracing(), []);
    }

    #[test]
    fn the_functions_agree_about_this_process() {
        assert_eq!(may_trace(), missing_for_tracing().is_empty());
        assert_eq!(
            has(Capability::CAP_BPF),
            Capabilities::on_host().has(Capability::CAP_BPF)
        );
    }
}
