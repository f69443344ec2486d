//! Reads the ring buffers: polls them every few milliseconds while there is traffic, and sleeps
//! until the kernel wakes it when there is none.
//!
//! A socket's records may lie in several rings, as it changes its state on this CPU and that. They
//! are handed over in the order of their times, up to a time before which no record can appear any
//! more: a record is reserved in its ring before it gets its time, and the socket is locked until
//! the record is complete, so a later one on another CPU has a later time. A record that is being
//! written hides complete ones behind it; no ring is read further than one with such a record.

#![expect(
    unsafe_code,
    reason = "AsyncFd requires a promise that the descriptor stays open"
)]

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
use super::decode::{DecodeError, ReasonNames, decode};
use super::ring_positions::RingPositions;
use tcpclose_core::event::Event;
use tcpclose_core::types::Nanos;

/// How often an awake reader polls: a record reaches the user well within 100 ms.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// It polls more often where this part of a ring fills sooner. The rest of the ring is for the
/// times when the reader has to wait for a processor.
const POLL_FILL_DIVISOR: u32 = 8;
/// The shortest time between two polls: the timer's resolution.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(1);
/// `BPF_RINGBUF_HDR_SZ`: bytes of the header of each record in the ring.
const RECORD_HEADER_LEN: usize = 8;

/// With more than one ring, records are handed over at this age: by then they are complete, and all
/// older ones have been read.
pub const MIN_RECORD_AGE: Nanos = Nanos::from_millis(1);

/// Reads the records of the rings.
pub struct RingReader {
    rings: Vec<Ring>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
    reader_asleep: Array<MapData, u32>,
    reasons: ReasonNames,
    mode: Mode,
    /// Size of each ring.
    ring_bytes: u32,
    last_poll: Instant,
    /// How long to wait until the next poll, while awake.
    poll_interval: Duration,
}

/// A ring, and the record that was taken from it and is not yet handed over.
struct Ring {
    fd: AsyncFd<RingBuf<MapData>>,
    next_record: Option<Result<Event, DecodeError>>,
    /// Bytes taken in this poll.
    bytes_taken: usize,
    positions: RingPositions,
    /// Whether the next record is being written.
    blocked: bool,
    /// The time up to which all of its records have been taken.
    complete_until: Nanos,
}

impl Ring {
    fn new(events: RingBuf<MapData>) -> io::Result<Self> {
        let positions = RingPositions::map(events.as_fd())?;
        // SAFETY: the ring buffer owns its descriptor and keeps it open until it is dropped, after
        // the registration.
        let fd = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE)? };
        Ok(Self {
            fd,
            next_record: None,
            bytes_taken: 0,
            positions,
            blocked: false,
            complete_until: now(),
        })
    }

    /// Takes the next record, if one is complete.
    fn take_next(&mut self, reasons: &ReasonNames) {
        if self.next_record.is_some() {
            return;
        }
        match self.fd.get_mut().next() {
            Some(bytes) => {
                self.bytes_taken += bytes.len() + RECORD_HEADER_LEN;
                self.next_record = Some(decode(&bytes, reasons));
                self.blocked = false;
            }
            None => self.blocked = self.positions.has_unread(),
        }
    }

    /// Returns the time of the record that was taken; 0 for one that cannot be decoded.
    fn next_at(&self) -> Option<Nanos> {
        let next_record = self.next_record.as_ref()?.as_ref();
        Some(next_record.map_or(Nanos(0), Event::at))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Polls every [`MAX_POLL_INTERVAL`] or sooner.
    Awake,
    /// The eBPF programs are requested to wake the reader; one more poll follows, as a record may
    /// have been written meanwhile.
    WakeupRequested,
    /// Waits for a wake-up or the caller's deadline only.
    Asleep,
}

impl RingReader {
    pub(super) fn new(
        rings: Vec<RingBuf<MapData>>,
        lost: PerCpuArray<MapData, u64>,
        reader_asleep: Array<MapData, u32>,
        reasons: ReasonNames,
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
            reasons,
            mode: Mode::Awake,
            ring_bytes,
            last_poll: Instant::now(),
            poll_interval: MAX_POLL_INTERVAL,
        })
    }

    /// Waits until there may be records, or until `deadline`. Once woken, the reader has to request
    /// the next wake-up anew, also where the record that woke it is still behind one that is being
    /// written.
    ///
    /// # Errors
    /// When a descriptor can no longer be polled.
    pub async fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let poll = (self.mode != Mode::Asleep).then(|| Instant::now() + self.poll_interval);
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

    /// Returns the age from which on records are handed over: 0 where there is only one ring.
    #[must_use]
    pub fn min_record_age(&self) -> Nanos {
        match self.rings.len() {
            1 => Nanos(0),
            _ => MIN_RECORD_AGE,
        }
    }

    /// Returns the time up to which [`Self::drain`] can hand over all records.
    #[must_use]
    pub fn complete_until(&self) -> Nanos {
        now() - self.min_record_age()
    }

    /// Hands over the records up to `until`, which [`Self::complete_until`] returned a moment ago,
    /// in the order of their times, and decides how to wait for the next. Returns the time up to
    /// which all are handed over: an earlier one where a record is being written.
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
            ring.take_next(&self.reasons);
        }
        loop {
            let blocked = self.rings.iter().filter(|ring| ring.blocked);
            until = blocked
                .map(|ring| ring.complete_until)
                .fold(until, Nanos::min);
            let pending = self.rings.iter_mut();
            let pending = pending.filter_map(|ring| Some((ring.next_at()?, ring)));
            let Some((_, ring)) = pending
                .min_by_key(|(at, _)| *at)
                .filter(|(at, _)| *at <= until)
            else {
                break;
            };
            ring.complete_until = ring.complete_until.max(ring.next_at().unwrap_or_default());
            if let Some(event) = ring.next_record.take() {
                each(event);
            }
            ring.take_next(&self.reasons);
        }
        for ring in self.rings.iter_mut().filter(|ring| !ring.blocked) {
            ring.complete_until = ring.complete_until.max(until);
        }
        let last_poll = std::mem::replace(&mut self.last_poll, Instant::now());
        let taken = self.rings.iter_mut();
        let fullest = taken
            .map(|ring| std::mem::take(&mut ring.bytes_taken))
            .max();
        let fullest = fullest.unwrap_or(0);
        self.poll_interval =
            poll_interval_for(self.last_poll - last_poll, fullest, self.ring_bytes);
        let mut rings = self.rings.iter();
        let waiting = rings.any(|ring| ring.next_record.is_some() || ring.blocked);
        self.mode = match (fullest > 0 || waiting, self.mode) {
            (true, _) => Mode::Awake,
            (false, Mode::Awake) => {
                self.reader_asleep.set(0, 1, 0).map_err(map_error)?;
                Mode::WakeupRequested
            }
            (false, Mode::WakeupRequested | Mode::Asleep) => Mode::Asleep,
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
fn poll_interval_for(since: Duration, bytes: usize, ring_bytes: u32) -> Duration {
    let filled = f64::from(ring_bytes / POLL_FILL_DIVISOR) / bytes as f64;
    // Nothing came, or the last poll is days ago.
    let wait = Duration::try_from_secs_f64(since.as_secs_f64() * filled);
    wait.unwrap_or(MAX_POLL_INTERVAL)
        .clamp(MIN_POLL_INTERVAL, MAX_POLL_INTERVAL)
}

fn map_error(error: MapError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MAX_POLL_INTERVAL, MIN_POLL_INTERVAL, poll_interval_for};

    #[test]
    fn the_reader_polls_before_an_eighth_of_the_ring_is_full() {
        let since = Duration::from_millis(20);
        assert_eq!(poll_interval_for(since, 0, 8 << 20), MAX_POLL_INTERVAL);
        assert_eq!(poll_interval_for(since, 168, 8 << 20), MAX_POLL_INTERVAL);
        assert_eq!(
            poll_interval_for(since, 1 << 20, 8 << 20),
            MAX_POLL_INTERVAL
        );
        assert_eq!(
            poll_interval_for(since, 2 << 20, 8 << 20),
            MAX_POLL_INTERVAL / 2
        );
        assert_eq!(poll_interval_for(since, 8 << 20, 4096), MIN_POLL_INTERVAL);
        assert_eq!(
            poll_interval_for(Duration::MAX, 1, 8 << 20),
            MAX_POLL_INTERVAL
        );
    }
}
