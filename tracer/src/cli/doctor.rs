//! `tcpclose doctor`: reports what tcpclose can see on this host, and what it cannot.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::agent;
use crate::agent::config::Config;
use tcpclose_sys::host::capabilities::{self, Capabilities, Capability, USED};
use tcpclose_sys::host::kernel_release;
use tcpclose_sys::host::privilege_drop::{self, KeptCapability, RunningAgent};
use tcpclose_sys::kernel::loader::{self, LoadError, Tier, TraceOptions};
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError};
use tcpclose_sys::kernel::{btf, netns};

/// What `tcpclose doctor` takes.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 connections can be watched here, 2 they cannot (with --agent: the agent lacks something that it needs)")]
pub(super) struct Args {
    /// List the capabilities that `tcpclose agent` keeps once it traces, with the reason for each
    #[arg(long)]
    agent: bool,
    /// With --agent: the agent's configuration file; without this option the defaults apply
    #[arg(long, value_name = "FILE", requires = "agent")]
    config: Option<PathBuf>,
}
/// One line of the report.
struct Check {
    name: &'static str,
    found: Result<String, Lack>,
}

/// A missing piece: its cause, its effect, and how to fix it.
struct Lack {
    what: String,
    costs: &'static str,
    remedy: &'static str,
}

impl Lack {
    fn new(what: impl Into<String>, costs: &'static str, remedy: &'static str) -> Self {
        Self {
            what: what.into(),
            costs,
            remedy,
        }
    }
}

/// Prints the report. Returns exit code 0 if connections can be watched, else 2.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.agent {
        return rights_of_agent(args.config.as_deref());
    }
    let kernel = kernel_release();
    let best = loader::load(&TraceOptions::default());
    let classic = loader::load(&TraceOptions {
        classic: true,
        ..TraceOptions::default()
    });
    let checks = [
        rights(),
        kernel_btf(),
        evidence(&best),
        causes(&best),
        cookies(&best),
        segments(&best),
        hooks(&best),
        classic_tracepoint(&classic),
        sock_diag(),
        namespaces(),
        holders(),
    ];

    let mut out = io::stdout().lock();
    let written = report(&mut out, &kernel, &checks, best.is_ok());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    match best {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

fn report(out: &mut impl Write, kernel: &str, checks: &[Check], works: bool) -> io::Result<()> {
    writeln!(out, "Linux {kernel}")?;
    for Check { name, found } in checks {
        match found {
            Ok(detail) => writeln!(out, "  yes  {name:<20} {detail}")?,
            Err(Lack {
                what,
                costs,
                remedy,
            }) => {
                writeln!(out, "  no   {name:<20} {what}")?;
                writeln!(out, "       {:<20} costs: {costs}", "")?;
                writeln!(out, "       {:<20} do: {remedy}", "")?;
            }
        }
    }
    let verdict = if works {
        "tcpclose watch works here"
    } else {
        "tcpclose watch does not work here"
    };
    writeln!(out, "{verdict}")?;
    out.flush()
}

/// Prints the capabilities. Returns exit code 0 if this process has all that the agent keeps, else
/// 2.
fn rights_of_agent(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = match file {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    let kept = agent::needed_capabilities(&config);
    let have = Capabilities::on_host();
    let mut text = String::from("once it traces, the agent keeps\n");
    for KeptCapability { capability, why } in &kept {
        let here = if have.has(*capability) { "yes" } else { "no " };
        text.push_str(&format!("  {here}  {:<20} {why}\n", capability.to_string()));
    }
    text.push_str("and gives up for good\n");
    for capability in USED {
        if !kept.iter().any(|kept| kept.capability == capability) {
            text.push_str(&format!("       {capability}\n"));
        }
    }
    text.push_str("       all others that it was started with; no_new_privs keeps them away\n");
    let lacks = |kept: &&KeptCapability| !have.has(kept.capability);
    let missing: Vec<_> = kept
        .iter()
        .filter(lacks)
        .map(|kept| kept.capability.to_string())
        .collect();
    if !missing.is_empty() {
        text.push_str(&format!("this process lacks {}\n", missing.join(", ")));
    }
    let agents = privilege_drop::running_agents();
    match &agents {
        Ok(agents) if agents.is_empty() => text.push_str("no agent runs here\n"),
        Ok(agents) => agents
            .iter()
            .for_each(|agent| text.push_str(&as_it_runs(agent))),
        Err(error) => text.push_str(&format!("whether one runs is not known: /proc: {error}\n")),
    }
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(super::EXIT_FAILED)
    })
}

fn as_it_runs(agent: &RunningAgent) -> String {
    let RunningAgent {
        pid,
        capabilities,
        no_new_privs,
    } = agent;
    let capabilities = match capabilities.is_empty() {
        true => "no capabilities".to_owned(),
        false => names(capabilities).join(", "),
    };
    let more = match no_new_privs {
        true => "and can get no more (no_new_privs)",
        false => "and could get more by executing a program: it has not attached yet",
    };
    format!("agent {pid}, which runs, has {capabilities}, {more}\n")
}

fn names(capabilities: &[Capability]) -> Vec<String> {
    capabilities.iter().map(Capability::to_string).collect()
}

fn rights() -> Check {
    let missing = names(&capabilities::missing());
    let found = if capabilities::may_trace() {
        Ok("may load and attach eBPF programs".to_owned())
    } else {
        Err(Lack::new(
            format!("missing {}", missing.join(", ")),
            "everything: no transition is seen",
            "run it with sudo, or give it CAP_BPF and CAP_PERFMON",
        ))
    };
    Check {
        name: "rights",
        found,
    }
}

fn kernel_btf() -> Check {
    let found = match fs::metadata(btf::VMLINUX) {
        Ok(file) => Ok(format!("{} ({} KiB)", btf::VMLINUX, file.len() / 1024)),
        Err(error) => Err(Lack::new(
            format!("{}: {error}", btf::VMLINUX),
            "the evidence: only states, addresses and ports are seen",
            "use a kernel with CONFIG_DEBUG_INFO_BTF",
        )),
    };
    Check {
        name: "kernel BTF",
        found,
    }
}

fn evidence(best: &Result<loader::Programs, LoadError>) -> Check {
    const COSTS: &str =
        "paths that the states alone do not tell, initiators of resets, bytes, sequence numbers";
    let found = match best {
        Ok(programs) if programs.tier == Tier::Btf => Ok(
            "tp_btf/inet_sock_set_state: each transition with the socket's own evidence".to_owned(),
        ),
        Ok(_) => Err(Lack::new(
            "the classic tracepoint is used",
            COSTS,
            "use a kernel with BTF",
        )),
        Err(error) => Err(Lack::new(
            error.to_string(),
            "everything: no transition is seen",
            "see the reason",
        )),
    };
    Check {
        name: "evidence",
        found,
    }
}

fn causes(best: &Result<loader::Programs, LoadError>) -> Check {
    const COSTS: &str = "who sent a reset and why, and lost FINs";
    let found = match best {
        Ok(programs) if programs.tier == Tier::Btf && programs.missing.is_empty() => {
            let named = if programs.reset_reasons.is_empty() {
                ""
            } else {
                ", with the kernel's reasons"
            };
            Ok(format!("resets sent and received{named}; FINs sent again"))
        }
        Ok(programs) => {
            let names: Vec<_> = programs
                .missing
                .iter()
                .map(|(name, why)| format!("{name}: {why}"))
                .collect();
            let what = if names.is_empty() {
                "needs BTF".to_owned()
            } else {
                names.join("; ")
            };
            Err(Lack::new(
                what,
                COSTS,
                "use a kernel with BTF, 5.8 or newer",
            ))
        }
        Err(_) => Err(Lack::new("nothing can be attached", COSTS, "see above")),
    };
    Check {
        name: "causes",
        found,
    }
}

fn cookies(best: &Result<loader::Programs, LoadError>) -> Check {
    let found = match best {
        Ok(programs) if programs.has_cookie => {
            Ok("a connection end is its socket cookie (ss -e: sk:)".to_owned())
        }
        Ok(_) => Err(Lack::new(
            "eBPF programs may not ask for them here",
            "connections are told apart by their kernel address and a number of our own",
            "use Linux 5.12 or newer",
        )),
        Err(_) => Err(Lack::new(
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

fn segments(best: &Result<loader::Programs, LoadError>) -> Check {
    const COSTS: &str = "the peer's FIN or RST after close() itself: looks at the minisockets tell that it came, not how";
    let found = match best.as_ref().map(|programs| &programs.segments) {
        Ok(Ok(())) => Ok("skb:kfree_skb shows the FIN or RST that ends a close".to_owned()),
        Ok(Err(why)) => Err(Lack::new(why.clone(), COSTS, "use Linux 6.11 or newer")),
        Err(_) => Err(Lack::new("nothing can be attached", COSTS, "see above")),
    };
    Check {
        name: "last segments",
        found,
    }
}

fn hooks(best: &Result<loader::Programs, LoadError>) -> Check {
    const COSTS: &str =
        "exact ends of TIME_WAIT: looks at the minisockets bracket them, to some 0.1 s";
    let found = match best.as_ref().map(|programs| &programs.hooks) {
        Ok(Ok(())) => Ok("fentry tells when TIME_WAIT begins, restarts and ends".to_owned()),
        Ok(Err(why)) => Err(Lack::new(
            why.clone(),
            COSTS,
            "use a kernel that takes fentry programs (CONFIG_FUNCTION_TRACER, and no sandbox that forbids them)",
        )),
        Err(_) => Err(Lack::new("nothing can be attached", COSTS, "see above")),
    };
    Check {
        name: "TIME_WAIT hooks",
        found,
    }
}

fn classic_tracepoint(classic: &Result<loader::Programs, LoadError>) -> Check {
    let found = match classic {
        Ok(_) => {
            Ok("sock:inet_sock_set_state can be attached (used where there is no BTF)".to_owned())
        }
        Err(error) => Err(Lack::new(
            error.to_string(),
            "nothing, as long as there is BTF",
            match error {
                LoadError::NoTracefs(source) => LoadError::remedy_for_tracefs(source),
                _ => "see above",
            },
        )),
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
            Err(Lack::new(
                format!("{:#}", anyhow::Error::new(error)),
                "the end of a close whose process is gone: such closes are told as unknown",
                remedy,
            ))
        }
    };
    Check {
        name: "sock_diag",
        found,
    }
}

fn namespaces() -> Check {
    let scan = netns::scan();
    let could_enter = scan
        .namespaces
        .iter()
        .filter(|found| found.enter(|| ()).is_ok())
        .count();
    let found = if could_enter == scan.namespaces.len() && could_enter > 0 {
        Ok(format!("{could_enter} found, all can be entered"))
    } else {
        Err(Lack::new(
            format!("{could_enter} of {} can be entered", scan.namespaces.len()),
            "the end of closes in the others (containers): they are told as unknown",
            "run it with sudo, or give it CAP_SYS_ADMIN",
        ))
    };
    Check {
        name: "network namespaces",
        found,
    }
}

fn holders() -> Check {
    let needed = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
    let lacking: Vec<_> = needed
        .into_iter()
        .filter(|capability| !capabilities::has(*capability))
        .map(|capability| capability.to_string())
        .collect();
    let found = if lacking.is_empty() {
        Ok("descriptors of all processes can be looked through".to_owned())
    } else {
        Err(Lack::new(
            format!("lacks {}", lacking.join(" and ")),
            "who holds a stuck socket of another user, and the names of cgroups",
            "run it with sudo, or give it these",
        ))
    };
    Check {
        name: "holders of sockets",
        found,
    }
}
