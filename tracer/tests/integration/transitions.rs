//! `--transitions`: each raw transition, in the columns that users of tcpstates know.

use std::collections::BTreeMap;

use crate::harness::capture::Ports;
use crate::harness::families::for_each_family;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, read_to_end};
use crate::harness::watch::Watch;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::skip;

for_each_family!(a_close_is_a_chain_of_transitions);

/// One printed transition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    socket: String,
    pid: String,
    comm: String,
    /// Local address and port, peer's address and port.
    tuple: [String; 4],
    old: String,
    new: String,
    ms: String,
}

/// Reads `SKADDR PID COMM LADDR LPORT RADDR RPORT OLDSTATE -> NEWSTATE MS`; `None` for anything
/// else.
fn parse(line: &str) -> Option<Line> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let arrow = words.iter().position(|word| *word == "->")?;
    // A comm may hold blanks, so count from the arrow.
    if arrow < 8 || words.len() != arrow + 3 {
        return None;
    }
    let own = |word: &&str| (*word).to_owned();
    Some(Line {
        socket: own(&words[0]),
        pid: own(&words[1]),
        comm: words[2..arrow - 5].join(" "),
        tuple: [
            own(&words[arrow - 5]),
            own(&words[arrow - 4]),
            own(&words[arrow - 3]),
            own(&words[arrow - 2]),
        ],
        old: own(&words[arrow - 1]),
        new: own(&words[arrow + 1]),
        ms: own(&words[arrow + 2]),
    })
}

/// All chains of states that sockets with these ports went through, by (local, peer's) port.
fn chains(lines: &[String], ports: Ports) -> BTreeMap<(u16, u16), Vec<String>> {
    let mut chains = BTreeMap::<_, Vec<String>>::new();
    for line in lines.iter().filter_map(|line| parse(line)) {
        let Ok(key) = line.tuple[1]
            .parse::<u16>()
            .and_then(|local| Ok((local, line.tuple[3].parse()?)))
        else {
            continue;
        };
        let of_interest = [(ports.client, ports.server), (ports.server, ports.client)];
        if of_interest.contains(&key) {
            chains
                .entry(key)
                .or_default()
                .push(format!("{} -> {}", line.old, line.new));
        }
    }
    chains
}

/// The client asks, the server answers, the client closes, the server follows.
fn talk_and_close(lab: &Lab) -> Ports {
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("a", "b");
    drop(client);
    assert_eq!(read_to_end(&server), 0);
    drop(server);
    lab.assert_ends_closed(ports);
    ports
}

fn both_closed(lines: &[String], ports: Ports) -> Option<BTreeMap<(u16, u16), Vec<String>>> {
    let chains = chains(lines, ports);
    let closed = |chain: &Vec<String>| chain.last().is_some_and(|last| last.ends_with("-> CLOSE"));
    (chains.len() == 2 && chains.values().all(closed)).then_some(chains)
}

fn a_close_is_a_chain_of_transitions(family: Family) {
    let Some(lab) = Lab::not_yet_watching(family) else {
        return;
    };
    let watch = Watch::start_raw(&lab.ns, &["--transitions"]);
    let ports = talk_and_close(&lab);
    let chains = watch.wait_for("both endpoints' CLOSE", |lines| both_closed(lines, ports));

    assert_eq!(
        chains[&(ports.client, ports.server)],
        [
            "SYN_SENT -> ESTABLISHED",
            "ESTABLISHED -> FIN_WAIT1",
            "FIN_WAIT1 -> FIN_WAIT2",
            "FIN_WAIT2 -> CLOSE"
        ],
        "the client's endpoint"
    );
    let server = &chains[&(ports.server, ports.client)];
    assert_eq!(
        server[server.len() - 3..],
        [
            "ESTABLISHED -> CLOSE_WAIT",
            "CLOSE_WAIT -> LAST_ACK",
            "LAST_ACK -> CLOSE"
        ],
        "the server's endpoint"
    );

    let lines = watch.stop_raw();
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(
        header,
        [
            "SKADDR", "PID", "COMM", "LADDR", "LPORT", "RADDR", "RPORT", "OLDSTATE", "->",
            "NEWSTATE", "MS"
        ]
    );
    for line in &lines[1..] {
        let Some(Line {
            ms,
            pid,
            tuple,
            old,
            ..
        }) = parse(line)
        else {
            panic!("no transition: {line}")
        };
        let known = ms.parse::<f64>().is_ok_and(|ms| ms >= 0.0);
        // Only what comes before ESTABLISHED may be unknown.
        let first = ["CLOSE", "LISTEN", "SYN_RECV"].contains(&old.as_str());
        assert!(known || (ms == "-" && first), "{line}");
        assert!(pid.parse::<u32>().is_ok() || pid == "-", "{line}");
        let is_ipv6 = tuple[0].contains(':') && !tuple[0].starts_with("::ffff:");
        assert!(!is_ipv6 || family != Family::V4, "{line}");
    }
    // The system calls that drive a transition name us; softirqs name nobody else.
    let us = std::process::id().to_string();
    let syscalls = [
        "CLOSE -> SYN_SENT",
        "ESTABLISHED -> FIN_WAIT1",
        "CLOSE_WAIT -> LAST_ACK",
    ];
    for line in lines.iter().filter_map(|line| parse(line)) {
        if syscalls.contains(&format!("{} -> {}", line.old, line.new).as_str()) {
            assert_eq!(line.pid, us, "{line:?}");
        }
    }
}

/// The peer tool, side by side: the same transitions of the same sockets in the same order.
#[test]
fn tcpstates_reports_the_same() {
    if !skip::has_programs(&["tcpstates", "stdbuf"]) {
        return;
    }
    let Some(lab) = Lab::not_yet_watching(Family::V4) else {
        return;
    };
    // tcpstates attaches through tracefs, which may not be mounted here: it gets a mount namespace
    // of its own.
    let script = "mount -t tracefs none /sys/kernel/tracing 2>/dev/null; exec stdbuf -oL \"$0\"";
    let mut command = lab.ns.command("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .arg(skip::program_path("tcpstates"));
    let tcpstates = ChildProcess::spawn(&mut command);
    if tcpstates
        .stdout
        .wait(|lines| {
            lines
                .iter()
                .any(|line| line.starts_with("SKADDR"))
                .then_some(())
        })
        .is_none()
    {
        skip::skip(&format!(
            "tcpstates does not run: {}",
            tcpstates.stderr.text()
        ));
        return;
    }
    // It prints its header before it is attached: connections come and go until it sees one.
    let sees = |lines: &[String], ports| both_closed(lines, ports);
    let seen = tcpclose_kit::wait::eventually(|| {
        let ports = talk_and_close(&lab);
        tcpclose_kit::wait::within(std::time::Duration::from_millis(500), || {
            sees(&tcpstates.stdout.now(), ports)
        })
    });
    assert!(
        seen.is_some(),
        "tcpstates sees nothing: {}",
        tcpstates.stderr.text()
    );

    let watch = Watch::start_raw(&lab.ns, &["--transitions"]);
    let mut compared = 0;
    for _ in 0..10 {
        let ports = talk_and_close(&lab);
        let ours = watch.wait_for("both endpoints' CLOSE", |lines| both_closed(lines, ports));
        // The kernel skips runs of its program, too, and tcpstates does not report that.
        let theirs = tcpclose_kit::wait::within(std::time::Duration::from_secs(5), || {
            sees(&tcpstates.stdout.now(), ports)
        });
        let Some(theirs) = theirs else {
            continue;
        };
        assert_eq!(ours, theirs);
        let sockets = |lines: &[String]| -> BTreeMap<String, String> {
            let lines = lines.iter().filter_map(|line| parse(line));
            let lines = lines
                .filter(|line| line.tuple[1] == ports.client.to_string() && line.new == "CLOSE");
            lines
                .map(|line| {
                    (
                        line.socket.trim_start_matches("0x").to_owned(),
                        line.tuple[3].clone(),
                    )
                })
                .collect()
        };
        assert_eq!(
            sockets(&watch.lines()),
            sockets(&tcpstates.stdout.now()),
            "socket addresses"
        );
        compared += 1;
        if compared == 5 {
            break;
        }
    }
    assert_eq!(compared, 5, "tcpstates misses too many");
    watch.stop_raw();
}
