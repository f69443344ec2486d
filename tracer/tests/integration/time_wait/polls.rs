//! What it costs to follow ends in TIME_WAIT, and what happens where hooks are attached and say
//! nothing.

use std::fs;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::harness::lab::Lab;
use crate::harness::requirements::{self, has_hooks};
use crate::harness::sockets::{Family, read_to_end};
use crate::time_wait::{assassinate, be_seen, close_first};
use tcpclose_parity::segment::Endpoint::Client;

/// Some looks while something is pending, none when nothing is.
#[test]
fn polls_are_few_and_stop_after_the_last_time_wait() {
    const SPAN: Duration = Duration::from_secs(3);
    /// A look each 5 s, and what else may wake it.
    const FEW: u64 = 6;
    let Some(lab) = Lab::on_wire(Family::V4) else {
        return;
    };
    let connection = lab.converse("ping", "pong");
    close_first(&lab, &connection, Client);
    lab.close(connection.ports, Client);
    be_seen();
    let wakeups = |span| {
        let before = lab.wakeups();
        thread::sleep(span);
        lab.wakeups() - before
    };
    let pending = wakeups(SPAN);
    assert!(pending <= FEW, "{pending} wake-ups in {SPAN:?}");

    assassinate(&lab, connection.ports);
    lab.time_wait(connection.ports, Client).ended("killed");
    be_seen();
    let idle = wakeups(SPAN);
    assert!(
        idle <= FEW / 2,
        "{idle} wake-ups in {SPAN:?}, nothing is pending"
    );
    lab.finish();
}

/// However many there are, looks take 2 % of a core.
#[test]
fn many_cost_little() {
    const MANY: usize = 500;
    const SPAN: Duration = Duration::from_secs(6);
    /// Clock ticks of /proc/PID/stat are 10 ms.
    const LIMIT: Duration = Duration::from_millis(300);
    let Some(lab) = Lab::on_loopback(Family::V4) else {
        return;
    };
    let (listener, address) = lab.listen();
    for _ in 0..MANY {
        let client = lab.dial(address);
        let (server, _) = listener.accept().unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        drop(server);
        read_to_end(&client);
    }
    lab.wait_for_closes(2 * MANY);
    be_seen();
    let before = lab.cpu_time();
    thread::sleep(SPAN);
    let used = lab.cpu_time() - before;
    assert!(used <= LIMIT, "{used:?} of CPU time in {SPAN:?}");
    lab.finish();
}

/// Tracing of functions can be turned off as a whole. Hooks are attached then, and never called.
#[test]
fn silent_hooks_are_not_waited_for() {
    if !requirements::can_trace() || !has_hooks() {
        return;
    }
    let _silence = Silence::begin();
    let Some(lab) = Lab::on_wire(Family::V4) else {
        return;
    };
    let connection = lab.converse("ping", "pong");
    let entered = close_first(&lab, &connection, Client);
    lab.close(connection.ports, Client);
    be_seen();
    let left = assassinate(&lab, connection.ports);
    let reported = lab.time_wait(connection.ports, Client);
    reported.ended("killed").lasted(entered, left);
    lab.finish();
}

/// While it lives, no function hook is called.
struct Silence;

impl Silence {
    const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

    fn begin() -> Self {
        fs::write(Self::SWITCH, "0").expect("function tracing can be turned off");
        Self
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        drop(fs::write(Self::SWITCH, "1"));
    }
}
