//! The agent of a package, running.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::wait::eventually;

/// The address of the configuration that packages have.
const ADDRESS: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 19433);

/// Starts the agent, lets a connection close in this thread's network namespace, and waits until
/// its metrics have it. Then it has to stop as it should.
pub fn is_at_work(command: &mut Command) {
    let agent = start(command);
    close_a_connection();
    let closes = eventually(|| {
        let metrics = get("/metrics")?;
        let closes = metrics
            .lines()
            .any(|line| line.starts_with("tcpclose_closes_total{") && !line.ends_with(" 0"));
        closes.then_some(())
    });
    assert!(closes.is_some(), "{}", agent.stderr.text());
    stop(agent);
}

/// Starts it and waits until it works.
pub fn start(command: &mut Command) -> ChildProcess {
    let agent = ChildProcess::spawn(command);
    let is_running = agent.stderr.wait_for_words("the agent is running");
    assert!(is_running, "{}", agent.stderr.text());
    let health = eventually(|| get("/healthz"));
    assert!(
        health.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")),
        "{}",
        agent.stderr.text()
    );
    agent
}

/// Ends it with the signal that service managers send.
pub fn stop(mut agent: ChildProcess) {
    agent.signal(Signal::TERM).expect("it is our own");
    let status = agent.wait();
    assert!(status.success(), "{status}: {}", agent.stderr.text());
    let last = agent.stdout.now().pop().unwrap_or_default();
    // Packages have the journal as the agent's output, which there is none of in these roots.
    let has_no_journal = agent.stderr.text().contains("output journald is down");
    let has_summary = last.contains("\"kind\":\"summary\"");
    assert!(
        has_summary || has_no_journal,
        "{last}{}",
        agent.stderr.text()
    );
}

fn close_a_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of our own network");
    let address = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(address).expect("it listens");
    let (server, _) = listener.accept().expect("it has connected");
    drop(client);
    drop(server);
}

/// The answer to a request; `None` where there is none.
fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(ADDRESS).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
