//! Rows about the kernel's age, and about what may forbid eBPF to this process.

use super::access::missing_proc;
use super::check::{Check, MissingFeature};
use tcpclose_sys::host::confinement::confinements;
use tcpclose_sys::host::is_too_old;

/// Distributions backport: an old number matters only where nothing works.
pub(super) fn release(release: &str, works: bool) -> Check {
    let found = match (works, is_too_old(release)) {
        (true, _) => Ok("has what tcpclose needs".to_owned()),
        (false, false) => Ok("5.8 or newer".to_owned()),
        (false, true) => Err(MissingFeature::new(
            "older than 5.8",
            "everything: no transition is seen",
            "use Linux 5.8 or newer",
        )),
    };
    Check {
        name: "kernel",
        found,
    }
}

/// Lists lockdown, seccomp, AppArmor and SELinux where they confine this process.
pub(super) fn confinement(works: bool) -> Check {
    const NAME: &str = "confinement";
    const EFFECT: &str = "what restricts this process is not known";
    if let Some(missing) = missing_proc(EFFECT) {
        return Check {
            name: NAME,
            found: Err(missing),
        };
    }
    let confinements = confinements();
    let names: Vec<String> = confinements.iter().map(ToString::to_string).collect();
    let names = names.join("; ");
    let found = match confinements.first() {
        None => Ok("no seccomp filter, lockdown or security module restricts this process".into()),
        Some(_) if works => Ok(format!("{names}, but eBPF is allowed")),
        Some(first) => Err(MissingFeature::new(
            names,
            "perhaps everything: the kernel may refuse eBPF because of it",
            first.remedy(),
        )),
    };
    Check { name: NAME, found }
}
