//! The reader's end of the ring buffer: it looks by itself every few milliseconds while there is traffic, and sleeps
//! until the kernel wakes it when there is none.

use std::io;
use std::time::Duration;

use aya::maps::{Array, MapData, MapError, PerCpuArray, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::decode::{DecodeError, decode};
use super::ebpf_log::EbpfLog;
use super::loader::Programs;
use super::misses::Misses;
use super::runs::RunCounts;
use crate::lifecycle::event::Event;
use crate::lifecycle::summary::BpfRuns;

/// How often an awake reader looks: a record reaches the user well within 100 ms.
const POLL: Duration = Duration::from_millis(20);
/// More often where this part of the ring fills sooner. The rest is for when the reader has to wait for a processor.
const FILL: u32 = 8;
/// The timer's grain.
const MOST_OFTEN: Duration = Duration::from_millis(1);
/// `BPF_RINGBUF_HDR_SZ`: what the ring holds beside each record.
const RECORD_HEADER: usize = 8;

/// Reads the records of the ring.
pub struct Reader {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
    reader_asleep: Array<MapData, u32>,
    reset_reasons: Vec<&'static str>,
    mode: Mode,
    /// Its size.
    ring_bytes: u32,
    looked: Instant,
    /// When to look next, while awake.
    pace: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Looks every [`POLL`] or sooner.
    Awake,
    /// The kernel has been told to wake us; one more look follows, as a record may have been under way meanwhile.
    Dozing,
    /// Only the kernel or the caller's deadline ends this.
    Asleep,
}

impl Reader {
    pub(super) fn new(
        events: RingBuf<MapData>,
        lost: PerCpuArray<MapData, u64>,
        reader_asleep: Array<MapData, u32>,
        reset_reasons: Vec<&'static str>,
        ring_bytes: u32,
    ) -> io::Result<Self> {
        // SAFETY: the ring buffer owns its descriptor and keeps it open until it is dropped, after the registration.
        let ring = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE)? };
        Ok(Self {
            ring,
            lost,
            lost_before: 0,
            reader_asleep,
            reset_reasons,
            mode: Mode::Awake,
            ring_bytes,
            looked: Instant::now(),
            pace: POLL,
        })
    }

    /// Waits until there may be records, or until `deadline`.
    ///
    /// # Errors
    /// When the descriptor can no longer be polled.
    pub async fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let poll = (self.mode != Mode::Asleep).then(|| Instant::now() + self.pace);
        let readable = self.ring.readable();
        match poll.into_iter().chain(deadline).min() {
            // Awake, nobody wakes us: the kernel was told not to.
            Some(until) if self.mode == Mode::Awake => sleep_until(until).await,
            Some(until) => {
                if let Ok(ready) = timeout_at(until, readable).await {
                    ready?.clear_ready();
                }
            }
            None => readable.await?.clear_ready(),
        }
        Ok(())
    }

    /// Hands over every record that is there, and settles how to wait for the next.
    ///
    /// # Errors
    /// When the kernel cannot be told to wake us.
    pub fn drain(&mut self, mut each: impl FnMut(Result<Event, DecodeError>)) -> io::Result<()> {
        let mut taken = 0;
        while let Some(bytes) = self.ring.get_mut().next() {
            taken += bytes.len() + RECORD_HEADER;
            each(decode(&bytes, &self.reset_reasons));
        }
        let looked = std::mem::replace(&mut self.looked, Instant::now());
        self.pace = pace(self.looked - looked, taken, self.ring_bytes);
        self.mode = match (taken > 0, self.mode) {
            (true, _) => Mode::Awake,
            (false, Mode::Awake) => {
                self.reader_asleep.set(0, 1, 0).map_err(map_error)?;
                Mode::Dozing
            }
            (false, Mode::Dozing | Mode::Asleep) => Mode::Asleep,
        };
        Ok(())
    }

    /// How many records found the ring full since the last call, over all CPUs.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn take_lost(&mut self) -> io::Result<u64> {
        let lost = self.lost.get(&0, 0).map_err(map_error)?.iter().sum::<u64>();
        Ok(lost - std::mem::replace(&mut self.lost_before, lost))
    }
}

/// How long to wait, when so many bytes came in the time since the last look.
fn pace(since: Duration, bytes: usize, ring_bytes: u32) -> Duration {
    let filled = f64::from(ring_bytes / FILL) / bytes as f64;
    // Nothing came, or it is days ago.
    let wait = Duration::try_from_secs_f64(since.as_secs_f64() * filled);
    wait.unwrap_or(POLL).clamp(MOST_OFTEN, POLL)
}

impl Programs {
    /// Starts reading. The programs stay attached as long as the returned guard lives.
    ///
    /// # Errors
    /// When the ring buffer cannot be polled.
    pub fn into_reader(self) -> io::Result<(Reader, Attached)> {
        let Self {
            ebpf,
            tier: _,
            has_cookie: _,
            missing: _,
            hooks: _,
            segments: _,
            reset_reasons,
            events,
            lost,
            reader_asleep,
            runs,
            log,
            ring_bytes,
        } = self;
        let reader = Reader::new(events, lost, reader_asleep, reset_reasons, ring_bytes)?;
        let misses = Misses::of(&ebpf);
        Ok((
            reader,
            Attached {
                _ebpf: ebpf,
                misses,
                runs,
                log,
            },
        ))
    }
}

/// Programs at work; dropping it detaches them.
pub struct Attached {
    /// Keeps programs and links alive.
    _ebpf: aya::Ebpf,
    misses: Misses,
    runs: RunCounts,
    /// What the programs say, if they were asked to.
    pub log: Option<EbpfLog>,
}

impl Attached {
    /// How often and how long the programs have run; `None` where that cannot be read.
    #[must_use]
    pub fn runs(&self) -> Option<BpfRuns> {
        self.runs.total().ok()
    }

    /// How many runs of the programs the kernel skipped since the last call.
    pub fn take_misses(&mut self) -> u64 {
        self.misses.take()
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
