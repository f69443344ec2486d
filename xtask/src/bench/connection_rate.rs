//! b: what tracing leaves of the host's connection rate.

use std::fs;

use anyhow::{Context as _, Result};

use super::{
    agent::Writes,
    churn::{Ends, churn},
    report::{Row, ratios},
    stage::Stage,
};
use crate::command::announce;

impl Stage<'_> {
    /// Untraced, with the agent writing little and much, and with tcpstates, in turns; then the same in the other ways.
    pub fn connection_rate(&mut self) -> Result<()> {
        let demanded = "at least 97";
        let (kept, mut rows) = self.rates(Ends::TwoThreads, "")?;
        let kept = kept.demands(demanded, |value| value >= 97.0);
        rows.push(kept);
        for (ends, how) in [
            (Ends::InTurn, ", one after the other"),
            (Ends::OneThread, ", both ends in one thread"),
        ] {
            let (kept, more) = self.rates(ends, how)?;
            rows.extend(more);
            rows.push(kept);
        }
        self.rows.extend(rows);
        Ok(())
    }

    /// What the agent leaves as it is by default, in percent, and the other rows.
    fn rates(&self, ends: Ends, how: &str) -> Result<(Row, Vec<Row>)> {
        let row = |who| Row::new('b', format!("connections, {who}{how}"), "1/s", vec![]);
        let mut untraced = row("untraced");
        let mut quiet = row("tcpclose agent writing no closes, its default");
        let mut agent = row("tcpclose agent writing JSON");
        let mut tcpstates = row("tcpstates");
        let mut unwritten = Row::new('b', format!("findings not written{how}"), "", vec![]);
        let what = format!("processors busy meanwhile, untraced{how}");
        let mut busy = Row::new('b', what, "%", vec![]);
        let duration = self.seconds(3);
        for round in 1..=self.args.rounds() {
            announce(format_args!("b{how}, round {round}"));
            let before = Processors::now()?;
            untraced.values.push(churn(duration, ends)?.rate());
            busy.values.push(Processors::now()?.busy_since(before));
            {
                let daemon = self.agent(Writes::Little)?;
                quiet.values.push(churn(duration, ends)?.rate());
                daemon.stop()?;
                let daemon = self.agent(Writes::EverythingToAFile)?;
                agent.values.push(churn(duration, ends)?.rate());
                unwritten.values.push(daemon.stop()?.unwritten()? as f64);
            }
            let _tracer = self.tcpstates()?;
            tcpstates.values.push(churn(duration, ends)?.rate());
        }
        let percent = |row: &Row, who| {
            let percents = ratios(row, &untraced).iter().map(|it| it * 100.0).collect();
            Row::new('b', format!("{who}, of untraced{how}"), "%", percents)
        };
        let kept = percent(&quiet, "tcpclose agent writing no closes, its default");
        let more = percent(&agent, "tcpclose agent writing JSON");
        let theirs = percent(&tcpstates, "tcpstates");
        let rows = vec![
            untraced, busy, quiet, agent, unwritten, tcpstates, theirs, more,
        ];
        Ok((kept, rows))
    }
}

/// Time of all processors, in ticks: where they have none left for a tracer, what it takes is missing elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Processors {
    all: u64,
    idle: u64,
}

impl Processors {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        Self::parse(&stat).context("/proc/stat is not as expected")
    }

    /// Of the first line: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line
            .split_ascii_whitespace()
            .take(8)
            .map_while(|ticks| ticks.parse().ok())
            .collect();
        Some(Self {
            all: ticks.iter().sum(),
            idle: ticks.get(3)? + ticks.get(4)?,
        })
    }

    /// In percent of all of them.
    fn busy_since(self, before: Self) -> f64 {
        let all = (self.all - before.all) as f64;
        (1.0 - (self.idle - before.idle) as f64 / all) * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::Processors;

    #[test]
    fn what_is_neither_idle_nor_waits_for_a_disk_is_busy() {
        let of = |line| Processors::parse(line).unwrap();
        let before = of("cpu  100 0 100 500 0 0 0 0 0 0\ncpu0 1 2 3\n");
        let after = of("cpu  150 0 120 510 10 5 5 0 0 0\ncpu0 1 2 3\n");
        assert_eq!(after.busy_since(before), 80.0);
        assert_eq!(Processors::parse("intr 1"), None);
    }
}
