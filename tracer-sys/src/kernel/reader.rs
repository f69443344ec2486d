//! Reads the ring buffers: polls them every few milliseconds while there is traffic, and sleeps
//! until the kernel wakes it when there is none.
//!
//! A socket's records may lie in several rings, as it changes its state on this CPU and that. They
//! are handed over in the order of their times, up to a time before which no record can appear any
//! more: a record is reserved in its ring before it gets its time, and the socket is locked until
//! the record is complete, so a later one on another CPU has a later time. A record that is being
//! written hides complete ones behind it; no ring is read further than one with such a record.

#![expect(unsafe_code, reason = "tokio wants a promise about the descriptor")]

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd as _;
use std::task::Poll;
use std::time::Duration;

use aya::maps::{Array, MapData, MapError, PerCpuArray, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clock::now;
use super::decode::{DecodeError, decode};
use super::ebpf_log::EbpfLog;
use super::loader::Programs;
use super::program_stats::BpfRuns;
use super::program_stats::ProgramStats;
use super::recursion_fallback::RecursionFallback;
use super::recursion_misses::{RecursionMisses, Skipped};
use super::ring_positions::Positions;
use tcpclose_core::event::Event;
use tcpclose_core::types::Nanos;

/// How often an awake reader polls: a record reaches the user well within 100 ms.
const POLL: Duration = Duration::from_millis(20);
/// It polls more often where this part of a ring fills sooner. The rest of the ring is for the
/// times when the reader has to wait for a processor.
const FILL: u32 = 8;
/// The shortest time between two polls: the timer's resolution.
const MOST_OFTEN: Duration = Duration::from_millis(1);
/// `BPF_RINGBUF_HDR_SZ`: bytes of the header of each record in the ring.
const RECORD_HEADER: usize = 8;

/// With more than one ring, records are handed over at this age: by then they are complete, and all
/// older ones have been read.
pub const SETTLED: Nanos = Nanos::from_millis(1);

/// Reads the records of the rings.
pub struct RingReader {
    rings: Vec<Ring>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
    reader_asleep: Array<MapData, u32>,
    reset_reasons: Vec<&'static str>,
    mode: Mode,
    /// Size of each ring.
    ring_bytes: u32,
    last_poll: Instant,
    /// How long to wait until the next poll, while awake.
    pace: Duration,
}

/// A ring, and the record that was taken from it and is not yet handed over.
struct Ring {
    fd: AsyncFd<RingBuf<MapData>>,
    head: Option<Result<Event, DecodeError>>,
    /// Bytes taken in this poll.
    taken: usize,
    positions: Positions,
    /// Whether the next record is being written.
    blocked: bool,
    /// The time up to which all its records have been taken.
    settled: Nanos,
}

impl Ring {
    fn new(events: RingBuf<MapData>) -> io::Result<Self> {
        let positions = Positions::map(events.as_fd())?;
        // SAFETY: the ring buffer owns its descriptor and keeps it open until it is dropped, after
        // the registration.
        let fd = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE)? };
        Ok(Self {
            fd,
            head: None,
            taken: 0,
            positions,
            blocked: false,
            settled: now(),
        })
    }

    /// Takes the next record, if one is complete.
    fn refill(&mut self, reset_reasons: &[&'static str]) {
        if self.head.is_some() {
            return;
        }
        match self.fd.get_mut().next() {
            Some(bytes) => {
                self.taken += bytes.len() + RECORD_HEADER;
                self.head = Some(decode(&bytes, reset_reasons));
                self.blocked = false;
            }
            None => self.blocked = self.positions.differ(),
        }
    }

    /// Returns the time of the record that was taken; 0 for one that cannot be decoded.
    fn at(&self) -> Option<Nanos> {
        let head = self.head.as_ref()?.as_ref();
        Some(head.map_or(Nanos(0), Event::at))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Polls every [`POLL`] or sooner.
    Awake,
    /// The eBPF programs are requested to wake the reader; one more poll follows, as a record may
    /// have been under way meanwhile.
    Dozing,
    /// Only a wake-up or the caller's deadline ends this.
    Asleep,
}

impl RingReader {
    pub(super) fn new(
        rings: Vec<RingBuf<MapData>>,
        lost: PerCpuArray<MapData, u64>,
        reader_asleep: Array<MapData, u32>,
        reset_reasons: Vec<&'static str>,
        ring_bytes: u32,
    ) -> io::Result<Self> {
        Ok(Self {
            rings: rings
                .into_iter()
                .map(Ring::new)
                .collect::<io::Result<_>>()?,
            lost,
            lost_before: 0,
            reader_asleep,
            reset_reasons,
            mode: Mode::Awake,
            ring_bytes,
            last_poll: Instant::now(),
            pace: POLL,
        })
    }

    /// Waits until there may be records, or until `deadline`. Once woken, the reader has to request
    /// the next wake-up anew, also where the record that woke it is still behind one that is being
    /// written.
    ///
    /// # Errors
    /// When a descriptor can no longer be polled.
    pub async fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let poll = (self.mode != Mode::Asleep).then(|| Instant::now() + self.pace);
        match poll.into_iter().chain(deadline).min() {
            // An awake reader is not woken: no wake-up is requested.
            Some(until) if self.mode == Mode::Awake => sleep_until(until).await,
            Some(until) => {
                if let Ok(ready) = timeout_at(until, self.readable()).await {
                    ready?;
                    self.mode = Mode::Awake;
                }
            }
            None => {
                self.readable().await?;
                self.mode = Mode::Awake;
            }
        }
        Ok(())
    }

    /// Waits until the kernel reports that one of the rings is readable.
    async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| {
            let mut any = Poll::Pending;
            for ring in &self.rings {
                if let Poll::Ready(ready) = ring.fd.poll_read_ready(context) {
                    ready?.clear_ready();
                    any = Poll::Ready(Ok(()));
                }
            }
            any
        })
        .await
    }

    /// Returns how far behind the present [`Self::horizon`] is.
    #[must_use]
    pub fn lag(&self) -> Nanos {
        match self.rings.len() {
            1 => Nanos(0),
            _ => SETTLED,
        }
    }

    /// Returns the time up to which [`Self::drain`] can hand over all records.
    #[must_use]
    pub fn horizon(&self) -> Nanos {
        now() - self.lag()
    }

    /// Hands over the records up to `until`, which was the [`Self::horizon`] a moment ago, in the
    /// order of their times, and decides how to wait for the next. Returns the time up to which all
    /// are handed over: an earlier one where a record is being written.
    ///
    /// # Errors
    /// When a wake-up cannot be requested.
    pub fn drain(
        &mut self,
        mut until: Nanos,
        mut each: impl FnMut(Result<Event, DecodeError>),
    ) -> io::Result<Nanos> {
        // Records that come into a ring after it was found empty are later than `until`.
        for ring in &mut self.rings {
            ring.refill(&self.reset_reasons);
        }
        loop {
            let blocked = self.rings.iter().filter(|ring| ring.blocked);
            until = blocked.map(|ring| ring.settled).fold(until, Nanos::min);
            let heads = self.rings.iter_mut();
            let heads = heads.filter_map(|ring| Some((ring.at()?, ring)));
            let Some((_, ring)) = heads
                .min_by_key(|(at, _)| *at)
                .filter(|(at, _)| *at <= until)
            else {
                break;
            };
            ring.settled = ring.settled.max(ring.at().unwrap_or_default());
            if let Some(event) = ring.head.take() {
                each(event);
            }
            ring.refill(&self.reset_reasons);
        }
        for ring in self.rings.iter_mut().filter(|ring| !ring.blocked) {
            ring.settled = ring.settled.max(until);
        }
        let last_poll = std::mem::replace(&mut self.last_poll, Instant::now());
        let taken = self.rings.iter_mut();
        let fullest = taken.map(|ring| std::mem::take(&mut ring.taken)).max();
        let fullest = fullest.unwrap_or(0);
        self.pace = pace(self.last_poll - last_poll, fullest, self.ring_bytes);
        let mut rings = self.rings.iter();
        let waiting = rings.any(|ring| ring.head.is_some() || ring.blocked);
        self.mode = match (fullest > 0 || waiting, self.mode) {
            (true, _) => Mode::Awake,
            (false, Mode::Awake) => {
                self.reader_asleep.set(0, 1, 0).map_err(map_error)?;
                Mode::Dozing
            }
            (false, Mode::Dozing | Mode::Asleep) => Mode::Asleep,
        };
        Ok(until)
    }

    /// Returns how many records found the ring full since the last call, on all CPUs.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn take_lost(&mut self) -> io::Result<u64> {
        let lost = self.lost.get(&0, 0).map_err(map_error)?.iter().sum::<u64>();
        // A counter may decrease: a program can be interrupted while it counts.
        let most = lost.max(self.lost_before);
        Ok(most - std::mem::replace(&mut self.lost_before, most))
    }
}

/// Returns how long to wait until the next poll, when so many bytes came in the time since the last
/// one.
fn pace(since: Duration, bytes: usize, ring_bytes: u32) -> Duration {
    let filled = f64::from(ring_bytes / FILL) / bytes as f64;
    // Nothing came, or the last poll is days ago.
    let wait = Duration::try_from_secs_f64(since.as_secs_f64() * filled);
    wait.unwrap_or(POLL).clamp(MOST_OFTEN, POLL)
}

impl Programs {
    /// Starts reading. The programs stay attached as long as the returned guard lives.
    ///
    /// # Errors
    /// When the ring buffer cannot be polled.
    pub fn into_reader(self) -> io::Result<(RingReader, AttachedPrograms)> {
        let Self {
            ebpf,
            tier: _,
            has_cookie: _,
            missing: _,
            hooks: _,
            segments: _,
            reset_reasons,
            rings,
            lost,
            reader_asleep,
            fallback,
            stats,
            log,
            ring_bytes,
        } = self;
        let reader = RingReader::new(rings, lost, reader_asleep, reset_reasons, ring_bytes)?;
        let misses = RecursionMisses::of(&ebpf);
        Ok((
            reader,
            AttachedPrograms {
                ebpf,
                misses,
                fallback: fallback.ok(),
                stats,
                log,
            },
        ))
    }
}

/// The programs while they are attached; dropping this detaches them.
pub struct AttachedPrograms {
    /// Keeps programs and links alive.
    ebpf: aya::Ebpf,
    misses: RecursionMisses,
    fallback: Option<RecursionFallback>,
    stats: ProgramStats,
    /// The programs' own log messages, if they are wanted.
    pub log: Option<EbpfLog>,
}

impl AttachedPrograms {
    /// Returns how often and how long the programs have run; `None` where that cannot be read.
    #[must_use]
    pub fn runs(&self) -> Option<BpfRuns> {
        self.stats.total().ok()
    }

    /// Returns how many runs of the programs the kernel skipped since the last call, without those
    /// that the fallback made up for. Call it about once a second.
    pub fn take_misses(&mut self) -> u64 {
        let Skipped { set_state, others } = self.misses.take();
        let Some(fallback) = &mut self.fallback else {
            return set_state.unwrap_or(0) + others;
        };
        // Counted before the last stage begins: at most too many, by the runs skipped in between,
        // never too few.
        let missed = if fallback.is_active() {
            0
        } else {
            set_state.unwrap_or(0)
        };
        fallback.advance(&mut self.ebpf, set_state.is_none_or(|skipped| skipped > 0));
        missed + others
    }
}

fn map_error(error: MapError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MOST_OFTEN, POLL, pace};

    #[test]
    fn the_reader_comes_back_before_an_eighth_of_the_ring_is_full() {
        let since = Duration::from_millis(20);
        assert_eq!(pace(since, 0, 8 << 20), POLL);
        assert_eq!(pace(since, 168, 8 << 20), POLL);
        assert_eq!(pace(since, 1 << 20, 8 << 20), POLL);
        assert_eq!(pace(since, 2 << 20, 8 << 20), POLL / 2);
        assert_eq!(pace(since, 8 << 20, 4096), MOST_OFTEN);
        assert_eq!(pace(Duration::MAX, 1, 8 << 20), POLL);
    }
}
