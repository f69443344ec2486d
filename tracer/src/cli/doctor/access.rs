//! Rows about what this process may do, and how much of the host it sees.

use std::path::Path;

use super::check::{Check, MissingFeature};
use crate::agent::config::READER_NICE;
use tcpclose_sys::host::capabilities::{self, Capability};
use tcpclose_sys::host::namespace_link::{in_initial_pid_namespace, in_initial_user_namespace};
use tcpclose_sys::host::priority;
use tcpclose_sys::kernel::loader::LoadError;
use tcpclose_sys::kernel::netns;

/// Returns why nothing of a process can be read, if that is so.
pub(super) fn missing_proc(effect: &'static str) -> Option<MissingFeature> {
    let is_there = Path::new("/proc/self/status").exists();
    (!is_there).then(|| {
        MissingFeature::new(
            "/proc is not mounted",
            effect,
            "mount it with `mount -t proc proc /proc`",
        )
    })
}

/// Returns why not all of the host's processes are visible, if that is so.
fn hidden_processes(effect: &'static str) -> Option<MissingFeature> {
    let outside = || {
        MissingFeature::new(
            "processes outside this pid namespace (container) are not visible",
            effect,
            "run it in the host's pid namespace (docker: --pid=host; Kubernetes: hostPID)",
        )
    };
    missing_proc(effect).or_else(|| (!in_initial_pid_namespace()).then(outside))
}

fn names(capabilities: &[Capability]) -> Vec<String> {
    capabilities.iter().map(Capability::to_string).collect()
}

pub(super) fn rights() -> Check {
    const EFFECT: &str = "everything: no transition is seen";
    let missing = names(&capabilities::missing_for_tracing());
    let found = if capabilities::may_trace() {
        Ok("may load and attach eBPF programs".to_owned())
    } else if !in_initial_user_namespace() {
        Err(MissingFeature::new(
            "this process is in a user namespace (a rootless container)",
            EFFECT,
            LoadError::REMEDY_FOR_USER_NAMESPACE,
        ))
    } else if capabilities::are_denied() {
        Err(MissingFeature::new(
            format!("a security module denies {}", missing.join(", ")),
            EFFECT,
            "see confinement",
        ))
    } else {
        Err(MissingFeature::new(
            format!("missing {}", missing.join(", ")),
            EFFECT,
            "run it with sudo, or give it CAP_BPF and CAP_PERFMON",
        ))
    };
    Check {
        name: "rights",
        found,
    }
}

pub(super) fn namespaces() -> Check {
    const EFFECT: &str = "stuck sockets in the others (containers), and the end of closes there, which is reported as unknown";
    let scan = netns::scan();
    let could_enter = scan
        .namespaces
        .iter()
        .filter(|found| found.enter(|| ()).is_ok())
        .count();
    let found = if let Some(missing) = hidden_processes(EFFECT) {
        Err(missing)
    } else if could_enter == scan.namespaces.len() && could_enter > 0 {
        Ok(format!("{could_enter} found, all can be entered"))
    } else {
        Err(MissingFeature::new(
            format!("{could_enter} of {} can be entered", scan.namespaces.len()),
            EFFECT,
            "run it with sudo, or give it CAP_SYS_ADMIN",
        ))
    };
    Check {
        name: "network namespaces",
        found,
    }
}

pub(super) fn holders() -> Check {
    const EFFECT: &str =
        "who holds a stuck socket of a process that cannot be inspected, and the names of cgroups";
    let needed = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
    let lacking: Vec<_> = needed
        .into_iter()
        .filter(|capability| !capabilities::has(*capability))
        .map(|capability| capability.to_string())
        .collect();
    let found = if let Some(missing) = hidden_processes(EFFECT) {
        Err(missing)
    } else if lacking.is_empty() {
        Ok("the descriptors of all processes can be inspected".to_owned())
    } else {
        Err(MissingFeature::new(
            format!("lacks {}", lacking.join(" and ")),
            EFFECT,
            "run it with sudo, or give it these",
        ))
    };
    Check {
        name: "holders of sockets",
        found,
    }
}

/// Whether the thread that reads may have the priority that the agent gives it by default.
pub(super) fn priority() -> Check {
    let found = if priority::may_have(READER_NICE) {
        Ok(format!("the agent may read at nice {READER_NICE}"))
    } else {
        Err(MissingFeature::new(
            format!("no thread may have nice {READER_NICE}"),
            "records of the agent, in a storm of connections that wants all processors; the losses are counted",
            "set LimitNICE= in its unit, run it with sudo, or give it CAP_SYS_NICE",
        ))
    };
    Check {
        name: "reader's priority",
        found,
    }
}
