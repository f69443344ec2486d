//! Outputs of type `journald`, to a real one with sockets and files of its own: it runs in a mount
//! namespace with another /run, next to which the host's goes on as it was.

use smallvec::smallvec;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tcpclose::output::sink::{SinkConfig, Target};
use tcpclose::record::Record;
use tcpclose_core::finding::Finding;

use crate::findings::{
    assert_adds_up, close, close_of, long, loss, record, start, summary, time_wait, wait_until,
};
use tcpclose_kit::mounts::{enter_new_mounts, mount_tmpfs};
use tcpclose_kit::process::{ChildGuard, output_of};
use tcpclose_kit::skip::{find_program, skip};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Nothing but what comes through the socket, and all of it.
const SETTINGS: &str = "[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\nForwardToSyslog=no\n\
                        ForwardToWall=no\n";

pub struct Journal {
    program: PathBuf,
}

impl Journal {
    pub fn start(&self) -> ChildGuard {
        let running =
            ChildGuard::spawn(Command::new(&self.program).stderr(std::process::Stdio::null()))
                .expect("journald starts");
        wait_until("journald listens", || {
            // Its socket's file outlives it.
            std::os::unix::net::UnixDatagram::unbound()
                .and_then(|socket| socket.connect(SOCKET))
                .is_ok()
        });
        running
    }

    /// The fields of all entries of ours, in order, those that journald adds left out.
    fn read(&self) -> Vec<BTreeMap<String, Value>> {
        let mut journalctl = Command::new("journalctl");
        journalctl.args([
            "--directory=/run/log/journal",
            "--output=json",
            "--all",
            "--quiet",
        ]);
        journalctl.arg("SYSLOG_IDENTIFIER=tcpclose");
        let lines = output_of(&mut journalctl);
        let entries = lines.lines().map(|line| {
            let mut entry: BTreeMap<String, Value> = serde_json::from_str(line).expect("JSON");
            entry.retain(|name, _| !name.starts_with('_'));
            entry
        });
        entries.collect()
    }

    /// Waits until so many entries of ours are there.
    fn wait_for(&self, count: usize) -> Vec<BTreeMap<String, Value>> {
        let mut entries = Vec::new();
        wait_until("the entries are in the journal", || {
            entries = self.read();
            entries.len() >= count
        });
        entries
    }
}

/// Runs a test in a mount namespace where a journald may be started. Skips it where that is not
/// possible.
pub fn with_journal(test: impl FnOnce(&Journal) + Send) {
    let (Some(program), Some(_)) = (find_program("systemd-journald"), find_program("journalctl"))
    else {
        return;
    };
    let prepared = || -> io::Result<()> {
        enter_new_mounts()?;
        mount_tmpfs(Path::new("/run"), c"")?;
        fs::create_dir_all("/run/systemd/journal")?;
        fs::create_dir_all("/run/log/journal")?;
        fs::create_dir_all("/etc/systemd")?;
        mount_tmpfs(Path::new("/etc/systemd"), c"")?;
        fs::write("/etc/systemd/journald.conf", SETTINGS)
    };
    std::thread::scope(|scope| {
        let work = scope.spawn(|| match prepared() {
            Ok(()) => test(&Journal { program }),
            Err(error) => skip(&format!("journald needs a /run of its own: {error}")),
        });
        if let Err(panic) = work.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn config() -> SinkConfig {
    SinkConfig::new(Target::Journald)
}

/// The facts of the JSON record as fields of the journal.
fn expected(finding: &Record) -> BTreeMap<String, Value> {
    fn flatten(path: &str, value: &Value, fields: &mut BTreeMap<String, Value>) {
        match value {
            Value::Null => {}
            Value::Object(members) => {
                for (name, member) in members {
                    flatten(&format!("{path}_{}", name.to_uppercase()), member, fields);
                }
            }
            Value::String(text) => drop(fields.insert(path.to_owned(), text.clone().into())),
            other => drop(fields.insert(path.to_owned(), other.to_string().into())),
        }
    }
    let mut fields = BTreeMap::new();
    flatten("TCPCLOSE", &record(finding), &mut fields);
    fields.insert("SYSLOG_IDENTIFIER".to_owned(), "tcpclose".into());
    fields
}

#[test]
fn every_fact_is_a_field() {
    with_journal(|journal| {
        let _journald = journal.start();
        let (mut sink, messages) = start(&config());
        let findings = [close(13), time_wait(14), loss(5), summary(0, 60, 4)];
        for finding in &findings {
            sink.offer(finding);
        }
        assert_eq!(sink.finish(long()).written, 4);
        let entries = journal.wait_for(4);
        let about = [
            (
                "6",
                "mariadb[28089] 192.0.2.7:48350 > 192.0.2.9:3306 closed three_way, initiated by peer, 3 segments, after \
                 8.4ms, 210 bytes sent, 173 bytes received",
            ),
            (
                "7",
                "192.0.2.7:48350 > 192.0.2.9:3306 left TIME_WAIT: expired, after 1m01s, accurate to 127ms",
            ),
            (
                "4",
                "5 kernel records were lost because the ring buffer was full",
            ),
            (
                "6",
                "summary of 1m00s: 0 opened, 4 closed, 0 of them by reset; now 0 live, 0 in",
            ),
        ];
        for ((entry, finding), (priority, message)) in entries.iter().zip(&findings).zip(about) {
            let mut entry = entry.clone();
            assert_eq!(entry.remove("PRIORITY"), Some(priority.into()));
            let messages = entry.remove("MESSAGE").expect("a message");
            assert!(
                messages
                    .as_str()
                    .is_some_and(|messages| messages.starts_with(message)),
                "{messages}"
            );
            assert_eq!(entry, expected(finding));
        }
        assert_eq!(entries.len(), 4);
        assert!(messages.all().is_empty());
    });
}

#[test]
fn names_that_a_stranger_chose_arrive_escaped() {
    with_journal(|journal| {
        let _journald = journal.start();
        let (mut sink, _) = start(&config());
        sink.offer(&close_of(1, b"a\nTCPCLOSE_KIND=loss\n\x1b[2J\xff\"\\"));
        assert_eq!(sink.finish(long()).written, 1);
        let entries = journal.wait_for(1);
        assert_eq!(
            entries[0]["TCPCLOSE_OWNER_COMM"],
            "a\\nTCPCLOSE_KIND=loss\\n\\x1b[2J\u{fffd}\"\\\\"
        );
        assert_eq!(entries[0]["TCPCLOSE_KIND"], "close");
    });
}

/// More than a datagram takes (212,992 bytes where the kernel's defaults hold).
#[test]
fn a_big_field_arrives_whole() {
    with_journal(|journal| {
        let _journald = journal.start();
        let (mut sink, messages) = start(&config());
        let mut finding = close(1);
        let Some(Record::Finding(Finding::Close(close))) = Arc::get_mut(&mut finding) else {
            panic!("a close")
        };
        close.steps = smallvec![close.steps[0]; 4_000];
        sink.offer(&finding);
        assert_eq!(sink.finish(long()).written, 1);
        let entries = journal.wait_for(1);
        let steps = entries[0]["TCPCLOSE_CLOSE_STEPS"].as_str().expect("text");
        assert!(steps.len() > 212_992, "{} bytes", steps.len());
        assert_eq!(
            serde_json::from_str::<Value>(steps).expect("JSON"),
            record(&finding)["close"]["steps"]
        );
        assert!(messages.all().is_empty());
    });
}

#[test]
fn a_journald_that_is_gone_is_waited_for_and_nothing_is_lost() {
    with_journal(|journal| {
        let first = journal.start();
        let (mut sink, messages) = start(&config());
        for id in 1..=100 {
            sink.offer(&close(id));
        }
        wait_until("they are written", || sink.counts().written == 100);
        journal.wait_for(100);
        first.kill();
        for id in 101..=200 {
            sink.offer(&close(id));
        }
        messages.wait_for("output journald is down: ");
        messages.wait_for(SOCKET);
        let _second = journal.start();
        messages.wait_for("is up again");
        let counts = sink.finish(long());
        assert_adds_up(counts);
        assert_eq!((counts.offered, counts.written), (200, 200));
        let entries = journal.wait_for(200);
        let ids = entries.iter().map(|entry| {
            let id = entry["TCPCLOSE_CONN_ID"].as_str().expect("text");
            id.parse::<u64>().expect("a number")
        });
        assert!(ids.eq(1..=200));
        assert_eq!(messages.all().len(), 2, "{:?}", messages.all());
    });
}

#[test]
fn without_systemd_the_other_outputs_are_named() {
    with_journal(|_| {
        let (mut sink, messages) = start(&config());
        sink.offer(&close(1));
        messages.wait_for(&format!(
            "output journald is down: no journald listens at {SOCKET}; without systemd, use an output of type syslog, file or stdout"
        ));
        assert_adds_up(sink.finish(std::time::Instant::now()));
    });
}

/// With the configuration that packages install.
#[test]
fn the_self_test_of_the_default_configuration_arrives_in_sentences() {
    with_journal(|journal| {
        let _journald = journal.start();
        let folder = Path::new("/run/self-test");
        fs::create_dir_all(folder).expect("/run is our own");
        let file = folder.join("agent.toml");
        fs::write(&file, tcpclose::agent::config::DEFAULT_CONFIG).expect("/run is our own");
        let output = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .args(["agent", "--self-test", "--config"])
            .arg(&file)
            .output()
            .expect("it is built");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(
            stderr.contains("output journald has taken 2 records"),
            "{stderr}"
        );
        let entries = journal.wait_for(2);
        for entry in &entries {
            assert_eq!(entry["TCPCLOSE_SELF_TEST"], "true");
            // Alerts on warnings must not fire.
            assert_eq!(entry["PRIORITY"], "6");
        }
        let sentence = entries[0]["MESSAGE"].as_str().expect("text");
        assert!(
            sentence.starts_with("self-test: tcpclose[")
                && sentence.contains(" stuck in CLOSE_WAIT"),
            "{sentence}"
        );
    });
}
