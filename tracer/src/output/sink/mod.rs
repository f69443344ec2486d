//! Outputs of the agent: each with its own kinds, filter, rate limit, queue and thread, so that a receiver that is slow,
//! down or restarted never slows the tracing.

mod config;
mod courier;
mod delivery;
mod entry;
mod file;
mod filter;
mod journald;
mod kind;
#[cfg(feature = "otlp")]
mod otlp;
mod queue;
mod rate;
mod render;
mod sentence;
mod stdout;
mod syslog;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::Context as _;

use crate::lifecycle::finding::Finding;

use self::courier::{Courier, Pauses, Say};
use self::delivery::Delivery;
use self::queue::Queue;
use self::rate::Bucket;

pub use self::config::{
    OtlpConfig, OtlpEndpoint, OtlpHeaders, OtlpProtocol, RateLimit, SinkConfig, SyslogConfig,
    Target, Temporality,
};
pub use self::filter::Filter;
pub use self::kind::Kind;
pub use self::queue::{Counts, Outage};
pub use self::render::Surroundings;
pub use self::syslog::{Facility, MaxSize, SdId, SyslogAddress};

/// A running output.
pub struct Sink {
    name: String,
    config: SinkConfig,
    bucket: Option<Bucket>,
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        f.debug_struct("Sink")
            .field("name", &self.name)
            .field("counts", &counts)
            .finish_non_exhaustive()
    }
}

impl Sink {
    /// Starts an output and its thread, which says on stderr when it stops working and when it works again. A receiver
    /// that is not there yet is no error.
    ///
    /// # Errors
    /// When a file cannot be opened or another program writes to it already.
    pub fn start(config: &SinkConfig, surroundings: Surroundings) -> anyhow::Result<Self> {
        let say = |sentence: &str| eprintln!("tcpclose: {sentence}");
        Self::start_saying(config, surroundings, say)
    }

    /// As [`Self::start`], with another ear for what it says.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_saying(
        config: &SinkConfig,
        surroundings: Surroundings,
        say: impl FnMut(&str) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let name = config.name();
        let delivery: Box<dyn Delivery> = match &config.target {
            Target::Stdout => Box::new(
                stdout::Stdout::open(surroundings).with_context(|| "stdout cannot be used")?,
            ),
            Target::File(path) => Box::new(
                file::LinesFile::open(path, surroundings)
                    .map_err(anyhow::Error::msg)
                    .with_context(|| format!("output {name} cannot be used"))?,
            ),
            Target::Journald => Box::new(journald::Journald::new(surroundings)),
            Target::Syslog(syslog) => Box::new(syslog::Syslog::new(syslog, surroundings)),
            #[cfg(feature = "otlp")]
            Target::Otlp(otlp) => Box::new(
                otlp::Otlp::new(otlp, surroundings)
                    .map_err(anyhow::Error::msg)
                    .with_context(|| format!("output {name} cannot be used"))?,
            ),
            #[cfg(not(feature = "otlp"))]
            Target::Otlp(_) => anyhow::bail!(
                "output {name} cannot be used: this tcpclose was built without the feature `otlp`"
            ),
        };
        Self::deliver(config, delivery, Box::new(say), Pauses::default())
    }

    fn deliver(
        config: &SinkConfig,
        delivery: Box<dyn Delivery>,
        say: Say,
        pauses: Pauses,
    ) -> anyhow::Result<Self> {
        let name = config.name();
        let queue = Arc::new(Queue::new(
            config.queue.get(),
            config.kinds.contains(&Kind::Loss),
        ));
        let courier = Courier::new(name.clone(), Arc::clone(&queue), delivery, say, pauses);
        let thread = thread::Builder::new()
            .name(format!("out-{}", config.target.kind()))
            .spawn(move || courier.run())
            .with_context(|| format!("the thread of output {name} could not be started"))?;
        Ok(Self {
            name,
            config: config.clone(),
            bucket: config
                .rate_limit
                .map(|limit| Bucket::new(limit, Instant::now())),
            queue,
            thread,
        })
    }

    /// What messages and metrics call it: `file:/var/log/tcpclose.jsonl`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it was started with.
    #[must_use]
    pub fn config(&self) -> &SinkConfig {
        &self.config
    }

    /// Takes a finding if it is wanted and there is room. Never blocks.
    pub fn offer(&mut self, finding: &Arc<Finding>) {
        let kind = Kind::of(finding);
        let wanted = self.config.kinds.contains(&kind) && self.config.filter.wants(finding);
        let passes = match &mut self.bucket {
            Some(bucket) if wanted && kind.is_limited() => bucket.take(Instant::now()),
            _ => true,
        };
        let mut state = self.queue.lock();
        if !wanted {
            state.filter_out();
        } else if !passes {
            state.cut_off();
        } else {
            let awaited = state.push(finding);
            drop(state);
            if awaited {
                self.queue.wake();
            }
        }
    }

    /// What became of all that it was offered.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.queue.lock().counts()
    }

    /// Why it does not work at the moment; `None` when it does.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        self.queue.lock().outage()
    }

    /// Makes it open its file anew, after what is written at the moment, or try its receiver again at once.
    pub fn reopen(&self) {
        self.queue.lock().reopen = true;
        self.queue.wake();
    }

    /// Tells it that no more will come, so that several outputs can end at the same time before each is waited for.
    pub fn close(&self) {
        self.queue.lock().closing = true;
        self.queue.wake();
    }

    /// Waits until everything is delivered, or until `deadline`, and says what became of all that it was offered: what
    /// is still `queued` is lost. A thread that is stuck with its receiver is left behind.
    #[must_use]
    pub fn finish(self, deadline: Instant) -> Counts {
        self.close();
        let mut state = self.queue.lock();
        while !state.ended && Instant::now() < deadline {
            state = self.queue.wait(state, Some(deadline));
        }
        state.abandoned = true;
        let (ended, counts) = (state.ended, state.counts());
        drop(state);
        self.queue.wake();
        if ended {
            // The panic hook has reported a panic; what was not written for it is counted.
            let _ = self.thread.join();
        }
        counts
    }
}
