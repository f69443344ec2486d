//! Loads the eBPF programs and attaches them: the tier with all evidence where the kernel has BTF,
//! else the classic tracepoint.

use std::collections::BTreeSet;
use std::thread::{self, JoinHandle};

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use rustix::process::{Resource, Rlimit, setrlimit};
use tcpclose_common::{ProgramConfig, RING_NAMES};

use super::attach::{self, AttachOutcome};
use super::btf::{self, Btf};
use super::decode::ReasonNames;
use super::ebpf_log::{EbpfLog, Print};
pub use super::load_error::{AttachError, LoadError, ProgramUnavailable};
use super::object::{
    CONFIG, EBPF_OBJECT, FALLBACK_STAGE, LOCAL_PORTS, LOST_RECORDS, PEER_PORTS, PROGRAM_STATS,
    READER_ASLEEP,
};
use super::program_stats::ProgramStats;
use super::recursion_fallback::RecursionFallback;
pub use super::tracefs::NoField;
use super::{address_space, offsets, tracefs};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::types::NetNs;

/// What the eBPF programs record.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// The connections that are traced; the eBPF programs apply their part of the filter.
    pub filter: ConnectionFilter,
    /// Records also the transitions that are not part of a connection's life.
    pub every_transition: bool,
    /// Uses the classic tracepoint even where the kernel has BTF.
    pub classic: bool,
    /// Prints what the eBPF programs log about records that the filter leaves out. With `None` that
    /// code is not even loaded: the verifier drops what a constant turns off.
    pub log: Option<Print>,
    /// Size of each ring buffer in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
}

impl Default for TraceOptions {
    /// Everything, with the best tier, through rings of 4 MiB: some 31,000 records each.
    fn default() -> Self {
        Self {
            filter: ConnectionFilter::default(),
            every_transition: false,
            classic: false,
            log: None,
            ring_bytes: 4 << 20,
        }
    }
}

/// How much the kernel shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// `tp_btf` programs: each transition with the socket's own evidence.
    Btf,
    /// The classic tracepoint: states, addresses and ports.
    Classic,
}

/// The programs, loaded and attached. Dropping this detaches them.
pub struct Programs {
    /// Keeps programs and links alive.
    pub(super) ebpf: Ebpf,
    /// How much the kernel shows.
    pub tier: Tier,
    /// Whether sockets have cookies here, so that records can be joined with sock_diag.
    pub has_cookie: bool,
    /// Whether records show when data was last sent and received, and the times that FINs echo:
    /// this kernel's sockets have the fields.
    pub has_data_times: bool,
    /// Tracepoints that could not be attached, and why.
    pub missing_tracepoints: Vec<(&'static str, ProgramUnavailable)>,
    /// Whether function hooks on minisockets are attached; if not, why.
    pub minisocket_hooks: Result<(), ProgramUnavailable>,
    /// Whether the segments that minisockets take are seen; if not, why.
    pub minisocket_segments: Result<(), ProgramUnavailable>,
    /// Whether it is seen that this host drops its own segments before they leave; if not, why.
    pub dropped_segments: Result<(), ProgramUnavailable>,
    /// The kernel's names for its reasons.
    pub reasons: ReasonNames,
    pub(super) rings: Vec<RingBuf<MapData>>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) reader_asleep: Array<MapData, u32>,
    /// What records the transitions that interrupt others; if nothing does, why.
    pub(super) recursion_fallback: Result<RecursionFallback, ProgramUnavailable>,
    pub(super) stats: ProgramStats,
    pub(super) log: Option<EbpfLog>,
    pub(super) ring_bytes: u32,
}

impl Programs {
    /// Returns what the programs do not see though this tier could, in sentences.
    pub fn limitations(&self) -> impl Iterator<Item = String> {
        let causes = self.missing_tracepoints.iter().map(|(tracepoint, why)| {
            format!(
                "tracepoint {tracepoint} could not be attached, so causes may be missing: {why}"
            )
        });
        let fallback = self.recursion_fallback.as_ref().err();
        let fallback = fallback.filter(|_| self.tier == Tier::Btf).map(|why| {
            format!("transitions during another run of the program are only counted as lost: {why}")
        });
        causes.chain(fallback)
    }
}

/// aya's loader, which a thread creates. It reads all of the kernel's BTF when it is created (30
/// ms), though these programs do not need that; so a thread does it, beside the other steps of a
/// start.
pub struct LoaderThread(Option<JoinHandle<EbpfLoader<'static>>>);

impl LoaderThread {
    /// Starts the thread.
    #[must_use]
    pub fn start() -> Self {
        // What is refused below must not end the program here.
        if check_address_space(&TraceOptions::default()).is_err() {
            return Self(None);
        }
        let thread = thread::Builder::new().name("loader".into());
        Self(thread.spawn(Self::new_loader).ok())
    }

    fn new_loader() -> EbpfLoader<'static> {
        let mut loader = EbpfLoader::new();
        // Frees the BTF again.
        loader.btf(None);
        loader
    }

    fn finish(self) -> EbpfLoader<'static> {
        let Self(thread) = self;
        match thread.map(JoinHandle::join) {
            Some(Ok(loader)) => loader,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Self::new_loader(),
        }
    }
}

/// Loads and attaches the programs.
///
/// # Errors
/// [`LoadError`]; its message names what is missing and what to do.
pub fn load(options: &TraceOptions) -> Result<Programs, LoadError> {
    load_with(LoaderThread::start(), options)
}

/// Loads and attaches the programs with a loader that was started before.
///
/// # Errors
/// As [`load`].
pub fn load_with(loader: LoaderThread, options: &TraceOptions) -> Result<Programs, LoadError> {
    if !crate::host::capabilities::may_trace() {
        return Err(LoadError::without_capabilities());
    }
    check_address_space(options)?;
    lift_memlock_limit();
    let raw_btf = if options.classic {
        None
    } else {
        std::fs::read(btf::VMLINUX).ok()
    };
    let btf = raw_btf.as_deref().map(Btf::parse).transpose();
    let btf = btf.map_err(LoadError::Btf)?;
    let config = match &btf {
        Some(btf) => offsets::from_btf(btf).map_err(LoadError::Btf)?,
        None => classic_config(options)?,
    };
    let config = ProgramConfig {
        every_transition: options.every_transition.into(),
        filter_local_ports: (!options.filter.local_ports.is_empty()).into(),
        filter_peer_ports: (!options.filter.peer_ports.is_empty()).into(),
        filter_ip: options.filter.ip.map_or(0, |ip| ip as u32),
        filter_netns: options.filter.netns.map_or(0, NetNs::get),
        ..config
    };
    let level = log_level(options);
    let mut loader: EbpfLoader<'_> = loader.finish();
    let rings = rings();
    for ring in rings {
        loader.map_max_entries(ring, options.ring_bytes);
    }
    let config = ProgramConfig {
        ring_mask: rings.len() as u32 - 1,
        ..config
    };
    let mut ebpf = loader
        .override_global(CONFIG, bytemuck::bytes_of(&config), true)
        .override_global(aya_log::LEVEL, &level, true)
        .load(EBPF_OBJECT)
        .map_err(LoadError::from_aya)?;
    set_ports(&mut ebpf, LOCAL_PORTS, &options.filter.local_ports)?;
    set_ports(&mut ebpf, PEER_PORTS, &options.filter.peer_ports)?;
    let has_cookie = config.has_cookie != 0;
    let reasons = btf
        .as_ref()
        .map_or_else(ReasonNames::default, |btf| ReasonNames {
            resets: offsets::reset_reasons(btf),
            drops: offsets::drop_reasons(btf),
        });
    let attached = match &btf {
        Some(btf) => {
            let gives_reasons = has_cookie && offsets::has_output_reasons(&reasons.drops);
            attach::btf_tier(&mut ebpf, btf, has_cookie, gives_reasons)
        }
        None => attach::classic_tier(&mut ebpf),
    };
    let AttachOutcome {
        missing_tracepoints,
        minisocket_hooks,
        minisocket_segments,
        dropped_segments,
        recursion_fallback,
    } = attached.map_err(LoadError::from_aya)?;
    let log = match options.log {
        Some(print) => Some(EbpfLog::start(&mut ebpf, print).map_err(LoadError::from_aya)?),
        None => None,
    };
    Ok(Programs {
        tier: btf.as_ref().map_or(Tier::Classic, |_| Tier::Btf),
        log,
        has_cookie,
        has_data_times: config.lsndtime != 0 && config.lrcvtime != 0 && config.rcv_tsecr != 0,
        missing_tracepoints,
        minisocket_hooks,
        minisocket_segments,
        dropped_segments,
        reasons,
        rings: rings
            .iter()
            .map(|ring| take_map(&mut ebpf, ring))
            .collect::<Result<_, _>>()?,
        lost: take_map(&mut ebpf, LOST_RECORDS)?,
        reader_asleep: take_map(&mut ebpf, READER_ASLEEP)?,
        recursion_fallback: match recursion_fallback {
            Ok(()) => Ok(RecursionFallback::new(take_map(&mut ebpf, FALLBACK_STAGE)?)),
            Err(why) => Err(why),
        },
        stats: ProgramStats(take_map(&mut ebpf, PROGRAM_STATS)?),
        ring_bytes: options.ring_bytes,
        ebpf,
    })
}

fn check_address_space(options: &TraceOptions) -> Result<(), LoadError> {
    let ring_bytes = rings().len() as u64 * u64::from(options.ring_bytes);
    Ok(address_space::check(ring_bytes)?)
}

/// Returns the rings that are used: one for each CPU, as far as there are enough.
fn rings() -> &'static [&'static str] {
    let cpus = aya::util::nr_cpus().map_or(1, usize::next_power_of_two);
    &RING_NAMES[..cpus.min(RING_NAMES.len())]
}

/// Returns the level for the programs' log messages; 0 turns all of them off.
fn log_level(options: &TraceOptions) -> u8 {
    if options.log.is_some() {
        aya_log::Level::Debug as u8
    } else {
        0
    }
}

fn classic_config(options: &TraceOptions) -> Result<ProgramConfig, LoadError> {
    // The record of the tracepoint has no network namespace.
    if options.filter.netns.is_some() {
        return Err(LoadError::filter_without_btf("--netns"));
    }
    let format = tracefs::TracepointFormat::read("sock/inet_sock_set_state")
        .map_err(LoadError::without_tracefs)?;
    offsets::from_format(&format).map_err(LoadError::NoField)
}

fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, LoadError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or_else(|| missing_map(name))?;
    T::try_from(map).map_err(LoadError::from_aya)
}

fn missing_map(name: &'static str) -> LoadError {
    LoadError::Attach(AttachError::NoMap(name))
}

fn set_ports(ebpf: &mut Ebpf, name: &'static str, ports: &BTreeSet<u16>) -> Result<(), LoadError> {
    if ports.is_empty() {
        return Ok(());
    }
    // Borrowed, not taken: the programs are loaded with the object's own descriptor of the map.
    let map = ebpf.map_mut(name).ok_or_else(|| missing_map(name))?;
    let mut words = Array::<_, u64>::try_from(map).map_err(LoadError::from_aya)?;
    let mut bits = std::collections::BTreeMap::<u32, u64>::new();
    for port in ports {
        *bits.entry(u32::from(port >> 6)).or_default() |= 1 << (port & 63);
    }
    for (index, word) in bits {
        words.set(index, word, 0).map_err(LoadError::from_aya)?;
    }
    Ok(())
}

/// Lifts the limit of locked memory: before 5.11 maps count against it, and it is 64 KiB by
/// default. Where it may not be lifted, loading may fail.
fn lift_memlock_limit() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let _ = setrlimit(Resource::Memlock, unlimited);
}
