//! SIGHUP with another configuration: nothing is lost that need not be, and everything is counted.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;

use crate::program::{Agent, eventually, get, records, records_of_kind};
use crate::workload::{Plan, Server};
use tcpclose_kit::TestResult;
use tcpclose_kit::lease::Lease;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

const METRICS: &str = "127.0.0.1:19433";

/// Files of the agent may be no longer, in blocks of 1 KiB or 512 bytes: some tens of closes. A
/// full disk looks the same to it.
const DISK: &str = "64";

/// The agent, on such a disk.
fn start(scratch: &Scratch, config: &str) -> io::Result<Agent> {
    let file = scratch.write("agent.toml", config)?;
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -S -f {DISK}; exec \"$0\" \"$@\"");
    command
        .args([
            "-c",
            &script,
            env!("CARGO_BIN_EXE_tcpclose"),
            "agent",
            "--config",
        ])
        .arg(file)
        .stdin(Stdio::null())
        .env_remove("NOTIFY_SOCKET");
    Agent::run(command, scratch)
}

/// The disk has room again.
fn free_disk(agent: &Agent) -> io::Result<()> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(
        Pid::from_raw(agent.pid() as i32),
        Resource::Fsize,
        unlimited,
    )?;
    Ok(())
}

fn metrics() -> io::Result<String> {
    let address: SocketAddr = METRICS.parse().map_err(io::Error::other)?;
    Ok(get(address, "/metrics")?.1)
}

/// The value of a series; `None` where it is not there.
fn value(metrics: &str, series: &str) -> Option<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.map(|value| value.trim().parse().expect("a number"))
}

fn output_records(metrics: &str, output: &str, outcome: &str) -> u64 {
    let series =
        format!("tcpclose_output_records_total{{output=\"{output}\",outcome=\"{outcome}\"}}");
    value(metrics, &series).unwrap_or_else(|| panic!("no {series} in {metrics}"))
}

fn up(metrics: &str, output: &str) -> Option<u64> {
    value(
        metrics,
        &format!("tcpclose_output_up{{output=\"{output}\"}}"),
    )
}

/// A scrape at most a second old may be from before; this waits until it is so.
fn until(what: &str, is_so: impl Fn(&str) -> bool) -> io::Result<String> {
    eventually(what, || {
        Ok(Some(metrics()?).filter(|metrics| is_so(metrics)))
    })
}

fn clients(closes: usize) -> Plan {
    Plan {
        by_client: closes,
        ..Plan::default()
    }
}

/// The outputs of all summaries, each of which adds up with the one before.
fn reported_by_summaries(scratch: &Scratch, name: &str, field: &str) -> io::Result<u64> {
    let records = records(&scratch.path("stdout"))?;
    let (mut sum, mut waiting) = (0, 0);
    for summary in records_of_kind(&records, "summary") {
        let outputs = summary["outputs"].as_array().expect("a list");
        let Some(output) = outputs.iter().find(|output| output["name"] == name) else {
            continue;
        };
        let number = |field: &str| output[field].as_u64().expect("a number");
        let became = ["written", "filtered", "cut", "dropped", "failed", "queued"];
        let became: u64 = became.into_iter().map(number).sum();
        assert_eq!(waiting + number("offered"), became, "{output}");
        waiting = number("queued");
        assert_eq!(
            output["state"] == "down",
            output["down"] != Value::Null,
            "{output}"
        );
        sum += number(field);
    }
    Ok(sum)
}

#[test]
fn a_failing_output_keeps_its_records_and_one_that_cannot_be_opened_is_down() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let config = |path: &str, queue: usize| {
            let path = scratch.path(path);
            format!(
                "interval = \"2s\"\n[trace]\nnetns = \"{netns}\"\nlocal_ports = [{}]\n[[output]]\ntype = \"file\"\npath = \
                 \"{}\"\nkinds = [\"close\"]\nqueue = {queue}\n[[output]]\ntype = \"stdout\"\nkinds = [\"summary\"]\n",
                server.address().expect("it listens").port(),
                path.display()
            )
        };
        let name = |path: &str| format!("file:{}", scratch.path(path).display());
        let (x, y) = (name("x.jsonl"), name("no/y.jsonl"));
        let mut agent = start(&scratch, &config("x.jsonl", 500))?;
        server.play(clients(200))?;
        until("the disk is full", |metrics| up(metrics, &x) == Some(0))?;

        scratch.write("agent.toml", &config("x.jsonl", 600))?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration was reloaded")?;
        server.play(clients(20))?;
        let held = |metrics: &str| {
            let queued = value(
                metrics,
                &format!("tcpclose_output_queued_records{{output=\"{x}\"}}"),
            );
            output_records(metrics, &x, "written") + queued.unwrap_or_default() == 220
        };
        let now = until("all is written or waits", held)?;
        assert_eq!(
            (up(&now, &x), output_records(&now, &x, "dropped")),
            (Some(0), 0)
        );

        free_disk(&agent)?;
        let now = until("it works again", |metrics| up(metrics, &x) == Some(1))?;
        assert_eq!(output_records(&now, &x, "written"), 220);

        scratch.write("agent.toml", &config("no/y.jsonl", 500))?;
        agent.signal(Signal::HUP)?;
        let now = until("the new output is down", |metrics| {
            up(metrics, &y) == Some(0)
        })?;
        assert_eq!(
            (up(&now, &x), output_records(&now, &x, "written")),
            (None, 220)
        );
        let (_, health) = get(METRICS.parse()?, "/healthz")?;
        let why = format!("output {y} is down: there is no directory");
        assert!(health.contains(&why), "{health}");
        server.play(clients(10))?;
        fs::create_dir(scratch.path("no"))?;
        until("it is opened without a signal", |metrics| {
            up(metrics, &y) == Some(1) && output_records(metrics, &y, "written") == 10
        })?;

        scratch.write("agent.toml", &config("x.jsonl", 500))?;
        agent.signal(Signal::HUP)?;
        until("the first is back", |metrics| up(metrics, &x) == Some(1))?;
        server.play(clients(5))?;
        let now = until("its counts go on", |metrics| {
            output_records(metrics, &x, "written") == 225
        })?;
        assert_eq!(output_records(&now, &x, "dropped"), 0);

        let messages = agent.stderr();
        assert!(
            !messages.contains("another program") && !messages.contains("are lost"),
            "{messages}"
        );
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        for (path, name, closes) in [("x.jsonl", &x, 225), ("no/y.jsonl", &y, 10)] {
            assert_eq!(records(&scratch.path(path))?.len() as u64, closes, "{path}");
            let reported = |field| reported_by_summaries(&scratch, name, field);
            assert_eq!(reported("written")?, closes, "{name}");
            // What is no close is offered to it, too.
            assert_eq!(
                reported("offered")? - reported("filtered")?,
                closes,
                "{name}"
            );
        }
        Ok(())
    })
}

/// Waits until the agent opens the file.
fn until_read(lease: &Lease) -> io::Result<()> {
    eventually("the agent reads its configuration", || {
        Ok(lease.is_waited_for()?.then_some(()))
    })
}

/// Opening the configuration takes as long as the test wants, as on a slow file system.
#[test]
fn the_agent_goes_on_while_its_configuration_is_read() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let config = |name: &str| {
            format!(
                "[trace]\nnetns = \"{netns}\"\nlocal_ports = [{}]\n[[output]]\ntype = \"stdout\"\nname = \"{name}\"\n\
                 kinds = [\"close\"]\n",
                server.address().expect("it listens").port()
            )
        };
        let mut agent = Agent::start(&scratch, &config("first"))?;
        let path = scratch.write("agent.toml", &config("second"))?;
        let lease = Lease::take(&path)?;

        agent.signal(Signal::HUP)?;
        until_read(&lease)?;
        server.play(clients(5))?;
        until("closes are written meanwhile", |metrics| {
            output_records(metrics, "first", "written") == 5
        })?;
        let (status, body) = get(METRICS.parse()?, "/healthz")?;
        assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", "ok\n"));

        // One more signal during a reload is taken after it.
        agent.signal(Signal::HUP)?;
        let next = scratch.write("next.toml", &config("third"))?;
        let next_lease = Lease::take(&next)?;
        fs::rename(&next, &path)?;
        drop(lease);
        agent.until("the configuration was reloaded")?;
        until_read(&next_lease)?;
        until("the first one holds", |metrics| {
            up(metrics, "second") == Some(1)
        })?;
        drop(next_lease);
        until("the second one holds", |metrics| {
            up(metrics, "third") == Some(1)
        })?;

        let lease = Lease::take(&path)?;
        agent.signal(Signal::HUP)?;
        until_read(&lease)?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        drop(lease);
        assert_eq!(records(&scratch.path("stdout"))?.len(), 5);
        Ok(())
    })
}

#[test]
fn undelivered_records_of_a_removed_output_are_counted() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let config = |name: &str| {
            format!(
                "interval = \"2s\"\n[trace]\nnetns = \"{netns}\"\nlocal_ports = [{}]\n[[output]]\ntype = \"file\"\nname = \
                 \"{name}\"\npath = \"{}\"\nkinds = [\"close\"]\n[[output]]\ntype = \"stdout\"\nkinds = [\"summary\"]\n",
                server.address().expect("it listens").port(),
                scratch.path("x.jsonl").display()
            )
        };
        let mut agent = start(&scratch, &config("old"))?;
        server.play(clients(200))?;
        until("the disk is full, and all has come", |metrics| {
            let queued = value(metrics, "tcpclose_output_queued_records{output=\"old\"}");
            let written = output_records(metrics, "old", "written");
            up(metrics, "old") == Some(0) && written + queued.unwrap_or_default() == 200
        })?;
        scratch.write("agent.toml", &config("new"))?;
        agent.signal(Signal::HUP)?;
        agent.until("records in time; they are lost")?;
        agent.until("the configuration was reloaded")?;
        server.play(clients(10))?;
        free_disk(&agent)?;
        let now = until("the new one writes", |metrics| {
            up(metrics, "new") == Some(1) && output_records(metrics, "new", "written") == 10
        })?;
        let (written, dropped) = (
            output_records(&now, "old", "written"),
            output_records(&now, "old", "dropped"),
        );
        assert_eq!(written + dropped, 200);
        assert!(dropped > 0, "the disk was full");
        assert_eq!(up(&now, "old"), None);
        let messages = agent.stderr();
        assert!(!messages.contains("another program"), "{messages}");
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        assert_eq!(
            records(&scratch.path("x.jsonl"))?.len() as u64,
            written + 10
        );
        assert_eq!(reported_by_summaries(&scratch, "old", "dropped")?, dropped);
        assert_eq!(reported_by_summaries(&scratch, "new", "written")?, 10);
        Ok(())
    })
}

#[test]
fn the_endpoint_moves_on_its_port_and_stays_where_it_cannot() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let config = |listen: &str, series: usize| {
            format!(
                "output = []\n[trace]\nnetns = \"{netns}\"\n[prometheus]\nlisten = \"{listen}\"\nmax_series = {series}\n"
            )
        };
        let elsewhere: SocketAddr = "127.0.0.2:19433".parse()?;
        let mut agent = Agent::start(&scratch, &config(METRICS, 1_000))?;
        assert!(
            get(elsewhere, "/healthz").is_err(),
            "it listens on one address"
        );
        scratch.write("agent.toml", &config("0.0.0.0:19433", 1_000))?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration was reloaded")?;
        assert_eq!(get(elsewhere, "/healthz")?.1, "ok\n");
        // 192.0.2.1 is nobody's address.
        scratch.write("agent.toml", &config("192.0.2.1:19433", 1_000))?;
        agent.signal(Signal::HUP)?;
        agent.until("the HTTP endpoint is unchanged")?;
        eventually(
            "the old one is back",
            || Ok(get(elsewhere, "/healthz").ok()),
        )?;
        agent.end()?;
        Ok(())
    })
}

/// A pipe without a writer, and a device that can be read for ever.
#[test]
fn a_file_that_became_another_kind_of_file_stops_nothing() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let config = format!("output = []\n[trace]\nnetns = \"{netns}\"\n");
        let mut agent = Agent::start(&scratch, &config)?;
        let file = scratch.path("agent.toml");
        fs::remove_file(&file)?;
        mkfifoat(CWD, &file, Mode::RUSR | Mode::WUSR)?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration is unchanged: ")?;
        assert!(agent.stderr().contains("is not a regular file"));
        fs::remove_file(&file)?;
        std::os::unix::fs::symlink("/dev/zero", &file)?;
        agent.signal(Signal::HUP)?;
        eventually("the second refusal", || {
            Ok((agent.stderr().matches("is not a regular file").count() == 2).then_some(()))
        })?;
        fs::remove_file(&file)?;
        fs::write(&file, config)?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration was reloaded")?;
        agent.end()?;
        Ok(())
    })
}
