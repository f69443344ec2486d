//! What this process may do (capabilities(7)).

use std::fs;

/// A capability that some part of the program needs. The value is the kernel's number (`linux/capability.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Capability {
    /// Read any file and list any directory: tracefs and other users' /proc entries.
    DacReadSearch = 2,
    /// Load network programs, and destroy sockets.
    NetAdmin = 12,
    /// Look at the descriptors and namespaces of other users' processes.
    SysPtrace = 19,
    /// All of the tracing rights on kernels before 5.8, and entering network namespaces on all.
    SysAdmin = 21,
    /// Raise the limit of locked memory, which kernels before 5.11 charge maps to.
    SysResource = 24,
    /// Attach tracing programs (5.8 and later).
    Perfmon = 38,
    /// Load programs and make maps (5.8 and later).
    Bpf = 39,
}

impl Capability {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::DacReadSearch,
        Self::NetAdmin,
        Self::SysPtrace,
        Self::SysAdmin,
        Self::SysResource,
        Self::Perfmon,
        Self::Bpf,
    ];

    /// As capabilities(7) spells it: `CAP_BPF`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// A set of capabilities, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// The effective set of this process; empty where /proc does not tell.
    #[must_use]
    pub fn effective() -> Self {
        fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| Self::parse(&status))
            .unwrap_or_default()
    }

    /// The effective set of this process as far as it counts on the whole host: that of a process in a user namespace
    /// of its own (a rootless container) is worth nothing to `bpf()`, which asks the initial one.
    #[must_use]
    pub fn on_host() -> Self {
        if in_initial_user_namespace() {
            Self::effective()
        } else {
            Self::default()
        }
    }

    /// The effective set in the text of a `/proc/PID/status`; `None` where there is none in it.
    #[must_use]
    pub fn parse(status: &str) -> Option<Self> {
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(value.trim(), 16).ok().map(Self)
    }

    /// Whether `capability` is among them.
    #[must_use]
    pub const fn has(self, capability: Capability) -> bool {
        self.0 >> capability as u8 & 1 == 1
    }

    /// Whether they suffice to load and attach tracing programs: `CAP_SYS_ADMIN`, or both `CAP_BPF` and `CAP_PERFMON`.
    #[must_use]
    pub const fn may_trace(self) -> bool {
        self.has(Capability::SysAdmin) || self.has(Capability::Bpf) && self.has(Capability::Perfmon)
    }

    /// Names of the least that would have to be added for [`Self::may_trace`]; empty when nothing is missing.
    #[must_use]
    pub fn missing(self) -> Vec<&'static str> {
        if self.may_trace() {
            return vec![];
        }
        [Capability::Bpf, Capability::Perfmon]
            .into_iter()
            .filter(|&capability| !self.has(capability))
            .map(Capability::name)
            .collect()
    }
}

/// Whether this process may load and attach tracing programs on this host.
#[must_use]
pub fn may_trace() -> bool {
    Capabilities::on_host().may_trace()
}

/// Names of the capabilities that this process lacks for tracing; empty exactly when [`may_trace`] is true.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    Capabilities::on_host().missing()
}

/// Whether this process has `capability` on the whole host.
#[must_use]
pub fn has(capability: Capability) -> bool {
    Capabilities::on_host().has(capability)
}

/// Whether this process is in the host's own user namespace. A /proc that does not tell counts as yes: kernels without
/// user namespaces have no such link.
#[must_use]
pub fn in_initial_user_namespace() -> bool {
    // PROC_USER_INIT_INO in include/linux/proc_ns.h: the same number on every kernel.
    fs::read_link("/proc/self/ns/user").map_or(true, |link| link.as_os_str() == "user:[4026531837]")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Capabilities = Capabilities(0);

    fn of<const N: usize>(capabilities: [Capability; N]) -> Capabilities {
        Capabilities(
            capabilities
                .iter()
                .fold(0, |set, &one| set | 1 << one as u8),
        )
    }

    #[test]
    fn the_effective_set_is_read_and_no_other() {
        let status = "Name:\ta\nCapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\n\
                      CapEff:\t000000c000001000\nCapBnd:\t000001ffffffffff\n";
        let set = Capabilities::parse(status).expect("it is there");
        for capability in Capability::ALL {
            let expected = matches!(
                capability,
                Capability::NetAdmin | Capability::Perfmon | Capability::Bpf
            );
            assert_eq!(set.has(capability), expected, "{}", capability.name());
        }
    }

    #[test]
    fn a_status_without_a_readable_set_has_none() {
        for status in [
            "",
            "CapPrm:\t1",
            "CapEff:",
            "CapEff:\tx",
            "CapEff:\t10000000000000000",
        ] {
            assert_eq!(Capabilities::parse(status), None, "{status:?}");
        }
    }

    #[test]
    fn a_process_name_cannot_pose_as_the_set() {
        // The kernel escapes newlines of names, so the line can only start with "Name:".
        let status = "Name:\tCapEff:\\nCapEff:\t1\nCapEff:\t0\n";
        assert_eq!(Capabilities::parse(status), Some(NONE));
    }

    #[test]
    fn tracing_takes_sys_admin_or_both_new_ones() {
        assert!(of([Capability::SysAdmin]).may_trace());
        assert!(of([Capability::Bpf, Capability::Perfmon]).may_trace());
        for lone in [Capability::Bpf, Capability::Perfmon, Capability::NetAdmin] {
            assert!(!of([lone]).may_trace(), "{}", lone.name());
        }
        assert!(!NONE.may_trace());
    }

    #[test]
    fn what_is_missing_is_the_least_that_helps() {
        assert_eq!(NONE.missing(), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(of([Capability::Bpf]).missing(), ["CAP_PERFMON"]);
        assert_eq!(of([Capability::Perfmon]).missing(), ["CAP_BPF"]);
        assert_eq!(of([Capability::SysAdmin]).missing(), [""; 0]);
        assert_eq!(
            of([Capability::Bpf, Capability::Perfmon]).missing(),
            [""; 0]
        );
    }

    #[test]
    fn this_process_is_told_the_same_by_all_functions() {
        assert_eq!(may_trace(), missing().is_empty());
        assert_eq!(
            has(Capability::Bpf),
            Capabilities::on_host().has(Capability::Bpf)
        );
    }
}
