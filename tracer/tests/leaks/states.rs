//! Sockets that are stuck in other states than CLOSE_WAIT.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{leaks, records};
use crate::stuck::{MOMENT, Pair};
use crate::traced::{in_traced_network, leak, watch_as_json};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::set_option;
use tcpclose_kit::wait::eventually;

/// Has a firewall in this thread's namespace drop segments on their way out (`output`, of this
/// source port) or in (`input`, to this destination port); `false` (and reported) where there is
/// none.
fn drop_segments(hook: &str, port: u16) -> io::Result<bool> {
    let which = if hook == "output" { "sport" } else { "dport" };
    let script = format!(
        "table inet firewall {{
             chain sent {{
                 type filter hook {hook} priority 0
                 tcp {which} {port} drop
             }}
         }}
"
    );
    let nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let ran = nft.is_ok_and(|mut nft| {
        let sent = nft
            .stdin
            .take()
            .is_some_and(|mut stdin| stdin.write_all(script.as_bytes()).is_ok());
        sent && nft.wait().is_ok_and(|status| status.success())
    });
    if !ran {
        skip("no nft with what these rules need");
    }
    Ok(ran)
}

/// Scans until a socket of this verdict is found; returns its record and the exit code.
fn found(args: &[&str], verdict: &str) -> Result<(Value, Option<i32>), Box<dyn std::error::Error>> {
    let found = eventually(|| {
        let ended = leaks(&[&["--format", "json"], args].concat()).output();
        let ended = CommandOutput::from(ended.ok()?);
        let mut records = ended.records().into_iter();
        let record = records.find(|record| record["stuck"]["verdict"] == verdict)?;
        Some((record, ended.code))
    });
    Ok(found.ok_or_else(|| format!("no socket is {verdict}"))?)
}

#[test]
fn shutdown_without_close_is_stuck_while_the_peer_is_silent() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        pair.client.write_all(b"request")?;
        pair.server.read_exact(&mut [0; 7])?;
        let port = pair.client.local_addr()?.port().to_string();
        pair.client.shutdown(Shutdown::Write)?;
        thread::sleep(MOMENT);
        let args = ["--netns", netns, "-L", &port];
        let ended = leaks(&[&args[..], &["--min-age", "0s", "--format", "json"]].concat());
        let ended = { ended }.output().map(CommandOutput::from)?;
        let record = ended.record();
        assert_eq!(ended.code, Some(1));
        assert_eq!(record["stuck"]["state"], "FIN_WAIT2");
        assert_eq!(record["stuck"]["verdict"], "half_closed");
        assert_eq!(record["owner"]["pid"], std::process::id());
        assert_eq!(record["conn"]["role"], "client");
        assert_eq!(record["stuck"]["age_known"], "estimated");
        let ms = |field: &str| record["stuck"][field].as_f64().ok_or("no number");
        assert!(ms("age_ms")? <= ms("age_at_most_ms")?, "{record}");
        let advice = record["stuck"]["advice"].as_str().ok_or("no advice")?;
        assert!(
            advice.starts_with("shutdown() was called and close() never was on fd "),
            "{advice}"
        );
        // The peer still sends.
        pair.server.write_all(b"response")?;
        let ended = leaks(&[&args[..], &["--min-age", "1h"]].concat()).output()?;
        assert_eq!(ended.status.code(), Some(0));
        let table = String::from_utf8(ended.stdout)?;
        assert_eq!(
            table,
            "0 sockets stuck for 1h00m or longer, 1 younger or still transferring data\n"
        );
        Ok(())
    })
}

#[test]
fn a_socket_that_was_closed_is_not_stuck_in_fin_wait2() -> TestResult {
    in_own_network(|netns| {
        let pair = Pair::new()?;
        // So that it stays a full socket: a minute and more (TCP_LINGER2).
        set_option(&pair.client, libc::IPPROTO_TCP, libc::TCP_LINGER2, 119);
        let port = pair.client.local_addr()?.port().to_string();
        drop(pair.client);
        thread::sleep(MOMENT);
        let ended = leaks(&["--netns", netns, "-L", &port, "--min-age", "0s", "--all"]).output()?;
        assert_eq!(
            ended.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&ended.stdout)
        );
        Ok(())
    })
}

#[test]
fn a_fin_that_a_firewall_drops_is_unanswered() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port();
        if !drop_segments("output", port)? {
            return Ok(());
        }
        drop(server);
        let port = port.to_string();
        let args = ["--netns", netns, "-L", &port, "--min-age", "1s"];
        let (record, code) = found(&args, "unanswered")?;
        assert_eq!(code, Some(1));
        assert_eq!(record["stuck"]["state"], "LAST_ACK");
        // A segment that is dropped on this host was not sent, for the kernel.
        assert_eq!(record["stuck"]["unanswered"]["kind"], "window_probes");
        assert_eq!(record["stuck"]["unsent_bytes"], 1, "the FIN");
        assert_eq!(
            (&record["owner"], &record["holders"]),
            (&Value::Null, &Value::Array(vec![]))
        );
        assert_eq!(record["stuck"]["owner_unknown"], "closed");
        let advice = record["stuck"]["advice"].as_str().ok_or("no advice")?;
        assert!(advice.contains("its process has closed it"), "{advice}");
        Ok(())
    })
}

#[test]
fn a_peer_that_does_not_read_is_distinguished_from_one_that_is_gone() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        pair.server.set_nonblocking(true)?;
        let block = vec![0; 1 << 20];
        while pair.server.write(&block).is_ok() {}
        let port = pair.server.local_addr()?.port().to_string();
        drop(pair.server);
        let args = ["--netns", netns, "-L", &port, "--min-age", "1s"];
        let (record, code) = found(&args, "peer_not_reading")?;
        assert_eq!(code, Some(1));
        assert_eq!(record["stuck"]["state"], "FIN_WAIT1");
        assert!(
            record["stuck"]["unsent_bytes"].as_u64() > Some(1),
            "{record}"
        );
        Ok(())
    })
}

#[test]
fn a_dead_peer_is_found_on_request() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        let port = pair.server.local_addr()?.port();
        if !drop_segments("input", port)? {
            return Ok(());
        }
        pair.server.write_all(b"nobody gets this")?;
        let port = port.to_string();
        let args = ["--netns", netns, "-L", &port, "--min-age", "1s"];
        let (record, code) = found(&[&args[..], &["--dead"]].concat(), "unanswered")?;
        assert_eq!(code, Some(1));
        assert_eq!(record["stuck"]["state"], "ESTABLISHED");
        assert_eq!(record["stuck"]["unanswered"]["kind"], "retransmissions");
        assert_eq!(record["owner"]["pid"], std::process::id());
        let ended = leaks(&args).output()?;
        assert_eq!(ended.status.code(), Some(0), "not without the request");
        Ok(())
    })
}

#[test]
fn silent_connections_are_listed_and_not_counted() -> TestResult {
    in_own_network(|netns| {
        let pair = Pair::new()?;
        set_option(&pair.server, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        thread::sleep(Duration::from_millis(300));
        let args = ["--netns", netns, "--min-age", "0s", "--format", "json"];
        let scan = |dead: &str| {
            let ended = leaks(&[&args[..], &[dead]].concat()).output();
            ended.map(CommandOutput::from)
        };
        let ended = scan("--dead=250ms")?;
        let record = ended.record();
        assert_eq!(ended.code, Some(0));
        assert_eq!(
            (&record["stuck"]["state"], &record["stuck"]["verdict"]),
            (&"ESTABLISHED".into(), &"silent".into())
        );
        // A timer will find out about the other.
        assert_eq!(
            record["conn"]["local"]["port"],
            pair.client.local_addr()?.port()
        );
        assert!(scan("--dead=1h")?.records().is_empty());
        assert!(records(netns)?.records().is_empty());
        Ok(())
    })
}

/// A client whose server closed after this silence, which nobody has read since.
fn pooled(silence: Duration) -> io::Result<TcpStream> {
    let mut pair = Pair::new()?;
    pair.client.write_all(b"request")?;
    pair.server.read_exact(&mut [0; 7])?;
    pair.server.write_all(b"response")?;
    pair.client.read_exact(&mut [0; 8])?;
    thread::sleep(silence);
    drop(pair.server);
    thread::sleep(MOMENT);
    Ok(pair.client)
}

#[test]
fn idle_connections_of_a_pool_are_recognized_by_the_silence_before_the_fin() -> TestResult {
    in_own_network(|netns| {
        let _client = pooled(Duration::from_millis(1_200))?;
        let record = records(netns)?.record();
        assert_eq!(record["stuck"]["verdict"], "eof_unread");
        assert_eq!(record["conn"]["role"], "client");
        let idle = record["stuck"]["idle_before_fin_ms"].as_f64();
        assert!(idle >= Some(1_190.0), "{record}");
        let advice = record["stuck"]["advice"].as_str().ok_or("no advice")?;
        assert!(
            advice.starts_with("idle pooled connection: it was silent for "),
            "{advice}"
        );
        let ended = leaks(&["--netns", netns, "--min-age", "0s"]).output()?;
        let table = String::from_utf8(ended.stdout)?;
        assert!(
            table.contains("WHY    1 eof_unread: idle pooled connection: "),
            "{table}"
        );
        assert!(
            table.contains("DO     close the session or share one; evict"),
            "{table}"
        );
        Ok(())
    })
}

#[test]
fn a_server_that_closes_after_its_answer_ends_no_idle_connection() -> TestResult {
    in_own_network(|netns| {
        let _client = pooled(Duration::ZERO)?;
        let record = records(netns)?.record();
        let idle = record["stuck"]["idle_before_fin_ms"].as_f64();
        assert!(idle.is_some_and(|idle| idle < 1_000.0), "{record}");
        let advice = record["stuck"]["advice"].as_str().ok_or("no advice")?;
        assert!(
            advice.starts_with("the end of stream came and was never read"),
            "{advice}"
        );
        Ok(())
    })
}

#[test]
fn watch_reports_shutdown_without_close_and_its_end() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let pair = Pair::new()?;
        pair.client.shutdown(Shutdown::Write)?;
        // The server's end is in CLOSE_WAIT, and reported earlier.
        let opened = loop {
            let record = leak(&mut watch)?;
            if record["stuck"]["state"] == "FIN_WAIT2" {
                break record;
            }
        };
        assert_eq!(opened["event"], "opened");
        assert_eq!(opened["stuck"]["verdict"], "half_closed");
        assert_eq!(opened["stuck"]["age_known"], "observed");
        assert_eq!(opened["owner"]["pid"], std::process::id());
        drop(pair.server);
        let resolved = loop {
            let record = leak(&mut watch)?;
            if record["stuck"]["state"] == "FIN_WAIT2" {
                break record;
            }
        };
        assert_eq!(
            (&resolved["event"], &resolved["stuck"]["resolved_by"]),
            (&"resolved".into(), &"peer_closed".into())
        );
        Ok(())
    })
}
