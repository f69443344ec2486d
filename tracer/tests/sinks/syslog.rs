//! Outputs of type `syslog`, to a real rsyslogd over each of its transports.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};
use tcpclose::output::sink::SinkConfig;
use tcpclose::record::Record;

use crate::findings::{
    LONG, assert_adds_up, close, close_of, long, loss, record, start, time_wait, wait_until,
};
use rustix::process::Signal;
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::find_program;

/// A receiver that writes down each part of each message as it has understood it.
pub struct Rsyslog {
    program: PathBuf,
    scratch: Scratch,
    udp: u16,
    tcp: u16,
}

impl Rsyslog {
    /// `None` where it is not installed: the test is skipped.
    pub fn new() -> Option<Self> {
        let program = find_program("rsyslogd")?;
        let scratch = Scratch::new();
        let free = |port: std::io::Result<std::net::SocketAddr>| port.expect("a port").port();
        let udp = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let tcp = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let rsyslog = Self {
            program,
            udp: free(udp),
            tcp: free(tcp),
            scratch,
        };
        fs::write(rsyslog.path("rsyslog.conf"), rsyslog.settings()).expect("a file");
        Some(rsyslog)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    fn settings(&self) -> String {
        let Self { udp, tcp, .. } = self;
        let folder = self.scratch.folder().display();
        let fields = [
            ("pri", "pri"),
            ("version", "protocol-version"),
            ("timestamp", "timereported\" dateFormat=\"rfc3339"),
            ("hostname", "hostname"),
            ("app", "app-name"),
            ("procid", "procid"),
            ("msgid", "msgid"),
            ("msg", "msg"),
        ];
        let fields: String = fields
            .iter()
            .map(|(name, property)| {
                format!(
                    "property(outname=\"{name}\" name=\"{property}\" format=\"jsonf\") constant(value=\",\")\n"
                )
            })
            .collect();
        format!(
            r#"
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp")
module(load="imptcp")
module(load="imudp")
module(load="imuxsock" SysSock.Use="off")
module(load="mmpstrucdata")
template(name="parts" type="list") {{
constant(value="{{")
{fields}
constant(value="\"data\":") property(name="$!rfc5424-sd") constant(value="}}\n")
}}
ruleset(name="all") {{
  action(type="mmpstrucdata")
  action(type="omfile" file="{folder}/received" template="parts")
}}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
input(type="imuxsock" socket="{folder}/datagrams" useSpecialParser="off" parseHostname="on" ignoreTimestamp="off"
      rateLimit.interval="0" ruleset="all")
input(type="imptcp" path="{folder}/stream" unlink="on" ruleset="all")
"#
        )
    }

    pub fn start(&self) -> ChildGuard {
        let running = ChildGuard::spawn(
            Command::new(&self.program)
                .args(["-n", "-f"])
                .arg(self.path("rsyslog.conf"))
                .arg("-i")
                .arg(self.path("pid"))
                .stderr(Stdio::null()),
        )
        .expect("rsyslogd starts");
        wait_until("rsyslogd listens", || {
            std::net::TcpStream::connect(("127.0.0.1", self.tcp)).is_ok()
                && std::os::unix::net::UnixStream::connect(self.path("stream")).is_ok()
                && std::os::unix::net::UnixDatagram::unbound()
                    .and_then(|socket| socket.connect(self.path("datagrams")))
                    .is_ok()
                && UdpSocket::bind(("127.0.0.1", self.udp)).is_err()
        });
        running
    }

    /// Addresses of all transports.
    pub fn addresses(&self) -> [String; 4] {
        let folder = self.scratch.folder().display();
        [
            format!("unix:{folder}/datagrams"),
            format!("unix:{folder}/stream"),
            format!("udp://127.0.0.1:{}", self.udp),
            format!("tcp://127.0.0.1:{}", self.tcp),
        ]
    }

    fn received(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("received")).unwrap_or_default();
        // The last line may still be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    fn wait_for(&self, count: usize) -> Vec<Value> {
        let mut received = Vec::new();
        wait_until("the messages are there", || {
            received = self.received();
            received.len() >= count
        });
        received
    }
}

fn config(address: &str) -> SinkConfig {
    toml::from_str(&format!(
        "type = 'syslog'\naddress = '{address}'\nmax_size = 60000"
    ))
    .expect("right")
}

/// The facts of the JSON record as structured data.
fn expected_data(finding: &Record) -> Value {
    fn flatten(path: &str, value: &Value, fields: &mut Map<String, Value>) {
        match value {
            Value::Null => {}
            Value::Object(members) => {
                for (name, member) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    flatten(&format!("{path}{dot}{name}"), member, fields);
                }
            }
            Value::String(text) => drop(fields.insert(path.to_owned(), text.clone().into())),
            other => drop(fields.insert(path.to_owned(), other.to_string().into())),
        }
    }
    let mut fields = Map::new();
    flatten("", &record(finding), &mut fields);
    json!({ "tcpclose@32473": fields })
}

fn conn_ids(received: &[Value]) -> Vec<u64> {
    let ids = received.iter().map(|message| {
        let data = &message["data"]["tcpclose@32473"];
        let id = data["conn.id"].as_str().unwrap_or("0");
        id.parse().expect("a number")
    });
    ids.collect()
}

#[test]
fn every_part_arrives_over_every_transport() {
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let _running = rsyslog.start();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let mut before = 0;
    for address in rsyslog.addresses() {
        let findings = [close(13), time_wait(14), loss(5)];
        let about = [
            (
                "30",
                "2026-01-31T12:00:00.008500",
                "close",
                "mariadb[28089] 192.0.2.7:48350 > 192.0.2.9:3306 closed ",
            ),
            (
                "31",
                "2026-01-31T12:01:01.000000",
                "time_wait",
                "192.0.2.7:48350 > 192.0.2.9:3306 left TIME_WAIT: ",
            ),
            (
                "28",
                "2026-01-31T12:00:07.000000",
                "loss",
                "5 kernel records were lost because the ring buffer ",
            ),
        ];
        let (mut sink, messages) = start(&config(&address));
        for finding in &findings {
            sink.offer(finding);
        }
        let counts = sink.finish(long());
        assert_eq!((counts.offered, counts.written), (3, 3), "{address}");
        let received = rsyslog.wait_for(before + 3);
        // Datagrams of one sender keep their order within a host.
        for ((message, finding), (pri, time, kind, words)) in
            received[before..].iter().zip(&findings).zip(about)
        {
            assert_eq!(message["pri"], pri, "{address}");
            assert_eq!(message["version"], "1");
            let reported = message["timestamp"].as_str().expect("a time");
            assert!(reported.starts_with(time), "{address}: {reported}");
            assert_eq!(message["hostname"], host.trim());
            assert_eq!(message["app"], "tcpclose");
            assert_eq!(message["procid"], std::process::id().to_string());
            assert_eq!(message["msgid"], kind);
            assert_eq!(message["data"], expected_data(finding), "{address}");
            let messages = message["msg"].as_str().expect("text");
            assert!(messages.starts_with(words), "{messages}");
        }
        before += 3;
        assert_eq!(received.len(), before);
        assert!(messages.all().is_empty(), "{:?}", messages.all());
    }
}

#[test]
fn names_that_a_stranger_chose_change_nothing_around_them() {
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let _running = rsyslog.start();
    let mut received = Vec::new();
    for address in rsyslog.addresses() {
        let (mut sink, _) = start(&config(&address));
        sink.offer(&close_of(1, b"x\"] y=\"\\\n<3>1 - "));
        sink.offer(&close_of(2, "数据\u{202e}".as_bytes()));
        assert_eq!(sink.finish(long()).written, 2);
        // What comes over two of them is in no order.
        received = rsyslog.wait_for(received.len() + 2);
    }
    for pair in received.chunks(2) {
        let data = |at: usize| &pair[at]["data"]["tcpclose@32473"]["owner.comm"];
        assert_eq!(data(0), "x\"] y=\"\\\\\\n<3>1 - ");
        assert_eq!(data(1), "数据\\u{202e}");
        let messages = pair[0]["msg"].as_str().expect("text");
        assert!(
            messages.starts_with("x\"] y=\"\\\\\\n<3>1 - [28089] 192.0.2.7"),
            "{messages}"
        );
    }
    assert_eq!(received.len(), 8);
}

#[test]
fn a_receiver_that_was_killed_is_found_again() {
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let [datagrams, stream, _, tcp] = rsyslog.addresses();
    let mut before = 0;
    for address in [datagrams, stream, tcp] {
        let first = rsyslog.start();
        let (mut sink, messages) = start(&config(&address));
        for id in 1..=100 {
            sink.offer(&close(id));
        }
        rsyslog.wait_for(before + 100);
        first.kill();
        for id in 101..=200 {
            sink.offer(&close(id));
        }
        messages.wait_for("is down: ");
        let outage = sink.outage().expect("it is down").reason;
        assert!(outage.contains("refused"), "{address}: {outage}");
        let _second = rsyslog.start();
        let counts = sink.finish(long());
        assert_adds_up(counts);
        assert_eq!((counts.offered, counts.written), (200, 200), "{address}");
        let received = rsyslog.wait_for(before + 200);
        let ids = conn_ids(&received[before..]);
        assert!(ids.into_iter().eq(1..=200), "{address}");
        assert_eq!(messages.all().len(), 2, "{:?}", messages.all());
        before += 200;
    }
}

/// A receiver that stands still holds nothing up but its own output, and what it reads later is
/// whole and in order.
#[test]
fn a_stalled_receiver_costs_only_the_records_over_the_queue() {
    const RECORDS: u64 = 40_000;
    let Some(rsyslog) = Rsyslog::new() else {
        return;
    };
    let running = rsyslog.start();
    let [_, _, _, tcp] = rsyslog.addresses();
    let mut config = config(&tcp);
    config.queue = std::num::NonZeroUsize::new(500).expect("not zero");
    let (mut sink, _said) = start(&config);
    sink.offer(&close(1));
    rsyslog.wait_for(1);
    running.signal(Signal::STOP).expect("a signal to a child");
    for id in 2..=RECORDS {
        sink.offer(&close(id));
        // The output gets ahead as far as the sockets' buffers go, and no further.
        if id % 100 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    let counts = sink.counts();
    assert_adds_up(counts);
    assert!(counts.dropped > 0, "{counts:?}");
    running.signal(Signal::CONT).expect("a signal to a child");
    let counts = sink.finish(long());
    assert_adds_up(counts);
    assert_eq!((counts.queued, counts.failed), (0, 0));
    let received = rsyslog.wait_for(counts.written as usize);
    let ids = conn_ids(&received);
    assert_eq!(ids.len() as u64, counts.written);
    let closes: Vec<u64> = ids.into_iter().filter(|id| *id > 0).collect();
    assert!(closes.is_sorted_by(|one, next| one < next));
    let records_so_far = received.iter().filter(|message| message["msgid"] == "loss");
    let records_so_far = records_so_far.map(|loss| {
        let lost = loss["data"]["tcpclose@32473"]["lost"]
            .as_str()
            .expect("text");
        lost.parse::<u64>().expect("a number")
    });
    assert_eq!(records_so_far.sum::<u64>(), counts.dropped);
    assert_eq!(closes.len() as u64 + counts.dropped, RECORDS);
}

/// A datagram to nobody can be sent; that it was refused comes back later, if at all.
#[test]
fn a_udp_receiver_that_is_not_there_is_reported_once_and_nothing_is_lost_until_it_is() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    drop(socket);
    let (mut sink, messages) = start(&config(&format!("udp://{address}")));
    for id in 1..=20 {
        sink.offer(&close(id));
    }
    messages.wait_for("is down: no program listens there");
    // SIGHUP makes it try again at once.
    for _ in 0..5 {
        sink.reopen();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(messages.all().len(), 1, "{:?}", messages.all());
    assert_eq!(sink.counts().written, 0);
    let receiver = UdpSocket::bind(address).expect("the port is free");
    receiver.set_read_timeout(Some(LONG)).expect("a time");
    let mut message = [0; 8_192];
    for id in 1..=20 {
        let length = receiver.recv(&mut message).expect("a message");
        let text = String::from_utf8_lossy(&message[..length]);
        assert!(text.contains(&format!(" conn.id=\"{id}\"")), "{text}");
    }
    let counts = sink.finish(long());
    assert_eq!((counts.offered, counts.written), (20, 20));
    assert_eq!(messages.all().len(), 2, "{:?}", messages.all());
    assert!(
        messages.all()[1].contains("is up again"),
        "{:?}",
        messages.all()
    );
}
