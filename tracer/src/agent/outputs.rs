//! The running outputs: started, given records, replaced when the configuration changes, and ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::time;

use super::output_locks::OutputLocks;
use crate::cgroup_names::{CgroupNames, RecordedCgroupNames};
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::json::JsonOptions;
use crate::output::sink::{ClosingSink, RenderContext, Sink, SinkConfig, SinkThreadHandle, Target};
use crate::output_status::{OutputCounts, OutputState, OutputStatus};
use crate::record::Record;
use crate::session::now;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// How long an output that a reload removed may take to deliver what it still holds.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a new output waits for the one that had its destination before. A thread that was given
/// up after [`CLOSE_TIMEOUT`] needs a moment to release its file.
const HANDOVER_TIMEOUT: Duration = Duration::from_millis(750);

/// The outputs of the agent.
#[derive(Debug)]
pub(super) struct Outputs {
    running: Vec<Sink>,
    /// Outputs that a reload removed and that still deliver what they hold.
    closing: Vec<ClosingSink>,
    /// Threads that were given up and had not ended by then. A file can have only one writer.
    given_up: Vec<(Target, SinkThreadHandle)>,
    /// The counts of outputs that have ended, by name. The next output of that name continues them.
    ended_counts: BTreeMap<String, OutputCounts>,
    shared: Shared,
}

/// What all outputs share.
#[derive(Clone, Debug)]
struct Shared {
    clock: ClockOffset,
    names: Option<SharedCgroupNames>,
    locks: OutputLocks,
    json: JsonOptions,
}

impl Outputs {
    /// Starts all outputs. They take wall time from `clock` and, if there are any, the names of
    /// cgroups from `names`: a recording has the same names, so that its replay shows the same.
    ///
    /// # Errors
    /// An output cannot be opened or its destination is locked.
    pub fn start(
        configs: &[SinkConfig],
        run_directory: &Path,
        clock: ClockOffset,
        names: Option<SharedCgroupNames>,
        json: JsonOptions,
    ) -> anyhow::Result<Self> {
        let mut outputs = Self {
            running: Vec::new(),
            closing: Vec::new(),
            given_up: Vec::new(),
            ended_counts: BTreeMap::new(),
            shared: Shared {
                clock,
                names,
                locks: OutputLocks::default(),
                json,
            },
        };
        for config in configs {
            let context = outputs.shared.render_context(&config.target, run_directory);
            let context =
                context.with_context(|| format!("output {} cannot be used", config.name()))?;
            outputs.running.push(Sink::start(config, context)?);
        }
        Ok(outputs)
    }

    /// Offers a record to each output.
    pub fn offer(&mut self, record: &Arc<Record>) {
        for sink in &mut self.running {
            sink.offer(record);
        }
    }

    /// Applies a new configuration, without waiting for any output. Outputs whose name and
    /// destination stay the same keep their records and counts and open their files again; others
    /// are closed, and new ones are started. What cannot be opened yet is down and is retried.
    /// [`Self::settle`] must follow once [`Self::closed`] has completed.
    pub fn reconfigure(&mut self, configs: &[SinkConfig], run_directory: &Path) {
        let mut removed = std::mem::take(&mut self.running);
        let mut added = Vec::new();
        for config in configs {
            match removed.iter().position(|sink| sink.can_adopt(config)) {
                Some(at) => {
                    let mut sink = removed.swap_remove(at);
                    sink.adopt(config, self.shared.prepare(&config.target, run_directory));
                    self.running.push(sink);
                }
                None => added.push(config),
            }
        }
        self.given_up
            .retain(|(_, sink_thread)| !sink_thread.has_ended());
        self.closing.extend(removed.into_iter().map(Sink::close));
        for config in added {
            match self.start_after_predecessors(config, run_directory) {
                Ok(sink) => self.running.push(sink),
                Err(error) => {
                    notice!("{error:#}; the next SIGHUP retries it");
                }
            }
        }
    }

    /// Starts an output that opens its destination once those that had it before have ended: its
    /// records must come after theirs.
    fn start_after_predecessors(
        &self,
        config: &SinkConfig,
        run_directory: &Path,
    ) -> anyhow::Result<Sink> {
        let closing = self
            .closing
            .iter()
            .map(|sink| (sink.target(), sink.sink_thread()));
        let given_up = self
            .given_up
            .iter()
            .map(|(target, sink_thread)| (target, sink_thread));
        let predecessors: Vec<SinkThreadHandle> = closing
            .chain(given_up)
            .filter(|(target, _)| target.is_same_destination(&config.target))
            .map(|(_, sink_thread)| sink_thread.clone())
            .collect();
        let is_file = matches!(config.target, Target::File(_));
        let deadline = Instant::now() + HANDOVER_TIMEOUT;
        let mut context = self.shared.prepare(&config.target, run_directory);
        Sink::start_lazily(config, move || {
            for sink_thread in &predecessors {
                anyhow::ensure!(
                    sink_thread.wait_until_ended(deadline) || !is_file,
                    "the previous output to this destination has not released it yet"
                );
            }
            context()
        })
    }

    /// Completes when the outputs that were removed have delivered what they held, after 0.5 s at
    /// the latest.
    pub fn closed(&self) -> impl Future<Output = ()> + use<> {
        let workers: Vec<_> = self
            .closing
            .iter()
            .map(|sink| sink.sink_thread().clone())
            .collect();
        let all = async move {
            for sink_thread in workers {
                sink_thread.ended().await;
            }
        };
        let deadline = time::Instant::now() + CLOSE_TIMEOUT;
        async move {
            // What has not ended by then is given up by `settle`.
            let _ = time::timeout_at(deadline, all).await;
        }
    }

    /// Gives up the outputs that were removed. Records that they could not deliver count as
    /// dropped.
    pub fn settle(&mut self) {
        for sink in std::mem::take(&mut self.closing) {
            let (target, sink_thread) = (sink.target().clone(), sink.sink_thread().clone());
            self.add_counts(sink.name(), sink.give_up());
            if !sink_thread.has_ended() {
                self.given_up.push((target, sink_thread));
            }
        }
    }

    /// Returns the state and the counts of each output, including those that were removed. Counts
    /// start with the agent.
    pub fn states(&self) -> Vec<OutputStatus> {
        let now = now();
        let mut earlier = self.ended_counts.clone();
        for sink in &self.closing {
            *earlier.entry(sink.name()).or_default() += sink.counts();
        }
        let mut states = Vec::new();
        for sink in &self.running {
            let name = sink.name();
            let state = sink
                .outage()
                .map_or(OutputState::Up, |outage| OutputState::Down {
                    since: now - Nanos::from(outage.since.elapsed()),
                    reason: outage.reason,
                });
            let mut counts = earlier.remove(&name).unwrap_or_default();
            counts += sink.counts();
            states.push(OutputStatus {
                name: name.into(),
                counts,
                state,
            });
        }
        let removed = earlier.into_iter();
        states.extend(removed.map(|(name, counts)| OutputStatus {
            name: name.into(),
            counts,
            state: OutputState::Removed,
        }));
        states
    }

    /// Blocks until all outputs have delivered what they hold, at most until `deadline`, and
    /// reports what they could not deliver.
    pub fn finish(mut self, deadline: Instant) {
        let running = std::mem::take(&mut self.running);
        let closing = std::mem::take(&mut self.closing);
        // All are closed before the first is waited for.
        let running: Vec<_> = running.into_iter().map(Sink::close).collect();
        for sink in closing.into_iter().chain(running) {
            self.add_counts(sink.name(), sink.finish(deadline));
        }
    }

    /// Adds the last counts of an output.
    fn add_counts(&mut self, name: String, counts: OutputCounts) {
        let lost = counts.queued;
        if lost > 0 {
            notice!("output {name} could not deliver {lost} records in time; they are lost");
        }
        *self.ended_counts.entry(name).or_default() += OutputCounts {
            dropped: counts.dropped + lost,
            queued: 0,
            ..counts
        };
    }
}

impl Shared {
    /// Returns a function that makes a [`Self::render_context`] whenever an output's thread needs
    /// one.
    fn prepare(
        &self,
        target: &Target,
        run_directory: &Path,
    ) -> impl FnMut() -> anyhow::Result<RenderContext> + Send + 'static {
        let (shared, target, directory) = (self.clone(), target.clone(), run_directory.to_owned());
        move || shared.render_context(&target, &directory)
    }

    fn render_context(
        &self,
        target: &Target,
        run_directory: &Path,
    ) -> anyhow::Result<RenderContext> {
        let lock = self.locks.lock_output(target, run_directory)?;
        let cgroups: Box<dyn CgroupNames> = match &self.names {
            Some(names) => Box::new(RecordedCgroupNames::for_this_host(names.clone())),
            None => Box::new(Cgroups::new()),
        };
        Ok(RenderContext {
            clock: WallClock::new(self.clock.clone()),
            cgroups,
            lock,
            json: self.json,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixDatagram;

    use super::*;
    use tcpclose_core::finding::{Finding, Loss, LossLocation};
    use tcpclose_kit::scratch::Scratch;

    fn offer(outputs: &mut Outputs, count: usize) {
        for _ in 0..count {
            let loss = Finding::Loss(Loss {
                at: Nanos(0),
                lost: 1,
                location: LossLocation::Ring,
                repaired: true,
                duration: None,
            });
            outputs.offer(&Arc::new(loss.into()));
        }
    }

    /// What the agent's loop does after a reload.
    fn settle(outputs: &mut Outputs) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async { outputs.closed().await });
        outputs.settle();
    }

    #[test]
    fn a_reload_waits_for_no_output_and_counts_undelivered_records() {
        // The output that is left at the end may be making its lock file: an error is no failure.
        let scratch = Scratch::new();
        let folder = scratch.folder();
        // Nobody reads from it: it soon blocks its output.
        let receiver = UnixDatagram::bind(folder.join("log")).expect("a socket");
        let config: SinkConfig = toml::from_str(&format!(
            "type = 'syslog'\naddress = 'unix:{}'",
            folder.join("log").display()
        ))
        .expect("a configuration");
        let clock = ClockOffset::measured();
        let started = Outputs::start(
            std::slice::from_ref(&config),
            folder,
            clock,
            None,
            JsonOptions::default(),
        );
        let mut outputs = started.expect("its lock is free");
        offer(&mut outputs, 5_000);

        outputs.reconfigure(&[], folder);
        let closing = &outputs.states()[0];
        assert_eq!(
            (&closing.state, closing.counts.dropped),
            (&OutputState::Removed, 0)
        );
        assert!(closing.counts.queued > 0, "{closing:?}");
        // An output to the same destination has the same name, and continues the counts.
        outputs.reconfigure(&[config], folder);
        offer(&mut outputs, 1);
        let states = outputs.states();
        assert_eq!((states.len(), states[0].counts.offered), (1, 5_001));

        settle(&mut outputs);
        let settled = &outputs.states()[0];
        assert_eq!((settled.counts.offered, settled.counts.queued), (5_001, 1));
        assert!(settled.counts.dropped > 0, "{settled:?}");
        assert_eq!(settled.counts.written + settled.counts.dropped, 5_000);
        drop(receiver);
        outputs.finish(Instant::now());
    }

    #[test]
    fn counts_belong_to_the_name_wherever_it_writes() {
        let folder = std::env::temp_dir().join(format!("tcpclose-outputs-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let config = |file: &str| SinkConfig {
            name: Some("records".to_owned()),
            ..SinkConfig::new(Target::File(folder.join(file)))
        };
        let clock = ClockOffset::measured();
        let started = Outputs::start(&[config("a")], &folder, clock, None, JsonOptions::default());
        let mut outputs = started.expect("a file can be made");
        offer(&mut outputs, 3);
        outputs.reconfigure(&[config("b")], &folder);
        offer(&mut outputs, 2);
        assert_eq!(outputs.states()[0].counts.offered, 5);
        settle(&mut outputs);
        outputs.reconfigure(&[], &folder);
        settle(&mut outputs);
        let removed = outputs.states();
        assert_eq!(removed.len(), 1);
        assert_eq!(
            (removed[0].counts.offered, removed[0].counts.written),
            (5, 5)
        );
        assert_eq!(removed[0].state, OutputState::Removed);
        outputs.reconfigure(&[config("a")], &folder);
        offer(&mut outputs, 1);
        let again = outputs.states();
        assert_eq!((again.len(), again[0].counts.offered), (1, 6));
        assert_ne!(again[0].state, OutputState::Removed);
        outputs.finish(Instant::now() + Duration::from_secs(60));
        let lines = |file| fs::read_to_string(folder.join(file)).map(|text| text.lines().count());
        assert_eq!((lines("a").ok(), lines("b").ok()), (Some(4), Some(2)));
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
