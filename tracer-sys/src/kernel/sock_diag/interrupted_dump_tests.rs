//! Dumps that the kernel marks as interrupted (`NLM_F_DUMP_INTR`). No load makes Linux do that for
//! TCP sockets: `net/ipv4/inet_diag.c` never calls `nl_dump_check_consistent`. So the kernel's own
//! answers pass through a relay here, which sets the flag and takes sockets out.

use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::netlink::receive;
use super::*;
use tcpclose_common::TcpState;

const NLM_F_DUMP_INTR: u16 = 0x10;

/// Makes a pair of sockets that keep datagrams apart, as netlink does.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (domain, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(socketpair(domain, kind, SocketFlags::CLOEXEC, None)?)
}

/// Relays `dumps` requests to the kernel. Of the first `interrupted_dumps` answers it passes no
/// socket on, and flags the rest.
fn relay(
    client: OwnedFd,
    dumps: usize,
    interrupted_dumps: usize,
) -> JoinHandle<Result<(), DiagError>> {
    thread::spawn(move || {
        let kernel = netlink::open(Some(SOCK_DIAG))?;
        let mut buffer = vec![0; BUFFER_LEN];
        for dump in 0..dumps {
            let length = receive(&client, &mut buffer)?;
            if length == 0 {
                break;
            }
            send(&kernel, &buffer[..length])?;
            let mut done = false;
            while !done {
                let length = receive(&kernel, &mut buffer)?;
                let mut answer = Vec::new();
                let mut rest = &buffer[..length];
                while rest.len() >= 16 {
                    let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                    let padded = length.next_multiple_of(4).min(rest.len());
                    let mut message = rest[..padded].to_vec();
                    rest = &rest[padded..];
                    let kind = u16::from_ne_bytes([message[4], message[5]]);
                    done |= i32::from(kind) == libc::NLMSG_DONE;
                    if dump < interrupted_dumps {
                        if [SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK].contains(&kind) {
                            continue;
                        }
                        let flags = u16::from_ne_bytes([message[6], message[7]]) | NLM_F_DUMP_INTR;
                        message[6..8].copy_from_slice(&flags.to_ne_bytes());
                    }
                    answer.extend(message);
                }
                if !answer.is_empty() {
                    send(&client, &answer)?;
                }
            }
        }
        Ok(())
    })
}

fn collect(
    interrupted_dumps: usize,
) -> Result<(Vec<SocketAddr>, bool), Box<dyn std::error::Error>> {
    let (client, kernel) = pair()?;
    let relay = relay(kernel, MAX_DUMP_ATTEMPTS as usize, interrupted_dumps);
    let mut diag = DiagClient {
        fd: client,
        netns: None,
        buffer: vec![0; BUFFER_LEN],
        sequence: 0,
        unfinished: false,
        interfaces: Interfaces::open()?,
    };
    let query = DumpQuery::new(StateSet::from_states(&[TcpState::Listen]));
    let (sockets, report) = diag.collect(&query)?;
    drop(diag);
    relay.join().map_err(|_| "the relay failed")??;
    let listening = sockets.iter().map(|socket| socket.tuple.local());
    Ok((listening.collect(), report.interrupted))
}

#[test]
fn an_interrupted_dump_is_repeated_and_nothing_is_lost() -> Result<(), Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    for interrupted_dumps in [0, 1, 2] {
        let (found, interrupted) = collect(interrupted_dumps)?;
        assert!(
            found.contains(&listener.local_addr()?),
            "{interrupted_dumps}: {found:?}"
        );
        assert!(!interrupted);
    }
    Ok(())
}

#[test]
fn a_dump_that_is_always_interrupted_is_reported_as_such() -> Result<(), Box<dyn std::error::Error>>
{
    let _listener = TcpListener::bind("127.0.0.1:0")?;
    let (found, interrupted) = collect(MAX_DUMP_ATTEMPTS as usize)?;
    assert_eq!((found.len(), interrupted), (0, true));
    Ok(())
}
