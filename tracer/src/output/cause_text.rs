//! What a cause means, in words for people: the one table that views, messages and docs/json.md
//! share.

use tcpclose_core::finding::Cause;

/// A cause in words.
pub(super) struct CauseText {
    /// A few words, for a column.
    pub short: &'static str,
    /// What happened, as the end of a sentence about the connection.
    pub what: &'static str,
    /// What to do about it: a sentence.
    pub advice: &'static str,
}

/// Returns the words for a cause.
pub(super) const fn cause_text(cause: Cause) -> CauseText {
    macro_rules! text {
        ($short:literal, $what:literal, $advice:literal) => {
            CauseText {
                short: $short,
                what: $what,
                advice: $advice,
            }
        };
    }
    match cause {
        Cause::StaleKeepalive => text!(
            "stale keep-alive",
            "the peer had closed the connection, and this host used it again after the peer's FIN had arrived",
            "Give up idle connections sooner than the peer does (`idle_ms` shows when), and see whether one is at the end of stream before it is used again."
        ),
        Cause::CrossedKeepalive => text!(
            "crossed keep-alive",
            "the peer closed the idle connection while data of this host was on the way: the data and the peer's FIN passed each other",
            "Give up idle connections some seconds sooner than the peer does (`idle_ms` shows when), and retry what may be sent twice."
        ),
        Cause::Refused => text!(
            "refused",
            "connect() was answered with a reset; usually nothing listens on that port, or a firewall answers for it",
            "On the peer, see whether the server runs and listens on that address: `ss -ltn`."
        ),
        Cause::Unreachable => text!(
            "unreachable",
            "ICMP or this host's routing reported that the peer cannot be reached: no route, no such host, or a firewall",
            "See the route (`ip route get ADDRESS`) and the firewalls on the way; the JSON has the `errno`."
        ),
        Cause::NoLocalPort => text!(
            "no local port",
            "connect() got no local port for this destination: usually all are in use (EADDRNOTAVAIL)",
            "Keep connections open or pool them; until then, widen `net.ipv4.ip_local_port_range`, or the range that the program sets for its sockets (IP_LOCAL_PORT_RANGE)."
        ),
        Cause::ConnectTimeout => text!(
            "no answer",
            "nothing answered connect() in time",
            "The host is down, or a firewall drops the SYN or its answer; the server's queue may be full, too."
        ),
        Cause::KeepaliveTimeout => text!(
            "keepalive timeout",
            "the peer answered no keepalive probe",
            "The host is gone, or a firewall or NAT on the way has forgotten the connection: probe more often."
        ),
        Cause::PeerNeverClosed => text!(
            "peer never closed",
            "no FIN of the peer arrived before this host gave up waiting (net.ipv4.tcp_fin_timeout or TCP_LINGER2)",
            "The peer may leak the socket: if it is in CLOSE_WAIT there, `tcpclose leaks` shows whose it is."
        ),
        Cause::UnreadData => text!(
            "unread data",
            "the socket was closed with received data that the program had not read",
            "Read to the end before close(): the reset may also destroy data that the peer has not read yet."
        ),
        Cause::Linger => text!(
            "linger",
            "the socket was closed with SO_LINGER on and a time of zero",
            "The program asks for a reset: take SO_LINGER away unless that is meant."
        ),
        Cause::DataAfterClose => text!(
            "data after close",
            "the peer sent data after this host had closed both directions",
            "If it had been idle (`idle_ms`), the peer reuses connections too late: let it give them up first. Else read until the end of stream before close()."
        ),
        Cause::ProcessExited => text!(
            "process exited",
            "the process exited or was killed, and its exit closed the socket, with data that it had not read or that came later",
            "See why it ended: its log, `journalctl`, `dmesg` for the OOM killer. A server that is stopped should finish its requests first."
        ),
        Cause::NotAccepted => text!(
            "not accepted",
            "the listening socket was closed before the program accepted the connection",
            "Accept what waits in the queue before the listening socket is closed, or hand it on."
        ),
        Cause::Destroyed => text!(
            "destroyed",
            "the socket was destroyed with SOCK_DESTROY (ss -K)",
            "Ask who did: an administrator, or a program that evicts connections."
        ),
        Cause::DroppedHere => text!(
            "dropped here",
            "the firewall of this host (netfilter) dropped the FIN or the reset with which this host ended the connection: the peer does not know of it",
            "Look for the rule, or the connection tracking, that drops what this host sends: `nft list ruleset`, `conntrack -S`."
        ),
        Cause::FromPath => text!(
            "from the path",
            "a reset came that the peer's socket, which is on this host and still open, did not send",
            "See what lies between the two: a firewall that rejects or has forgotten the connection, a proxy, NAT, a moved address."
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::fs;

    use strum::VariantArray as _;
    use tcpclose_core::finding::Cause;

    use super::cause_text;

    const JSON_DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md");
    const BEGIN: &str = "<!-- causes -->\n";
    const END: &str = "<!-- end -->\n";

    /// `TCPCLOSE_TEST_REWRITE=1` rewrites the table.
    #[test]
    fn the_table_in_the_docs_is_this_one() {
        let mut table = "| cause | what happened | what to do |\n|---|---|---|\n".to_owned();
        for cause in Cause::VARIANTS {
            let text = cause_text(*cause);
            writeln!(table, "| `{cause}` | {} | {} |", text.what, text.advice).unwrap();
        }
        let doc = fs::read_to_string(JSON_DOC).unwrap();
        let (before, rest) = doc.split_once(BEGIN).expect("the table has a beginning");
        let (_, after) = rest.split_once(END).expect("the table has an end");
        let expected = format!("{before}{BEGIN}{table}{END}{after}");
        if std::env::var_os("TCPCLOSE_TEST_REWRITE").is_some() {
            fs::write(JSON_DOC, &expected).unwrap();
            return;
        }
        assert!(
            doc == expected,
            "docs/json.md: TCPCLOSE_TEST_REWRITE=1 rewrites the table of causes"
        );
    }

    #[test]
    fn a_column_has_room_for_the_short_words() {
        for cause in Cause::VARIANTS {
            assert!(cause_text(*cause).short.len() <= 18, "{cause}");
        }
    }
}
