//! The outputs that run: started, offered findings, exchanged when the configuration changes, ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::output_locks::OutputLocks;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::cgroup_names::{CgroupNames, GivenNames};
use crate::output::clock::WallClock;
use crate::output::sink::{Counts, Presence, RenderContext, Sink, SinkConfig, Target};
use crate::record::Record;
use crate::session::now;
use crate::summary::{Output, OutputState};
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::shared_cgroup_names::SharedCgroupNames;

/// How long an output that the configuration no longer has may take for what it holds. The ring buffer waits meanwhile.
const EXCHANGE: Duration = Duration::from_millis(500);

/// The outputs.
#[derive(Debug)]
pub(super) struct Outputs {
    running: Vec<Sink>,
    /// What those had counted that have ended, by name: whoever has the name next goes on from there.
    before: BTreeMap<String, Counts>,
    /// Those that have been told to end and may not have done so yet: a file can have one writer.
    leaving: Vec<(Target, Presence)>,
    common: Common,
}

/// What all outputs have from the agent.
#[derive(Clone, Debug)]
struct Common {
    clock: ClockOffset,
    names: Option<SharedCgroupNames>,
    places: OutputLocks,
}

impl Outputs {
    /// Starts all. They take wall time from `clock`, and the names of cgroups from `names` where there are any: a recording
    /// has the same, so that its replay shows the same.
    pub fn start(
        configs: &[SinkConfig],
        run_directory: &Path,
        clock: ClockOffset,
        names: Option<SharedCgroupNames>,
    ) -> anyhow::Result<Self> {
        let mut outputs = Self {
            running: Vec::new(),
            before: BTreeMap::new(),
            leaving: Vec::new(),
            common: Common {
                clock,
                names,
                places: OutputLocks::default(),
            },
        };
        for config in configs {
            let render_context = outputs.common.render_context(&config.target, run_directory);
            let render_context = render_context
                .with_context(|| format!("output {} cannot be used", config.name()))?;
            outputs.running.push(Sink::start(config, render_context)?);
        }
        Ok(outputs)
    }

    /// Offers a record to each.
    pub fn offer(&mut self, record: &Arc<Record>) {
        for sink in &mut self.running {
            sink.offer(record);
        }
    }

    /// Outputs whose name and place are as before go on with what they hold and have counted, and open their files anew;
    /// others are ended and started. What cannot be opened yet is down, and tried again.
    pub fn exchange(&mut self, configs: &[SinkConfig], run_directory: &Path) {
        let mut gone = std::mem::take(&mut self.running);
        let mut new = Vec::new();
        for config in configs {
            match gone.iter().position(|sink| sink.can_become(config)) {
                Some(at) => {
                    let mut sink = gone.swap_remove(at);
                    sink.change(config, self.common.prepare(&config.target, run_directory));
                    self.running.push(sink);
                }
                None => new.push(config),
            }
        }
        self.leaving.retain(|(_, presence)| presence.is_there());
        let leaving = gone
            .iter()
            .map(|sink| (sink.config().target.clone(), sink.presence()));
        self.leaving.extend(leaving);
        self.end(gone, Instant::now() + EXCHANGE);
        for config in new {
            let is_in_the_way = |(target, _): &&(Target, Presence)| {
                matches!(target, Target::File(_)) && *target == config.target
            };
            let in_the_way = self.leaving.iter().filter(is_in_the_way);
            let in_the_way: Vec<Presence> =
                in_the_way.map(|(_, presence)| presence.clone()).collect();
            let mut render_context = self.common.prepare(&config.target, run_directory);
            let prepare = move || {
                anyhow::ensure!(
                    !in_the_way.iter().any(Presence::is_there),
                    "the output that was there before the configuration changed has not let go of it yet"
                );
                render_context()
            };
            match Sink::start_trying(config, prepare) {
                Ok(sink) => self.running.push(sink),
                Err(error) => {
                    notice!("{error:#}; it is tried again at the next SIGHUP")
                }
            }
        }
    }

    /// How each does, and what became of those that were removed. Counts are from the start of the agent.
    pub fn states(&self) -> Vec<Output> {
        let now = now();
        let running = self.running.iter().map(|sink| {
            let name = sink.name();
            let state = sink
                .outage()
                .map_or(OutputState::Up, |outage| OutputState::Down {
                    since: now - Nanos::from(outage.since.elapsed()),
                    reason: outage.reason,
                });
            let before = self.before.get(&name).copied().unwrap_or_default();
            output(&name, before + sink.counts(), state)
        });
        let is_gone = |name: &str| self.running.iter().all(|sink| sink.name() != name);
        let gone = self.before.iter().filter(|(name, _)| is_gone(name));
        let gone = gone.map(|(name, counts)| output(name, *counts, OutputState::Removed));
        running.chain(gone).collect()
    }

    /// Waits until all is delivered, or until `deadline`, and says what was not.
    pub fn finish(mut self, deadline: Instant) {
        let running = std::mem::take(&mut self.running);
        self.end(running, deadline);
    }

    /// What they could not deliver counts as dropped.
    fn end(&mut self, sinks: Vec<Sink>, deadline: Instant) {
        for sink in &sinks {
            sink.close();
        }
        for sink in sinks {
            let name = sink.name();
            let counts = sink.finish(deadline);
            let lost = counts.queued;
            if lost > 0 {
                notice!("output {name} could not take {lost} records in time: they are lost");
            }
            let before = self.before.entry(name).or_default();
            *before = *before
                + Counts {
                    dropped: counts.dropped + lost,
                    queued: 0,
                    ..counts
                };
        }
    }
}

impl Common {
    /// As [`Self::render_context`], whenever an output's thread needs some.
    fn prepare(
        &self,
        target: &Target,
        run_directory: &Path,
    ) -> impl FnMut() -> anyhow::Result<RenderContext> + Send + 'static {
        let (common, target, directory) = (self.clone(), target.clone(), run_directory.to_owned());
        move || common.render_context(&target, &directory)
    }

    fn render_context(
        &self,
        target: &Target,
        run_directory: &Path,
    ) -> anyhow::Result<RenderContext> {
        let lock = match target {
            // A file has a lock itself, and stdout has none.
            Target::Stdout | Target::File(_) => None,
            target => Some(self.places.lock(&target.to_string(), run_directory)?),
        };
        let cgroups: Box<dyn CgroupNames> = match &self.names {
            Some(names) => Box::new(GivenNames::new(names.clone())),
            None => Box::new(Cgroups::new()),
        };
        Ok(RenderContext {
            clock: WallClock::new(self.clock.clone()),
            cgroups,
            lock,
        })
    }
}

fn output(name: &str, counts: Counts, state: OutputState) -> Output {
    let Counts {
        offered,
        filtered,
        cut,
        dropped,
        written,
        failed,
        queued,
    } = counts;
    Output {
        name: name.into(),
        offered,
        written,
        filtered,
        cut,
        dropped,
        failed,
        queued,
        state,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use tcpclose_core::finding::{Finding, Loss, LossLocation};

    fn offer(outputs: &mut Outputs, count: usize) {
        for _ in 0..count {
            let loss = Finding::Loss(Loss {
                at: Nanos(0),
                lost: 1,
                location: LossLocation::Ring,
                repaired: true,
            });
            outputs.offer(&Arc::new(loss.into()));
        }
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
        let started = Outputs::start(&[config("a")], &folder, clock, None);
        let mut outputs = started.expect("a file can be made");
        offer(&mut outputs, 3);
        outputs.exchange(&[config("b")], &folder);
        offer(&mut outputs, 2);
        assert_eq!(outputs.states()[0].offered, 5);
        outputs.exchange(&[], &folder);
        let removed = outputs.states();
        assert_eq!(removed.len(), 1);
        assert_eq!((removed[0].offered, removed[0].written), (5, 5));
        assert_eq!(removed[0].state, OutputState::Removed);
        outputs.exchange(&[config("a")], &folder);
        offer(&mut outputs, 1);
        let again = outputs.states();
        assert_eq!((again.len(), again[0].offered), (1, 6));
        assert_ne!(again[0].state, OutputState::Removed);
        outputs.finish(Instant::now() + Duration::from_secs(60));
        let lines = |file| fs::read_to_string(folder.join(file)).map(|text| text.lines().count());
        assert_eq!((lines("a").ok(), lines("b").ok()), (Some(4), Some(2)));
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
