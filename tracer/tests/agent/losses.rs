//! Losses of records, and what the agent shows after the repair.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getcpu, sched_setaffinity};

use crate::program::{Agent, eventually, get};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::skip;

const METRICS: &str = "127.0.0.1:19433";

/// The records of their closes, some 850 bytes for each, are twice what one ring has room for.
const CONNECTIONS: usize = 9_000;

/// The sum of the series of a metric.
fn metric(name: &str) -> io::Result<f64> {
    let address: SocketAddr = METRICS.parse().map_err(io::Error::other)?;
    let text = get(address, "/metrics")?.1;
    let values = text
        .lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}

/// All that this thread does is recorded in the ring of one processor.
fn stay_on_this_processor() -> io::Result<()> {
    let mut this = CpuSet::new();
    this.set(sched_getcpu());
    Ok(sched_setaffinity(None, &this)?)
}

/// Whether this process may have so many files open. Skips the test where it may not.
fn may_open(count: u64) -> io::Result<bool> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    if maximum.is_some_and(|maximum| maximum < count) {
        skip("RLIMIT_NOFILE is too low");
        return Ok(false);
    }
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum })?;
    Ok(true)
}

/// The snapshot that repairs the table shows their minisockets in TIME_WAIT, with the cookies of
/// the endpoints.
#[test]
fn after_a_loss_no_endpoint_stays_live_that_is_in_time_wait() -> TestResult {
    in_own_network(|netns| {
        if !may_open(2 * CONNECTIONS as u64 + 1_000)? {
            return Ok(());
        }
        let scratch = Scratch::new();
        let agent = Agent::start(
            &scratch,
            &format!("output = []\n[trace]\nnetns = \"{netns}\"\n"),
        )?;
        stay_on_this_processor()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let connect = || Ok((TcpStream::connect(address)?, listener.accept()?.0));
        let pairs: Vec<_> = (0..CONNECTIONS)
            .map(|_| connect())
            .collect::<io::Result<_>>()?;
        eventually("all are live", || {
            let live = metric("tcpclose_live_connections")?;
            Ok((live >= 2.0 * CONNECTIONS as f64).then_some(()))
        })?;
        assert!(metric("tcpclose_events_lost_total")? < 1.0);

        agent.signal(Signal::STOP)?;
        drop(pairs);
        agent.signal(Signal::CONT)?;
        eventually("losses are counted", || {
            let lost = metric("tcpclose_events_lost_total")?;
            Ok((lost >= 1.0).then_some(()))
        })?;
        // Those of the scrapes themselves come and go.
        eventually("none is live", || {
            let live = metric("tcpclose_live_connections")?;
            Ok((live < 10.0).then_some(()))
        })?;
        let in_time_wait = metric("tcpclose_time_wait_connections")?;
        assert!(in_time_wait >= CONNECTIONS as f64, "{in_time_wait}");
        agent.end()?;
        Ok(())
    })
}
