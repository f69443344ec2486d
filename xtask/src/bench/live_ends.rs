//! f: the whole program's memory with a million live ends, which are there in the kernel.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{agent::Writes, report::Row, testbed::Stage};
use crate::{
    command::announce,
    demo::{Part, ready_and_wait},
};

/// Both ends of half a million connections.
const ENDS: u64 = 1_000_000;
/// Connections of one process: two descriptors each, of the 20,000 that are commonly allowed.
const HELD: u64 = 9_900;

impl Stage<'_> {
    /// The agent watches as they are opened.
    pub fn live_ends(&mut self) -> Result<()> {
        let connections = if self.args.short { ENDS / 20 } else { ENDS / 2 };
        announce(format_args!("f: {connections} connections that stay open"));
        let agent = self.agent(Writes::EverythingToAFile)?;
        let mut holders = Vec::new();
        let mut left = connections;
        while left > 0 {
            let now = left.min(HELD);
            let address = format!("--hold={}:{now}", holders.len());
            holders.push(Part::start(&["bench", &address])?);
            left -= now;
        }
        thread::sleep(Duration::from_secs(1));
        let most = agent.tracer.most_resident()? as f64;
        let reported = agent.stop()?;
        let live = reported.live()?;
        ensure!(
            live == 2 * connections,
            "the agent knows of {live} live ends, and there are {}",
            2 * connections
        );
        let row = Row::new(
            'f',
            format!("resident memory of the agent, at most, with {live} live ends"),
            "MB",
            vec![most / 1e6],
        );
        self.rows.push(if self.args.short {
            row
        } else {
            row.demands("under 256", |value| value < 256.0)
        });
        Ok(())
    }
}

/// Opens connections to itself and keeps them until it is killed: `PROCESS:CONNECTIONS`, the process's number being part
/// of its address.
pub fn hold(what: &str) -> Result<()> {
    let (process, connections) = what.split_once(':').context("PROCESS:CONNECTIONS")?;
    let address = Ipv4Addr::new(127, 2, process.parse()?, 1);
    let listener = TcpListener::bind((address, 0)).context("cannot listen")?;
    let address: SocketAddr = listener.local_addr()?;
    let mut held = Vec::new();
    for _ in 0..connections.parse::<u64>()? {
        let mut opened = TcpStream::connect(address).context("cannot connect")?;
        opened.write_all(b"x")?;
        held.push((opened, listener.accept().context("cannot accept")?));
    }
    ready_and_wait()
}
