//! Transitions that interrupt the program on its CPU while it is busy with another: those of
//! timers. The kernel does not run the program a second time then; its fallback has to record them,
//! once it is known that it is needed.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::requirements;
use crate::harness::timeouts::SOON;
use crate::harness::watch::{Watch, closes_in};
use tcpclose_kit::kernel::is_realtime;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::skip;
use tcpclose_kit::wait::within;

/// Below the first retransmission of a SYN, after a second: then the kernel gives up.
const KERNEL_TIMEOUT: Duration = Duration::from_millis(400);
const GIVEN_UP: Duration = Duration::from_secs(2);
/// At nearly each tick of the kernel's clock, which may interrupt, some expire.
const PAUSE: Duration = Duration::from_millis(3);
/// Only a failing test, or an emulated machine on a busy host, waits this long for a tick to hit.
const MAX_TEST_TIME: Duration = Duration::from_secs(600);
/// The fallback joins in steps of a second.
const JOINED: Duration = Duration::from_secs(5);
/// So many have to interrupt after that.
const ENOUGH: u64 = 120;

#[test]
fn none_is_missed_once_the_kernel_has_skipped_a_run() {
    if !requirements::can_trace() {
        return;
    }
    if is_realtime() {
        return skip::skip(
            "PREEMPT_RT: timers expire in threads, which do not interrupt a program",
        );
    }
    let ns = NetNs::new();
    let (silent, busy) = ns.run(|| (listen(), [listen(), listen()]));
    // One connection fills its queue, and all further SYNs are dropped.
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::listen(silent.as_raw_fd(), 0) }, 0);
    let address = silent.local_addr().unwrap();
    let _filling = ns.run(|| TcpStream::connect(address).unwrap());
    let port = address.port().to_string();
    let watch = Watch::start(&ns, &["--peer-ports", &port]);
    if skipped(&watch).is_none() {
        return skip::skip("the kernel does not count the runs that it skips (since 5.12)");
    }

    let stop = AtomicBool::new(false);
    let (interrupted, expired) = thread::scope(|scope| {
        for busy in &busy {
            scope.spawn(|| ns.run(|| churn(busy, &stop)));
        }
        // Until the fallback is active, some are missed.
        let (lost, _) = while_connecting(&ns, address, || {
            within(MAX_TEST_TIME, || losses(&watch).first().cloned())?;
            thread::sleep(JOINED);
            Some(())
        });
        let before = skipped(&watch);
        let (interrupted, expired) = while_connecting(&ns, address, || {
            within(MAX_TEST_TIME, || {
                let since = skipped(&watch)? - before?;
                (since >= ENOUGH).then_some(since)
            })
        });
        stop.store(true, Relaxed);
        lost.expect("the kernel skips runs");
        (interrupted.expect("it goes on skipping them"), expired)
    });
    let unreported = || {
        // One whose last transition is missing is found to be gone, and has no known path.
        let closes = closes_in(&watch.lines());
        let closes = closes
            .iter()
            .filter(|close| close.path() == "connect_failed");
        let reported: HashSet<u16> = closes.map(|close| close.ports().0).collect();
        expired
            .iter()
            .filter(|port| !reported.contains(port))
            .count() as u64
    };
    within(SOON, || (unreported() == 0).then_some(()));
    // Of all runs that were skipped, half at least are the main program's, which the fallback has
    // to record. There are kernels that run no programs at all while certain tasks are on the CPU,
    // so some may be missing without having been skipped.
    assert!(
        2 * unreported() < interrupted,
        "{} of {} connections are missing; {interrupted} runs were skipped",
        unreported(),
        expired.len()
    );
    watch.stop();
}

/// Makes connections that fail while `act` acts, and returns their ports when all have.
fn while_connecting<T>(ns: &NetNs, to: SocketAddr, act: impl FnOnce() -> T) -> (T, Vec<u16>) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let expiring = scope.spawn(|| ns.run(|| connect_in_vain(to, &stop)));
        let acted = act();
        stop.store(true, Relaxed);
        (acted, expiring.join().unwrap())
    })
}

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// How many runs of the program's programs the kernel has skipped; `None` where it does not count
/// them.
fn skipped(watch: &Watch) -> Option<u64> {
    let files = fs::read_dir(format!("/proc/{}/fdinfo", watch.pid())).unwrap();
    let counts = files.filter_map(|file| {
        let info = fs::read_to_string(file.ok()?.path()).ok()?;
        let counts = info
            .lines()
            .find_map(|line| line.strip_prefix("recursion_misses:"))?;
        counts.trim().parse::<u64>().ok()
    });
    counts.reduce(|all, one| all + one)
}

/// The records of losses by the kernel.
fn losses(watch: &Watch) -> Vec<String> {
    let mut lines = watch.lines();
    lines.retain(|line| line.contains(r#""kind":"loss""#) && line.contains(r#""where":"program""#));
    lines
}

/// Connects to where nobody answers, until asked to stop and the kernel has given up all. Returns
/// their ports.
fn connect_in_vain(address: SocketAddr, stop: &AtomicBool) -> Vec<u16> {
    let (mut begun, mut waiting) = (Vec::new(), VecDeque::new());
    while !stop.load(Relaxed) || !waiting.is_empty() {
        let now = Instant::now();
        while waiting
            .front()
            .is_some_and(|(since, _)| now - *since > GIVEN_UP)
        {
            waiting.pop_front();
        }
        if !stop.load(Relaxed) {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_tcp_user_timeout(Some(KERNEL_TIMEOUT)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.connect(&address.into()).expect_err("nobody answers");
            let local = socket.local_addr().unwrap().as_socket();
            begun.push(local.unwrap().port());
            waiting.push_back((now, socket));
        }
        thread::sleep(PAUSE);
    }
    begun
}

/// System calls that change states, as many as can be.
fn churn(listener: &TcpListener, stop: &AtomicBool) {
    let address = listener.local_addr().unwrap();
    while !stop.load(Relaxed) {
        // Its ports may be used up for a moment.
        let Ok(client) = TcpStream::connect(address) else {
            continue;
        };
        let accepted = listener.accept().unwrap();
        drop((client, accepted));
    }
}
