//! Finding and entering network namespaces.

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use tcpclose_common::{SocketDescriptor, TcpState};
use tcpclose_core::types::NetNs;
use tcpclose_sys::kernel::netns::{self, KnownNamespaces, NetNsError, NetNsHandle, ScanTarget};
use tcpclose_sys::kernel::netns_cache::NetNsCache;
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError, DumpQuery, StateSet};

use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::mounts::{bind, enter_new_mounts, mount_proc, mount_tmpfs};
use tcpclose_kit::namespace::enter_new_netns;
use tcpclose_kit::netns as kit_netns;
use tcpclose_kit::own_network::{NamespaceThread, in_new_netns};
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::{is_root, skip};
use tcpclose_kit::{TestResult, command};

/// How a [`NamespaceKeeper`] keeps a network namespace alive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeptBy {
    /// It lives in it.
    Process,
    /// It lives elsewhere, and has it mounted in its own mount namespace.
    Mount,
}

/// A process that holds a network namespace which nothing else holds.
struct NamespaceKeeper {
    process: ChildGuard,
    netns: NetNs,
    _scratch: Scratch,
}

impl NamespaceKeeper {
    fn new(kept_by: KeptBy) -> std::io::Result<Self> {
        let netns = kit_netns::NetNs::try_new()?;
        let number = u32::try_from(netns.inode()).map_err(std::io::Error::other)?;
        let scratch = Scratch::new();
        let mut sleep = Command::new("sleep");
        command::end_with_this_thread(sleep.arg("1000"));
        match kept_by {
            KeptBy::Process => command::spawn_in_netns(&mut sleep, &netns),
            KeptBy::Mount => {
                let file = scratch.write("netns", "")?;
                command::with_mounted_netns(&mut sleep, &netns, &file);
            }
        }
        Ok(Self {
            process: ChildGuard::spawn(&mut sleep)?,
            netns: NetNs::new(number).expect("no namespace has the number 0"),
            _scratch: scratch,
        })
    }
}

#[test]
fn the_caller_s_namespace_comes_first_and_each_is_listed_once() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let keeper = NamespaceKeeper::new(KeptBy::Process)?;
    let scan = netns::scan();
    assert_eq!(scan.namespaces[0].id(), netns::current()?);
    let mut ids: Vec<NetNs> = scan.namespaces.iter().map(|handle| handle.id()).collect();
    assert!(ids.contains(&keeper.netns));
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    Ok(())
}

#[test]
fn the_namespace_of_a_process_is_entered() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let keeper = NamespaceKeeper::new(KeptBy::Process)?;
    let handle = netns::by_inode(keeper.netns)?;
    assert_eq!(handle.enter(netns::current)??, keeper.netns);
    assert_ne!(
        netns::current()?,
        keeper.netns,
        "this thread stays where it was"
    );
    Ok(())
}

#[test]
fn a_namespace_that_only_a_mount_in_another_mount_namespace_keeps_is_entered() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let keeper = NamespaceKeeper::new(KeptBy::Mount)?;
    let handle = netns::by_inode(keeper.netns)?;
    let mut diag = DiagClient::open_in(&handle)?;
    assert_eq!(diag.netns(), Some(keeper.netns));
    assert_eq!(diag.collect(&DumpQuery::new(StateSet::all()))?.0, []);
    Ok(())
}

#[test]
fn a_namespace_whose_process_has_exited_is_gone() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    for kept_by in [KeptBy::Process, KeptBy::Mount] {
        let keeper = NamespaceKeeper::new(kept_by)?;
        let id = keeper.netns;
        let handle = netns::by_inode(id)?;
        drop(keeper);
        let error = DiagClient::open_in(&handle).expect_err("it is gone");
        assert!(
            matches!(error, DiagError::Namespace(NetNsError::Vanished(gone)) if gone == id),
            "{error:?}"
        );
    }
    Ok(())
}

#[test]
fn a_client_works_from_outside_its_namespace_and_in_any_thread() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let resident = NamespaceThread::start(|| TcpListener::bind("127.0.0.1:4321"))?;
    let handle = netns::by_path(&resident.path)?;
    let mut diag = DiagClient::open_in(&handle)?;
    let elsewhere = thread::spawn(move || diag.collect(&DumpQuery::new(StateSet::all())));
    let (sockets, _) = elsewhere.join().expect("no panic")?;
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(sockets[0].tuple.local().port(), 4321);
    assert_eq!(sockets[0].netns, Some(handle.id()));
    Ok(())
}

#[test]
fn a_namespace_that_outlives_its_first_process_is_entered_again() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let mut cache = NetNsCache::default();
    let first = NamespaceThread::start(|| Ok(()))?;
    let handle = netns::by_path(&first.path)?;
    let id = handle.id();
    assert_eq!(cache.run_in(id, netns::current)??, id);

    let (leave, wait) = mpsc::channel::<()>();
    let (entered, there) = mpsc::channel();
    let second = thread::spawn(move || {
        handle.enter(move || {
            let _ = entered.send(());
            let _ = wait.recv();
        })
    });
    there.recv()?;
    drop(first);
    assert_eq!(cache.run_in(id, netns::current)??, id);
    assert_eq!(cache.open_diag(id)?.netns(), Some(id));
    drop(leave);
    second.join().expect("no panic")?;
    // A thread that was joined is in /proc for a moment longer.
    let error = loop {
        match cache.run_in(id, netns::current) {
            Ok(_) => thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, NetNsError::NotFound(gone) if gone == id));
    Ok(())
}

#[test]
fn a_spec_is_a_path_an_inode_or_a_name() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let outcome = thread::spawn(|| -> Result<(), String> {
        let resident = NamespaceThread::start(|| Ok(())).map_err(|error| error.to_string())?;
        enter_new_mounts().map_err(|error| error.to_string())?;
        mount_tmpfs(Path::new("/run"), c"").map_err(|error| error.to_string())?;
        fs::create_dir("/run/netns").map_err(|error| error.to_string())?;
        bind(&resident.path, Path::new("/run/netns/blue")).map_err(|error| error.to_string())?;
        bind(&resident.path, Path::new("/run/netns/12")).map_err(|error| error.to_string())?;

        let find = |spec: &str| netns::by_spec(spec).map_err(|error| error.to_string());
        let blue = find("blue")?;
        assert_eq!(find("/run/netns/blue")?.id(), blue.id());
        assert_eq!(find("12")?.id(), blue.id(), "a name before a number");
        // No process but this one, in its first thread, and no other mount leads there.
        assert_eq!(find(&blue.id().to_string())?.id(), blue.id());
        let inside = blue
            .enter(netns::current)
            .map_err(|error| error.to_string())?;
        assert_eq!(inside.map_err(|error| error.to_string())?, blue.id());
        assert!(find("\u{1b}[31mred").is_err_and(|error| !error.contains('\u{1b}')));
        find("/run/netns").unwrap_err();
        find("3").unwrap_err();
        Ok(())
    });
    outcome.join().expect("no panic")?;
    Ok(())
}

#[test]
fn without_rights_gaps_are_reported_and_the_scan_continues() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let resident = NamespaceThread::start(|| Ok(()))?;
    let path = resident.path.clone();
    let keeper = NamespaceKeeper::new(KeptBy::Process)?;
    let hidden = netns::by_inode(keeper.netns)?;
    let hidden_process = ScanTarget::Process(keeper.process.pid());
    let worker = thread::spawn(move || -> Result<(), String> {
        enter_new_netns().map_err(|error| error.to_string())?;
        // The host's may hide the processes of other users.
        enter_new_mounts().map_err(|error| error.to_string())?;
        mount_proc(c"").map_err(|error| error.to_string())?;
        let nobody = Uid::from_raw(65534);
        set_thread_res_uid(nobody, nobody, nobody).map_err(|error| error.to_string())?;
        let mut own = DiagClient::open().map_err(|error| error.to_string())?;
        let all = DumpQuery::new(StateSet::all());
        let _ = own.collect(&all).map_err(|error| error.to_string())?;

        // Its file can be opened, being of the same process, but not entered.
        let neighbour = netns::by_path(&path).map_err(|error| error.to_string())?;
        for handle in [neighbour, hidden] {
            match DiagClient::open_in(&handle) {
                Err(DiagError::Namespace(error @ NetNsError::NotPermitted(_))) => {
                    assert!(error.to_string().contains("CAP_SYS_ADMIN"));
                }
                other => return Err(format!("{other:?}")),
            }
        }
        let scan = netns::scan();
        assert_eq!(Some(scan.namespaces[0].id()), netns::current().ok());
        assert!(scan.gaps.iter().any(|gap| gap.target == hidden_process));
        Ok(())
    });
    worker.join().expect("no panic")?;
    Ok(())
}

#[test]
fn a_client_keeps_its_namespace_alive() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    let keeper = NamespaceKeeper::new(KeptBy::Process)?;
    let mut diag = DiagClient::open_in(&netns::by_inode(keeper.netns)?)?;
    drop(keeper);
    assert_eq!(diag.collect(&DumpQuery::new(StateSet::all()))?.0, []);
    Ok(())
}

/// A listener in a namespace that nothing else keeps alive, with its descriptor.
fn left_behind() -> std::io::Result<(TcpListener, SocketDescriptor, u64)> {
    let (listener, cookie) =
        in_new_netns(|_| Ok((TcpListener::bind("127.0.0.1:0")?, netns::cookie()?)))?;
    let fd = listener.as_raw_fd();
    let inode = fs::metadata(format!("/proc/self/fd/{fd}"))?.ino();
    let descriptor = SocketDescriptor {
        pid: std::process::id(),
        fd: u32::try_from(fd).map_err(std::io::Error::other)?,
        inode: u32::try_from(inode).map_err(std::io::Error::other)?,
    };
    Ok((listener, descriptor, cookie))
}

#[test]
fn a_socket_leads_to_a_namespace_that_it_alone_keeps_alive() -> TestResult {
    if !is_root() {
        return Ok(());
    }
    if kernel_version() < (5, 14) {
        skip("cookies of namespaces need Linux 5.14");
        return Ok(());
    }
    let (listener, descriptor, cookie) = left_behind()?;
    let own = [descriptor.pid];
    let find = |known: &mut KnownNamespaces| -> Vec<NetNsHandle> {
        let mut found = netns::find_by_descriptors(known, &own).namespaces;
        let among = netns::find_among_descriptors(&mut KnownNamespaces::default(), &[descriptor]);
        // Other tests of this process have namespaces of their own.
        found.retain(|handle| {
            handle
                .enter(netns::cookie)
                .is_ok_and(|it| it.ok() == Some(cookie))
        });
        assert_eq!(among.namespaces.len(), 1);
        found
    };
    let found = find(&mut KnownNamespaces::default());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].path(), None);
    let mut diag = DiagClient::open_in(&found[0])?;
    let listening = DumpQuery::new(StateSet::from_states(&[TcpState::Listen]));
    let (sockets, _) = diag.collect(&listening)?;
    assert_eq!(sockets[0].tuple.local(), listener.local_addr()?);
    drop(diag);
    for known in [
        KnownNamespaces {
            ids: HashSet::from([found[0].id()]),
            ..KnownNamespaces::default()
        },
        KnownNamespaces {
            cookies: HashSet::from([cookie]),
            ..KnownNamespaces::default()
        },
        KnownNamespaces {
            inodes: HashSet::from([descriptor.inode]),
            ..KnownNamespaces::default()
        },
    ] {
        let mut known = known;
        assert_eq!(find(&mut known), [], "it is known: {known:?}");
    }
    // Another test's socket may have the number by then, and is in another namespace.
    drop(listener);
    let error = DiagClient::open_in(&found[0]).expect_err("it is gone");
    assert!(
        matches!(error, DiagError::Namespace(NetNsError::Vanished(_))),
        "{error:?}"
    );
    Ok(())
}
