//! Reads what this process may do (capabilities(7)).

use std::fs;

pub use caps::Capability;
use caps::{CapSet, CapsHashSet};

/// The capabilities that some part of the program needs, in the order of their numbers.
pub const USED: [Capability; 7] = [
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
        self.missing().is_empty()
    }

    /// Returns the fewest that would have to be added for [`Self::may_trace`]; empty when nothing
    /// is missing.
    #[must_use]
    pub fn missing(&self) -> Vec<Capability> {
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
pub fn missing() -> Vec<Capability> {
    Capabilities::on_host().missing()
}

/// Returns whether this process has `capability` on the whole host.
#[must_use]
pub fn has(capability: Capability) -> bool {
    Capabilities::on_host().has(capability)
}

/// Returns whether this process is in the host's own user namespace. A /proc without that link
/// counts as yes: kernels without user namespaces have none.
#[must_use]
pub fn in_initial_user_namespace() -> bool {
    // PROC_USER_INIT_INO in include/linux/proc_ns.h: the same number on every kernel.
    fs::read_link("/proc/self/ns/user").map_or(true, |link| link.as_os_str() == "user:[4026531837]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<const N: usize>(capabilities: [Capability; N]) -> Capabilities {
        Capabilities(capabilities.into_iter().collect())
    }

    #[test]
    fn the_effective_set_is_read_and_no_other() {
        let status = fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let bits = u64::from_str_radix(line.expect("it is there").trim(), 16).expect("a number");
        let effective = Capabilities::effective();
        for capability in caps::all() {
            let expected = bits & capability.bitmask() != 0;
            assert_eq!(effective.has(capability), expected, "{capability}");
        }
    }

    #[test]
    fn the_capabilities_used_are_in_the_order_of_their_numbers_and_have_their_names() {
        assert!(USED.is_sorted_by_key(Capability::index));
        let names: Vec<_> = USED.iter().map(Capability::to_string).collect();
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
    fn tracing_takes_sys_admin_or_both_new_ones() {
        assert!(of([Capability::CAP_SYS_ADMIN]).may_trace());
        assert!(of([Capability::CAP_BPF, Capability::CAP_PERFMON]).may_trace());
        for lone in [
            Capability::CAP_BPF,
            Capability::CAP_PERFMON,
            Capability::CAP_NET_ADMIN,
        ] {
            assert!(!of([lone]).may_trace(), "{lone}");
        }
        assert!(!of([]).may_trace());
    }

    #[test]
    fn what_is_missing_is_the_least_that_helps() {
        let (bpf, perfmon) = (Capability::CAP_BPF, Capability::CAP_PERFMON);
        assert_eq!(of([]).missing(), [bpf, perfmon]);
        assert_eq!(of([bpf]).missing(), [perfmon]);
        assert_eq!(of([perfmon]).missing(), [bpf]);
        assert_eq!(of([Capability::CAP_SYS_ADMIN]).missing(), []);
        assert_eq!(of([bpf, perfmon]).missing(), []);
    }

    #[test]
    fn all_functions_agree_about_this_process() {
        assert_eq!(may_trace(), missing().is_empty());
        assert_eq!(
            has(Capability::CAP_BPF),
            Capabilities::on_host().has(Capability::CAP_BPF)
        );
    }
}
