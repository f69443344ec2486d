//! a: time in the kernel for each transition.

use std::time::Duration;

use anyhow::Result;

use super::{
    churn::{ClosePattern, churn},
    report::{Row, ratios},
    testbed::{BpfStats, Testbed},
    tracer::Tracer,
};
use crate::command::announce;

impl Testbed<'_> {
    /// tcpclose in both tiers, and tcpstates, in turns.
    pub fn kernel_cost(&mut self) -> Result<()> {
        let each = self.transitions_per_connection(ClosePattern::OneThread)?;
        let duration = self.seconds(4);
        let _counting = BpfStats::on()?;
        let row = |what| Row::new('a', what, "ns/transition", vec![]);
        let mut watch = row("kernel cost, tcpclose watch (all programs)");
        let mut classic = row("kernel cost, tcpclose watch --no-btf");
        let mut tcpstates = row("kernel cost, tcpstates");
        for round in 1..=self.args.rounds() {
            announce(format_args!("a, round {round}"));
            let cost = |tracer| cost_of(tracer, duration, each);
            watch.values.push(cost(self.tcpclose(&["watch"])?)?);
            tcpstates.values.push(cost(self.tcpstates()?)?);
            let tracer = self.tcpclose(&["watch", "--no-btf"])?;
            classic.values.push(cost(tracer)?);
        }
        let ratio = Row::new('a', RATIO, "×", ratios(&tcpstates, &watch))
            .demands("at least 25", |value| value >= 25.0);
        let classic_ratio = Row::new(
            'a',
            "tcpstates / tcpclose watch --no-btf",
            "×",
            ratios(&tcpstates, &classic),
        );
        self.rows
            .extend([watch, classic, tcpstates, ratio, classic_ratio]);
        Ok(())
    }
}

/// The row with a demand.
pub const RATIO: &str = "tcpstates / tcpclose watch";

/// Time in all eBPF programs of a tracer for each transition, in ns.
fn cost_of(tracer: Tracer, duration: Duration, transitions_per_connection: f64) -> Result<f64> {
    let before = tracer.program_cost()?;
    let churned = churn(duration, ClosePattern::OneThread)?;
    let after = tracer.program_cost()?;
    Ok((after.ns - before.ns) as f64 / (churned.connections as f64 * transitions_per_connection))
}
