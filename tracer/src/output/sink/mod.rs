//! The outputs of the agent. Each has its own kinds, filter, rate limit, queue and thread, so that
//! a receiver that is slow, down or restarted never slows the tracing.

mod closing;
mod config;
mod destination_error;
mod file;
mod gate;
mod host_name;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "http")]
mod http_client;
mod journald;
mod kind;
#[cfg_attr(
    not(feature = "otlp"),
    expect(dead_code, reason = "OTLP alone has metrics")
)]
mod last_accepted;
mod lazy_open;
mod log_record;
mod message;
#[cfg(feature = "otlp")]
mod otlp;
mod outage_messages;
mod queue;
mod render;
mod sink_thread;
mod stdout;
mod syslog;
#[cfg(test)]
mod tests;
mod token_bucket;
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use crate::notice::notice;
use crate::output_status::OutputCounts;
use crate::record::Record;

use self::gate::Gate;
use self::last_accepted::LastAccepted;
use self::lazy_open::LazyOpen;
use self::queue::Queue;
use self::sink_thread::{ExitNotice, Notify, RetryDelays, SinkThread};
use self::token_bucket::TokenBucket;
use self::transport::Transport;
use tcpclose_sys::host::priority;

pub use self::closing::{ClosingSink, SinkThreadHandle};
pub use self::config::{
    AnswerTimeout, Batch, BatchDelay, Compression, Facility, HeaderFiles, HeaderValues, HttpConfig,
    HttpUrl, MaxSize, OtlpConfig, OtlpEndpoint, OtlpProtocol, RateLimit, RequestHeaders, SdId,
    SinkConfig, SyslogAddress, SyslogConfig, Target, Temporality,
};
pub use self::destination_error::DestinationError;
pub use self::kind::RecordKind;
pub use self::queue::Outage;
pub use self::render::RenderContext;

/// A running output.
pub struct Sink {
    config: SinkConfig,
    bucket: Option<TokenBucket>,
    queue: Arc<Queue>,
    last_accepted: LastAccepted,
    sink_thread: SinkThreadHandle,
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
    /// Starts an output and its thread, which reports outages and their ends on stderr. A receiver
    /// that cannot be reached yet is not an error.
    ///
    /// # Errors
    /// A file cannot be opened, or another program writes to it already.
    pub fn start(config: &SinkConfig, context: RenderContext) -> anyhow::Result<Self> {
        Self::start_with_notify(config, context, |message| notice!("{message}"))
    }

    /// As [`Self::start`], with a function that shows the thread's messages.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with_notify(
        config: &SinkConfig,
        context: RenderContext,
        notify: impl FnMut(&str) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let last_accepted = LastAccepted::default();
        let transport = lazy_open::open(config, context, &last_accepted)
            .with_context(|| format!("output {} cannot be used", config.name()))?;
        let notify = Box::new(notify);
        Self::spawn(
            config,
            transport,
            last_accepted,
            notify,
            RetryDelays::default(),
        )
    }

    /// As [`Self::start`], but a destination that cannot be opened yet is an outage: its thread
    /// retries, each time with a new context, until it is open.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start_lazily(
        config: &SinkConfig,
        make_context: impl FnMut() -> anyhow::Result<RenderContext> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let last_accepted = LastAccepted::default();
        let transport = LazyOpen::new(
            config.clone(),
            Box::new(make_context),
            last_accepted.clone(),
        );
        let notify = |message: &str| notice!("{message}");
        Self::spawn(
            config,
            Box::new(transport),
            last_accepted,
            Box::new(notify),
            RetryDelays::default(),
        )
    }

    fn spawn(
        config: &SinkConfig,
        transport: Box<dyn Transport>,
        last_accepted: LastAccepted,
        notify: Notify,
        retry_delays: RetryDelays,
    ) -> anyhow::Result<Self> {
        let name = config.name();
        let carries_losses = config.kinds.contains(&RecordKind::Loss);
        let queue = Arc::new(Queue::new(config.queue.get(), carries_losses));
        queue.lock().new_gate = Some(gate(config));
        let sink_thread = SinkThread::new(
            name.clone(),
            Arc::clone(&queue),
            transport,
            notify,
            retry_delays,
        );
        let (guard, alive) = ExitNotice::new(Arc::clone(&queue));
        let thread_name = format!("out-{}", config.target.output_type());
        let run = move || {
            let _guard = guard;
            sink_thread.run();
        };
        priority::spawn(thread_name, run)
            .with_context(|| format!("the thread of output {name} could not be started"))?;
        Ok(Self {
            bucket: bucket(config),
            config: config.clone(),
            sink_thread: SinkThreadHandle::new(Arc::clone(&queue), alive),
            queue,
            last_accepted,
        })
    }

    /// Returns the output's name in messages and metrics, such as `file:/var/log/tcpclose.jsonl`.
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
        is_same && !self.sink_thread.has_ended()
    }

    /// Applies a configuration that the output [can adopt](Self::can_adopt), and
    /// [reopens](Self::reopen) the output. Waiting records and counts stay. If the token, the
    /// facility or the like changes, the destination is opened again with a new context.
    pub fn adopt(
        &mut self,
        config: &SinkConfig,
        make_context: impl FnMut() -> anyhow::Result<RenderContext> + Send + 'static,
    ) {
        let is_new_filter = config.filter.containers != self.config.filter.containers;
        let is_new_limit = config.rate_limit != self.config.rate_limit || is_new_filter;
        if is_new_limit {
            self.bucket = bucket(config);
        }
        let carries_losses = config.kinds.contains(&RecordKind::Loss);
        let mut state = self.queue.lock();
        if is_new_limit {
            state.new_gate = Some(gate(config));
        }
        state.reconfigure(config.queue.get(), carries_losses);
        if config.target != self.config.target {
            let last_accepted = self.last_accepted.clone();
            let transport = LazyOpen::new(config.clone(), Box::new(make_context), last_accepted);
            state.replacement = Some(Box::new(transport));
        }
        drop(state);
        self.config = config.clone();
        self.reopen();
    }

    /// Takes a record if it is wanted and there is room. Never blocks.
    pub fn offer(&mut self, record: &Arc<Record>) {
        let passes_filter = match &**record {
            Record::Finding(finding) => self.config.filter.matches(finding),
            Record::Summary(_) | Record::Rollup(_) => true,
        };
        let wanted = passes_filter && self.config.kinds.contains(&RecordKind::from_record(record));
        let passes = match &mut self.bucket {
            Some(bucket) if wanted && kind::is_limited(record) => bucket.take(Instant::now()),
            _ => true,
        };
        let mut state = self.queue.lock();
        if !wanted {
            state.count_filtered();
        } else if !passes {
            state.count_rate_limited();
        } else {
            let must_wake = state.push(record);
            drop(state);
            if must_wake {
                self.queue.wake();
            }
        }
    }

    /// Returns what has become of the offered records.
    #[must_use]
    pub fn counts(&self) -> OutputCounts {
        self.queue.lock().counts()
    }

    /// Returns the current outage; `None` if the output works.
    #[must_use]
    pub fn outage(&self) -> Option<Outage> {
        self.queue.lock().outage()
    }

    /// Returns why the receiver last refused records for good; `None` if it never has.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.queue.lock().refusal.clone()
    }

    /// Opens the file again after the current delivery, or retries the receiver at once.
    pub fn reopen(&self) {
        self.queue.lock().reopen = true;
        self.queue.wake();
    }

    /// Takes no more records. Those that wait are delivered, and then the thread ends.
    #[must_use]
    pub fn close(self) -> ClosingSink {
        ClosingSink::new(self.config, self.sink_thread)
    }

    /// Closes the output and blocks until all records are delivered, at most until `deadline`.
    /// Returns what has become of them: those still `queued` are lost. A thread that is blocked by
    /// its receiver is left behind.
    #[must_use]
    pub fn finish(self, deadline: Instant) -> OutputCounts {
        self.close().finish(deadline)
    }
}

/// Returns the rate limit of records as they are offered. Where a gate takes records out of the
/// queue, the gate has the rate limit.
fn bucket(config: &SinkConfig) -> Option<TokenBucket> {
    if config.filter.containers.is_all() {
        full_bucket(config)
    } else {
        None
    }
}

fn gate(config: &SinkConfig) -> Option<Gate> {
    Gate::new(&config.filter.containers, full_bucket(config))
}

fn full_bucket(config: &SinkConfig) -> Option<TokenBucket> {
    let bucket = |limit| TokenBucket::new(limit, Instant::now());
    config.rate_limit.map(bucket)
}
