//! b: what tracing leaves of the host's connection rate.

use anyhow::Result;

use super::{
    agent::Writes,
    churn::{Ends, churn},
    report::{Row, ratios},
    stage::Stage,
};
use crate::command::announce;

impl Stage<'_> {
    /// Untraced, with the agent, and with tcpstates, in turns; then the same with one thread.
    pub fn connection_rate(&mut self) -> Result<()> {
        let demanded = "at least 97";
        let (kept, mut rows) = self.rates(Ends::TwoThreads, "")?;
        let kept = kept.demands(demanded, |value| value >= 97.0);
        let (worst, more) = self.rates(Ends::OneThread, ", both ends in one thread")?;
        rows.push(kept);
        rows.extend(more);
        rows.push(worst);
        self.rows.extend(rows);
        Ok(())
    }

    /// What the agent leaves, in percent, and the other rows.
    fn rates(&self, ends: Ends, how: &str) -> Result<(Row, Vec<Row>)> {
        let row = |who| Row::new('b', format!("connections, {who}{how}"), "1/s", vec![]);
        let mut untraced = row("untraced");
        let mut agent = row("tcpclose agent writing JSON");
        let mut tcpstates = row("tcpstates");
        let mut unwritten = Row::new('b', format!("findings not written{how}"), "", vec![]);
        let duration = self.seconds(4);
        for round in 1..=self.args.rounds() {
            announce(format_args!("b{how}, round {round}"));
            untraced.values.push(churn(duration, ends)?.rate());
            {
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
        let kept = percent(&agent, "tcpclose agent");
        let theirs = percent(&tcpstates, "tcpstates");
        Ok((kept, vec![untraced, agent, tcpstates, unwritten, theirs]))
    }
}
