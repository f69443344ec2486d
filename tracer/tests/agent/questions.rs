//! What commands learn from a running agent, and who may ask it.

use std::fs::{self, Permissions};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio, id};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Agent, eventually};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::{ChildProcess, CommandOutput};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::has_programs;

const SCHEMA: &str = include_str!("../../../docs/tcpclose.schema.json");

/// Another user's id.
const STRANGER: u32 = 65_534;

/// Longer than what the kernel's ticks and a scan take together.
const PAUSE: Duration = Duration::from_millis(700);

/// An agent of one network namespace, and the commands that ask it.
struct Testbed<'a> {
    netns: &'a str,
    scratch: Scratch,
    agent: Option<Agent>,
}

impl<'a> Testbed<'a> {
    fn new(netns: &'a str) -> io::Result<Self> {
        let mut testbed = Self {
            netns,
            scratch: Scratch::new(),
            agent: None,
        };
        testbed.start_agent()?;
        Ok(testbed)
    }

    fn start_agent(&mut self) -> io::Result<()> {
        let config = format!(
            "interval = \"1h\"\nrun_directory = \"{}\"\noutput = []\n[trace]\nnetns = \"{}\"\n\
             [prometheus]\nenabled = false\n",
            self.scratch.path("run").display(),
            self.netns
        );
        self.agent = Some(Agent::start(&self.scratch, &config)?);
        Ok(())
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().expect("it runs")
    }

    fn kill(&mut self) -> io::Result<()> {
        let agent = self.agent.take().expect("it runs");
        agent.signal(Signal::KILL)
    }

    fn socket(&self) -> PathBuf {
        self.scratch.path("run").join("agent.sock")
    }

    /// A command that scans the namespace and asks this agent.
    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
        command
            .args([name, "--netns", self.netns, "--agent"])
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::null());
        command
    }

    fn output(&self, name: &str, args: &[&str]) -> io::Result<CommandOutput> {
        self.command(name, args).output().map(CommandOutput::from)
    }

    /// The record of the only socket in CLOSE_WAIT.
    fn stuck(&self, args: &[&str]) -> io::Result<(Value, String)> {
        let args = [&["--json", "--min-age", "0s"], args].concat();
        let ended = self.output("leaks", &args)?;
        let mut records = ended.records();
        records.retain(|record| record["stuck"]["state"] == "CLOSE_WAIT");
        assert_eq!(records.len(), 1, "{ended:?}");
        Ok((valid(records.remove(0))?, ended.stderr))
    }

    /// The record of the route to this port.
    fn route(&self, port: u16) -> io::Result<Value> {
        let ended = self.output("ports", &["--json"])?;
        let mut records = ended.records();
        records.retain(|record| record["peer"]["port"] == port);
        assert_eq!(records.len(), 1, "{ended:?}");
        valid(records.remove(0))
    }
}

/// Returns a record that the schema allows.
fn valid(record: Value) -> io::Result<Value> {
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let schema = jsonschema::validator_for(&schema).map_err(io::Error::other)?;
    let errors: Vec<String> = schema
        .iter_errors(&record)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {record}");
    Ok(record)
}

fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
}

fn pair(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    Ok((client, listener.accept()?.0))
}

/// A client in CLOSE_WAIT that has written since, so that the last ACK says nothing of the FIN.
struct StuckClient {
    _ends: (TcpStream, TcpStream),
    /// Between these the FIN came.
    fin: (Instant, Instant),
}

impl StuckClient {
    fn new(listener: &TcpListener) -> io::Result<Self> {
        let (mut client, mut server) = pair(listener)?;
        server.write_all(b"hello")?;
        client.read_exact(&mut [0; 5])?;
        let before = Instant::now();
        server.shutdown(Shutdown::Write)?;
        assert_eq!(client.read(&mut [0])?, 0);
        let fin = (before, Instant::now());
        thread::sleep(PAUSE);
        client.write_all(b"x")?;
        server.read_exact(&mut [0])?;
        Ok(Self {
            _ends: (client, server),
            fin,
        })
    }
}

fn ms(record: &Value) -> f64 {
    record["stuck"]["age_ms"].as_f64().expect("an age")
}

#[test]
fn ages_and_beginnings_that_a_scan_can_only_estimate_are_exact() -> TestResult {
    in_own_network(|netns| {
        let mut testbed = Testbed::new(netns)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let stuck = StuckClient::new(&listener)?;

        let (alone, _) = testbed.stuck_without_agent()?;
        assert_eq!(alone["stuck"]["age_known"], "estimated", "{alone}");
        assert_eq!(alone["conn"]["opened"], Value::Null);

        let begun = Instant::now();
        let (record, stderr) = testbed.stuck(&[])?;
        assert_eq!(record["stuck"]["age_known"], "observed", "{record}");
        let (earliest, latest) = stuck.fin;
        let at_least = begun.duration_since(latest).as_secs_f64() * 1e3;
        let at_most = earliest.elapsed().as_secs_f64() * 1e3;
        let age = ms(&record);
        assert!(
            at_least <= age && age <= at_most,
            "{at_least} {age} {at_most}"
        );
        assert!(age >= ms(&alone) + PAUSE.as_secs_f64() * 500.0, "{alone}");
        let conn = &record["conn"];
        assert_eq!(conn["seen_from_start"], true, "{record}");
        assert_eq!(conn["role"], "client");
        assert_eq!(conn["peer_owner"]["pid"], id(), "{record}");
        assert!(conn["opened"].is_string() && conn["pair"].is_string());
        assert_eq!(stderr, "");

        // What is older than its own tracing, `leaks --watch` knows from the agent.
        let watch = ["--watch", "1s", "--count", "1"];
        let (watched, _) = testbed.stuck(&watch)?;
        assert_eq!(watched["stuck"]["age_known"], "observed", "{watched}");
        let shown = testbed.output("leaks", &["--min-age", "0s"])?;
        assert!(
            !shown.stdout.contains("marks an estimate"),
            "{}",
            shown.stdout
        );

        // A stopped agent does not answer, and a killed one does not finish its answer.
        testbed.agent().signal(Signal::STOP)?;
        let args = ["--json", "--min-age", "0s"];
        let mut asking = ChildProcess::spawn(&mut testbed.command("leaks", &args));
        thread::sleep(Duration::from_millis(200));
        testbed.kill()?;
        assert_eq!(asking.wait().code(), Some(1));
        let told = asking.stderr.text();
        let is_told = ["in the middle of its answer", "no agent answers"];
        assert!(is_told.iter().any(|words| told.contains(words)), "{told}");

        // What it left is replaced.
        assert!(testbed.socket().exists());
        let (_, stderr) = testbed.stuck(&[])?;
        assert!(stderr.contains("no agent answers"), "{stderr}");
        testbed.start_agent()?;
        let (_, stderr) = testbed.stuck(&[])?;
        assert_eq!(stderr, "");
        Ok(())
    })
}

impl Testbed<'_> {
    fn stuck_without_agent(&self) -> io::Result<(Value, String)> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
        command
            .args(["leaks", "--json", "--min-age", "0s", "--agent", "none"])
            .args(["--netns", self.netns])
            .stdin(Stdio::null());
        let ended = CommandOutput::from(command.output()?);
        let mut records = ended.records();
        records.retain(|record| record["stuck"]["state"] == "CLOSE_WAIT");
        assert_eq!(records.len(), 1, "{ended:?}");
        Ok((records.remove(0), ended.stderr))
    }
}

#[test]
fn ports_names_the_process_of_ports_in_time_wait() -> TestResult {
    in_own_network(|netns| {
        set("ip_local_port_range", "40000 40019")?;
        set("tcp_tw_reuse", "0")?;
        let testbed = Testbed::new(netns)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080))?;
        let kept = pair(&listener)?;
        for _ in 0..19 {
            let (client, mut server) = pair(&listener)?;
            drop(client);
            assert_eq!(server.read(&mut [0])?, 0);
        }
        for _ in 0..3 {
            let error = pair(&listener).expect_err("no port is left");
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        }
        let route = eventually("the agent has seen all of it", || {
            let route = testbed.route(8080)?;
            let owner = &route["owners"][0];
            Ok((route["failed"] == 3 && owner["minisockets"] == 19).then_some(route))
        })?;
        let owner = &route["owners"][0];
        assert_eq!(
            (&owner["pid"], &owner["connections"]),
            (&id().into(), &1.into())
        );
        assert_eq!(route["owners"].as_array().map(Vec::len), Some(1), "{route}");
        assert_eq!(route["unowned_minisockets"], 0);
        assert_eq!(route["closes_first"], "local");
        assert!(route["lifetime_ms"].is_number() && route["failing_since"].is_string());
        let (since, ts) = (route["failing_since"].as_str(), route["ts"].as_str());
        assert!(
            since < ts && route["counted_since"].as_str() < since,
            "{route}"
        );

        let shown = testbed.output("ports", &[])?;
        let words: Vec<&str> = shown.stdout.split_whitespace().collect();
        let words = words.join(" ");
        for expected in [
            "1 connection, and 19 that it has closed",
            "3 connects have failed (",
            "this host closed 19 first; they lived ",
        ] {
            assert!(words.contains(expected), "{expected}: {words}");
        }
        assert!(!words.contains("Not known from a scan"), "{words}");

        // Those of a process that has no live connection there.
        drop(kept);
        let own = fs::read_to_string("/proc/self/comm")?;
        let found = testbed.output("ports", &["--json", own.trim_end()])?;
        assert_eq!(found.records().len(), 1, "{found:?}");
        let other = testbed.output("ports", &["--json", "no-such-name"])?;
        assert_eq!(other.records().len(), 0, "{other:?}");
        Ok(())
    })
}

#[test]
fn strangers_are_not_answered_and_their_links_not_followed() -> TestResult {
    if !has_programs(&["setpriv"]) {
        return Ok(());
    }
    in_own_network(|netns| {
        let testbed = Testbed::new(netns)?;
        // Something to ask about.
        let _stuck = StuckClient::new(&TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?)?;
        let as_stranger = || -> io::Result<String> {
            let stranger = STRANGER.to_string();
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &stranger, "--regid", &stranger, "--clear-groups"])
                .arg(env!("CARGO_BIN_EXE_tcpclose"))
                .args(["leaks", "--agent"])
                .arg(testbed.socket())
                .stdin(Stdio::null());
            Ok(CommandOutput::from(command.output()?).stderr)
        };
        let refused = as_stranger()?;
        assert!(
            refused.contains("only root and the agent's own user may ask"),
            "{refused}"
        );
        // Also where the socket lets everyone connect.
        fs::set_permissions(testbed.socket(), Permissions::from_mode(0o666))?;
        let refused = as_stranger()?;
        assert!(refused.contains("in the middle of its answer"), "{refused}");

        // A second agent of the same directory works, and cannot be asked.
        let scratch = Scratch::new();
        let second = |run: &str| -> io::Result<String> {
            let config = format!(
                "run_directory = \"{run}\"\noutput = []\n[trace]\nnetns = \"{netns}\"\n\
                 [prometheus]\nenabled = false\n"
            );
            let agent = Agent::start(&scratch, &config)?;
            let stderr = agent.stderr();
            agent.end()?;
            Ok(stderr)
        };
        let run = testbed.scratch.path("run");
        let stderr = second(run.to_str().expect("UTF-8"))?;
        let words = "commands cannot ask this agent: another tcpclose agent holds ";
        assert!(stderr.contains(words), "{stderr}");
        assert!(testbed.socket().exists());

        // A link that a stranger has placed.
        let open = scratch.path("open");
        fs::create_dir(&open)?;
        fs::set_permissions(&open, Permissions::from_mode(0o1777))?;
        let victim = scratch.write("victim", "precious")?;
        symlink(&victim, open.join("agent.sock"))?;
        lchown(open.join("agent.sock"), Some(STRANGER), Some(STRANGER))?;
        let stderr = second(open.to_str().expect("UTF-8"))?;
        assert!(stderr.contains("leads through the link"), "{stderr}");
        assert_eq!(fs::read_to_string(&victim)?, "precious");
        Ok(())
    })
}
