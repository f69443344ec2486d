//! ICMP errors, as firewalls send them (REJECT): they end a connect() and stay in a connection that
//! lives on, but they are no resets.

use std::net::{Shutdown, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::harness::capture::Ports;
use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::firewall::nft;
use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family, expect, send};
use tcpclose_kit::sockets::set_option;
use tcpclose_kit::wait::{WAIT_TIMEOUT, is_readable};
use tcpclose_parity::segment::Endpoint::{Client, Server};

for_ipv4_and_ipv6!(
    a_connect_that_a_firewall_rejects,
    an_error_that_the_connection_survives
);

fn reject(lab: &Lab, what: &str, code: &str) -> bool {
    nft(
        lab,
        &format!(
            "table inet firewall {{\nchain input {{\ntype filter hook input priority 0\n{what} reject with {code}\n}}\n}}\n"
        ),
    )
}

fn a_connect_that_a_firewall_rejects(family: Family) {
    let codes: &[&str] = match family {
        Family::V6 => &[
            "icmpv6 type port-unreachable",
            "icmpv6 type addr-unreachable",
            "icmpv6 type admin-prohibited",
        ],
        Family::V4 | Family::Mapped => &[
            "icmp type port-unreachable",
            "icmp type host-unreachable",
            "icmp type admin-prohibited",
        ],
    };
    for code in codes {
        let Some(lab) = Lab::on_loopback(family) else {
            return;
        };
        let (listener, address) = lab.listen();
        if !reject(&lab, &format!("tcp dport {}", address.port()), code) {
            return;
        }
        let client = lab.ns.run(|| {
            let client = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            client.bind(&lab.client_address(0).into()).unwrap();
            let local: SocketAddr = client.local_addr().unwrap().as_socket().unwrap();
            client
                .connect(&address.into())
                .expect_err("the firewall rejects");
            local
        });
        let ports = Ports {
            client: client.port(),
            server: address.port(),
        };
        let close = lab.truthful_close(ports, Client);
        close
            .closed("connect_failed", "unknown")
            .has("/close/segments", 0)
            .has("/reset", serde_json::Value::Null)
            .is_our_client();
        assert!(close.closing().steps.is_empty(), "{code}: {close}");
        drop(listener);
        assert_eq!(lab.finish().len(), 1);
    }
}

/// With IP_RECVERR the error stays in `sk_err` until somebody asks for it.
fn an_error_that_the_connection_survives(family: Family) {
    for sender in [Client, Server] {
        let Some(lab) = Lab::on_loopback(family) else {
            return;
        };
        let Connection {
            client,
            server,
            listener: _listener,
            ports,
        } = lab.connect();
        let (from, to, towards) = if sender == Client {
            (&client, &server, "tcp dport")
        } else {
            (&server, &client, "tcp sport")
        };
        let (level, option) = match family {
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
            Family::V4 | Family::Mapped => (libc::IPPROTO_IP, libc::IP_RECVERR),
        };
        set_option(from, level, option, 1);
        let code = "icmpx type port-unreachable";
        if !reject(&lab, &format!("{towards} {}", ports.server), code) {
            return;
        }
        send(from, "twice");
        // There is nothing to read, but the error.
        let has_error = is_readable(from, WAIT_TIMEOUT).unwrap();
        assert!(has_error, "ICMP has reported an error");
        assert!(nft(&lab, "delete table inet firewall\n"));
        expect(to, "twice");
        lab.wait_until_acknowledged(ports, sender);
        client.shutdown(Shutdown::Write).unwrap();
        lab.assert_captured(ports, "client FIN,ACK; server ACK");
        drop(server);
        lab.assert_ends_closed(ports);
        drop(client);

        for (end, initiator) in [(Client, "local"), (Server, "peer")] {
            let close = lab.truthful_close(ports, end);
            let (sent, received) = if end == sender { (5, 0) } else { (0, 5) };
            close
                .closed("four_way", initiator)
                .counts_segments()
                .moved(sent, received)
                .has("/reset", serde_json::Value::Null);
        }
        assert_eq!(lab.finish().len(), 2);
    }
}
