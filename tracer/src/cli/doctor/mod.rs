//! `tcpclose doctor`: reports what tcpclose can see on this host, and what it cannot.

mod access;
mod agent_privileges;
mod check;
mod kernel;
mod running_agent;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::cli::common::print;
use crate::error_chain::error_chain;
use check::{Check, MissingFeature};
use tcpclose_sys::host::kernel_release;
use tcpclose_sys::kernel::btf;
use tcpclose_sys::kernel::loader::{self, LoadError, ProgramUnavailable, Tier, TraceOptions};
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError};

/// What `tcpclose doctor` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 connections can be watched here, 2 they cannot (with --agent: the agent lacks something that it needs)")]
pub(super) struct DoctorArgs {
    /// List the capabilities that `tcpclose agent` keeps once it traces, with the reason for each
    #[arg(long)]
    agent: bool,
    /// With --agent: the agent's configuration file; without this option the defaults apply
    #[arg(long, value_name = "FILE", requires = "agent")]
    config: Option<PathBuf>,
}

/// Prints the report. Returns exit code 0 if connections can be watched, else 2.
pub(super) fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if args.agent {
        return agent_privileges::run(args.config.as_deref());
    }
    let release = kernel_release();
    let best = loader::load(&TraceOptions::default());
    let classic = loader::load(&TraceOptions {
        classic: true,
        ..TraceOptions::default()
    });
    let checks = [
        kernel::release(&release, best.is_ok()),
        access::rights(),
        kernel::confinement(best.is_ok()),
        kernel_btf(),
        evidence(&best),
        causes(&best),
        cookies(&best),
        segments(&best),
        dropped_segments(&best),
        hooks(&best),
        classic_tracepoint(&classic),
        sock_diag(),
        access::namespaces(),
        access::holders(),
        access::priority(),
        running_agent::running_agent(),
    ];

    print(&report(&release, &checks, best.is_ok()))?;
    match best {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

fn report(release: &str, checks: &[Check], works: bool) -> String {
    let mut text = format!("Linux {release}\n");
    for Check { name, found } in checks {
        match found {
            Ok(detail) => text.push_str(&format!("  yes  {name:<20} {detail}\n")),
            Err(MissingFeature {
                problem,
                effect,
                remedy,
            }) => {
                text.push_str(&format!("  no   {name:<20} {problem}\n"));
                text.push_str(&format!("       {:<20} effect: {effect}\n", ""));
                text.push_str(&format!("       {:<20} fix: {remedy}\n", ""));
            }
        }
    }
    text.push_str(match works {
        true => "tcpclose watch works here\n",
        false => "tcpclose watch does not work here\n",
    });
    text
}

fn kernel_btf() -> Check {
    let found = match fs::metadata(btf::VMLINUX) {
        Ok(file) => Ok(format!("{} ({} KiB)", btf::VMLINUX, file.len() / 1024)),
        Err(error) => Err(MissingFeature::new(
            format!("{}: {error}", btf::VMLINUX),
            "the evidence: only states, addresses and ports are seen",
            if Path::new("/sys/kernel").exists() {
                "use a kernel with CONFIG_DEBUG_INFO_BTF"
            } else {
                LoadError::REMEDY_FOR_SYSFS
            },
        )),
    };
    Check {
        name: "kernel BTF",
        found,
    }
}

/// Returns why nothing can be traced, and what to do about it. The error's own sentence has both.
fn problem_and_remedy(error: &LoadError) -> (String, &'static str) {
    match error {
        LoadError::NotPermitted | LoadError::UserNamespace => {
            ("the kernel refuses eBPF".to_owned(), "see rights")
        }
        LoadError::NoSysfs => (
            "/sys is not mounted".to_owned(),
            LoadError::REMEDY_FOR_SYSFS,
        ),
        LoadError::NoTracefs(source) => (source.to_string(), LoadError::remedy_for_tracefs(source)),
        error => (error.to_string(), "see the message above"),
    }
}

fn evidence(best: &Result<loader::Programs, LoadError>) -> Check {
    const EFFECT: &str = "close paths that the states alone do not show, initiators of resets, byte counts, sequence numbers";
    let found = match best {
        Ok(programs) if programs.tier == Tier::Btf && !programs.has_data_times => {
            Err(MissingFeature::new(
                "this kernel's sockets lack the times of the last data (struct tcp_sock)",
                "idle times, and the causes stale_keepalive and crossed_keepalive",
                "please report this kernel",
            ))
        }
        Ok(programs) if programs.tier == Tier::Btf => Ok(
            "tp_btf/inet_sock_set_state: each transition with the socket's own evidence".to_owned(),
        ),
        Ok(_) => Err(MissingFeature::new(
            "the classic tracepoint is used",
            EFFECT,
            "use a kernel with BTF",
        )),
        Err(error) => {
            let (problem, remedy) = problem_and_remedy(error);
            Err(MissingFeature::new(
                problem,
                "everything: no transition is seen",
                remedy,
            ))
        }
    };
    Check {
        name: "evidence",
        found,
    }
}

fn causes(best: &Result<loader::Programs, LoadError>) -> Check {
    const EFFECT: &str = "who sent a reset and why, and lost FINs";
    let found = match best {
        Ok(programs) if programs.tier == Tier::Btf && programs.missing_tracepoints.is_empty() => {
            let named = if programs.reasons.resets.is_empty() {
                ""
            } else {
                ", with the kernel's reasons"
            };
            Ok(format!("resets sent and received{named}; FINs sent again"))
        }
        Ok(programs) => {
            let names: Vec<_> = programs
                .missing_tracepoints
                .iter()
                .map(|(name, why)| format!("{name}: {why}"))
                .collect();
            let problem = if names.is_empty() {
                "needs BTF".to_owned()
            } else {
                names.join("; ")
            };
            Err(MissingFeature::new(
                problem,
                EFFECT,
                "use a kernel with BTF, 5.8 or newer",
            ))
        }
        Err(_) => Err(MissingFeature::new(
            "nothing can be attached",
            EFFECT,
            "see above",
        )),
    };
    Check {
        name: "causes",
        found,
    }
}

fn cookies(best: &Result<loader::Programs, LoadError>) -> Check {
    let found = match best {
        Ok(programs) if programs.has_cookie => {
            Ok("an endpoint is its socket cookie (ss -e: sk:)".to_owned())
        }
        Ok(_) => Err(MissingFeature::new(
            "eBPF programs may not ask for them here",
            "connections are identified by their kernel address and a number that tcpclose assigns",
            "use Linux 5.12 or newer",
        )),
        Err(_) => Err(MissingFeature::new(
            "nothing can be attached",
            "joining with ss",
            "see above",
        )),
    };
    Check {
        name: "socket cookies",
        found,
    }
}

/// What to do about a program that is not attached; `refused` is for one that the kernel takes from
/// nobody.
fn remedy_for_unavailable(why: &ProgramUnavailable, refused: &'static str) -> &'static str {
    match why {
        ProgramUnavailable::NeedsBtf => "use a kernel with BTF",
        ProgramUnavailable::NeedsCookies => "use Linux 5.12 or newer",
        ProgramUnavailable::NeedsReceivingSocket => "use Linux 6.11 or newer",
        ProgramUnavailable::NeedsDropReasons => "use Linux 5.18 or newer",
        ProgramUnavailable::Refused(_) | ProgramUnavailable::Failed(_) => refused,
    }
}

/// Whether a program that is there for something special is attached; `refused` is the remedy where
/// the kernel takes it from nobody.
fn special_program(
    name: &'static str,
    attached: Result<&Result<(), ProgramUnavailable>, &LoadError>,
    gives: &str,
    effect: &'static str,
    refused: &'static str,
) -> Check {
    let found = match attached {
        Ok(Ok(())) => Ok(gives.to_owned()),
        Ok(Err(why)) => Err(MissingFeature::new(
            why.to_string(),
            effect,
            remedy_for_unavailable(why, refused),
        )),
        Err(_) => Err(MissingFeature::new(
            "nothing can be attached",
            effect,
            "see above",
        )),
    };
    Check { name, found }
}

/// What to do where the kernel refuses a program that it should take.
const REPORT_KERNEL: &str = "please report this kernel, with the reason above";

fn segments(best: &Result<loader::Programs, LoadError>) -> Check {
    special_program(
        "last segments",
        best.as_ref().map(|programs| &programs.minisocket_segments),
        "skb:kfree_skb shows the FIN or RST that ends a close",
        "the peer's FIN or RST after close() itself: polls show that it arrived, but not the segment",
        REPORT_KERNEL,
    )
}

fn dropped_segments(best: &Result<loader::Programs, LoadError>) -> Check {
    special_program(
        "own drops",
        best.as_ref().map(|programs| &programs.dropped_segments),
        "skb:kfree_skb shows what this host drops of what it sends",
        "that a firewall or a queue of this host has dropped an ACK or a RST: it counts as sent when IP has it",
        REPORT_KERNEL,
    )
}

fn hooks(best: &Result<loader::Programs, LoadError>) -> Check {
    special_program(
        "TIME_WAIT hooks",
        best.as_ref().map(|programs| &programs.minisocket_hooks),
        "fentry programs report when TIME_WAIT begins, restarts and ends",
        "exact ends of TIME_WAIT: polls narrow them down to about 0.1 s",
        "use a kernel that takes fentry programs (CONFIG_FUNCTION_TRACER, and no sandbox that forbids them)",
    )
}

fn classic_tracepoint(classic: &Result<loader::Programs, LoadError>) -> Check {
    let found = match classic {
        Ok(_) => {
            Ok("sock:inet_sock_set_state can be attached (used where there is no BTF)".to_owned())
        }
        Err(error) => {
            let (problem, remedy) = problem_and_remedy(error);
            Err(MissingFeature::new(
                problem,
                "nothing, as long as there is BTF",
                remedy,
            ))
        }
    };
    Check {
        name: "classic tracepoint",
        found,
    }
}

fn sock_diag() -> Check {
    let found = match DiagClient::open() {
        Ok(_) => {
            Ok("the peer's FIN is found after close(), in the kernel's minisockets".to_owned())
        }
        Err(error) => {
            let remedy = match error {
                DiagError::Open(_) => "allow AF_NETLINK (systemd: RestrictAddressFamilies=)",
                _ => "load the kernel module tcp_diag",
            };
            Err(MissingFeature::new(
                error_chain(&error),
                "the end of a close whose process is gone: such closes are reported as unknown",
                remedy,
            ))
        }
    };
    Check {
        name: "sock_diag",
        found,
    }
}
