//! `tcpclose agent --self-test`: makes a stuck socket and a reset, and waits until every output of
//! the configuration has delivered their records.
//!
//! The programs are attached, privileges given up and outputs opened as the agent does it. What a
//! running agent holds stays with it: its locks are only tried.

mod deliveries;
mod sockets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::Config;
use super::output_locks::OutputLocks;
use crate::clock_offset::ClockOffset;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::sink::{RenderContext, Sink, SinkConfig};
use crate::record::Record;
use crate::session::{Consumer, Live, Session, SessionError};
use deliveries::{Delivery, Progress};
use sockets::TestSocket;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Finding, Loss};
use tcpclose_core::types::{IpVersion, Nanos, NetNs, Tuple};
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::host::privilege_drop::{self, KeptCapability};
use tcpclose_sys::host::running_agents::running_agents;
use tcpclose_sys::kernel::loader::{LoadError, TraceOptions};
use tcpclose_sys::kernel::netns;

/// When the socket counts as stuck.
const STUCK_AFTER: Nanos = Nanos::from_millis(200);

/// How long the tracer may take to report everything, and then the outputs to deliver it.
const TRACE_TIMEOUT: Duration = Duration::from_secs(10);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the test, which keeps `capabilities` once its programs are attached. Shows its results on
/// stderr, a sentence for each output, and returns whether all is well.
///
/// # Errors
/// The programs cannot be attached, or the connections cannot be made.
pub async fn self_test(config: &Config, capabilities: Vec<KeptCapability>) -> anyhow::Result<bool> {
    let mut session = match start(netns::current().ok(), &capabilities) {
        // The classic tracepoint shows no namespace. The connections have an address of their own.
        Err(SessionError::Load(LoadError::FilterNeedsBtf(_))) => start(None, &capabilities),
        other => other,
    }?;
    let locks = OutputLocks::default();
    let open = |output| {
        Delivery::open(output, |output| {
            open(output, config, &locks, session.clock())
        })
    };
    let deliveries: Vec<Delivery> = config.outputs.iter().map(open).collect();
    let stuck = TestSocket::open()
        .context("the self-test cannot make connections on the loopback interface; set it up with `ip link set lo up`")?;
    let finds_stuck = session.has_cookies();
    if !finds_stuck {
        notice!(
            "self-test: without socket cookies (Linux 5.12, with BTF) only the reset is tested"
        );
    }
    let tracing = Tracing {
        listener: stuck.listener(),
        stuck: Some(stuck),
        finds_stuck,
        seen: SeenFindings::default(),
        deliveries,
        deadline: Instant::now() + TRACE_TIMEOUT,
        is_late: false,
    };
    let (missing, deliveries) = session.run(tracing).await?;
    if let Some(missing) = missing {
        notice!(
            "self-test: the tracer did not report {missing} within {TRACE_TIMEOUT:?}: connections of this host are missed"
        );
        return Ok(false);
    }
    wait_for(&deliveries).await;
    Ok(report(&deliveries))
}

fn start(
    netns: Option<NetNs>,
    capabilities: &[KeptCapability],
) -> Result<Session<Live>, SessionError> {
    let filter = ConnectionFilter {
        netns,
        ip: Some(IpVersion::V4),
        ..ConnectionFilter::default()
    };
    let options = TraceOptions {
        filter,
        ..TraceOptions::default()
    };
    let capabilities = capabilities.to_vec();
    Session::builder(options)
        .stuck_after(Some(STUCK_AFTER))
        .after_attach(move || Ok(privilege_drop::drop_all_except(&capabilities)?))
        .start()
}

/// Opens an output as the agent does, but silently: the report has what goes wrong.
fn open(
    output: &SinkConfig,
    config: &Config,
    locks: &OutputLocks,
    clock: ClockOffset,
) -> anyhow::Result<Sink> {
    let lock = locks
        .lock_output(&output.target, &config.run_directory)
        .with_context(|| format!("output {} cannot be used", output.name()))?;
    let context = RenderContext {
        clock: WallClock::new(clock),
        cgroups: Box::new(Cgroups::new()),
        lock,
        json: config.json_options()?,
    };
    Sink::start_with_notify(output, context, |_| {})
}

async fn wait_for(deliveries: &[Delivery]) {
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    let waits = |delivery: &Delivery| matches!(delivery.progress(), Progress::Waiting(_));
    while deliveries.iter().any(waits) && Instant::now() < deadline {
        sleep(POLL_INTERVAL).await;
    }
}

/// Shows how far each output is, and returns whether none has failed.
fn report(deliveries: &[Delivery]) -> bool {
    let (mut is_good, mut is_held) = (true, false);
    for delivery in deliveries {
        let name = delivery.name();
        match delivery.progress() {
            Progress::Delivered(1) => notice!("self-test: output {name} has taken 1 record"),
            Progress::Delivered(count) => {
                notice!("self-test: output {name} has taken {count} records");
            }
            Progress::NotConcerned => {
                notice!(
                    "self-test: output {name} can be opened; its kinds are neither close nor stuck, so no record was sent"
                );
            }
            Progress::Waiting(reason) => {
                is_good = false;
                let reason = reason.unwrap_or_else(|| "its receiver does not read".to_owned());
                notice!(
                    "self-test: output {name} did not take the records within {DELIVERY_TIMEOUT:?}: {reason}"
                );
            }
            Progress::Refused(reason) => {
                is_good = false;
                notice!("self-test: output {name} refused the records: {reason}");
            }
            Progress::Unusable(sentence) => {
                (is_good, is_held) = (false, true);
                notice!("self-test: {sentence}");
            }
        }
    }
    if is_held {
        name_running_agents();
    }
    is_good
}

/// Agents that run here may hold what could not be opened.
fn name_running_agents() {
    let own = std::process::id();
    let agents = running_agents().unwrap_or_default();
    for agent in agents.iter().filter(|agent| agent.pid != own) {
        notice!(
            "self-test: agent {} runs here, and outputs that it has cannot be tested: stop it first",
            agent.pid
        );
    }
}

/// What the tracer has reported about the test's connections.
#[derive(Clone, Copy, Debug, Default)]
struct SeenFindings {
    closes: u32,
    stuck: bool,
    resolved: bool,
}

/// Waits for the records of the connections and offers them to the outputs.
struct Tracing {
    listener: SocketAddr,
    /// The stuck socket, until it was reported.
    stuck: Option<TestSocket>,
    finds_stuck: bool,
    seen: SeenFindings,
    deliveries: Vec<Delivery>,
    deadline: Instant,
    is_late: bool,
}

impl Tracing {
    /// Returns whether the reset of both endpoints and the stuck socket were reported.
    fn has_first_records(&self) -> bool {
        self.seen.closes >= 2 && (self.seen.stuck || !self.finds_stuck)
    }

    fn missing(&self) -> Option<&'static str> {
        let SeenFindings {
            closes,
            stuck,
            resolved,
        } = self.seen;
        match () {
            () if closes < 2 => Some("the reset"),
            () if !stuck && self.finds_stuck => Some("the stuck socket"),
            () if closes < 4 || (!resolved && self.finds_stuck) => {
                Some("the end of the stuck socket")
            }
            () => None,
        }
    }

    fn is_own(&self, tuple: &Tuple) -> bool {
        tuple.local() == self.listener || tuple.peer() == self.listener
    }
}

impl Consumer<Live> for Tracing {
    /// What the tracer did not report, and the outputs.
    type Output = (Option<&'static str>, Vec<Delivery>);

    async fn wait(&mut self) {
        sleep_until(self.deadline).await;
    }

    fn on_wake(&mut self, _session: &mut Session<Live>) -> anyhow::Result<()> {
        self.is_late = true;
        Ok(())
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        match &finding {
            Finding::Close(close) if self.is_own(&close.endpoint.tuple) => self.seen.closes += 1,
            Finding::Stuck(stuck) if self.is_own(&stuck.endpoint.tuple) => {
                match stuck.resolution() {
                    None => self.seen.stuck = true,
                    Some(_) => self.seen.resolved = true,
                }
            }
            Finding::Close(_) | Finding::Stuck(_) | Finding::TimeWait(_) => return Ok(()),
            Finding::Loss(Loss { lost, location, .. }) => {
                notice!("self-test: {lost} records were lost: {location}");
                return Ok(());
            }
        }
        let record = Arc::new(finding.into());
        let record: &Arc<Record> = &record;
        for delivery in &mut self.deliveries {
            delivery.offer(record);
        }
        Ok(())
    }

    fn after_findings(&mut self, _session: &mut Session<Live>) -> anyhow::Result<()> {
        if self.has_first_records()
            && let Some(stuck) = self.stuck.take()
        {
            stuck
                .close()
                .context("the self-test cannot close its socket")?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_late || self.missing().is_none()
    }

    fn finish(self, _session: &mut Session<Live>) -> anyhow::Result<Self::Output> {
        Ok((self.missing(), self.deliveries))
    }
}
