//! What clients do with real programs, drawn at random.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::SockRef;
use tcpclose_kit::process::ChildGuard;
use tcpclose_parity::segment::Endpoint;

use crate::network::{Network, Wire, address};
use crate::programs::Service;
use crate::random::Random;

/// Clients at a time.
const MAX_PARALLEL: usize = 16;
/// No answer takes longer; where a server waits for more, the client leaves.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Visits the services so many times.
pub fn visit(
    network: &Network,
    services: &[Service],
    seed: u64,
    visits: u64,
    directory: &Path,
) -> Result<()> {
    let next = AtomicU64::new(0);
    let visitable: Vec<Service> = services
        .iter()
        .copied()
        .filter(|service| service.endpoint() == Endpoint::Server)
        .collect();
    let worker = || -> Result<()> {
        network.namespace_of(Endpoint::Client).enter()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= visits {
                return Ok(());
            }
            let mut random = Random::new(seed, number);
            let service = random.pick(&visitable);
            let wire = random.pick(&[Wire::Bridge, Wire::Queue]);
            // nc listens on IPv4 only.
            let ipv6 = service != Service::Netcat && random.chance(50);
            let to = SocketAddr::new(address(wire, Endpoint::Server, ipv6), service.port());
            let mut visit = Visit {
                random,
                to,
                own: directory.join(format!("visit-{number}")),
            };
            visit
                .make(service)
                .with_context(|| format!("visit {number} to {}", service.name()))?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..MAX_PARALLEL).map(|_| scope.spawn(worker)).collect();
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker panicked"));
        ended.collect::<Result<()>>()
    })
}

struct Visit {
    random: Random,
    to: SocketAddr,
    own: std::path::PathBuf,
}

impl Visit {
    fn make(&mut self, service: Service) -> Result<()> {
        // Each speaks to a plain socket, too, and ends it in its own way.
        if self.random.chance(40) {
            return self.talk(service);
        }
        let (ip, port) = (self.to.ip().to_string(), self.to.port().to_string());
        let host = if self.to.is_ipv6() {
            format!("[{ip}]")
        } else {
            ip.clone()
        };
        match service {
            Service::Nginx | Service::Haproxy | Service::Backend => self.talk(service),
            Service::Redis => {
                let command = self
                    .random
                    .pick(&["PING", "QUIT", "CLIENT KILL TYPE normal"]);
                self.run("redis-cli", &["-h", &ip, "-p", &port], Some(command))
            }
            Service::Postgresql => {
                let query = self.random.pick(&[
                    "select 1",
                    "select repeat('x', 100000)",
                    "select pg_terminate_backend(pg_backend_pid())",
                    "no sql",
                ]);
                let args = [
                    "-h", &ip, "-p", &port, "-U", "postgres", "-d", "postgres", "-c", query,
                ];
                self.run("psql", &args, None)
            }
            Service::Mariadb => {
                let query = self.random.pick(&[
                    "select 1",
                    "select repeat('x', 100000)",
                    "kill connection_id()",
                    "do sleep(1.2)",
                ]);
                let args = [
                    "--no-defaults",
                    "--protocol=tcp",
                    "-h",
                    &ip,
                    "-P",
                    &port,
                    "-u",
                    "root",
                    "-e",
                    query,
                ];
                self.run("mariadb", &args, None)
            }
            Service::Openssl => {
                let to = format!("{host}:{port}");
                let version = self.random.pick(&["-tls1_2", "-tls1_3"]);
                let request = self.random.pick(&["GET / HTTP/1.0\r\n\r\n", "Q\n"]);
                self.run(
                    "openssl",
                    &["s_client", "-connect", &to, version, "-quiet"],
                    Some(request),
                )
            }
            Service::Rsync => {
                let what = self.random.pick(&["", "data/", "data/large", "data/none"]);
                let from = format!("rsync://{host}:{port}/{what}");
                let to = self.own.display().to_string();
                let args = ["-q", &from, &to];
                let args = if what.is_empty() { &args[..2] } else { &args };
                self.run("rsync", args, None)
            }
            Service::Netcat => {
                let option = self.random.pick(&["-N", "-q0", "-w1"]);
                self.run("nc", &[option, &ip, &port], Some("hello\n"))
            }
        }
    }

    /// Runs a client to its end, or for as long as it may take. What it says is of no interest.
    fn run(&self, program: &str, args: &[&str], input: Option<&str>) -> Result<()> {
        let stdin = if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut client = ChildGuard::spawn(&mut command)?;
        if let (Some(input), Some(mut stdin)) = (input, client.stdin.take()) {
            // It may be gone already.
            drop(stdin.write_all(input.as_bytes()));
        }
        for _ in 0..ANSWER_TIMEOUT.as_millis() / 10 {
            if !client.is_running() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// A client of its own that writes a request, reads some of the answer, and ends in any way.
    fn talk(&mut self, service: Service) -> Result<()> {
        let request = match service {
            Service::Nginx | Service::Haproxy | Service::Backend => {
                let path =
                    self.random
                        .pick(&["small", "large", "none", "drop", "reset", "impatient"]);
                let connection = self.random.pick(&["close", "keep-alive"]);
                format!("GET /{path} HTTP/1.1\r\nHost: parity\r\nConnection: {connection}\r\n\r\n")
            }
            Service::Redis => self
                .random
                .pick(&["PING\r\n", "QUIT\r\n", "GET x"])
                .to_owned(),
            Service::Rsync => "@RSYNCD: 31.0\n".to_owned(),
            _ => self
                .random
                .pick(&["", "no protocol at all\r\n\r\n"])
                .to_owned(),
        };
        // nc serves one after the other, and its queue is short.
        let Ok(mut stream) = TcpStream::connect_timeout(&self.to, ANSWER_TIMEOUT) else {
            return Ok(());
        };
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        // Whatever the server does with it is what this is about.
        drop(stream.write_all(request.as_bytes()));
        if self.random.chance(20) {
            drop(stream.shutdown(Shutdown::Write));
        }
        let mut buffer = [0; 4_096];
        match self.random.below(5) {
            // Nothing is read.
            0 => {}
            1 => drop(stream.read(&mut buffer)),
            2 => thread::sleep(Duration::from_millis(self.random.below(30))),
            // To the end.
            _ => while stream.read(&mut buffer).is_ok_and(|read| read > 0) {},
        }
        if self.random.chance(15) {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }
}
