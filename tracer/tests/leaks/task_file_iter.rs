//! The kernel's iterator over open files against reading them one by one in /proc: both must find
//! the same.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use tcpclose_sys::host::descriptors::{HolderSearch, find_holders, find_holders_among};
use tcpclose_sys::kernel::task_file_iter;

use crate::stuck::{Pair, Sleeper};
use crate::traced::can_trace;
use tcpclose_kit::TestResult;
use tcpclose_kit::descriptors;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::sockets::receive_descriptor;
use tcpclose_kit::sockets::send_descriptor;

fn inode(fd: &impl AsRawFd) -> std::io::Result<u32> {
    let file = std::fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    u32::try_from(file.ino()).map_err(std::io::Error::other)
}

const THREAD_TABLE: &str = "of a thread's own table";

/// Sockets, each with the number of its holders' descriptors that /proc shows.
struct Setup {
    inodes: Vec<(&'static str, u32, usize)>,
    _held: Vec<OwnedFd>,
    _processes: Vec<Sleeper>,
    _over: Sender<()>,
}

impl Setup {
    fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let mut inodes = Vec::new();
        let mut held: Vec<OwnedFd> = Vec::new();
        let mut processes = Vec::new();

        let plain = Pair::forgotten()?;
        inodes.push(("held once", inode(&plain)?, 1));
        held.push(plain.into());

        let copied = Pair::forgotten()?;
        inodes.push(("dup()", inode(&copied)?, 2));
        held.push(copied.try_clone()?.into());
        held.push(copied.into());

        let shared = Pair::forgotten()?;
        inodes.push(("inherited, under two numbers", inode(&shared)?, 3));
        processes.push(Sleeper::with(&shared, &[207, 208])?);
        held.push(shared.into());

        let alone = Pair::forgotten()?;
        inodes.push(("of another process alone", inode(&alone)?, 1));
        processes.push(Sleeper::with(&alone, &[209])?);
        drop(alone);

        let inner = Pair::forgotten()?;
        inodes.push(("in another pid namespace", inode(&inner)?, 2));
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--kill-child", "sleep"]);
        processes.push(Sleeper::start(&mut unshare, &inner, &[210])?);
        drop(inner);
        // Until unshare(1) has forked.
        while find_holders(&HashSet::from([inodes[4].1]), &[])
            .processes
            .len()
            < 2
        {
            thread::yield_now();
        }

        let (sender, receiver) = UnixStream::pair()?;
        let sent = Pair::forgotten()?;
        inodes.push(("received through a unix socket", inode(&sent)?, 1));
        send_descriptor(&sender, &sent)?;
        drop(sent);
        held.push(receive_descriptor(&receiver)?);

        let flying = Pair::forgotten()?;
        inodes.push(("on its way", inode(&flying)?, 0));
        send_descriptor(&sender, &flying)?;
        drop(flying);
        held.push(sender.into());
        held.push(receiver.into());

        let own = Pair::forgotten()?;
        // Only reading /proc finds it: the iterator walks the tables of first threads.
        inodes.push((THREAD_TABLE, inode(&own)?, 1));
        let (ready, is_ready) = channel();
        let (over, end) = channel();
        thread::spawn(move || {
            let done = descriptors::unshare_files(own.as_raw_fd());
            // Both tables have it now; the other copy is closed below.
            let _ = ready.send(done.map(|()| own.as_raw_fd()));
            // Until the scene is over.
            let _ = end.recv();
            drop(own);
        });
        descriptors::close_number(is_ready.recv()??)?;

        let outlived = Pair::forgotten()?;
        if let Some(sleeper) = Sleeper::without_first_thread(&outlived, 211)? {
            let what = "of a process whose first thread has exited";
            inodes.push((what, inode(&outlived)?, 1));
            processes.push(sleeper);
        }
        drop(outlived);

        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        inodes.push(("listens", inode(&listener)?, 1));
        held.push(listener.into());
        Ok(Self {
            inodes,
            _held: held,
            _processes: processes,
            _over: over,
        })
    }
}

#[test]
fn the_iterator_lists_what_proc_shows() -> TestResult {
    if !can_trace()? {
        return Ok(());
    }
    in_own_network(|_| {
        let scene = Setup::new()?;
        let inodes: HashSet<u32> = scene.inodes.iter().map(|(_, inode, _)| *inode).collect();
        let read = find_holders(&inodes, &[]);
        let listed = task_file_iter::list_socket_descriptors()?;
        for (what, inode, expected) in &scene.inodes {
            let by_iter: HashSet<(u32, u32)> = listed
                .iter()
                .filter(|descriptor| descriptor.inode == *inode)
                .map(|descriptor| (descriptor.pid, descriptor.fd))
                .collect();
            let by_proc: HashSet<(u32, u32)> = read
                .descriptors
                .for_inode(*inode)
                .map(|descriptor| (descriptor.pid, descriptor.fd))
                .collect();
            match *what {
                THREAD_TABLE => assert!(by_iter.is_empty(), "{by_iter:?}"),
                _ => assert_eq!(by_iter, by_proc, "{what}"),
            }
            assert_eq!(by_proc.len(), *expected, "{what}: {by_proc:?}");
        }
        let among = find_holders_among(listed, &inodes);
        for (what, inode, _) in &scene.inodes {
            let all =
                |search: &HolderSearch| search.descriptors.for_inode(*inode).collect::<Vec<_>>();
            assert_eq!(all(&among), all(&read), "{what}");
        }
        let known = |search: &HolderSearch| {
            let processes = search.processes.values();
            processes
                .map(|process| (process.pid, process.started, process.comm.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(known(&among), known(&read));
        for (pid, process) in &among.processes {
            let elsewhere = *pid != std::process::id();
            assert!(!elsewhere || process.open_fds == read.processes[pid].open_fds);
        }
        Ok(())
    })
}

#[test]
fn what_the_iterator_missed_is_searched_for_in_proc() -> TestResult {
    in_own_network(|_| {
        let late = Pair::forgotten()?;
        let wanted = HashSet::from([inode(&late)?]);
        let search = find_holders_among(Vec::new(), &wanted);
        let fd = u32::try_from(late.as_raw_fd())?;
        let found: Vec<u32> = search
            .descriptors
            .for_inode(inode(&late)?)
            .map(|descriptor| descriptor.fd)
            .collect();
        assert_eq!(found, [fd]);
        Ok(())
    })
}
