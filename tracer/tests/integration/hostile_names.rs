//! The user of a process chooses its name: no terminal may obey it.

use crate::harness::capture::Ports;
use crate::harness::helper;
use crate::harness::lab::Lab;
use crate::harness::sockets::Family;
use crate::harness::watch::Watch;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_parity::segment::Endpoint::Client;

/// Clears a terminal's screen, breaks a line, ends a JSON string, is no UTF-8. The kernel keeps 15
/// bytes.
const EVIL: &[u8] = b"\x1b[2J\n\"\\,x\xff\x07\x7f\t";

/// Lets a process of that name connect to us; we reset the connection.
fn visit(lab: &Lab, helper: &mut helper::Client) -> Ports {
    let (listener, address) = lab.listen();
    helper.connect(address);
    let (server, peer) = listener.accept().unwrap();
    reset_on_close(&server);
    Ports {
        client: peer.port(),
        server: address.port(),
    }
}

fn assert_harmless(lines: &[String]) {
    for line in lines {
        let harmful = line.chars().find(|letter| letter.is_control());
        assert_eq!(harmful, None, "{line:?}");
    }
}

#[test]
fn in_json_they_are_escaped() {
    let Some(lab) = Lab::not_yet_watching(Family::V4) else {
        return;
    };
    let mut helper = helper::Client::start(&lab.ns, EVIL);
    let watch = Watch::start(&lab.ns, &[]);
    let ports = visit(&lab, &mut helper);
    let close = watch.close(ports, Client);
    close.has("/owner/pid", helper.pid());
    let comm = close
        .get("/owner/comm")
        .as_str()
        .unwrap_or_else(|| panic!("no comm: {close}"));
    assert!(comm.contains("[2J") && comm.contains("\\,x"), "{close}");
    let lines = watch.lines();
    assert_harmless(&lines);
    watch.stop();
    helper.finish();
}

#[test]
fn in_the_table_they_are_escaped() {
    for args in [&["--format", "table"][..], &["--transitions"]] {
        let Some(lab) = Lab::not_yet_watching(Family::V4) else {
            return;
        };
        let mut helper = helper::Client::start(&lab.ns, EVIL);
        let watch = Watch::start_raw(&lab.ns, args);
        let ports = visit(&lab, &mut helper);
        let pid = helper.pid().to_string();
        let line_of_helper = |lines: &[String]| {
            let port = format!("{} ", ports.server);
            lines
                .iter()
                .find(|line| line.contains(&pid) && line.contains(&port))
                .cloned()
        };
        let line = watch.wait_for("the helper's line", line_of_helper);
        assert!(line.contains("[2J"), "{line:?}");
        assert_harmless(&watch.stop_raw());
        helper.finish();
    }
}
