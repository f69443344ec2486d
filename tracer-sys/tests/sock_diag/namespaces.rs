//! Finding and entering network namespaces.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;
use tcpclose_core::types::NetNs;
use tcpclose_sys::kernel::netns::{self, NetNsError, ScanTarget};
use tcpclose_sys::kernel::netns_cache::NetnsCache;
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError, DumpQuery, StateSet};

use tcpclose_kit::mounts::{bind, enter_new_mounts, mount_proc, mount_tmpfs};
use tcpclose_kit::namespace::enter_new_netns;
use tcpclose_kit::netns as kit_netns;
use tcpclose_kit::own_network::Resident;
use tcpclose_kit::process::Running;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::is_root;
use tcpclose_kit::{Outcome, command};

/// How a [`Holder`] holds a network namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It lives in it.
    ByLiving,
    /// It lives elsewhere, and has it mounted in its own mount namespace.
    ByMount,
}

/// A process that holds a network namespace which nothing else holds.
struct Holder {
    process: Running,
    netns: NetNs,
    _scratch: Scratch,
}

impl Holder {
    fn new(holds: Holds) -> std::io::Result<Self> {
        let netns = kit_netns::NetNs::try_new()?;
        let number = u32::try_from(netns.inode()).map_err(std::io::Error::other)?;
        let scratch = Scratch::new();
        let mut sleep = Command::new("sleep");
        command::end_with_this_thread(sleep.arg("1000"));
        match holds {
            Holds::ByLiving => command::spawn_in_netns(&mut sleep, &netns),
            Holds::ByMount => {
                let file = scratch.write("netns", "")?;
                command::with_mounted_netns(&mut sleep, &netns, &file);
            }
        }
        Ok(Self {
            process: Running::spawn(&mut sleep)?,
            netns: NetNs::new(number).expect("no namespace has the number 0"),
            _scratch: scratch,
        })
    }
}

#[test]
fn the_caller_s_own_comes_first_and_each_only_once() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let holder = Holder::new(Holds::ByLiving)?;
    let scan = netns::scan();
    assert_eq!(scan.namespaces[0].id(), netns::current()?);
    let mut ids: Vec<NetNs> = scan.namespaces.iter().map(|handle| handle.id()).collect();
    assert!(ids.contains(&holder.netns));
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    Ok(())
}

#[test]
fn one_that_a_process_lives_in_is_entered() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let holder = Holder::new(Holds::ByLiving)?;
    let handle = netns::by_inode(holder.netns)?;
    assert_eq!(handle.enter(netns::current)??, holder.netns);
    assert_ne!(
        netns::current()?,
        holder.netns,
        "this thread stays where it was"
    );
    Ok(())
}

#[test]
fn one_that_only_a_mount_in_another_mount_namespace_holds_is_entered() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let holder = Holder::new(Holds::ByMount)?;
    let handle = netns::by_inode(holder.netns)?;
    let mut diag = DiagClient::open_in(&handle)?;
    assert_eq!(diag.netns(), Some(holder.netns));
    assert_eq!(diag.collect(&DumpQuery::states(StateSet::all()))?.0, []);
    Ok(())
}

#[test]
fn one_whose_process_has_exited_is_gone() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    for holds in [Holds::ByLiving, Holds::ByMount] {
        let holder = Holder::new(holds)?;
        let id = holder.netns;
        let handle = netns::by_inode(id)?;
        drop(holder);
        let error = DiagClient::open_in(&handle).expect_err("it is gone");
        assert!(
            matches!(error, DiagError::Namespace(NetNsError::Vanished(gone)) if gone == id),
            "{error:?}"
        );
    }
    Ok(())
}

#[test]
fn a_client_works_from_outside_its_namespace_and_in_any_thread() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let resident = Resident::with(|| TcpListener::bind("127.0.0.1:4321"))?;
    let handle = netns::by_path(&resident.path)?;
    let mut diag = DiagClient::open_in(&handle)?;
    let elsewhere = thread::spawn(move || diag.collect(&DumpQuery::states(StateSet::all())));
    let (sockets, _) = elsewhere.join().expect("no panic")?;
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    assert_eq!(sockets[0].tuple.local().port(), 4321);
    assert_eq!(sockets[0].netns, Some(handle.id()));
    Ok(())
}

#[test]
fn one_that_lives_on_without_the_process_that_led_to_it_is_entered_again() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let mut cache = NetnsCache::default();
    let first = Resident::with(|| Ok(()))?;
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
fn users_may_give_path_inode_or_name() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let outcome = thread::spawn(|| -> Result<(), String> {
        let resident = Resident::with(|| Ok(())).map_err(|error| error.to_string())?;
        enter_new_mounts().map_err(|error| error.to_string())?;
        mount_tmpfs(Path::new("/run"), c"").map_err(|error| error.to_string())?;
        fs::create_dir("/run/netns").map_err(|error| error.to_string())?;
        bind(&resident.path, Path::new("/run/netns/blue")).map_err(|error| error.to_string())?;
        bind(&resident.path, Path::new("/run/netns/12")).map_err(|error| error.to_string())?;

        let say = |words: &str| netns::by_user(words).map_err(|error| error.to_string());
        let blue = say("blue")?;
        assert_eq!(say("/run/netns/blue")?.id(), blue.id());
        assert_eq!(say("12")?.id(), blue.id(), "a name before a number");
        // No process but this one, in its first thread, and no other mount leads there.
        assert_eq!(say(&blue.id().to_string())?.id(), blue.id());
        let inside = blue
            .enter(netns::current)
            .map_err(|error| error.to_string())?;
        assert_eq!(inside.map_err(|error| error.to_string())?, blue.id());
        assert!(say("\u{1b}[31mred").is_err_and(|error| !error.contains('\u{1b}')));
        assert!(say("/run/netns").is_err());
        assert!(say("3").is_err());
        Ok(())
    });
    outcome.join().expect("no panic")?;
    Ok(())
}

#[test]
fn without_rights_it_says_what_is_missing_and_goes_on() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let resident = Resident::with(|| Ok(()))?;
    let path = resident.path.clone();
    let holder = Holder::new(Holds::ByLiving)?;
    let hidden = netns::by_inode(holder.netns)?;
    let hidden_process = ScanTarget::Process(holder.process.pid());
    let worker = thread::spawn(move || -> Result<(), String> {
        enter_new_netns().map_err(|error| error.to_string())?;
        // The host's may hide the processes of other users.
        enter_new_mounts().map_err(|error| error.to_string())?;
        mount_proc(c"").map_err(|error| error.to_string())?;
        let nobody = Uid::from_raw(65534);
        set_thread_res_uid(nobody, nobody, nobody).map_err(|error| error.to_string())?;
        let mut own = DiagClient::open().map_err(|error| error.to_string())?;
        let all = DumpQuery::states(StateSet::all());
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
fn a_client_keeps_its_namespace_alive() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let holder = Holder::new(Holds::ByLiving)?;
    let mut diag = DiagClient::open_in(&netns::by_inode(holder.netns)?)?;
    drop(holder);
    assert_eq!(diag.collect(&DumpQuery::states(StateSet::all()))?.0, []);
    Ok(())
}
