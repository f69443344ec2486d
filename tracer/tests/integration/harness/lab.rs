//! A laboratory for one scenario: a namespace, a capture, and the program watching.

use std::ffi::CStr;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::capture::{Capture, Packet, Ports, connections};
use super::pair::has_pair_of;
use super::program;
use super::record::Close;
use super::requirements;
use super::sockets::{Connection, Family, expect, ports_of, send};
use super::time_wait::TimeWait;
use super::timeouts::{SOON, WAIT_TIMEOUT};
use super::watch::{Watch, agree};
use super::wire::Wire;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::wait::{eventually, within};
use tcpclose_parity::closing::Closing;
use tcpclose_parity::segment::Endpoint;

enum Truth {
    Loopback(Capture),
    Wire(Wire),
    /// Nobody captures: a packet socket keeps its namespace alive.
    Unseen,
}

/// Namespace, capture and watching program of one scenario.
pub struct Lab {
    /// The namespace in which the host lives.
    pub ns: NetNs,
    /// The sockets' kind.
    pub family: Family,
    truth: Truth,
    watch: Option<Watch>,
    /// A process by which the namespace can be found from outside.
    resident: Option<ChildProcess>,
}

impl Lab {
    /// A laboratory on loopback; `None` (and reported) where the program cannot trace.
    pub fn on_loopback(family: Family) -> Option<Self> {
        let mut lab = Self::not_yet_watching(family)?;
        lab.watch();
        Some(lab)
    }

    /// A laboratory on loopback in which the program does not run yet.
    pub fn not_yet_watching(family: Family) -> Option<Self> {
        if !requirements::can_trace() {
            return None;
        }
        let ns = NetNs::new();
        let truth = Truth::Loopback(Capture::start(&ns));
        Some(Self {
            ns,
            family,
            truth,
            watch: None,
            resident: None,
        })
    }

    /// Starts the program.
    pub fn watch(&mut self) {
        self.watch = Some(Watch::start(&self.ns, &[]));
    }

    /// A laboratory on loopback that is watched from another namespace, and in which nothing is
    /// captured.
    pub fn watched_from_outside(family: Family) -> Option<Self> {
        if !requirements::can_trace() {
            return None;
        }
        let ns = NetNs::new();
        let resident = resident(&ns);
        let mut watch = Command::new(program::path());
        watch.args(["watch", "--format", "json", "--netns"]);
        let watch = Watch::spawn(watch.arg(ns.inode().to_string()));
        Some(Self {
            ns,
            family,
            truth: Truth::Unseen,
            watch: Some(watch),
            resident: Some(resident),
        })
    }

    /// From now on there is a way into the namespace from outside.
    pub fn add_resident(&mut self) {
        self.resident = Some(resident(&self.ns));
    }

    /// From now on there is no way into the namespace from outside.
    pub fn remove_resident(&mut self) {
        self.resident = None;
    }

    /// Gives the namespace up. With its last socket it is gone.
    pub fn vanish(self) -> Watch {
        self.watch.expect("the program watches")
    }

    /// The program that watches.
    pub fn watching(&self) -> &Watch {
        self.watch.as_ref().expect("the program watches")
    }

    /// A laboratory whose endpoints talk over a [`Wire`].
    pub fn on_wire(family: Family) -> Option<Self> {
        if !requirements::can_trace() {
            return None;
        }
        let ns = NetNs::new();
        let truth = Truth::Wire(Wire::create(&ns)?);
        let watch = Some(Watch::start(&ns, &[]));
        Some(Self {
            ns,
            family,
            truth,
            watch,
            resident: None,
        })
    }

    /// The wire of a laboratory that has one.
    pub fn wire(&self) -> &Wire {
        match &self.truth {
            Truth::Wire(wire) => wire,
            Truth::Loopback(_) | Truth::Unseen => panic!("this laboratory is on loopback"),
        }
    }

    /// Where a server listens and what a client connects to (port 0).
    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let (listen, connect) = match &self.truth {
            Truth::Loopback(_) | Truth::Unseen => {
                (self.family.listen_address(), self.family.connect_address())
            }
            Truth::Wire(_) => {
                let ipv6 = self.family == Family::V6;
                (Wire::near(ipv6), Wire::far(ipv6))
            }
        };
        (SocketAddr::new(listen, 0), SocketAddr::new(connect, 0))
    }

    /// A listener on a port of the kernel's choice, and the address to connect to.
    pub fn listen(&self) -> (TcpListener, SocketAddr) {
        let (listen, mut connect) = self.addresses();
        let listener = self
            .ns
            .run(|| TcpListener::bind(listen))
            .expect("listening");
        connect.set_port(listener.local_addr().expect("a bound socket").port());
        (listener, connect)
    }

    /// An address to connect from on a port of the kernel's choice.
    pub fn client_address(&self, port: u16) -> SocketAddr {
        let (listen, connect) = self.addresses();
        // Over the wire both endpoints live at the near address.
        let near = if matches!(self.truth, Truth::Wire(_)) {
            listen
        } else {
            connect
        };
        SocketAddr::new(near.ip(), port)
    }

    /// Where to connect to for a server on this port.
    pub fn connect_address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses().1.ip(), port)
    }

    /// The addresses of a connection's endpoints, the connecting one first.
    pub fn ends(&self, ports: Ports) -> (SocketAddr, SocketAddr) {
        let client = self.client_address(ports.client);
        (client, self.connect_address(ports.server))
    }

    /// Connects without accepting.
    pub fn dial(&self, address: SocketAddr) -> TcpStream {
        self.ns
            .run(|| TcpStream::connect(address))
            .expect("connecting")
    }

    /// Connects in a thread of this name. Returns its id, too.
    pub fn dial_in_thread(&self, address: SocketAddr, name: &CStr) -> (TcpStream, i32) {
        let connect = || {
            rustix::thread::set_name(name).expect("naming a thread");
            let id = rustix::thread::gettid().as_raw_pid();
            (TcpStream::connect(address).expect("connecting"), id)
        };
        thread::scope(|scope| scope.spawn(|| self.ns.run(connect)).join()).expect("no panic")
    }

    /// An established connection.
    pub fn connect(&self) -> Connection {
        let (listener, address) = self.listen();
        let client = self.dial(address);
        let (server, _) = listener.accept().expect("accepting");
        let ports = ports_of(&client);
        Connection {
            client,
            server,
            listener,
            ports,
        }
    }

    /// A connection over which the client has asked `request` and the server has answered `answer`.
    pub fn converse(&self, request: &str, answer: &str) -> Connection {
        let connection = self.connect();
        send(&connection.client, request);
        expect(&connection.server, request);
        send(&connection.server, answer);
        expect(&connection.client, answer);
        connection
    }

    /// Sets a sysctl of the namespace, below `net/ipv4`.
    pub fn set(&self, name: &str, value: u32) {
        let file = format!("/proc/sys/net/ipv4/{name}");
        let set = self.ns.run(|| fs::write(&file, value.to_string()));
        set.unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// Sets the range of local ports that connect() chooses from.
    pub fn set_range(&self, first: u16, last: u16) {
        let file = "/proc/sys/net/ipv4/ip_local_port_range";
        let set = self.ns.run(|| fs::write(file, format!("{first} {last}")));
        set.unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// All packets so far.
    pub fn packets(&self) -> Vec<Packet> {
        match &self.truth {
            Truth::Loopback(capture) => capture.packets(),
            Truth::Wire(wire) => wire.packets(),
            Truth::Unseen => Vec::new(),
        }
    }

    /// The closing of the `nth` connection with these ports as it was captured so far.
    pub fn nth_captured(&self, ports: Ports, nth: usize) -> Closing {
        connections(&self.packets(), ports).get(nth).map_or_else(
            || Closing::from_segments(&[]),
            |segments| Closing::from_segments(segments),
        )
    }

    /// The closing of the connection as it was captured so far.
    pub fn captured(&self, ports: Ports) -> Closing {
        self.nth_captured(ports, 0)
    }

    /// Waits until all data that one endpoint has sent is acknowledged.
    pub fn wait_until_acknowledged(&self, ports: Ports, sender: Endpoint) {
        let acknowledged = || {
            let segments = connections(&self.packets(), ports).pop()?;
            let behind = segments
                .iter()
                .filter(|segment| segment.from == sender && segment.len > 0)
                .map(|segment| segment.seq + segment.len)
                .max()?;
            segments
                .iter()
                .any(|segment| segment.from != sender && segment.flags.ack && segment.ack >= behind)
                .then_some(())
        };
        eventually(acknowledged)
            .unwrap_or_else(|| panic!("the data of the {sender} is never acknowledged"));
    }

    /// Asserts that the connection closed on the wire as the scenario wants it, and waits until it
    /// has.
    pub fn assert_captured(&self, ports: Ports, closing: &str) {
        agree("the capture", &closing.to_owned(), || {
            self.captured(ports).to_string()
        });
    }

    /// Waits until both endpoints have sent a FIN, however many segments they needed, and the last
    /// is acknowledged.
    pub fn assert_ends_closed(&self, ports: Ports) -> Closing {
        self.nth_ends_closed(ports, 0)
    }

    /// As [`Self::assert_ends_closed`] for the `nth` connection with these ports.
    pub fn nth_ends_closed(&self, ports: Ports, nth: usize) -> Closing {
        let closed = || {
            let closing = self.nth_captured(ports, nth);
            let fins = closing
                .segments
                .iter()
                .filter(|segment| segment.0.flags.fin)
                .count();
            (fins == 2 && closing.segments.last()?.flags() == "ACK").then_some(closing)
        };
        eventually(closed)
            .unwrap_or_else(|| panic!("not closed: {}", self.nth_captured(ports, nth)))
    }

    /// The record of one endpoint; it agrees with the capture in every closing segment.
    pub fn truthful_close(&self, ports: Ports, end: Endpoint) -> Close {
        let close = self.close(ports, end);
        self.assert_truthful(&close, ports, end, 0);
        close
    }

    /// Asserts that the record of one endpoint of the `nth` connection agrees with the capture.
    pub fn assert_truthful(&self, close: &Close, ports: Ports, end: Endpoint, nth: usize) {
        close
            .has("/conn/family", self.family.name())
            .has("/netns", self.ns.inode());
        let local = close
            .get("/conn/local/addr")
            .as_str()
            .and_then(|text| text.parse::<IpAddr>().ok());
        assert!(
            local.is_some_and(|ip| ip.is_ipv6() == (self.family == Family::V6)),
            "what is on the wire: {close}"
        );
        let record = close.closing();
        // The capture's last segment may be read a little after the record.
        let mut differences = Vec::new();
        let agreed = within(SOON, || {
            differences = self.nth_captured(ports, nth).differences(end, &record);
            differences.is_empty().then_some(())
        });
        let captured = self.nth_captured(ports, nth);
        assert!(
            agreed.is_some(),
            "not as captured: {differences:#?}\ncaptured: {captured}\nrecord of the {end}: {close}"
        );
    }

    /// The record of one endpoint, not compared with anything.
    pub fn close(&self, ports: Ports, end: Endpoint) -> Close {
        self.watching().close(ports, end)
    }

    /// The first records of one endpoint of connections with the same ports.
    pub fn closes(&self, ports: Ports, end: Endpoint, count: usize) -> Vec<Close> {
        self.watching().closes(ports, end, count)
    }

    /// The `time_wait` record of one endpoint.
    pub fn time_wait(&self, ports: Ports, end: Endpoint) -> TimeWait {
        self.watching().time_wait(ports, end, WAIT_TIMEOUT)
    }

    /// The `time_wait` records of one endpoint so far.
    pub fn time_waits(&self, ports: Ports, end: Endpoint) -> Vec<TimeWait> {
        self.watching().time_waits(ports, end)
    }

    /// How often the program went to sleep of its own accord.
    pub fn wakeups(&self) -> u64 {
        self.watching().voluntary_switches()
    }

    /// What the program has used of a core's time.
    pub fn cpu_time(&self) -> Duration {
        self.watching().cpu_time()
    }

    /// Waits until so many closes have been reported.
    pub fn wait_for_closes(&self, count: usize) {
        let is_close = |line: &&String| line.contains(r#""kind":"close""#);
        let reported =
            |lines: &[String]| (lines.iter().filter(is_close).count() >= count).then_some(());
        self.watching()
            .wait_for(&format!("{count} closes"), reported);
    }

    /// Ends the scenario: the program stops cleanly, nothing was printed twice, and every
    /// connection has the name that its SYNs give it. Returns all it has seen.
    pub fn finish(mut self) -> Vec<Close> {
        let closes = self.watch.take().expect("the program watches").stop();
        if !matches!(self.truth, Truth::Unseen) {
            for close in &closes {
                let is_named = || has_pair_of(close, &self.packets()).then_some(());
                within(SOON, is_named).unwrap_or_else(|| panic!("not its pair: {close}"));
            }
        }
        closes
    }

    /// Ends the scenario likewise, and returns how many records the program reports as lost, too.
    pub fn finish_with_losses(mut self) -> (Vec<Close>, u64) {
        let watch = self.watch.take().expect("the program watches");
        watch.stop_with_losses()
    }
}

/// A process that only lives there.
fn resident(ns: &NetNs) -> ChildProcess {
    ChildProcess::spawn(ns.command("sleep").arg("600"))
}
