//! Starting, signals, locks, rights.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

use crate::program::{Agent, agent, eventually, get, records, records_of_kind};
use crate::workload::{Plan, Server};
use rustix::process::Signal;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::wait::WAIT_TIMEOUT;

fn file_output(scratch: &Scratch, name: &str) -> String {
    format!(
        "[[output]]\ntype = \"file\"\npath = \"{}\"\n",
        scratch.path(name).display()
    )
}

#[test]
fn it_ends_within_five_seconds_even_when_no_process_reads_its_output() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        // A pipe that nobody reads: the output is stuck after 64 KiB.
        let (reader, writer) = std::io::pipe()?;
        let own = format!("[trace]\nnetns = \"{netns}\"\n[[output]]\ntype = \"stdout\"\n");
        let config = own + &file_output(&scratch, "out.jsonl");
        let mut command = agent();
        command
            .arg("--config")
            .arg(scratch.write("agent.toml", &config)?)
            .stdout(writer);
        let agent = Agent::run_into(command, &scratch)?;
        let plan = Plan {
            by_client: 300,
            ..Plan::default()
        };
        server.play(plan)?;
        let (status, took) = agent.end()?;
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(5), "it took {took:?}");
        let messages = fs::read_to_string(scratch.path("stderr"))?;
        assert!(
            messages.contains("output stdout could not deliver"),
            "{messages}"
        );
        let records = records(&scratch.path("out.jsonl"))?;
        assert!(records_of_kind(&records, "close").len() >= 2 * plan.total());
        assert_eq!(records.last().expect("some")["kind"], "summary");
        drop(reader);
        Ok(())
    })
}

#[test]
fn sighup_reads_a_good_file_and_refuses_a_bad_one() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let own = format!("[trace]\nnetns = \"{netns}\"\n");
        let first = own + &file_output(&scratch, "first.jsonl");
        let mut agent = Agent::start(&scratch, &first)?;

        // What is written afterwards goes to a new file of the old name, whatever the configuration
        // is by then.
        fs::rename(scratch.path("first.jsonl"), scratch.path("earlier.jsonl"))?;
        scratch.write("agent.toml", "intervall = \"1s\"\n")?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration is unchanged")?;
        agent.until("agent.toml:1:1: unknown field `intervall`: did you mean `interval`?")?;

        eventually("the file is made anew", || {
            Ok(scratch.path("first.jsonl").exists().then_some(()))
        })?;
        fs::rename(scratch.path("first.jsonl"), scratch.path("rotated.jsonl"))?;
        scratch.write(
            "agent.toml",
            &(first + &file_output(&scratch, "second.jsonl")),
        )?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration was reloaded")?;
        eventually("the file is made anew", || {
            Ok(scratch.path("first.jsonl").exists().then_some(()))
        })?;
        let plan = Plan {
            by_client: 20,
            ..Plan::default()
        };
        server.play(plan)?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        for name in ["first.jsonl", "second.jsonl"] {
            let records = records(&scratch.path(name))?;
            assert_eq!(
                records_of_kind(&records, "close").len(),
                2 * plan.total(),
                "{name}"
            );
        }
        for name in ["rotated.jsonl", "earlier.jsonl"] {
            assert!(records(&scratch.path(name))?.is_empty(), "{name}");
        }
        Ok(())
    })
}

#[test]
fn an_otlp_output_that_is_wrong_is_refused_and_the_agent_goes_on() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let config = format!(
            "run_directory = \"{}\"\n[trace]\nnetns = \"{netns}\"\n{}",
            scratch.path("run").display(),
            file_output(&scratch, "out.jsonl")
        );
        let wrong =
            format!("{config}[[output]]\ntype = \"otlp\"\nheaders = {{ \"a b\" = \"c\" }}\n");
        let mut agent = Agent::start(&scratch, &config)?;
        scratch.write("agent.toml", &wrong)?;
        agent.signal(Signal::HUP)?;
        agent.until("the configuration is unchanged")?;
        agent.until("`a b` with this value is not a valid HTTP header")?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        let messages = refused(&scratch, &wrong)?;
        assert!(
            messages.contains("is not a valid HTTP header"),
            "{messages}"
        );
        Ok(())
    })
}

/// What a second agent says, which must not run.
fn refused(scratch: &Scratch, config: &str) -> std::io::Result<String> {
    let file = scratch.write("second.toml", config)?;
    let messages = agent()
        .arg("--config")
        .arg(file)
        .stdout(Stdio::null())
        .output()?;
    assert_eq!(messages.status.code(), Some(2));
    Ok(String::from_utf8_lossy(&messages.stderr).into_owned())
}

#[test]
fn a_second_agent_on_the_same_outputs_is_refused() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let run = format!("run_directory = \"{}\"\n", scratch.path("run").display());
        let syslog = "[[output]]\ntype = \"syslog\"\naddress = \"udp://127.0.0.1:5514\"\n";
        let named = format!("{syslog}name = \"leaks\"\nkinds = [\"stuck\"]\n");
        let config = format!("{run}{syslog}{named}{}", file_output(&scratch, "out.jsonl"));
        let agent = Agent::start(&scratch, &config)?;

        let off = "[prometheus]\nenabled = false\n";
        let messages = refused(&scratch, "")?;
        assert!(
            messages.contains("prometheus cannot listen on 127.0.0.1:19433"),
            "{messages}"
        );
        let messages = refused(
            &scratch,
            &format!("{off}{}", file_output(&scratch, "out.jsonl")),
        )?;
        assert!(messages.contains("out.jsonl cannot be used"), "{messages}");
        // Another name makes it no other place.
        let messages = refused(&scratch, &format!("{run}{off}{syslog}name = \"x\"\n"))?;
        assert!(
            messages.contains("output x cannot be used: another tcpclose agent holds"),
            "{messages}"
        );
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
fn every_thread_has_dropped_unneeded_capabilities() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        for (config, kept) in [
            // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_ADMIN
            (String::new(), (1 << 2) | (1 << 19) | (1 << 21)),
            (
                format!("[trace]\nnetns = \"{netns}\"\n"),
                (1 << 2) | (1 << 19),
            ),
        ] {
            let config = config + &file_output(&scratch, "out.jsonl");
            let agent = Agent::start(&scratch, &config)?;
            let mut threads = 0;
            for task in fs::read_dir(format!("/proc/{}/task", agent.pid()))? {
                // One that ends meanwhile has nothing left to give up.
                let Ok(status) = fs::read_to_string(task?.path().join("status")) else {
                    continue;
                };
                let value = |name| {
                    let line = status.lines().find_map(|line| line.strip_prefix(name));
                    u64::from_str_radix(line.expect("it is there").trim(), 16)
                };
                for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
                    // Kernels before 6.0 leave CAP_BPF (39) with it.
                    assert_eq!(value(set)? & !(1 << 39), kept, "{set} in {status}");
                }
                assert_eq!(
                    (value("CapInh:")?, value("NoNewPrivs:")?),
                    (0, 1),
                    "{status}"
                );
                threads += 1;
            }
            assert!(threads >= 3, "the loop, the output, HTTP: {threads}");
            agent.end()?;
            fs::remove_file(scratch.path("out.jsonl"))?;
        }
        Ok(())
    })
}

/// The ids and nice values of a process' threads: field 19 of their stat, behind the name, which
/// may have any characters.
fn nice_values(pid: u32) -> std::io::Result<Vec<(u32, i32)>> {
    let mut values = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?;
        // One may end meanwhile.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
            continue;
        };
        let id = task.file_name().to_str().and_then(|id| id.parse().ok());
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
        let nice = fields.and_then(|fields| fields.split_whitespace().nth(16)?.parse().ok());
        values.extend(id.zip(nice));
    }
    Ok(values)
}

/// Threads inherit the priority of the thread that starts them.
#[test]
fn only_the_thread_that_reads_has_priority() -> TestResult {
    in_own_network(|netns| {
        for (nice, is_reload) in [(-7, false), (-7, true), (0, false)] {
            let scratch = Scratch::new();
            let config = format!(
                "reader_nice = {nice}\n[trace]\nnetns = \"{netns}\"\n{}",
                file_output(&scratch, "out.jsonl")
            );
            let mut agent = Agent::start(&scratch, &config)?;
            if is_reload {
                // Its threads are started by the one that reads.
                scratch.write(
                    "agent.toml",
                    &(config + &file_output(&scratch, "more.jsonl")),
                )?;
                agent.signal(Signal::HUP)?;
                agent.until("the configuration was reloaded")?;
            }
            // A thread that is being started has not given its priority back yet.
            eventually("no other thread has priority", || {
                let threads = nice_values(agent.pid())?;
                let are_right = (threads.iter())
                    .all(|(id, own)| *own == if *id == agent.pid() { nice } else { 0 });
                // The reader, the output, HTTP.
                Ok((are_right && threads.len() >= 3).then_some(()))
            })?;
            agent.end()?;
        }
        Ok(())
    })
}

#[test]
fn systemd_is_notified_of_everything() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let socket = UnixDatagram::bind(scratch.path("notify"))?;
        socket.set_read_timeout(Some(WAIT_TIMEOUT))?;
        let next = |words: &str| -> std::io::Result<String> {
            let mut buffer = [0; 512];
            loop {
                let length = socket.recv(&mut buffer)?;
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if text.starts_with(words) {
                    return Ok(text);
                }
                assert!(text.starts_with("WATCHDOG=1"), "{text} instead of {words}");
            }
        };
        let mut command = agent();
        command
            .env("NOTIFY_SOCKET", scratch.path("notify"))
            .env("WATCHDOG_USEC", "200000");
        let mut agent = Agent::run(command, &scratch)?;
        next("READY=1")?;
        for _ in 0..3 {
            next("WATCHDOG=1")?;
        }
        agent.signal(Signal::HUP)?;
        let reload = next("RELOADING=1")?;
        assert!(reload.contains("MONOTONIC_USEC="), "{reload}");
        next("READY=1")?;
        agent.until("there is no configuration file to reload")?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        next("STOPPING=1")?;
        Ok(())
    })
}

#[test]
fn a_closed_stderr_does_not_stop_it() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = agent();
        let config = scratch.write("agent.toml", "output = []\n")?;
        command.arg("--config").arg(config).stderr(writer);
        let agent = Agent::with_stderr_unread(command)?;
        let address: SocketAddr = "127.0.0.1:19433".parse()?;
        eventually("it is well", || {
            Ok(get(address, "/healthz")
                .ok()
                .filter(|(_, body)| body == "ok\n"))
        })?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

#[test]
fn healthz_is_ok_and_other_paths_do_not_exist() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let _agent = Agent::start(&scratch, "output = []\n")?;
        let address: SocketAddr = "127.0.0.1:19433".parse()?;
        let (status, body) = get(address, "/healthz")?;
        assert_eq!((&*status, &*body), ("HTTP/1.1 200 OK", "ok\n"));
        let (status, _) = get(address, "/")?;
        assert_eq!(status, "HTTP/1.1 404 Not Found");
        Ok(())
    })
}
