//! j: what the commands that people watch take, beside an agent, on a busy host.

use std::{fs::File, process::Stdio, thread, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    agent::Writes,
    churn::paced,
    report::{Row, ratios},
    testbed::Testbed,
    tracer::Tracer,
};
use crate::command::announce;

/// Connections a second. Both endpoints are here, so there are twice as many closes.
const CONNECTIONS_A_SECOND: u32 = 1_000;
/// For what still waits in the rings and the queues: handling it is part of the cost.
const DRAIN_TIME: Duration = Duration::from_millis(1_500);
/// Our own namespace: what else happens on the machine is not measured.
const OWN_NETNS: &str = "/proc/self/ns/net";

impl Testbed<'_> {
    /// All of them at once, so that each sees the same closes.
    pub fn views(&mut self) -> Result<()> {
        let row = |what| Row::new('j', what, "% of a core", vec![]);
        let mut agent_cpu = row("CPU at 2,000 closes/s, agent writing JSON to a file");
        let mut watch_cpu = row("CPU at 2,000 closes/s, tcpclose watch into a file");
        let mut top_cpu = row("CPU at 2,000 closes/s, tcpclose top, text every 2 s");
        for round in 1..=self.args.rounds() {
            announce(format_args!("j, round {round}"));
            let agent = self.agent(Writes::EverythingToAFile)?;
            let lines = File::create(self.directory.join("watch.txt"));
            let lines = lines.context("cannot write what watch shows")?;
            let watch = ["watch", "--netns", OWN_NETNS];
            let watch = Tracer::start(self.program, &watch, lines, Some("tcpclose: watching"))?;
            let top = ["top", "--netns", OWN_NETNS];
            let attached = Some("tcpclose: counting");
            let top = Tracer::start(self.program, &top, Stdio::null(), attached)?;
            let cpu = || anyhow::Ok([agent.tracer.cpu()?, watch.cpu()?, top.cpu()?]);
            let before = cpu()?;
            let made = paced(self.seconds(8), CONNECTIONS_A_SECOND)?;
            thread::sleep(DRAIN_TIME);
            let rows = [&mut agent_cpu, &mut watch_cpu, &mut top_cpu];
            for ((row, before), after) in rows.into_iter().zip(before).zip(cpu()?) {
                row.values.push((after - before) / made.seconds * 100.0);
            }
            watch.stop()?;
            top.stop()?;
            agent.stop()?;
        }
        let of_agent = |what, row: &Row| Row::new('j', what, "×", ratios(row, &agent_cpu));
        let ratios = [
            of_agent("tcpclose watch / agent writing JSON", &watch_cpu),
            of_agent("tcpclose top / agent writing JSON", &top_cpu),
        ];
        self.rows.extend([agent_cpu, watch_cpu, top_cpu]);
        self.rows.extend(ratios);
        Ok(())
    }
}
