//! What a restart of the agent must not forget: since when sockets are stuck, what was reported,
//! and where connections come from.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::Value;
use socket2::{SockRef, TcpKeepalive};

use crate::program::{Agent, eventually, get, records, records_of_kind};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

const METRICS: &str = "127.0.0.1:19433";

/// The value of a metric; `None` where it is absent.
fn metric(name: &str) -> io::Result<Option<f64>> {
    let address: SocketAddr = METRICS.parse().map_err(io::Error::other)?;
    let text = get(address, "/metrics")?.1;
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.and_then(|value| value.parse().ok()))
}

/// The local and the peer's address of a socket.
type Ends = (SocketAddr, SocketAddr);

fn ends_of(socket: &TcpStream) -> io::Result<Ends> {
    Ok((socket.local_addr()?, socket.peer_addr()?))
}

/// The records of a kind about the socket with these addresses.
fn records_about<'a>(records: &'a [Value], kind: &str, (local, peer): Ends) -> Vec<&'a Value> {
    let mut records = records_of_kind(records, kind);
    records.retain(|record| {
        let conn = &record["conn"];
        conn["local"]["port"] == local.port() && conn["peer"]["port"] == peer.port()
    });
    records
}

/// An agent with an output file of its own.
fn start(scratch: &Scratch, netns: &str, output: &Path) -> io::Result<Agent> {
    let config = format!(
        "stuck_after = \"1s\"\nrun_directory = \"{}\"\nstate_file = \"{}\"\n\
         [trace]\nnetns = \"{netns}\"\n[[output]]\ntype = \"file\"\npath = \"{}\"\n",
        scratch.path("run").display(),
        scratch.path("state").display(),
        output.display(),
    );
    Agent::start(scratch, &config)
}

/// Connections to oneself.
struct Connections(TcpListener);

impl Connections {
    /// Opens one; the accepted end comes second.
    fn open(&self) -> io::Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.0.local_addr()?)?;
        Ok((client, self.0.accept()?.0))
    }
}

/// One loss, that of the restart.
fn restart_of(records: &[Value]) -> &Value {
    let losses = records_of_kind(records, "loss");
    assert_eq!(losses.len(), 1, "{losses:?}");
    assert_eq!(losses[0]["where"], "restart", "{losses:?}");
    losses[0]
}

#[test]
fn after_a_restart_and_a_crash_ages_are_exact_and_nothing_is_reported_twice() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let connections = Connections(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
        let output = |number: u32| scratch.path(&format!("{number}.jsonl"));
        let agent = start(&scratch, netns, &output(1))?;
        let first_start = metric("process_start_time_seconds")?;

        // Answers to keepalive probes hide the age of this one.
        let (client, leaked) = connections.open()?;
        let second = Duration::from_secs(1);
        let keepalive = TcpKeepalive::new().with_time(second).with_interval(second);
        SockRef::from(&leaked).set_tcp_keepalive(&keepalive)?;
        client.shutdown(Shutdown::Write)?;
        let fin = Instant::now();
        let (lives_client, lives) = connections.open()?;
        let (ends_client, ends) = connections.open()?;
        let found = eventually("it is stuck", || {
            let records = records(&output(1)).unwrap_or_default();
            Ok(records_about(&records, "stuck", ends_of(&leaked)?)
                .first()
                .copied()
                .cloned())
        })?;
        assert_eq!(found["event"], "opened");
        let since = found["stuck"]["since"].clone();
        // The other end, in FIN_WAIT2.
        eventually("both ends are stuck", || {
            let records = records(&output(1)).unwrap_or_default();
            Ok((!records_about(&records, "stuck", ends_of(&client)?).is_empty()).then_some(()))
        })?;
        eventually("all that is stuck is known", || {
            Ok(metric("tcpclose_stuck_sockets")?.filter(|stuck| *stuck >= 2.0))
        })?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        let state = scratch.path("state");
        let mode = fs::metadata(&state)?.permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);

        // These end while nobody looks.
        let ended = (ends.local_addr()?, ends.peer_addr()?);
        drop((ends, ends_client));
        let written = fs::metadata(&state)?.modified()?;
        let mut agent = start(&scratch, netns, &output(2))?;
        let stuck = metric("tcpclose_stuck_sockets")?;
        assert_eq!(stuck, Some(2.0), "they count at once");
        let oldest = metric("tcpclose_stuck_oldest_seconds")?.unwrap_or_default();
        let truth = fin.elapsed().as_secs_f64();
        assert!(oldest > 1.0 && oldest <= truth, "{oldest} of {truth}");
        assert!(metric("process_start_time_seconds")? > first_start);
        agent.until("are known of the agent before")?;
        eventually("the state is written anew", || {
            let modified = fs::metadata(&state).and_then(|state| state.modified());
            Ok((modified.unwrap_or(SystemTime::UNIX_EPOCH) > written).then_some(()))
        })?;
        eventually("what has ended is reported", || {
            let records = records(&output(2)).unwrap_or_default();
            let closes = records_about(&records, "close", ended);
            Ok((!closes.is_empty()).then_some(()))
        })?;
        // This one was there before.
        drop(lives_client);
        let port = lives.local_addr()?.port();
        drop(lives);
        let closed = eventually("the connection closes", || {
            let records = records(&output(2)).unwrap_or_default();
            let closes = records_of_kind(&records, "close").into_iter();
            let mut closes = closes.filter(|close| close["close"]["path"] != "unknown");
            let close = closes.find(|close| close["conn"]["local"]["port"] == port);
            Ok(close.cloned())
        })?;
        assert_eq!(closed["conn"]["seen_from_start"], true, "{closed}");
        assert_eq!(closed["conn"]["role"], "server", "{closed}");
        assert!(closed["conn"]["opened"].is_string(), "{closed}");

        agent.signal(Signal::KILL)?;
        drop(agent);
        let second = records(&output(2))?;
        let restart = restart_of(&second);
        assert_eq!(restart["repaired"], true, "{restart}");
        assert!(restart["lost"].as_u64() >= Some(2), "{restart}");
        let duration = restart["duration_ms"].as_f64().unwrap_or_default();
        assert!(duration > 0.0 && duration < 60_000.0, "{restart}");
        let ended = records_about(&second, "close", ended);
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert_eq!(ended[0]["close"]["path"], "unknown", "{ended:?}");
        assert!(ended[0]["conn"]["opened"].is_string(), "{ended:?}");
        for end in [&leaked, &client] {
            assert!(
                records_about(&second, "stuck", ends_of(end)?).is_empty(),
                "not again"
            );
        }

        let agent = start(&scratch, netns, &output(3))?;
        assert_eq!(metric("tcpclose_stuck_sockets")?, Some(2.0));
        let ends = ends_of(&leaked)?;
        drop(leaked);
        let resolved = eventually("it is resolved", || {
            let records = records(&output(3)).unwrap_or_default();
            Ok(records_about(&records, "stuck", ends)
                .first()
                .copied()
                .cloned())
        })?;
        assert_eq!(resolved["event"], "resolved", "{resolved}");
        assert_eq!(resolved["stuck"]["resolved_by"], "closed", "{resolved}");
        assert_eq!(resolved["stuck"]["since"], since, "to the microsecond");
        assert_eq!(resolved["stuck"]["age_known"], "observed", "{resolved}");
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        let third = records(&output(3))?;
        restart_of(&third);
        // Others are those of the scrapes.
        let port = connections.0.local_addr()?.port();
        let is_ours = |close: &&&Value| {
            let conn = &close["conn"];
            conn["local"]["port"] == port || conn["peer"]["port"] == port
        };
        let closes = records_of_kind(&third, "close");
        assert_eq!(closes.iter().filter(is_ours).count(), 2, "{closes:?}");
        Ok(())
    })
}

#[test]
fn a_state_that_cannot_be_used_stops_no_agent() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        scratch.write("state", "tcpclose state 0\n")?;
        let mut agent = start(&scratch, netns, &scratch.path("1.jsonl"))?;
        agent.until("is not taken over: it has version 0, and this tcpclose reads version 2")?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        assert!(records_of_kind(&records(&scratch.path("1.jsonl"))?, "loss").is_empty());
        assert!(fs::read(scratch.path("state"))?.starts_with(b"tcpclose state 2\n"));
        Ok(())
    })
}
