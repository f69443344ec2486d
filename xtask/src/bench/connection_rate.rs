//! b: what tracing leaves of the host's connection rate.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    agent::Writes,
    churn::{Ends, churn},
    empty_program::EmptyProgram,
    report::{Row, ratios},
    testbed::Stage,
};
use crate::command::announce;

/// How long a turn is. Each has some in a round: rates of one churn differ by a third from second to second.
const TURN: Duration = Duration::from_secs(1);

/// Who traces meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traced {
    Not,
    ByNothing,
    ByAgent(Writes),
    ByTcpstates,
}

const ALL: [Traced; 5] = [
    Traced::Not,
    Traced::ByNothing,
    Traced::ByAgent(Writes::Little),
    Traced::ByAgent(Writes::EverythingToAFile),
    Traced::ByTcpstates,
];

impl Traced {
    fn name(self) -> &'static str {
        match self {
            Self::Not => "untraced",
            Self::ByNothing => "an eBPF program that does nothing",
            Self::ByAgent(Writes::Little) => "tcpclose agent writing no closes, its default",
            Self::ByAgent(_) => "tcpclose agent writing JSON",
            Self::ByTcpstates => "tcpstates",
        }
    }
}

impl Stage<'_> {
    /// With each of them in turns, in each way to churn.
    pub fn connection_rate(&mut self) -> Result<()> {
        for (ends, how) in [
            (Ends::TwoThreads, ""),
            (Ends::InTurn, ", one after the other"),
            (Ends::OneThread, ", both ends in one thread"),
        ] {
            let rows = self.rates(ends, how)?;
            self.rows.extend(rows);
        }
        Ok(())
    }

    fn rates(&self, ends: Ends, how: &str) -> Result<Vec<Row>> {
        let row = |what: &str, unit| Row::new('b', format!("{what}{how}"), unit, vec![]);
        let mut rates = ALL.map(|traced| row(&format!("connections, {}", traced.name()), "1/s"));
        let mut busy = row("processors busy meanwhile, untraced", "%");
        let mut unwritten = row("findings not written", "");
        let turns = if self.args.short { 1 } else { 4 };
        for round in 1..=self.args.rounds() {
            announce(format_args!("b{how}, round {round}"));
            let mut means = [0.0; ALL.len()];
            let mut mean_busy = 0.0;
            let mut not_written = 0;
            for turn in 1..=turns {
                for place in 0..ALL.len() {
                    // Each stride is another order: nobody always comes after the same.
                    let who = (place * turn + round) % ALL.len();
                    let before = Processors::now()?;
                    let (rate, left) = self.rate(ALL[who], ends)?;
                    if ALL[who] == Traced::Not {
                        mean_busy += Processors::now()?.busy_since(before) / turns as f64;
                    }
                    means[who] += rate / turns as f64;
                    not_written += left;
                }
            }
            for (row, mean) in rates.iter_mut().zip(means) {
                row.values.push(mean);
            }
            busy.values.push(mean_busy);
            unwritten.values.push(not_written as f64);
        }
        let mut percents = vec![];
        for (rate, traced) in rates.iter().zip(ALL).skip(1) {
            let mut percent = row(&format!("{}, of untraced", traced.name()), "%");
            percent.values = ratios(rate, &rates[0]);
            percent.values.iter_mut().for_each(|ratio| *ratio *= 100.0);
            if (traced, ends) == (Traced::ByAgent(Writes::Little), Ends::TwoThreads) {
                percent = percent.demands("at least 97", |value| value >= 97.0);
            }
            percents.push(percent);
        }
        Ok(rates
            .into_iter()
            .chain([busy, unwritten])
            .chain(percents)
            .collect())
    }

    /// Connections a second, and findings that nobody has written.
    fn rate(&self, traced: Traced, ends: Ends) -> Result<(f64, u64)> {
        let rate = || anyhow::Ok(churn(TURN, ends)?.rate());
        Ok(match traced {
            Traced::Not => (rate()?, 0),
            Traced::ByNothing => {
                let _attached = EmptyProgram::attach()?;
                (rate()?, 0)
            }
            Traced::ByAgent(writes) => {
                let agent = self.agent(writes)?;
                let rate = rate()?;
                (rate, agent.stop()?.unwritten()?)
            }
            Traced::ByTcpstates => {
                let _tracer = self.tcpstates()?;
                (rate()?, 0)
            }
        })
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
