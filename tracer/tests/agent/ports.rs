//! The pressure on ephemeral ports, against connect() itself: as many more connects work as there
//! are ports that are not used.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, ipproto, socket};
use serde_json::Value;

use crate::program::{Agent, eventually, records, records_of_kind};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
/// An address that is not of the loopback network, but of this host.
const OUTSIDE: &str = "192.0.2.1";

/// A minisocket has to be older than a second to be taken over.
const REUSE_AGE: Duration = Duration::from_millis(1_500);

/// A network with ten ephemeral ports, and an agent that watches it.
struct Testbed<'a> {
    scratch: &'a Scratch,
    agent: Agent,
    listener: TcpListener,
}

fn set(name: &str, value: &str) -> std::io::Result<()> {
    fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
}

impl<'a> Testbed<'a> {
    fn new(
        netns: &str,
        scratch: &'a Scratch,
        address: IpAddr,
        settings: &[(&str, &str)],
    ) -> Result<Self, Box<dyn std::error::Error>> {
        set("ip_local_port_range", "40000 40009")?;
        for (name, value) in settings {
            set(name, value)?;
        }
        let listener = TcpListener::bind((address, 8080))?;
        let out = scratch.path("out.jsonl");
        let config = format!(
            "interval = \"1s\"\n[trace]\nnetns = \"{netns}\"\n[[output]]\ntype = \"file\"\npath = \"{}\"\n\
             kinds = [\"summary\"]\n",
            out.display()
        );
        Ok(Self {
            scratch,
            agent: Agent::start(scratch, &config)?,
            listener,
        })
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it listens")
    }

    fn connect(&self) -> std::io::Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.address())?;
        Ok((client, self.listener.accept()?.0))
    }

    /// Makes connections whose client closes first, and waits until they may be taken over.
    fn leave_in_time_wait(&self, count: usize) -> TestResult {
        for _ in 0..count {
            let (client, mut server) = self.connect()?;
            drop(client);
            assert_eq!(server.read(&mut [0])?, 0);
        }
        thread::sleep(REUSE_AGE);
        Ok(())
    }

    /// What a summary says of the route to the listener that was made from now on.
    fn pressure(&self) -> Result<Value, Box<dyn std::error::Error>> {
        let before = self.summaries()?.len();
        let summary = eventually("two more summaries", || {
            let summaries = self.summaries().unwrap_or_default();
            Ok(summaries.get(before + 1).cloned())
        })?;
        let routes = summary["time_wait"]["pressure"].as_array();
        let port = self.address().port();
        let route = routes
            .into_iter()
            .flatten()
            .find(|it| it["peer"]["port"] == port);
        Ok(route.cloned().unwrap_or_default())
    }

    fn summaries(&self) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
        let records = records(&self.scratch.path("out.jsonl"))?;
        let summaries = records_of_kind(&records, "summary");
        Ok(summaries.into_iter().cloned().collect())
    }

    /// Compares with connect(): so many ports are free, and so many in TIME_WAIT among them.
    fn assert_free(self, pressure: &Value, free: u64, reusable: u64) -> TestResult {
        let (used, ports) = (&pressure["used"], &pressure["ports"]);
        let (used, ports) = (used.as_u64(), ports.as_u64());
        assert_eq!(
            ports.zip(used).map(|(ports, used)| ports - used),
            Some(free),
            "{pressure}"
        );
        assert_eq!(pressure["reusable"], reusable, "{pressure}");
        let mut more = Vec::new();
        while let Ok(pair) = self.connect() {
            more.push(pair);
        }
        assert_eq!(more.len() as u64, free, "{pressure}");
        let (status, _) = self.agent.end()?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

#[test]
fn ports_that_are_bound_cannot_be_chosen() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let reserved = ("ip_local_reserved_ports", "40000-40003");
        let testbed = Testbed::new(netns, &scratch, LOOPBACK, &[reserved])?;
        let _other = TcpListener::bind(("127.0.0.9", 40_005))?;
        let _same_port = TcpListener::bind("[::1]:40005")?;
        // Bound, and nothing else.
        let idle = socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::TCP))?;
        bind(&idle, &SocketAddr::new(LOOPBACK, 40_006))?;
        let _kept = [testbed.connect()?, testbed.connect()?];
        let pressure = testbed.pressure()?;
        assert_eq!(pressure["ports"], 4, "{pressure}");
        assert_eq!(pressure["share"], 0.5);
        testbed.assert_free(&pressure, 2, 0)
    })
}

#[test]
fn a_route_without_free_ports_has_a_share_of_one() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let testbed = Testbed::new(netns, &scratch, LOOPBACK, &[("tcp_tw_reuse", "0")])?;
        let _listener = TcpListener::bind((LOOPBACK, 40_002))?;
        testbed.leave_in_time_wait(9)?;
        let pressure = testbed.pressure()?;
        assert_eq!(pressure["share"], 1.0, "{pressure}");
        testbed.assert_free(&pressure, 0, 0)
    })
}

#[test]
fn ports_in_time_wait_that_connect_takes_over_are_no_pressure() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let testbed = Testbed::new(netns, &scratch, LOOPBACK, &[("tcp_tw_reuse", "2")])?;
        let _kept = testbed.connect()?;
        testbed.leave_in_time_wait(9)?;
        let pressure = testbed.pressure()?;
        assert_eq!(pressure["share"], 0.1, "{pressure}");
        testbed.assert_free(&pressure, 9, 9)
    })
}

#[test]
fn without_timestamps_none_is_taken_over() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let settings = [("tcp_tw_reuse", "2"), ("tcp_timestamps", "0")];
        let testbed = Testbed::new(netns, &scratch, LOOPBACK, &settings)?;
        testbed.leave_in_time_wait(7)?;
        let pressure = testbed.pressure()?;
        testbed.assert_free(&pressure, 3, 0)
    })
}

/// As on loopback, from and to an address that `tcp_tw_reuse=2` does not count as such.
fn outside(reuse: &str, test: impl FnOnce(Testbed<'_>) -> TestResult + Send) -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let add = format!("{OUTSIDE}/32");
        let added = Command::new("ip")
            .args(["address", "add", &add, "dev", "lo"])
            .status()?;
        assert!(added.success());
        let settings = [("tcp_tw_reuse", reuse)];
        test(Testbed::new(netns, &scratch, OUTSIDE.parse()?, &settings)?)
    })
}

#[test]
fn on_loopback_only_means_by_the_address() -> TestResult {
    outside("2", |testbed| {
        testbed.leave_in_time_wait(7)?;
        let pressure = testbed.pressure()?;
        testbed.assert_free(&pressure, 3, 0)
    })
}

#[test]
fn a_connection_that_lives_shows_whether_the_peer_has_timestamps() -> TestResult {
    outside("1", |testbed| {
        let kept = testbed.connect()?;
        testbed.leave_in_time_wait(7)?;
        let pressure = testbed.pressure()?;
        drop(kept);
        assert_eq!(pressure["used"], 1, "{pressure}");
        // The one that was kept has closed since, and is too young.
        testbed.assert_free(&pressure, 9, 7)
    })
}

#[test]
fn what_the_peer_has_is_not_known_without_a_connection() -> TestResult {
    outside("1", |testbed| {
        testbed.leave_in_time_wait(7)?;
        let pressure = testbed.pressure()?;
        for field in ["used", "reusable", "share"] {
            assert_eq!(pressure.get(field), Some(&Value::Null), "{pressure}");
        }
        assert_eq!(pressure["ports"], 10);
        let (status, _) = testbed.agent.end()?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}
