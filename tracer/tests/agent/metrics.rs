//! Prometheus itself, which scrapes the agent while connections churn.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::program::{Agent, eventually, get};
use crate::workload::{Plan, Server};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::has_programs;

const AGENT: &str = "127.0.0.1:19433";
const PROMETHEUS: &str = "127.0.0.1:19090";

const PLAN: Plan = Plan {
    by_client: 400,
    by_server: 150,
    reset: 50,
};

/// So often; Prometheus reads in between.
const PARTS: usize = 3;

/// TIME_WAITs that a new connection of the same client ends.
const RECYCLED: usize = 5;

fn config(server: &Server, netns: &str) -> io::Result<String> {
    let port = server.address()?.port();
    Ok(format!(
        "output = []\nstuck_after = \"1s\"\n[prometheus]\nlocal_ports = [{port}]\n[trace]\n\
         local_ports = [{port}]\nnetns = \"{netns}\"\n"
    ))
}

#[test]
fn promtool_finds_nothing_wrong() -> TestResult {
    if !has_programs(&["promtool"]) {
        return Ok(());
    }
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let _agent = Agent::start(&scratch, &config(&server, netns)?)?;
        let mut stuck = Vec::new();
        let text = eventually("a process with stuck sockets is exported", || {
            let (client, server) = server.connect()?;
            drop(client);
            stuck.push(server);
            server_plays_some(&stuck)?;
            let (_, text) = get(AGENT.parse().map_err(io::Error::other)?, "/metrics")?;
            Ok(text
                .contains("tcpclose_process_stuck_sockets{")
                .then_some(text))
        })?;
        let port = server.address()?.port();
        let close_wait = format!(
            "tcpclose_local_port_connections{{network_local_port=\"{port}\",\
             network_connection_state=\"close_wait\"}} "
        );
        let (_, count) = text.split_once(&close_wait).ok_or("no such series")?;
        assert!(!count.starts_with("0\n"), "{text}");
        server.play(PLAN)?;
        let mut check = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        check
            .stdin
            .take()
            .ok_or("it has a stdin")?
            .write_all(text.as_bytes())?;
        let messages = check.wait_with_output()?;
        let words = String::from_utf8_lossy(&messages.stderr).into_owned();
        assert!(
            messages.status.success() && words.is_empty(),
            "{words}{text}"
        );
        Ok(())
    })
}

/// What was stuck before the start is known only then: a small number that grows at once would look
/// like a leak.
#[test]
fn stuck_sockets_are_exported_once_they_can_be_known() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let config = config(&server, netns)?.replace("\"1s\"", "\"1h\"");
        let _agent = Agent::start(&scratch, &config)?;
        let (_, text) = get(AGENT.parse()?, "/metrics")?;
        assert!(text.contains("tcpclose_live_connections 0"), "{text}");
        assert!(!text.contains("stuck_sockets"), "{text}");
        Ok(())
    })
}

/// Sockets that are kept are no garbage.
fn server_plays_some(stuck: &[std::net::TcpStream]) -> io::Result<()> {
    stuck
        .last()
        .map_or(Ok(()), |last| last.peer_addr().map(|_| ()))
}

struct Prometheus {
    /// Ends with the test.
    _running: ChildGuard,
}

impl Prometheus {
    fn start(scratch: &Scratch) -> io::Result<Self> {
        let config = format!(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: tcpclose\n    static_configs:\n      - \
             targets: ['{AGENT}']\n"
        );
        let file = scratch.write("prometheus.yml", &config)?;
        let log = std::fs::File::create(scratch.path("prometheus.log"))?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                scratch.path("tsdb").display()
            ))
            .arg(format!("--web.listen-address={PROMETHEUS}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(Self {
            _running: ChildGuard::spawn(&mut command)?,
        })
    }

    /// The value of an expression now; `None` while it has none.
    fn value(expression: &str) -> io::Result<Option<f64>> {
        let address: SocketAddr = PROMETHEUS.parse().map_err(io::Error::other)?;
        let escaped: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let Ok((_, body)) = get(address, &format!("/api/v1/query?query={escaped}")) else {
            return Ok(None);
        };
        let Ok(answer) = serde_json::from_str::<Value>(&body) else {
            return Ok(None);
        };
        let value = answer.pointer("/data/result/0/value/1");
        Ok(value
            .and_then(Value::as_str)
            .and_then(|text| text.parse().ok()))
    }
}

#[test]
fn prometheus_reads_the_counts_of_the_workload() -> TestResult {
    if !has_programs(&["prometheus"]) {
        return Ok(());
    }
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let output = format!(
            "[[output]]\ntype = \"file\"\npath = \"{}\"\nkinds = [\"close\", \"stuck\"]\n",
            scratch.path("records.jsonl").display()
        );
        let config = config(&server, netns)?.replace("output = []\n", "") + &output;
        let agent = Agent::start(&scratch, &config)?;
        let _prometheus = Prometheus::start(&scratch)?;
        eventually("Prometheus scrapes", || {
            Ok(Prometheus::value("up{job=\"tcpclose\"}")?.filter(|up| *up == 1.0))
        })?;
        // In parts, so that it scrapes meanwhile.
        let mut before = None;
        for part in 0..PARTS {
            server.play(PLAN)?;
            let seen = eventually("a scrape during the churn", || {
                let seen = Prometheus::value("sum(tcpclose_closes_total)")?;
                Ok(seen.filter(|seen| Some(*seen) != before))
            })?;
            let played = ((part + 1) * PLAN.total()) as f64;
            assert!(
                seen <= played && Some(seen) > before,
                "{before:?}, {seen} of {played}"
            );
            before = Some(seen);
        }
        server.recycle(RECYCLED)?;
        let plan = Plan {
            by_client: PARTS * PLAN.by_client,
            by_server: PARTS * PLAN.by_server + RECYCLED + 1,
            reset: PARTS * PLAN.reset,
        };
        let total = plan.total() as f64;
        let stuck: Vec<_> = (0..3)
            .map(|_| server.connect().map(|(_, server)| server))
            .collect::<io::Result<_>>()?;
        let reached = |expression: &str, expected: f64| {
            let seen = eventually(expression, || {
                Ok(Prometheus::value(expression)?.filter(|value| *value >= expected))
            })?;
            assert_eq!(seen, expected, "{expression}");
            io::Result::Ok(())
        };
        reached("sum(tcpclose_closes_total)", total)?;
        reached("tcpclose_opened_total", total + stuck.len() as f64)?;
        reached(
            "sum(tcpclose_closes_total{initiator=\"local\"})",
            plan.by_server as f64,
        )?;
        reached(
            "sum(tcpclose_closes_total{path=\"reset\"})",
            plan.reset as f64,
        )?;
        reached(
            "sum(tcpclose_resets_total{sender=\"peer\"})",
            plan.reset as f64,
        )?;
        let times = |state: &str| {
            format!("tcpclose_state_duration_seconds_count{{network_connection_state=\"{state}\"}}")
        };
        reached(&times("last_ack"), plan.by_client as f64)?;
        assert!(server.recycled() >= RECYCLED, "{}", server.recycled());
        let recycled = server.recycled() as f64;
        reached(
            "tcpclose_time_wait_ends_total{reason=\"recycled\"}",
            recycled,
        )?;
        reached(&times("time_wait"), recycled)?;
        let waiting = server.in_time_wait() as f64;
        reached("tcpclose_time_wait_connections", waiting)?;
        reached("tcpclose_stuck_sockets", stuck.len() as f64)?;
        reached("sum(tcpclose_process_stuck_sockets)", stuck.len() as f64)?;
        let own = std::fs::read_to_string("/proc/self/comm")?;
        let own = format!(
            "tcpclose_process_stuck_sockets{{process=\"{}\"}}",
            own.trim_end()
        );
        reached(&own, stuck.len() as f64)?;
        let written = "sum(tcpclose_output_records_total{outcome=\"written\"})";
        reached(written, total + stuck.len() as f64)?;
        reached(
            "sum(tcpclose_output_records_total{outcome=~\"dropped|failed|cut\"})",
            0.0,
        )?;
        reached("tcpclose_output_up", 1.0)?;
        reached("tcpclose_output_queued_records", 0.0)?;
        // Runs that the kernel skipped are counted for the whole host, where other tests run.
        reached("sum(tcpclose_events_lost_total{where!=\"program\"})", 0.0)?;
        reached("tcpclose_series_dropped_total", 0.0)?;
        let runs = Prometheus::value("tcpclose_bpf_runs_total")?.unwrap_or_default();
        assert!(
            runs >= 4.0 * total,
            "four transitions of each end at least: {runs}"
        );
        let memory = Prometheus::value("process_resident_memory_bytes")?.unwrap_or_default();
        assert!(memory > 1e6, "{memory}");
        drop(stuck);
        agent.end()?;
        Ok(())
    })
}
