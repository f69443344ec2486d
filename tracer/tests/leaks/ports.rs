//! `tcpclose ports`, against connect() itself.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use rustix::net::{AddressFamily, SocketType, bind, ipproto, socket};
use serde_json::Value;

use crate::program;
use crate::stuck::Sleeper;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::wait::eventually;

const SCHEMA: &str = include_str!("../../../docs/tcpclose.schema.json");

fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
}

/// It asks none of the agents that other tests run.
fn ports(args: &[&str]) -> Command {
    let mut command = Command::new(program::path());
    command.args(["ports", "--agent", "none"]).args(args);
    command.stdin(Stdio::null());
    command
}

fn scan(args: &[&str]) -> io::Result<CommandOutput> {
    ports(args).output().map(CommandOutput::from)
}

/// The routes of a namespace, each of which the schema allows.
fn routes(netns: &str, args: &[&str]) -> Result<(Option<i32>, Vec<Value>), io::Error> {
    let ended = scan(&[&["--netns", netns, "--json"], args].concat())?;
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let schema = jsonschema::validator_for(&schema).map_err(io::Error::other)?;
    let records = ended.records();
    for record in &records {
        let errors: Vec<String> = schema
            .iter_errors(record)
            .map(|it| it.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?} in {record}");
    }
    Ok((ended.code, records))
}

fn route(netns: &str, args: &[&str]) -> Result<(Option<i32>, Value), Box<dyn std::error::Error>> {
    let (code, mut records) = routes(netns, args)?;
    assert_eq!(records.len(), 1, "{records:?}");
    Ok((code, records.remove(0)))
}

/// A server, in a network with so many ephemeral ports.
struct Server(TcpListener);

impl Server {
    fn new(ports: u16) -> io::Result<Self> {
        set("ip_local_port_range", &format!("40000 {}", 39_999 + ports))?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).map(Self)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("it listens")
    }

    fn connect(&self) -> io::Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.address())?;
        Ok((client, self.0.accept()?.0))
    }

    /// Makes connections whose client closes first.
    fn leave_in_time_wait(&self, count: usize) -> io::Result<()> {
        for _ in 0..count {
            let (client, mut server) = self.connect()?;
            drop(client);
            assert_eq!(server.read(&mut [0])?, 0);
        }
        Ok(())
    }

    /// Returns how many more connections connect() finds ports for.
    fn free(&self) -> io::Result<usize> {
        let mut more = VecDeque::new();
        loop {
            match self.connect() {
                Ok(pair) => more.push_back(pair),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    return Ok(more.len());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[test]
fn a_program_without_a_pool_fills_its_route() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(200)?;
        set("tcp_tw_reuse", "0")?;
        server.leave_in_time_wait(200)?;
        let shown = scan(&["--netns", netns])?;
        let (code, route) = route(netns, &[])?;
        assert_eq!((server.free()?, code, shown.code), (0, Some(1), Some(1)));
        for words in [
            "127.0.0.1 → 127.0.0.1:8080",
            "200/200",
            "FULL",
            "Cannot assign requested address",
            "the next port is free in about ",
            "200 of 200 ports are in TIME_WAIT",
            "net.ipv4.tcp_tw_reuse=1 (is 0: never)",
            "net.ipv4.ip_local_port_range (is \"40000",
            "1 route: 1 full",
        ] {
            let text = shown
                .stdout
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(text.contains(words), "{words}: {}", shown.stdout);
        }
        assert_eq!(
            (&route["used"], &route["ports"], &route["share"]),
            (&200.into(), &200.into(), &1.0.into())
        );
        assert_eq!(
            (&route["live"], &route["time_wait"]),
            (&0.into(), &200.into())
        );
        let next = route["next_free_ms"].as_f64().expect("one is the next");
        assert!(next <= 60_000.0, "{next}");
        assert_eq!(route["owners"], Value::Array(Vec::new()));
        assert_eq!(route["closes_first"], Value::Null);
        Ok(())
    })
}

#[test]
fn the_holders_of_live_connections_are_named_and_filters_select_their_routes() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(10)?;
        let pairs: Vec<_> = (0..9).map(|_| server.connect()).collect::<Result<_, _>>()?;
        let (code, found) = route(netns, &[])?;
        assert_eq!(code, Some(1), "{found}");
        assert_eq!((&found["used"], &found["live"]), (&9.into(), &9.into()));
        assert_eq!(found["owners"][0]["pid"], std::process::id());
        assert_eq!(found["owners"][0]["connections"], 9);
        let name = fs::read_to_string("/proc/self/comm")?;
        let pid = std::process::id().to_string();
        let sleeper = Sleeper::with(&server.0, &[207])?;
        let idle = sleeper.pid().to_string();
        for args in [
            &["-p", &pid][..],
            &[name.trim()],
            &["--port", "8080"],
            &["-4"],
        ] {
            assert_eq!(route(netns, args)?.1["used"], 9, "{args:?}");
        }
        for args in [
            &["-p", &idle][..],
            &["no-such-name"],
            &["-D", "1"],
            &["--no-loopback"],
        ] {
            assert_eq!(routes(netns, args)?, (Some(0), Vec::new()), "{args:?}");
        }
        // One connection that passes is enough, and the others count.
        let port = pairs[0].0.local_addr()?.port().to_string();
        assert_eq!(route(netns, &["-L", &port])?.1["used"], 9);
        let shown = scan(&["--netns", netns])?;
        assert!(shown.stdout.contains("WHO "), "{}", shown.stdout);
        assert!(shown.stdout.contains("1 nearly full"), "{}", shown.stdout);
        assert_eq!(server.free()?, 1);
        Ok(())
    })
}

#[test]
fn what_connect_takes_over_is_free_and_what_is_bound_is_no_port() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(10)?;
        set("ip_local_reserved_ports", "40000-40001")?;
        let _other = TcpListener::bind((Ipv4Addr::LOCALHOST, 40_002))?;
        let idle = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        bind(&idle, &SocketAddr::from((Ipv4Addr::LOCALHOST, 40_003)))?;
        server.leave_in_time_wait(4)?;
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        let (code, route) = route(netns, &[])?;
        assert_eq!(code, Some(0), "{route}");
        assert_eq!((&route["used"], &route["reusable"]), (&0.into(), &4.into()));
        assert_eq!(route["settings"]["reserved"], 2);
        let kernel_lists_bound = route["settings"]["bound"] == 2;
        if kernel_lists_bound {
            assert_eq!(route["ports"], 6);
            assert_eq!(server.free()?, 6);
        }
        Ok(())
    })
}

#[test]
fn orphans_that_wait_for_the_peers_fin_keep_their_ports() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(10)?;
        let mut peers = Vec::new();
        for _ in 0..9 {
            let (client, peer) = server.connect()?;
            drop(client);
            peers.push(peer);
        }
        let (code, route) = route(netns, &[])?;
        assert_eq!(code, Some(1), "{route}");
        assert_eq!(
            (&route["used"], &route["fin_wait2"]),
            (&9.into(), &9.into())
        );
        let shown = scan(&["--netns", netns])?;
        assert!(shown.stdout.contains("FIN_WAIT2"), "{}", shown.stdout);
        Ok(())
    })
}

#[test]
fn a_range_of_one_port_is_full_with_one_connection() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(1)?;
        let _pair = server.connect()?;
        let (code, route) = route(netns, &[])?;
        assert_eq!((code, &route["share"]), (Some(1), &1.0.into()), "{route}");
        assert_eq!(route["next_free_ms"], Value::Null);
        assert_eq!(server.free()?, 0);
        Ok(())
    })
}

#[test]
fn routes_of_minisockets_only_are_left_out_and_counted_where_processes_are_asked_for() -> TestResult
{
    in_own_network(|netns| {
        let server = Server::new(10)?;
        server.leave_in_time_wait(3)?;
        let shown = scan(&["--netns", netns, "somebody"])?;
        let words = "; 1 left out, since a scan does not show whose they are";
        assert!(shown.stdout.contains(words), "{}", shown.stdout);
        Ok(())
    })
}

/// Scans where a file with this text is mounted over the range of ports.
fn with_range(netns: &str, text: &str) -> io::Result<CommandOutput> {
    let scratch = Scratch::new();
    let file = scratch.path("range");
    fs::write(&file, text)?;
    let script = r#"mount --bind "$0" /proc/sys/net/ipv4/ip_local_port_range && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&file);
    command.args([&*program::path(), "ports", "--json", "--netns", netns]);
    command.output().map(CommandOutput::from)
}

#[test]
fn without_the_range_what_depends_on_it_is_null_and_reported_once() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(10)?;
        let _pairs = [server.connect()?, server.connect()?];
        for text in ["60999 32768\n", "", "no numbers\n"] {
            let ended = with_range(netns, text)?;
            let route = ended.record();
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            assert_eq!(route["live"], 2, "{route}");
            for field in ["used", "reusable", "ports", "share", "settings"] {
                assert_eq!(route.get(field), Some(&Value::Null), "{field}: {route}");
            }
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            let words = "ip_local_port_range has";
            assert!(ended.stderr.contains(words), "{}", ended.stderr);
        }
        Ok(())
    })
}

#[test]
fn of_many_routes_the_fullest_are_shown_and_all_are_counted() -> TestResult {
    in_own_network(|netns| {
        // On a busy host a FIN comes twice, and the answer to the second is answered with a RST:
        // that must not end a TIME_WAIT.
        set("tcp_rfc1337", "1")?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080))?;
        for number in 0..3_000_u16 {
            let [high, low] = number.to_be_bytes();
            let client = TcpStream::connect((Ipv4Addr::new(127, 1, high, low), 8080))?;
            let (mut server, _) = listener.accept()?;
            drop(client);
            // Another test's process may hold a copy of the client until it executes its program:
            // the server would close first, and be the one in TIME_WAIT.
            assert_eq!(server.read(&mut [0])?, 0);
        }
        let rest = eventually(|| {
            let sockets = fs::read_to_string("/proc/thread-self/net/tcp").ok()?;
            (sockets.matches(" 06 ").count() == 3_000).then_some(())
        });
        assert!(rest.is_some(), "not all are in TIME_WAIT");
        let shown = scan(&["--netns", netns])?;
        assert_eq!((shown.code, &*shown.stderr), (Some(0), ""));
        assert!(
            shown.stdout.contains("and 2980 routes more (--all)"),
            "{}",
            shown.stdout
        );
        let (code, records) = routes(netns, &[])?;
        assert_eq!((code, records.len()), (Some(0), 3_000));
        Ok(())
    })
}

#[test]
fn namespaces_are_scanned_wherever_they_are() -> TestResult {
    in_own_network(|_| {
        let server = Server::new(5)?;
        let _pair = server.connect()?;
        let own = tcpclose_sys::kernel::netns::current()?.get();
        // Another thread of this process lives in the host's.
        let ended = std::thread::scope(|scope| {
            let scanned = scope.spawn(|| scan(&["--json", "--port", "8080"]));
            scanned.join().expect("it does not panic")
        })?;
        let mut records = ended.records();
        records.retain(|record| record["netns"] == own);
        assert_eq!(records.len(), 1, "{}", ended.stdout);
        Ok(())
    })
}

#[test]
fn watching_scans_again_and_ends_as_the_last_scan() -> TestResult {
    in_own_network(|netns| {
        let server = Server::new(2)?;
        let _pairs = [server.connect()?, server.connect()?];
        let args = ["--netns", netns, "--watch", "10ms", "--count", "2"];
        let shown = scan(&args)?;
        assert_eq!((shown.code, &*shown.stderr), (Some(1), ""));
        assert_eq!(
            shown.stdout.matches("1 route: 1 full").count(),
            2,
            "{}",
            shown.stdout
        );
        Ok(())
    })
}

#[test]
fn nothing_to_connect_from_is_not_full() -> TestResult {
    in_own_network(|netns| {
        let shown = scan(&["--netns", netns])?;
        assert_eq!((shown.code, &*shown.stderr), (Some(0), ""));
        assert_eq!(
            shown.stdout,
            "0 routes: none uses 80% of its ports or more\n"
        );
        Ok(())
    })
}

#[test]
fn an_ordinary_user_sees_the_own_namespace_and_learns_of_others() -> TestResult {
    in_own_network(|_| {
        let server = Server::new(2)?;
        let _pairs = [server.connect()?, server.connect()?];
        let mut command = ports(&["--json", "--port", "8080"]);
        tcpclose_kit::command::as_unprivileged_user(&mut command);
        let ended = match command.output() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tcpclose_kit::skip::skip("others may not run this program");
                return Ok(());
            }
            ended => CommandOutput::from(ended?),
        };
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let route = ended.record();
        assert_eq!((&route["used"], &route["unowned"]), (&2.into(), &2.into()));
        Ok(())
    })
}
