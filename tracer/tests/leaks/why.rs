//! Why the holders of stuck sockets do nothing with them: real programs, each with one fault.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use tcpclose_sys::host::cgroup::Cgroups;

use crate::program::{leaks, scan};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::{has_programs, skip};

/// Programs with one stuck socket each, all in one namespace.
struct Scenes {
    running: HashMap<String, ChildProcess>,
    _scratch: Scratch,
}

impl Scenes {
    /// Starts scenes of `stuck_scenes.py`, side by side. `None`, and reported, without Python.
    fn start(names: &[&str]) -> std::io::Result<Option<Self>> {
        if !has_programs(&["python3"]) {
            return Ok(None);
        }
        let scratch = Scratch::new();
        let script = scratch.write("scenes.py", include_str!("../data/stuck_scenes.py"))?;
        let start = |name: &&str| {
            let mut command = Command::new("python3");
            command.arg(&script).arg(name);
            command.env("SYS_EXIT", libc::SYS_exit.to_string());
            ((*name).to_owned(), ChildProcess::spawn(&mut command))
        };
        let running: HashMap<_, _> = names.iter().map(start).collect();
        for (name, scene) in &running {
            assert!(
                scene.stdout.wait_for_words("ready"),
                "{name}: {}",
                scene.stderr.text()
            );
        }
        Ok(Some(Self {
            running,
            _scratch: scratch,
        }))
    }

    fn pid(&self, name: &str) -> u32 {
        self.running[name].pid()
    }

    /// Returns `stuck.why` of the scene's own process, as a scan reports it.
    fn why(&self, records: &[Value], name: &str) -> Value {
        why_of(records, self.pid(name))
    }
}

/// Returns `stuck.why` of the socket in CLOSE_WAIT that this process owns.
fn why_of(records: &[Value], pid: u32) -> Value {
    let is_its =
        |record: &&Value| record["owner"]["pid"] == pid && record["stuck"]["state"] == "CLOSE_WAIT";
    let record = records.iter().find(is_its);
    assert!(record.is_some(), "process {pid} has none: {records:#?}");
    record.map_or(Value::Null, |record| record["stuck"]["why"].clone())
}

/// Returns the first holder's part, and the text.
fn first(why: &Value) -> (&Value, &str) {
    (&why["holders"][0], why["text"].as_str().unwrap_or_default())
}

fn scan_json(netns: &str) -> std::io::Result<Vec<Value>> {
    Ok(scan(&["--netns", netns, "--format", "json"])?.records())
}

#[test]
fn what_an_epoll_set_does_with_a_stuck_socket_is_found() -> TestResult {
    in_own_network(|netns| {
        // The finding, and the beginning of the text.
        let expected = [
            ("no_set", "no_set", "the process has no epoll set"),
            (
                "in_no_set",
                "in_no_set",
                "in none of the process's epoll sets",
            ),
            (
                "no_read_events",
                "no_read_events",
                "in an epoll set and not for EPOLLIN or EPOLLRDHUP",
            ),
            (
                "level",
                "level_triggered",
                "in an epoll set, level-triggered: each epoll_wait() there reports it again; its \
                 only thread sleeps in ",
            ),
            (
                "edge",
                "edge_delivered",
                "in an epoll set, edge-triggered: the FIN's event was delivered, and comes \
                 only once; its only thread sleeps in epoll_",
            ),
            (
                "edge_nested",
                "edge_triggered",
                "in an epoll set, edge-triggered: the event comes once",
            ),
            (
                "oneshot",
                "oneshot_fired",
                "in an epoll set with EPOLLONESHOT, which has fired",
            ),
            (
                "number_closed",
                "number_closed",
                "in an epoll set under a descriptor that is closed",
            ),
            (
                "not_accepted",
                "no_read_events",
                "the listening socket is in an epoll set and not for EPOLLIN",
            ),
            (
                "not_accepted_twice",
                "edge_delivered",
                "the listening socket is in an epoll set, edge-triggered: the event was delivered, \
                 and not every connection accepted then",
            ),
        ];
        let Some(scenes) = Scenes::start(&expected.map(|(scene, ..)| scene))? else {
            return Ok(());
        };
        let records = scan_json(netns)?;
        for (scene, finding, text) in expected {
            let why = scenes.why(&records, scene);
            let (holder, words) = first(&why);
            assert_eq!(holder["epoll"], finding, "{scene}: {why:#}");
            assert!(words.starts_with(text), "{scene}: {words}");
            assert_eq!(holder["unknown"], json!([]), "{scene}");
            assert_eq!(holder["condition"], "ordinary", "{scene}");
        }
        let command = format!("py-spy dump --pid {}", scenes.pid("edge"));
        let edge = scenes.why(&records, "edge");
        assert_eq!(first(&edge).0["runtime"], "python");
        assert_eq!(first(&edge).0["next_command"], *command);
        let registration = &first(&edge).0["registrations"][0];
        assert_eq!(registration["events"], "80000019");
        // The table has the same, and without the process's sets nothing is claimed.
        let table = scan(&["--netns", netns])?.stdout;
        assert!(table.contains(&format!("NEXT   {command}\n")), "{table}");
        for (.., text) in expected {
            assert!(table.contains(&format!("WHERE  {text}")), "{text}\n{table}");
        }
        Ok(())
    })
}

#[test]
fn what_the_threads_and_the_process_do_is_found() -> TestResult {
    in_own_network(|netns| {
        let names = ["busy", "deadlock", "stopped", "traced", "leader_exited"];
        let Some(scenes) = Scenes::start(&names)? else {
            return Ok(());
        };
        let records = scan_json(netns)?;
        let check = |scene: &str, pid: u32, field: &str, value: &Value, text: &str| {
            let why = why_of(&records, pid);
            let (holder, words) = first(&why);
            assert_eq!(holder.pointer(field), Some(value), "{scene}: {why:#}");
            assert!(words.contains(text), "{scene}: {words}");
        };
        for (scene, field, value, text) in [
            (
                "busy",
                "/threads/found",
                "all_busy",
                "its only thread is busy",
            ),
            (
                "deadlock",
                "/threads/found",
                "all_in_futex",
                "all of its 2 threads wait in futex()",
            ),
            ("stopped", "/condition", "stopped", "the process is stopped"),
            (
                "leader_exited",
                "/condition",
                "leader_exited",
                "its first thread has exited",
            ),
        ] {
            check(scene, scenes.pid(scene), field, &value.into(), text);
        }
        if !scenes.running["traced"].stdout.text().contains("refused") {
            let tracer = scenes.pid("traced");
            let children = format!("/proc/{tracer}/task/{tracer}/children");
            let child = fs::read_to_string(children)?.trim().parse()?;
            let text = format!("a debugger, process {tracer}, has stopped it");
            check("traced", child, "/condition", &"traced".into(), &text);
        }
        Ok(())
    })
}

#[test]
fn who_has_a_socket_from_another_process_is_found() -> TestResult {
    in_own_network(|netns| {
        let Some(scenes) = Scenes::start(&["forked", "inherited", "left_to_sleep"])? else {
            return Ok(());
        };
        let records = scan_json(netns)?;
        for (scene, duplicate, forked) in [
            ("forked", "forked", true),
            ("inherited", "inherited", false),
        ] {
            let why = scenes.why(&records, scene);
            let holders = why["holders"].as_array().cloned().unwrap_or_default();
            let [owner, child] = holders.as_slice() else {
                panic!("{scene}: {why:#}");
            };
            assert_eq!(owner["duplicate"], Value::Null, "{scene}");
            assert_eq!(child["duplicate"], duplicate, "{scene}: {why:#}");
            assert_eq!(child["forked"], forked, "{scene}");
        }
        let parent = scenes.pid("left_to_sleep");
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        let why = why_of(&records, children.trim().parse()?);
        let (holder, text) = first(&why);
        assert_eq!(holder["duplicate"], "younger_than_socket");
        assert!(
            text.contains("the process is younger than the socket: it has inherited it"),
            "{text}"
        );
        Ok(())
    })
}

#[test]
fn a_frozen_cgroup_is_named() -> TestResult {
    in_own_network(|netns| {
        let cgroups = Cgroups::new();
        let Some(mount) = cgroups.mount_point() else {
            skip("no cgroup2 is mounted");
            return Ok(());
        };
        let cgroup = mount.join(format!("tcpclose-frozen-{}", std::process::id()));
        let Some(scenes) = Scenes::start(&["no_set"])? else {
            return Ok(());
        };
        if fs::create_dir(&cgroup).is_err() || !cgroup.join("cgroup.freeze").exists() {
            skip("cgroups cannot be frozen");
            return Ok(());
        }
        let pid = scenes.pid("no_set").to_string();
        fs::write(cgroup.join("cgroup.procs"), pid)?;
        fs::write(cgroup.join("cgroup.freeze"), "1")?;
        let frozen = |found: &str| found.lines().any(|line| line == "frozen 1");
        let events = cgroup.join("cgroup.events");
        let is_frozen = tcpclose_kit::wait::eventually(|| {
            fs::read_to_string(&events)
                .is_ok_and(|events| frozen(&events))
                .then_some(())
        });
        let records = scan_json(netns);
        fs::write(cgroup.join("cgroup.freeze"), "0")?;
        let why = scenes.why(&records?, "no_set");
        drop(scenes);
        let _ = tcpclose_kit::wait::eventually(|| fs::remove_dir(&cgroup).ok());
        assert!(is_frozen.is_some());
        let (holder, text) = first(&why);
        assert_eq!(holder["condition"], "frozen");
        assert!(text.contains("its cgroup is frozen"), "{text}");
        Ok(())
    })
}

#[test]
fn a_thread_that_sleeps_in_a_call_on_the_socket_is_named() -> TestResult {
    in_own_network(|netns| {
        if !has_programs(&["cc"]) {
            return Ok(());
        }
        let scratch = Scratch::new();
        let source = scratch.write("writer.c", include_str!("../data/blocked_writer.c"))?;
        let program = scratch.path("writer");
        let compiled = Command::new("cc")
            .args(["-pthread", "-o"])
            .args([&program, &source])
            .status()?;
        assert!(compiled.success());
        let writer = ChildProcess::spawn(&mut Command::new(&program));
        assert!(writer.stdout.wait_for_words("ready"));
        let why = why_of(&scan_json(netns)?, writer.pid());
        let (holder, text) = first(&why);
        let thread = &holder["threads_on_socket"][0];
        assert_eq!(thread["comm"], "writer", "{why:#}");
        assert_eq!(thread["call"], "sendto");
        assert_eq!(holder["runtime"], "native");
        assert!(
            text.contains("thread writer (") && text.contains(") sleeps in sendto() on fd 5"),
            "{text}"
        );
        Ok(())
    })
}

#[test]
fn large_sets_are_read_on_request_only() -> TestResult {
    in_own_network(|netns| {
        let mut scene = Command::new("python3");
        let script = "import os, resource, select, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
listener = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(listener.getsockname())
server, _ = listener.accept()
client.close()
chosen = select.epoll()
chosen.register(server, select.EPOLLIN)
many = [os.dup(0) for _ in range(10000)]
print('ready', flush=True)
time.sleep(1000)";
        if !has_programs(&["python3"]) {
            return Ok(());
        }
        let scene = ChildProcess::spawn(scene.args(["-c", script]));
        assert!(
            scene.stdout.wait_for_words("ready"),
            "{}",
            scene.stderr.text()
        );
        let scanned = |args: &[&str]| {
            let common = ["--netns", netns, "--min-age", "0s", "--format", "json"];
            let ended = leaks(&[&common[..], args].concat()).output()?;
            std::io::Result::Ok(why_of(&CommandOutput::from(ended).records(), scene.pid()))
        };
        let why = scanned(&[])?;
        let (holder, text) = first(&why);
        assert_eq!(holder["epoll"], Value::Null);
        assert!(text.contains("descriptors: --inspect reads them"), "{text}");
        let why = scanned(&["--inspect"])?;
        assert_eq!(first(&why).0["epoll"], "level_triggered", "{why:#}");
        Ok(())
    })
}
