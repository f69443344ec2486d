//! Has the kernel verify the programs of a tier, and attaches them: those that see causes first, so
//! that no cause of the first transitions is missed.

use std::collections::HashMap;
use std::thread;

use aya::Ebpf;
use aya::programs::{BtfTracePoint, FEntry, Program, TracePoint};

use super::btf::Btf;
use super::load_error::{AttachError, ProgramUnavailable};
use super::object::{KFREE_SKB, SET_STATE, SET_STATE_CLASSIC, SET_STATE_FALLBACK};

/// Tracepoints that add causes; without one of them fewer causes are reported, and
/// `tcpclose doctor` shows that.
const CAUSE_TRACEPOINTS: [&str; 3] = ["tcp_send_reset", "tcp_receive_reset", "tcp_retransmit_skb"];

/// How many arguments the tracepoint [`KFREE_SKB`] must pass: the fourth is the socket (since
/// 6.11).
const MIN_KFREE_SKB_ARGUMENTS: usize = 4;

/// Functions whose entry shows what happens to minisockets: each program's name in the object, and
/// the function's in the kernel. All three are attached, or none.
const MINISOCKET_HOOKS: [(&str, &str); 3] = [
    ("inet_twsk_kill", "inet_twsk_kill"),
    ("inet_twsk_deschedule_put", "inet_twsk_deschedule_put"),
    ("inet_twsk_schedule", "__inet_twsk_schedule"),
];

/// What could be attached beside the program on transitions.
pub(super) struct AttachOutcome {
    /// Whether the fallback is loaded, to be attached when it is needed; if not, why.
    pub recursion_fallback: Result<(), ProgramUnavailable>,
    /// Tracepoints that could not be attached, and why.
    pub missing_tracepoints: Vec<(&'static str, ProgramUnavailable)>,
    /// Whether the function hooks on minisockets are attached; if not, why.
    pub minisocket_hooks: Result<(), ProgramUnavailable>,
    /// Whether the program on dropped packets is attached and sees the segments that minisockets
    /// took; if not, why.
    pub minisocket_segments: Result<(), ProgramUnavailable>,
    /// Whether it is attached and sees what this host drops of its own segments; if not, why.
    pub dropped_segments: Result<(), ProgramUnavailable>,
}

/// The programs by their names in the object.
struct ProgramsByName<'a>(HashMap<&'a str, &'a mut Program>);

/// Attaches the tier with all evidence.
pub(super) fn btf_tier(
    ebpf: &mut Ebpf,
    btf: &Btf<'_>,
    has_cookie: bool,
    gives_reasons: bool,
) -> Result<AttachOutcome, AttachError> {
    let functions = MINISOCKET_HOOKS.map(|(_, function)| function.to_owned());
    let tracepoints = CAUSE_TRACEPOINTS.into_iter().chain([KFREE_SKB, SET_STATE]);
    let names: Vec<String> = tracepoints
        .map(|name| format!("btf_trace_{name}"))
        .chain(functions)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let known = &btf.for_aya(&names)?;

    let mut programs = ProgramsByName(ebpf.programs_mut().collect());
    let set_state = programs.tracepoint(SET_STATE)?;
    let fallback = programs.tracepoint(SET_STATE_FALLBACK)?;
    // The verifier takes 10 ms for each of these two, and verifies both at the same time.
    let (set_state, fallback) = thread::scope(|scope| {
        let verifier = thread::Builder::new().name("verifier".into());
        let fallback = verifier.spawn_scoped(scope, || {
            fallback.load(SET_STATE, known)?;
            Ok::<_, AttachError>(fallback)
        });
        let loaded = set_state.load(SET_STATE, known).map(|()| set_state);
        let fallback = fallback.map_err(AttachError::Thread);
        let fallback = fallback.and_then(|fallback| {
            fallback
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        (loaded, fallback)
    });

    let mut missing_tracepoints = Vec::new();
    for name in CAUSE_TRACEPOINTS {
        if let Err(error) = programs.attach(name, known) {
            missing_tracepoints.push((name, error.into()));
        }
    }
    // A minisocket is recognized by its cookie.
    let minisocket_hooks = if has_cookie {
        programs
            .attach_hooks(known)
            .map_err(ProgramUnavailable::from)
    } else {
        Err(ProgramUnavailable::NeedsCookies)
    };
    let passes_socket = btf.tracepoint_arguments(KFREE_SKB) >= Some(MIN_KFREE_SKB_ARGUMENTS);
    let kfree_skb = if passes_socket || gives_reasons {
        programs
            .attach(KFREE_SKB, known)
            .map_err(ProgramUnavailable::from)
    } else {
        Ok(())
    };
    let if_kernel = |can: bool, why: ProgramUnavailable| {
        if can { kfree_skb.clone() } else { Err(why) }
    };
    let minisocket_segments = if_kernel(passes_socket, ProgramUnavailable::NeedsReceivingSocket);
    let dropped_segments = if_kernel(gives_reasons, ProgramUnavailable::NeedsDropReasons);
    set_state?.attach()?;
    Ok(AttachOutcome {
        recursion_fallback: fallback.map(|_| ()).map_err(ProgramUnavailable::from),
        missing_tracepoints,
        minisocket_hooks,
        minisocket_segments,
        dropped_segments,
    })
}

/// Attaches the tier that sees states, addresses and ports.
pub(super) fn classic_tier(ebpf: &mut Ebpf) -> Result<AttachOutcome, AttachError> {
    let mut programs = ProgramsByName(ebpf.programs_mut().collect());
    let program: &mut TracePoint = programs.take(SET_STATE_CLASSIC)?.try_into()?;
    program.load()?;
    program.attach("sock", SET_STATE)?;
    Ok(AttachOutcome {
        recursion_fallback: Err(ProgramUnavailable::NeedsBtf),
        missing_tracepoints: Vec::new(),
        minisocket_hooks: Err(ProgramUnavailable::NeedsBtf),
        minisocket_segments: Err(ProgramUnavailable::NeedsBtf),
        dropped_segments: Err(ProgramUnavailable::NeedsBtf),
    })
}

impl<'a> ProgramsByName<'a> {
    fn take(&mut self, name: &'static str) -> Result<&'a mut Program, AttachError> {
        let Self(programs) = self;
        programs.remove(name).ok_or(AttachError::NoProgram(name))
    }

    fn tracepoint(&mut self, name: &'static str) -> Result<&'a mut BtfTracePoint, AttachError> {
        Ok(self.take(name)?.try_into()?)
    }

    /// Attaches the program of that name to the tracepoint of that name.
    fn attach(&mut self, name: &'static str, btf: &aya::Btf) -> Result<(), AttachError> {
        let program = self.tracepoint(name)?;
        program.load(name, btf)?;
        program.attach()?;
        Ok(())
    }

    /// Attaches all hooks or none: a TIME_WAIT whose start is recorded but not its end would be
    /// worse than neither.
    fn attach_hooks(&mut self, btf: &aya::Btf) -> Result<(), AttachError> {
        let hooks = MINISOCKET_HOOKS.iter().map(|(name, function)| {
            let program: &mut FEntry = self.take(name)?.try_into()?;
            Ok((function, program))
        });
        let mut hooks = hooks.collect::<Result<Vec<_>, AttachError>>()?;
        let attached = hooks.iter_mut().try_for_each(|(function, program)| {
            program.load(function, btf)?;
            program.attach()?;
            Ok::<_, AttachError>(())
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
