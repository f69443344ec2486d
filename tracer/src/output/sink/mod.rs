//! Outputs of the agent: each with its own kinds, filter, rate limit, queue and thread, so that a receiver that is slow,
//! down or restarted never slows the tracing.

mod closing;
mod config;
mod file;
mod journald;
mod kind;
mod lazy_open;
mod log_record;
mod message;
#[cfg(feature = "otlp")]
mod otlp;
mod queue;
mod rate;
mod render;
mod stdout;
mod syslog;
#[cfg(test)]
mod tests;
mod transport;
mod worker;

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::Context as _;

use crate::notice::notice;
use crate::record::Record;

use self::queue::Queue;
use self::rate::Bucket;
use self::transport::Transport;
use self::worker::{EndGuard, Pauses, Say, Worker};

pub use self::closing::{ClosingSink, WorkerHandle};
pub use self::config::{
    Facility, MaxSize, OtlpConfig, OtlpEndpoint, OtlpHeaders, OtlpProtocol, RateLimit, SdId,
    SinkConfig, SyslogAddress, SyslogConfig, Target, Temporality,
};
pub use self::kind::Kind;
pub use self::queue::{Counts, Outage};
pub use self::render::RenderContext;

/// A running output.
pub struct Sink {
    config: SinkConfig,
    bucket: Option<Bucket>,
    queue: Arc<Queue>,
    worker: WorkerHandle,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        f.debug_struct("Sink")
            .field("name", &self.name())
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
    pub fn start(config: &SinkConfig, surroundings: RenderContext) -> anyhow::Result<Self> {
        let say = |sentence: &str| notice!("{sentence}");
        Self::start_saying(config, surroundings, say)
    }

    /// As [`Self::start`], with another ear for what it says.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_saying(
        config: &SinkConfig,
        surroundings: RenderContext,
        say: impl FnMut(&str) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let transport = lazy_open::open(config, surroundings)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("output {} cannot be used", config.name()))?;
        Self::deliver(config, transport, Box::new(say), Pauses::default())
    }

    /// As [`Self::start`], but what cannot be opened yet is an outage: it is tried again, each time with what
    /// `surroundings` makes, until it can.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub fn start_trying(
        config: &SinkConfig,
        surroundings: impl FnMut() -> anyhow::Result<RenderContext> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let say = |sentence: &str| notice!("{sentence}");
        let late = lazy_open::LazyOpen::new(config.clone(), Box::new(surroundings));
        Self::deliver(config, Box::new(late), Box::new(say), Pauses::default())
    }

    fn deliver(
        config: &SinkConfig,
        transport: Box<dyn Transport>,
        say: Say,
        pauses: Pauses,
    ) -> anyhow::Result<Self> {
        let name = config.name();
        let queue = Arc::new(Queue::new(
            config.queue.get(),
            config.kinds.contains(&Kind::Loss),
        ));
        let worker = Worker::new(name.clone(), Arc::clone(&queue), transport, say, pauses);
        let (guard, alive) = EndGuard::new(Arc::clone(&queue));
        thread::Builder::new()
            .name(format!("out-{}", config.target.output_type()))
            .spawn(move || {
                let _guard = guard;
                worker.run();
            })
            .with_context(|| format!("the thread of output {name} could not be started"))?;
        Ok(Self {
            bucket: bucket(config),
            config: config.clone(),
            worker: WorkerHandle::new(Arc::clone(&queue), alive),
            queue,
        })
    }

    /// What messages and metrics call it: `file:/var/log/tcpclose.jsonl`.
    #[must_use]
    pub fn name(&self) -> String {
        self.config.name()
    }

    /// Returns whether the output can go on under this configuration: the destination and the name
    /// are the same, and its thread has not ended.
    #[must_use]
    pub fn can_adopt(&self, config: &SinkConfig) -> bool {
        let is_same = self.config.target.is_same_destination(&config.target)
            && self.config.name == config.name;
        is_same && !self.worker.has_ended()
    }

    /// Takes all from a configuration that it [can adopt](Self::can_adopt), and is [reopened](Self::reopen). What waits
    /// stays, and what was counted. Where another token, facility or the like is wanted, it works with what `surroundings`
    /// makes.
    pub fn change(
        &mut self,
        config: &SinkConfig,
        surroundings: impl FnMut() -> anyhow::Result<RenderContext> + Send + 'static,
    ) {
        if config.rate_limit != self.config.rate_limit {
            self.bucket = bucket(config);
        }
        let tells_losses = config.kinds.contains(&Kind::Loss);
        let mut state = self.queue.lock();
        state.change(config.queue.get(), tells_losses);
        if config.target != self.config.target {
            let late = lazy_open::LazyOpen::new(config.clone(), Box::new(surroundings));
            state.exchanged = Some(Box::new(late));
        }
        drop(state);
        self.config = config.clone();
        self.reopen();
    }

    /// Takes a record if it is wanted and there is room. Never blocks.
    pub fn offer(&mut self, record: &Arc<Record>) {
        let passes_filter = match &**record {
            Record::Finding(finding) => self.config.filter.matches(finding),
            Record::Summary(_) => true,
        };
        let wanted = passes_filter && self.config.kinds.contains(&Kind::of(record));
        let passes = match &mut self.bucket {
            Some(bucket) if wanted && kind::is_limited(record) => bucket.take(Instant::now()),
            _ => true,
        };
        let mut state = self.queue.lock();
        if !wanted {
            state.filter_out();
        } else if !passes {
            state.cut_off();
        } else {
            let awaited = state.push(record);
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

    /// Takes no more records. Those that wait are delivered, and then the thread ends.
    #[must_use]
    pub fn close(self) -> ClosingSink {
        ClosingSink::new(self.config, self.worker)
    }

    /// Closes the output and blocks until all records are delivered, at most until `deadline`.
    /// Returns what has become of them: those still `queued` are lost. A thread that is blocked by
    /// its receiver is left behind.
    #[must_use]
    pub fn finish(self, deadline: Instant) -> Counts {
        self.close().finish(deadline)
    }
}

fn bucket(config: &SinkConfig) -> Option<Bucket> {
    let bucket = |limit| Bucket::new(limit, Instant::now());
    config.rate_limit.map(bucket)
}
