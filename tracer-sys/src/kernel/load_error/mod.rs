//! Why the eBPF programs cannot be loaded or attached.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::path::Path;

use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use aya::programs::links::LinkError;
use rustix::io::Errno;

use super::address_space::TooLittleAddressSpace;
use super::btf::BtfError;
use super::object::SET_STATE;
use super::tracefs::NoField;
use crate::host::confinement::{self, Confinement};
use crate::host::namespace_link::in_initial_user_namespace;
use crate::host::{capabilities, is_too_old, kernel_release};

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The kernel refuses for lack of rights.
    #[error(
        "the kernel refuses to load eBPF programs: run tcpclose with sudo, or give it CAP_BPF and CAP_PERFMON"
    )]
    NotPermitted,
    /// The process is in a user namespace.
    #[error(
        "eBPF is not available in a user namespace (a rootless container); {}",
        Self::REMEDY_FOR_USER_NAMESPACE
    )]
    UserNamespace,
    /// The kernel refuses eBPF to this process, although it has the capabilities.
    #[error(
        "the kernel refuses eBPF ({error}), although this process has the capabilities: {}",
        suspects(.error, .confinements)
    )]
    Refused {
        /// What bpf() has returned.
        error: Errno,
        /// What may be the reason.
        confinements: Vec<Confinement>,
    },
    /// The kernel has no ring buffer (before 5.8).
    #[error(
        "Linux {0} has no BPF ring buffer; tcpclose needs Linux 5.8 or newer (`tcpclose doctor` shows details)"
    )]
    NoRingBuffer(String),
    /// Loading failed, on a kernel that is too old.
    #[error("Linux {release} is too old: tcpclose needs Linux 5.8 or newer ({})", first_line(.error))]
    TooOld {
        /// The kernel's release.
        release: String,
        /// What failed.
        error: Box<AttachError>,
    },
    /// The process may not use enough address space.
    #[error(transparent)]
    AddressSpace(#[from] TooLittleAddressSpace),
    /// Nothing of the kernel can be read.
    #[error(
        "/sys is not mounted, so neither the kernel's BTF nor its tracepoints can be found; {}",
        Self::REMEDY_FOR_SYSFS
    )]
    NoSysfs,
    /// The kernel's structures are not what the programs know.
    #[error("{0}; try --no-btf for the classic tracepoint")]
    Btf(BtfError),
    /// The classic tracepoint is needed and cannot be used.
    #[error(
        "without BTF tcpclose needs the classic tracepoint sock:{SET_STATE}, which cannot be used ({0}); {remedy}",
        remedy = Self::remedy_for_tracefs(.0)
    )]
    NoTracefs(io::Error),
    /// The tracepoint's record lacks a field.
    #[error("this kernel's tracepoint sock:{SET_STATE} has {0}; it cannot be used")]
    NoField(NoField),
    /// The classic tier does not show what a filter needs.
    #[error("{0} needs the kernel's BTF, which is missing here or was refused by --no-btf")]
    FilterNeedsBtf(&'static str),
    /// Loading or attaching failed otherwise.
    #[error("loading the eBPF programs failed: {}", chain(.0))]
    Attach(AttachError),
    /// A file of the kernel could not be read.
    #[error("{doing} failed: {error}")]
    Read {
        /// What was read.
        doing: &'static str,
        /// What the kernel reported.
        error: io::Error,
    },
}

/// Why a program or a map could not be loaded, attached or opened.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The object could not be loaded.
    #[error(transparent)]
    Object(#[from] EbpfError),
    /// A program could not be loaded or attached.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The link of an attached program could not be used.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// A map could not be opened.
    #[error(transparent)]
    Map(#[from] MapError),
    /// aya could not read its part of the kernel's BTF.
    #[error(transparent)]
    Btf(#[from] aya::BtfError),
    /// The programs' log could not be opened.
    #[error(transparent)]
    Log(#[from] aya_log::Error),
    /// The object has no such program: it is of another build.
    #[error("the eBPF object has no program {0}")]
    NoProgram(&'static str),
    /// The object has no such map: it is of another build.
    #[error("the eBPF object has no map {0}")]
    NoMap(&'static str),
    /// The thread that verifies a program could not be started.
    #[error("starting a thread failed")]
    Thread(#[source] io::Error),
}

/// Why a part of what the programs record is not available. The others work without it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramUnavailable {
    /// The classic tier is used.
    #[error("the kernel's BTF is needed")]
    NeedsBtf,
    /// Minisockets cannot be recognized without cookies.
    #[error("minisocket hooks need socket cookies in tracing programs (Linux 5.12)")]
    NeedsCookies,
    /// The tracepoint on dropped packets lacks an argument.
    #[error("this kernel's skb:kfree_skb does not pass the receiving socket (Linux 6.11 does)")]
    NeedsReceivingSocket,
    /// The tracepoint on dropped packets lacks the reason, or output is dropped without one.
    #[error("this kernel does not say why it drops what it sends (Linux 5.18 does)")]
    NeedsDropReasons,
    /// The kernel's verifier, or its rights, refuse the program.
    #[error("the kernel refuses the program ({0})")]
    Refused(String),
    /// Loading or attaching failed otherwise; the text is one line.
    #[error("{0}")]
    Failed(String),
}

impl From<AttachError> for ProgramUnavailable {
    /// Keeps one line: the verifier's log is for developers.
    fn from(error: AttachError) -> Self {
        if let Some(reason) = program_load_error(&error) {
            return Self::Refused(reason.to_string());
        }
        Self::Failed(first_line(&error))
    }
}

/// What the host shows about the reasons of a refusal.
struct Host {
    may_trace: bool,
    confinements: Vec<Confinement>,
    release: String,
}

impl Host {
    fn read() -> Self {
        Self {
            may_trace: capabilities::may_trace(),
            confinements: confinement::confinements(),
            release: kernel_release(),
        }
    }
}

impl LoadError {
    /// What to do in a user namespace.
    pub const REMEDY_FOR_USER_NAMESPACE: &'static str =
        "run tcpclose as the host's root, outside of it: capabilities inside do not count for eBPF";
    /// What to do where /sys is not mounted.
    pub const REMEDY_FOR_SYSFS: &'static str = "mount it with `mount -t sysfs sysfs /sys`, and give a container the host's /sys, read-only";

    /// Returns the error of a process whose capabilities do not suffice.
    pub(super) fn without_capabilities() -> Self {
        if !in_initial_user_namespace() {
            return Self::UserNamespace;
        }
        if !capabilities::are_denied() {
            return Self::NotPermitted;
        }
        let mut confinements = confinement::confinements();
        confinements.retain(|it| matches!(it, Confinement::AppArmor(_)));
        Self::Refused {
            error: Errno::PERM,
            confinements,
        }
    }

    /// Returns the error of a classic tracepoint whose description cannot be read.
    pub(super) fn without_tracefs(error: io::Error) -> Self {
        if has_sysfs() {
            Self::NoTracefs(error)
        } else {
            Self::NoSysfs
        }
    }

    /// Returns the error of a filter, named as its option is, that the classic tier has not.
    pub(super) fn filter_without_btf(option: &'static str) -> Self {
        if has_sysfs() {
            Self::FilterNeedsBtf(option)
        } else {
            Self::NoSysfs
        }
    }

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

    /// Finds the refusals that have a remedy in what aya reports.
    pub(super) fn from_aya(error: impl Into<AttachError>) -> Self {
        Self::on_host(error.into(), Host::read())
    }

    fn on_host(error: AttachError, host: Host) -> Self {
        let Host {
            may_trace,
            confinements,
            release,
        } = host;
        let other =
            || causes(&error).find_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error());
        let program = program_load_error(&error).and_then(io::Error::raw_os_error);
        let has = |wanted: fn(&Confinement) -> bool| confinements.iter().any(wanted);
        let errno = program.or_else(other).map(Errno::from_raw_os_error);
        let is_refused = match errno {
            Some(Errno::PERM | Errno::NOSYS) => true,
            // The verifier says the same where it rejects a program.
            Some(Errno::ACCESS) => has(|it| matches!(it, Confinement::SeLinux(_))),
            // A helper that lockdown forbids does not exist for the verifier.
            Some(Errno::INVAL) if program.is_some() => has(|it| *it == Confinement::Lockdown),
            _ => false,
        };
        match errno {
            Some(Errno::PERM) if !may_trace => Self::NotPermitted,
            Some(error) if is_refused => Self::Refused {
                error,
                confinements,
            },
            Some(Errno::INVAL) if mentions_ring_map(&error) => Self::NoRingBuffer(release),
            _ if is_too_old(&release) => Self::TooOld {
                release,
                error: error.into(),
            },
            _ => Self::Attach(error),
        }
    }
}

fn has_sysfs() -> bool {
    Path::new("/sys/kernel").exists()
}

/// Returns who may have refused, with what to do about each.
fn suspects(error: &Errno, confinements: &[Confinement]) -> String {
    let is_hidden = *error == Errno::NOSYS;
    let sentences: Vec<String> = confinements
        .iter()
        .filter(|it| !is_hidden || **it == Confinement::Seccomp)
        .map(|it| format!("{it}: {}", it.remedy()))
        .collect();
    match sentences.as_slice() {
        [] if is_hidden => {
            "use a kernel with CONFIG_BPF_SYSCALL, which distributions' kernels have".to_owned()
        }
        [] => "a security module or the container's policy forbids it; `dmesg` may show which"
            .to_owned(),
        sentences => sentences.join("; or "),
    }
}

/// Returns one line: the verifier's log is for developers.
fn first_line(error: &AttachError) -> String {
    chain(error).lines().next().unwrap_or_default().to_owned()
}

/// Returns the error, followed by what caused it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| {
        (*error).source()
    })
}

/// Returns the error's text, with those of its causes.
fn chain(error: &AttachError) -> String {
    let texts: Vec<String> = causes(error).map(ToString::to_string).collect();
    texts.join(": ")
}

fn mentions_ring_map(error: &AttachError) -> bool {
    causes(error).any(|cause| cause.to_string().contains("EVENTS"))
}

/// Returns why the kernel refuses a program, where that is what failed.
fn program_load_error(error: &AttachError) -> Option<&io::Error> {
    match error {
        AttachError::Program(ProgramError::LoadError { io_error, .. }) => Some(io_error),
        _ => None,
    }
}
