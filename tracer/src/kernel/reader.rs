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
use crate::lifecycle::event::Event;
use crate::lifecycle::summary::BpfRuns;

/// How often an awake reader looks. The ring holds many times what the fastest churn makes in between, and a record
/// reaches the user well within 100 ms.
const POLL: Duration = Duration::from_millis(20);

/// Reads the records of the ring.
pub struct Reader {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
    lost_before: u64,
    reader_asleep: Array<MapData, u32>,
    reset_reasons: Vec<&'static str>,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Looks every [`POLL`].
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
        })
    }

    /// Waits until there may be records, or until `deadline`.
    ///
    /// # Errors
    /// When the descriptor can no longer be polled.
    pub async fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let poll = (self.mode != Mode::Asleep).then(|| Instant::now() + POLL);
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
        let mut any = false;
        while let Some(bytes) = self.ring.get_mut().next() {
            any = true;
            each(decode(&bytes, &self.reset_reasons));
        }
        self.mode = match (any, self.mode) {
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
            log,
        } = self;
        let reader = Reader::new(events, lost, reader_asleep, reset_reasons)?;
        let misses = Misses::of(&ebpf);
        Ok((reader, Attached { ebpf, misses, log }))
    }
}

/// Programs at work; dropping it detaches them.
pub struct Attached {
    /// Keeps programs and links alive.
    ebpf: aya::Ebpf,
    misses: Misses,
    /// What the programs say, if they were asked to.
    pub log: Option<EbpfLog>,
}

impl Attached {
    /// How often and how long the programs have run; 0 while the kernel does not measure that.
    #[must_use]
    pub fn runs(&self) -> Option<BpfRuns> {
        let mut runs = BpfRuns::default();
        for (_, program) in self.ebpf.programs() {
            // Of those that are not loaded there is nothing to know.
            if program.fd().is_ok() {
                let info = program.info().ok()?;
                runs.count += info.run_count();
                runs.time = runs.time + info.run_time().into();
            }
        }
        Some(runs)
    }

    /// How many runs of the programs the kernel skipped since the last call.
    pub fn take_misses(&mut self) -> u64 {
        self.misses.take()
    }
}

fn map_error(error: MapError) -> io::Error {
    io::Error::other(error)
}
