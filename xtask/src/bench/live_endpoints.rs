//! f: the whole program's memory with a million live endpoints, all of them sockets of this kernel.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{agent::Writes, report::Row, testbed::Testbed};
use crate::{
    command::announce,
    demo::{HelperProcess, ready_and_wait},
};

/// Two for each of half a million connections.
const ENDPOINTS: u64 = 1_000_000;
/// Two descriptors each, of the 20,000 that are commonly allowed.
const CONNECTIONS_PER_PROCESS: u64 = 9_900;

impl Testbed<'_> {
    /// The agent watches as they are opened.
    pub fn live_endpoints(&mut self) -> Result<()> {
        let connections = if self.args.short {
            ENDPOINTS / 20
        } else {
            ENDPOINTS / 2
        };
        announce(format_args!("f: {connections} connections that stay open"));
        let agent = self.agent(Writes::EverythingToAFile)?;
        let mut holders = Vec::new();
        let mut left = connections;
        while left > 0 {
            let now = left.min(CONNECTIONS_PER_PROCESS);
            let address = format!("--hold={}:{now}", holders.len());
            holders.push(HelperProcess::start(&["bench", &address])?);
            left -= now;
        }
        thread::sleep(Duration::from_secs(1));
        let most = agent.tracer.peak_memory()? as f64;
        let reported = agent.stop()?;
        let live = reported.live()?;
        ensure!(
            live == 2 * connections,
            "the agent knows of {live} live endpoints, and there are {}",
            2 * connections
        );
        let row = Row::new(
            'f',
            format!("resident memory of the agent, at most, with {live} live endpoints"),
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

/// Opens connections to itself and keeps them until it is killed: `PROCESS:CONNECTIONS`, the
/// process's number being part of its address.
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
