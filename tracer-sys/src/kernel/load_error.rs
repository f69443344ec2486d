//! Why the eBPF programs cannot be loaded or attached.

use std::io;

use aya::programs::ProgramError;
use rustix::io::Errno;

use super::btf::BtfError;
use super::object::SET_STATE;

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The program was built without its eBPF part.
    #[error("this tcpclose was built without its eBPF programs; build it with `cargo xtask build`")]
    NoObject,
    /// The kernel refuses for lack of rights.
    #[error(
        "the kernel refuses to load eBPF programs: run tcpclose with sudo, or give it CAP_BPF and CAP_PERFMON"
    )]
    NotPermitted,
    /// The kernel has no ring buffer (before 5.8).
    #[error(
        "this kernel has no BPF ring buffer; tcpclose needs Linux 5.8 or newer (`tcpclose doctor` tells more)"
    )]
    NoRingBuffer,
    /// The kernel's structures are not what the programs know.
    #[error("{0}; try --no-btf for the classic tracepoint")]
    Btf(BtfError),
    /// The classic tracepoint is needed and cannot be used.
    #[error(
        "the classic tracepoint sock:{SET_STATE} cannot be used ({0}); {remedy}",
        remedy = Self::remedy_for_tracefs(.0)
    )]
    NoTracefs(io::Error),
    /// The tracepoint's record lacks a field.
    #[error("this kernel's tracepoint sock:{SET_STATE} has no field {0}; it cannot be used")]
    NoField(String),
    /// The classic tier does not show what a filter needs.
    #[error("{0} needs the kernel's BTF, which is missing here or was refused by --no-btf")]
    FilterNeedsBtf(&'static str),
    /// Loading or attaching failed otherwise.
    #[error("{doing} failed: {error:#}")]
    Other {
        /// The step that failed.
        doing: &'static str,
        /// What the kernel or aya reported.
        error: anyhow::Error,
    },
}

impl LoadError {
    /// Returns what to do where tracefs cannot be read.
    #[must_use]
    pub fn remedy_for_tracefs(error: &io::Error) -> &'static str {
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "run tcpclose with sudo, or give it CAP_DAC_READ_SEARCH"
            }
            _ => "mount tracefs with `mount -t tracefs tracefs /sys/kernel/tracing`",
        }
    }

    /// Finds the two refusals that have a remedy in what aya reports.
    pub(super) fn from_aya(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let other = || {
            let mut causes = error.chain();
            causes.find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
        };
        let errno = refusal(&error).and_then(io::Error::raw_os_error);
        match errno.or_else(other).map(Errno::from_raw_os_error) {
            Some(Errno::PERM) => Self::NotPermitted,
            Some(Errno::INVAL) if names_a_ring(&error) => Self::NoRingBuffer,
            _ => Self::Other {
                doing: "loading the eBPF programs",
                error,
            },
        }
    }
}

fn names_a_ring(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| cause.to_string().contains("EVENTS"))
}

/// Returns why the kernel refuses a program, where that is what failed.
pub(super) fn refusal(error: &anyhow::Error) -> Option<&io::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ProgramError::LoadError { io_error, .. }) => Some(io_error),
        _ => None,
    })
}
