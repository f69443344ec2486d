//! The two endpoints of one connection, and what they do.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};
use tcpclose_kit::sockets::set_option;
use tcpclose_parity::segment::Endpoint;

use crate::steps::{Action, Step};

// Names of linux/in.h, linux/in6.h and linux/tcp.h that socket2 does not know.
const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_IPV6: i32 = 41;
const IP_RECVERR: i32 = 11;
const IPV6_RECVERR: i32 = 25;
const TCP_LINGER2: i32 = 8;

/// The sockets of one connection.
pub struct Players {
    /// The client's socket, unless it has been closed.
    pub client: Option<TcpStream>,
    /// The server's, from when it is accepted.
    pub server: Option<TcpStream>,
    /// The server's listening socket.
    pub listener: Option<Socket>,
    /// IPv6 is on the wire.
    pub ipv6: bool,
}

impl Players {
    /// Errors are ignored: they come from what the peer did, which is what the workload is about.
    pub fn take_step(&mut self, step: &Step) {
        if !step.after.is_zero() {
            thread::sleep(step.after);
        }
        let endpoint = match step.endpoint {
            Endpoint::Client => &mut self.client,
            Endpoint::Server => &mut self.server,
        };
        match (step.action, &mut *endpoint) {
            (Action::Accept, _) => {
                let accepted = self
                    .listener
                    .as_ref()
                    .and_then(|listener| listener.accept().ok());
                if let Some((socket, _)) = accepted {
                    drop(socket.set_nonblocking(true));
                    self.server = Some(socket.into());
                }
            }
            (Action::StopListening, _) => self.listener = None,
            (Action::Close, _) => *endpoint = None,
            (Action::BothClose | Action::BothShutdown, _) => {
                self.act_together(step.action, [Duration::ZERO; 2]);
            }
            (Action::CloseTogether(head_start), _) => {
                let waits = match step.endpoint {
                    Endpoint::Client => [Duration::ZERO, head_start],
                    Endpoint::Server => [head_start, Duration::ZERO],
                };
                self.act_together(step.action, waits);
            }
            (_, None) => {}
            (action, Some(stream)) => act_on(stream, action, self.ipv6),
        }

        fn act_on(stream: &mut TcpStream, action: Action, ipv6: bool) {
            match action {
                Action::Send(bytes) => drop(stream.write(&vec![b'x'; bytes])),
                Action::Fill => fill(stream),
                Action::Drain => drain(stream),
                Action::Read(bytes) => drop(stream.read(&mut vec![0; bytes])),
                Action::DrainToEnd(limit) => drain_to_end(stream, limit),
                Action::Linger2(seconds) => {
                    set_option(stream, IPPROTO_TCP, TCP_LINGER2, seconds);
                }
                Action::ReceiveErrors if ipv6 => set_option(stream, IPPROTO_IPV6, IPV6_RECVERR, 1),
                Action::ReceiveErrors => set_option(stream, IPPROTO_IP, IP_RECVERR, 1),
                Action::Shutdown(how) => drop(stream.shutdown(how)),
                Action::LingerZero => {
                    drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO)))
                }
                Action::Cork => drop(SockRef::from(&*stream).set_tcp_cork(true)),
                _ => {}
            }
        }
    }

    /// Two threads wait for each other and act in the same microsecond, or so much later each.
    fn act_together(&mut self, action: Action, waits: [Duration; 2]) {
        let arrived = AtomicU32::new(0);
        let meet = |stream: Option<TcpStream>, wait: Duration| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 {
                std::hint::spin_loop();
            }
            let met = Instant::now();
            while met.elapsed() < wait {
                std::hint::spin_loop();
            }
            match action {
                Action::BothShutdown => {
                    stream.inspect(|stream| drop(stream.shutdown(Shutdown::Write)))
                }
                _ => None,
            }
        };
        let (client, server) = (self.client.take(), self.server.take());
        thread::scope(|scope| {
            let other = scope.spawn(|| meet(server, waits[1]));
            self.client = meet(client, waits[0]);
            self.server = other.join().expect("no panic inside");
        });
    }
}

fn drain(stream: &mut TcpStream) {
    let mut buffer = [0; 1 << 16];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Writes until the socket takes no more: its own buffer and the peer's are full.
fn fill(stream: &mut TcpStream) {
    const ENOUGH: usize = 8 << 20;
    const PIECE: usize = 1 << 16;
    let piece = [b'x'; PIECE];
    for _ in 0..ENOUGH / PIECE {
        if stream.write(&piece).is_err() {
            return;
        }
    }
}

/// Reads until the end of the stream, an error, or the limit.
fn drain_to_end(stream: &mut TcpStream, limit: Duration) {
    let mut buffer = [0; 1 << 16];
    let began = Instant::now();
    while began.elapsed() < limit {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return,
        }
    }
}
