//! What the agent needs at steady rates of closes: processor, memory, log. docs/operations.md has
//! the table.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    agent::{Agent, Writes},
    churn,
    report::Row,
    testbed::Testbed,
};
use crate::command::announce;

/// Closes a second. Both endpoints are here, so a connection is two of them.
const RATES: [u32; 3] = [10, 100, 1000];
/// How long each is kept up, in seconds.
const SECONDS: u64 = 100;
/// For the last records to be written.
const DRAIN_DELAY: Duration = Duration::from_millis(500);

const SECONDS_A_DAY: f64 = 86_400.0;

impl Testbed<'_> {
    /// Measures each rate once with every close written, and the highest with the default outputs,
    /// too.
    pub fn sizing(&mut self) -> Result<()> {
        for rate in RATES {
            self.size(rate, Writes::EverythingToAFile)?;
        }
        let [.., highest] = RATES;
        self.size(highest, Writes::Default)
    }

    fn size(&mut self, rate: u32, writes: Writes) -> Result<()> {
        let what = match writes {
            Writes::Default => "with the default outputs",
            Writes::EverythingToAFile | Writes::EverythingToDevNull => "every close written",
        };
        announce(format_args!("h: {rate} closes a second, {what}"));
        let agent = self.agent(writes)?;
        let (cpu, log) = (agent.tracer.cpu()?, log_size(&agent)?);
        let churned = churn::paced(self.seconds(SECONDS), rate / 2)?;
        thread::sleep(DRAIN_DELAY);
        let cpu = agent.tracer.cpu()? - cpu;
        let log = log_size(&agent)? - log;
        let memory = agent.tracer.peak_memory()?;
        let summary = agent.stop()?;
        let closed = summary.closed()?;
        let row = |name: &str, unit: &str, value: f64| {
            let what = format!("{name} at {rate} closes/s, {what}");
            Row::new('h', what, unit, vec![value])
        };
        self.rows.extend([
            row("closes reported", "1/s", closed as f64 / churned.seconds),
            row("CPU", "% of a core", cpu / churned.seconds * 100.0),
            row("resident memory, at most,", "MB", memory as f64 / 1e6),
            row("findings not written", "", summary.unwritten()? as f64),
            match writes {
                Writes::Default => row("size of a summary", "bytes", summary.size()? as f64),
                Writes::EverythingToAFile | Writes::EverythingToDevNull => row(
                    "log",
                    "GB a day",
                    log as f64 / churned.seconds * SECONDS_A_DAY / 1e9,
                ),
            },
        ]);
        Ok(())
    }
}

fn log_size(agent: &Agent) -> Result<u64> {
    let file = agent.findings();
    let file = fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(file.len())
}
