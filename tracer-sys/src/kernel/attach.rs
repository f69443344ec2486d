//! Has the kernel verify the programs of a tier, and attaches them: those that see causes first, so
//! that no cause of the first transitions is missed.

use std::collections::HashMap;
use std::thread;

use anyhow::Context as _;
use aya::Ebpf;
use aya::programs::{BtfTracePoint, FEntry, Program, TracePoint};

use super::btf::Btf;
use super::load_error::refusal;
use super::object::{KFREE_SKB, SET_STATE, SET_STATE_CLASSIC, SET_STATE_FALLBACK};

/// Tracepoints that add causes; without one of them fewer causes are reported, and
/// `tcpclose doctor` shows that.
const SIGNALS: [&str; 3] = ["tcp_send_reset", "tcp_receive_reset", "tcp_retransmit_skb"];

/// How many arguments the tracepoint [`KFREE_SKB`] must pass: the fourth is the socket (since
/// 6.11).
const KFREE_SKB_ARGUMENTS: usize = 4;

/// Functions whose entry shows what happens to minisockets: each program's name in the object, and
/// the function's in the kernel. All three are attached, or none.
const HOOKS: [(&str, &str); 3] = [
    ("inet_twsk_kill", "inet_twsk_kill"),
    ("inet_twsk_deschedule_put", "inet_twsk_deschedule_put"),
    ("inet_twsk_schedule", "__inet_twsk_schedule"),
];

/// What could be attached beside the program on transitions.
pub(super) struct AttachOutcome {
    /// Whether the fallback is loaded, to be attached when it is needed; if not, why.
    pub fallback: Result<(), String>,
    /// Tracepoints that could not be attached, and why.
    pub missing: Vec<(&'static str, String)>,
    /// Whether the function hooks on minisockets are attached; if not, why.
    pub hooks: Result<(), String>,
    /// Whether the program on dropped segments is attached; if not, why.
    pub segments: Result<(), String>,
}

/// The programs by their names in the object.
struct ByName<'a>(HashMap<&'a str, &'a mut Program>);

/// Attaches the tier with all evidence.
pub(super) fn with_btf(
    ebpf: &mut Ebpf,
    btf: &Btf<'_>,
    has_cookie: bool,
) -> anyhow::Result<AttachOutcome> {
    let functions = HOOKS.map(|(_, function)| function.to_owned());
    let tracepoints = SIGNALS.into_iter().chain([KFREE_SKB, SET_STATE]);
    let names: Vec<String> = tracepoints
        .map(|name| format!("btf_trace_{name}"))
        .chain(functions)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let known = &btf.for_aya(&names)?;

    let mut programs = ByName(ebpf.programs_mut().collect());
    let set_state = programs.tracepoint(SET_STATE)?;
    let fallback = programs.tracepoint(SET_STATE_FALLBACK)?;
    // The verifier takes 10 ms for each of these two, and verifies both at the same time.
    let (set_state, fallback) = thread::scope(|scope| {
        let verifier = thread::Builder::new().name("verifier".into());
        let fallback = verifier.spawn_scoped(scope, || {
            fallback.load(SET_STATE, known)?;
            anyhow::Ok(fallback)
        });
        let loaded = set_state.load(SET_STATE, known).map(|()| set_state);
        let fallback = fallback.context("starting a thread failed");
        let fallback = fallback.and_then(|fallback| {
            fallback
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        (loaded, fallback)
    });

    let mut missing = Vec::new();
    for name in SIGNALS {
        if let Err(error) = programs.attach(name, known) {
            missing.push((name, first_line(&error)));
        }
    }
    // A minisocket is recognized by its cookie.
    let hooks = match has_cookie {
        false => Err("they need socket cookies".to_owned()),
        true => programs
            .attach_hooks(known)
            .map_err(|error| first_line(&error)),
    };
    let segments = match btf.tracepoint_arguments(KFREE_SKB) >= Some(KFREE_SKB_ARGUMENTS) {
        false => Err("the kernel's skb:kfree_skb does not name the socket".to_owned()),
        true => programs
            .attach(KFREE_SKB, known)
            .map_err(|error| first_line(&error)),
    };
    set_state?.attach()?;
    Ok(AttachOutcome {
        fallback: fallback.map(|_| ()).map_err(|error| first_line(&error)),
        missing,
        hooks,
        segments,
    })
}

/// Attaches the tier that sees states, addresses and ports.
pub(super) fn classic(ebpf: &mut Ebpf) -> anyhow::Result<AttachOutcome> {
    let mut programs = ByName(ebpf.programs_mut().collect());
    let program: &mut TracePoint = programs.take(SET_STATE_CLASSIC)?.try_into()?;
    program.load()?;
    program.attach("sock", SET_STATE)?;
    Ok(AttachOutcome {
        fallback: Err("it needs the kernel's BTF".to_owned()),
        missing: Vec::new(),
        hooks: Err("they need the kernel's BTF".to_owned()),
        segments: Err("it needs the kernel's BTF".to_owned()),
    })
}

impl<'a> ByName<'a> {
    fn take(&mut self, name: &str) -> anyhow::Result<&'a mut Program> {
        let Self(programs) = self;
        programs
            .remove(name)
            .with_context(|| format!("the eBPF object has no program {name}"))
    }

    fn tracepoint(&mut self, name: &str) -> anyhow::Result<&'a mut BtfTracePoint> {
        Ok(self.take(name)?.try_into()?)
    }

    /// Attaches the program of that name to the tracepoint of that name.
    fn attach(&mut self, name: &str, btf: &aya::Btf) -> anyhow::Result<()> {
        let program = self.tracepoint(name)?;
        program.load(name, btf)?;
        program.attach()?;
        Ok(())
    }

    /// Attaches all hooks or none: a beginning without its end would be worse than neither.
    fn attach_hooks(&mut self, btf: &aya::Btf) -> anyhow::Result<()> {
        let hooks = HOOKS.iter().map(|(name, function)| {
            let program: &mut FEntry = self.take(name)?.try_into()?;
            Ok((function, program))
        });
        let mut hooks = hooks.collect::<anyhow::Result<Vec<_>>>()?;
        let attached = hooks.iter_mut().try_for_each(|(function, program)| {
            program.load(function, btf)?;
            program.attach()?;
            anyhow::Ok(())
        });
        if attached.is_err() {
            for (_, program) in hooks {
                // One that was never loaded cannot be unloaded.
                let _ = program.unload();
            }
        }
        attached
    }
}

/// Returns the error in one line. The verifier's log is for developers.
fn first_line(error: &anyhow::Error) -> String {
    if let Some(reason) = refusal(error) {
        return format!("the kernel refuses the program ({reason})");
    }
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().to_owned()
}
