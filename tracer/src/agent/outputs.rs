//! The outputs that run: started, offered findings, exchanged when the configuration changes, ended.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::host::cgroup::Cgroups;
use crate::host::named_cgroups::NamedCgroups;
use crate::lifecycle::finding::Finding;
use crate::lifecycle::summary::Output;
use crate::output::cgroup_names::{CgroupNames, GivenNames};
use crate::output::clock::{SharedOffset, WallClock};
use crate::output::prometheus::OutputState;
use crate::output::sink::{Counts, Sink, SinkConfig, Surroundings, Target};

/// How long an output that the configuration no longer has may take for what it holds. The ring buffer waits meanwhile.
const EXCHANGE: Duration = Duration::from_millis(500);

/// The outputs.
#[derive(Debug)]
pub(super) struct Outputs {
    running: Vec<Running>,
    clock: SharedOffset,
    names: Option<NamedCgroups>,
}

#[derive(Debug)]
struct Running {
    sink: Sink,
    /// Keeps a second agent from the same place; files have a lock themselves.
    lock: Option<Arc<File>>,
}

impl Outputs {
    /// Starts all. They take wall time from `clock`, and the names of cgroups from `names` where there are any: a recording
    /// has the same, so that its replay shows the same.
    pub fn start(
        configs: &[SinkConfig],
        run_directory: &Path,
        clock: SharedOffset,
        names: Option<NamedCgroups>,
    ) -> anyhow::Result<Self> {
        let mut outputs = Self {
            running: Vec::new(),
            clock,
            names,
        };
        for config in configs {
            let running = outputs.start_one(config, run_directory)?;
            outputs.running.push(running);
        }
        Ok(outputs)
    }

    fn start_one(&self, config: &SinkConfig, run_directory: &Path) -> anyhow::Result<Running> {
        let cgroups: Box<dyn CgroupNames> = match &self.names {
            Some(names) => Box::new(GivenNames::new(names.clone())),
            None => Box::new(Cgroups::new()),
        };
        let surroundings = Surroundings {
            clock: WallClock::led_by(self.clock.clone()),
            cgroups,
        };
        Ok(Running {
            lock: self.lock_of(&config.target, run_directory)?,
            sink: Sink::start(config, surroundings)?,
        })
    }

    /// Outputs to one place have one lock.
    fn lock_of(&self, target: &Target, run_directory: &Path) -> anyhow::Result<Option<Arc<File>>> {
        if matches!(target, Target::Stdout | Target::File(_)) {
            return Ok(None);
        }
        let place = target.to_string();
        let is_there = |running: &&Running| running.sink.config().target.to_string() == place;
        match self.running.iter().find(is_there) {
            Some(running) => Ok(running.lock.clone()),
            None => Ok(Some(Arc::new(lock(&place, run_directory)?))),
        }
    }

    /// Offers a finding to each.
    pub fn offer(&mut self, finding: &Arc<Finding>) {
        for running in &mut self.running {
            running.sink.offer(finding);
        }
    }

    /// Those that are as before go on and open their files anew; others are ended and started. What cannot be started is
    /// said on stderr.
    pub fn exchange(&mut self, configs: &[SinkConfig], run_directory: &Path) {
        let before = std::mem::take(&mut self.running);
        let (kept, gone): (Vec<_>, Vec<_>) = before
            .into_iter()
            .partition(|running| configs.contains(running.sink.config()));
        self.running = kept;
        for running in &self.running {
            running.sink.reopen();
        }
        // The new ones may want the same files.
        finish(gone, Instant::now() + EXCHANGE);
        for config in configs {
            let is_running = |running: &Running| running.sink.config() == config;
            if self.running.iter().any(is_running) {
                continue;
            }
            match self.start_one(config, run_directory) {
                Ok(running) => self.running.push(running),
                Err(error) => {
                    eprintln!("tcpclose: {error:#}; it is tried again at the next SIGHUP")
                }
            }
        }
    }

    /// How each does.
    pub fn states(&self) -> Vec<OutputState> {
        let state = |running: &Running| {
            let Counts {
                offered: _,
                filtered,
                cut,
                dropped,
                written,
                failed,
                queued,
            } = running.sink.counts();
            OutputState {
                counts: Output {
                    name: running.sink.name().into(),
                    written,
                    filtered,
                    cut,
                    dropped,
                    failed,
                },
                queued,
                outage: running.sink.outage().map(|outage| outage.reason),
            }
        };
        self.running.iter().map(state).collect()
    }

    /// Waits until all is delivered, or until `deadline`, and says what was not.
    pub fn finish(self, deadline: Instant) {
        finish(self.running, deadline);
    }
}

fn finish(outputs: Vec<Running>, deadline: Instant) {
    for running in &outputs {
        running.sink.close();
    }
    for running in outputs {
        let name = running.sink.name().to_owned();
        let lost = running.sink.finish(deadline).queued;
        if lost > 0 {
            eprintln!(
                "tcpclose: output {name} could not take {lost} records in time: they are lost"
            );
        }
    }
}

/// Takes the lock of a place, which ends with the file.
fn lock(place: &str, directory: &Path) -> anyhow::Result<File> {
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | ':' => character,
        _ => '_',
    };
    let file: String = place.chars().map(plain).collect();
    let path = directory.join(format!("{file}.lock"));
    let failed = || {
        format!(
            "output {place} cannot be locked: {} (set run_directory)",
            path.display()
        )
    };
    fs::create_dir_all(directory).with_context(failed)?;
    let file = File::create(&path).with_context(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!(
            "output {place} is in use: another tcpclose agent holds {}",
            path.display()
        ),
        Err(TryLockError::Error(error)) => Err(error).with_context(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_ends_with_its_holder() {
        let directory = std::env::temp_dir().join(format!("tcpclose-locks-{}", std::process::id()));
        let name = "syslog:unix:/dev/log";
        let held = lock(name, &directory).expect("nobody holds it");
        let error = lock(name, &directory).expect_err("it is held");
        let expected = format!(
            "output {name} is in use: another tcpclose agent holds {}/syslog:unix:_dev_log.lock",
            directory.display()
        );
        assert_eq!(error.to_string(), expected);
        lock("journald", &directory).expect("another output is free");
        drop(held);
        lock(name, &directory).expect("it is free again");
        fs::remove_dir_all(&directory).expect("it is ours");
    }
}
