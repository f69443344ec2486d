//! b: what tracing leaves of the host's connection rate.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

use super::{
    agent::Writes,
    churn::{ClosePattern, churn},
    empty_program::EmptyProgram,
    report::{Row, ratios},
    testbed::Testbed,
};
use crate::command::announce;

/// Each tracer has some turns in a round: rates of one churn differ by a third from second to
/// second.
const TURN_TIME: Duration = Duration::from_secs(1);

/// Who traces meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Traced {
    Not,
    ByEmptyProgram,
    ByAgent(Writes),
    ByTcpstates,
}

const ALL_TRACERS: [Traced; 5] = [
    Traced::Not,
    Traced::ByEmptyProgram,
    Traced::ByAgent(Writes::Default),
    Traced::ByAgent(Writes::EverythingToAFile),
    Traced::ByTcpstates,
];

impl Traced {
    fn name(self) -> &'static str {
        match self {
            Self::Not => "untraced",
            Self::ByEmptyProgram => "an eBPF program that does nothing",
            Self::ByAgent(Writes::Default) => "tcpclose agent writing no closes, its default",
            Self::ByAgent(_) => "tcpclose agent writing JSON",
            Self::ByTcpstates => "tcpstates",
        }
    }
}

impl Testbed<'_> {
    /// With each of them in turns, in each way to churn.
    pub fn connection_rate(&mut self) -> Result<()> {
        for (pattern, how) in [
            (ClosePattern::TwoThreads, ""),
            (ClosePattern::InTurn, ", one after the other"),
            (ClosePattern::OneThread, ", client and server in one thread"),
        ] {
            let rows = self.rates(pattern, how)?;
            self.rows.extend(rows);
        }
        Ok(())
    }

    fn rates(&self, pattern: ClosePattern, how: &str) -> Result<Vec<Row>> {
        let row = |what: &str, unit| Row::new('b', format!("{what}{how}"), unit, vec![]);
        let mut rates =
            ALL_TRACERS.map(|traced| row(&format!("connections, {}", traced.name()), "1/s"));
        let mut busy = row("processors busy meanwhile, untraced", "%");
        let mut unwritten = row("findings not written", "");
        let turns = if self.args.short { 1 } else { 4 };
        for round in 1..=self.args.rounds() {
            announce(format_args!("b{how}, round {round}"));
            let mut means = [0.0; ALL_TRACERS.len()];
            let mut mean_busy = 0.0;
            let mut not_written = 0;
            for turn in 1..=turns {
                for place in 0..ALL_TRACERS.len() {
                    // Each stride is another order: no tracer always follows the same one.
                    let who = (place * turn + round) % ALL_TRACERS.len();
                    let before = Processors::now()?;
                    let (rate, left) = self.rate(ALL_TRACERS[who], pattern)?;
                    if ALL_TRACERS[who] == Traced::Not {
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
        for (rate, traced) in rates.iter().zip(ALL_TRACERS).skip(1) {
            let mut percent = row(&format!("{}, of untraced", traced.name()), "%");
            percent.values = ratios(rate, &rates[0]);
            percent.values.iter_mut().for_each(|ratio| *ratio *= 100.0);
            if (traced, pattern) == (Traced::ByAgent(Writes::Default), ClosePattern::TwoThreads) {
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

    /// Connections a second, and findings that were not written.
    fn rate(&self, traced: Traced, pattern: ClosePattern) -> Result<(f64, u64)> {
        let rate = || anyhow::Ok(churn(TURN_TIME, pattern)?.rate());
        Ok(match traced {
            Traced::Not => (rate()?, 0),
            Traced::ByEmptyProgram => {
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

/// Time of all processors, in ticks: where they have none left for a tracer, what it takes is
/// missing elsewhere.
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
    fn time_that_is_neither_idle_nor_iowait_is_busy() {
        let of = |line| Processors::parse(line).unwrap();
        let before = of("cpu  100 0 100 500 0 0 0 0 0 0\ncpu0 1 2 3\n");
        let after = of("cpu  150 0 120 510 10 5 5 0 0 0\ncpu0 1 2 3\n");
        assert_eq!(after.busy_since(before), 80.0);
        assert_eq!(Processors::parse("intr 1"), None);
    }
}
