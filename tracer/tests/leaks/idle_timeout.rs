//! Requests that run into the idle timeout of a real server, from a real client.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;

use crate::program;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::{ChildProcess, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::{has_programs, program_path};
use tcpclose_kit::wait::eventually;

const PORT: u16 = 8088;
/// A host that is busy elsewhere delays timers by more than silences of one timeout may differ.
const MAX_ATTEMPTS: usize = 3;

/// Twelve connections, one after the other, that are used once; every third is used again after
/// the server has given it up.
const POOL: &str = "
import http.client, threading, time

def use(number):
    time.sleep(number * 0.15)
    connection = http.client.HTTPConnection('127.0.0.1', 8088)
    connection.request('GET', '/')
    connection.getresponse().read()
    time.sleep(2.6)
    if number % 3 == 0:
        try:
            connection.request('GET', '/')
            connection.getresponse()
        except OSError:
            pass
    connection.close()

threads = [threading.Thread(target=use, args=(number,)) for number in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
";

/// What triage reports of that.
const WORDS: [&str; 5] = [
    "127.0.0.1:8088 closes after 2.0s of silence (",
    " ran into it (",
    "WHO python3 ",
    "reset by peer: stale keep-alive (idle 2.0s each time)",
    "tcpclose resets --cause stale_keepalive",
];

/// Starts nginx, which gives up connections after two seconds.
fn nginx(scratch: &Scratch) -> io::Result<ChildProcess> {
    let (config, log) = (scratch.path("nginx.conf"), scratch.path("error.log"));
    let folder = scratch.path("");
    let folder = folder.display();
    let text = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nevents {{}}\nhttp {{\n\
         access_log off;\nkeepalive_timeout 2s;\n\
         server {{ listen 127.0.0.1:{PORT}; location / {{ return 200 ok; }} }}\n}}\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(program_path("nginx"));
    command.arg("-e").arg(log).arg("-c").arg(config);
    let nginx = ChildProcess::spawn(&mut command);
    let answers = || TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).ok();
    eventually(answers).ok_or_else(|| io::Error::other(nginx.stderr.text()))?;
    Ok(nginx)
}

#[test]
fn the_timeout_of_nginx_and_the_requests_that_ran_into_it_are_a_verdict() -> TestResult {
    if !has_programs(&["nginx", "python3"]) {
        return Ok(());
    }
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let _nginx = nginx(&scratch)?;
        let mut shown = String::new();
        for _ in 0..MAX_ATTEMPTS {
            let mut command = Command::new(program::path());
            command.args(["triage", "--for", "60s", "--netns", netns]);
            let mut triage = ChildProcess::spawn(&mut command);
            if !triage.stderr.wait_for_words("watching for") {
                // Nothing can be traced here.
                return Ok(());
            }
            let pool = run(Command::new(program_path("python3")).args(["-c", POOL]));
            assert_eq!(pool.code, Some(0), "{}", pool.stderr);
            triage.interrupt();
            assert_eq!(triage.wait().code(), Some(1), "{}", triage.stdout.text());
            let words = triage.stdout.text();
            shown = words.split_whitespace().collect::<Vec<_>>().join(" ");
            if WORDS.iter().all(|words| shown.contains(words)) {
                break;
            }
        }
        for words in WORDS {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        Ok(())
    })
}
