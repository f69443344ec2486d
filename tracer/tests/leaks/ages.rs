//! The estimated age against a clock of one's own.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::program::{close_wait_record, scan};
use crate::stuck::Pair;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::sockets::set_option;

/// The kernel counts in ticks (10 ms with the coarsest that is in use, `CONFIG_HZ=100`), and takes
/// a moment to list its sockets.
const ERROR_MS: f64 = 50.0;

const WAIT: Duration = Duration::from_millis(700);

/// Age as estimated and as it is, and what it is at most, in ms.
struct Ages {
    estimated: f64,
    true_one: f64,
    at_most: Option<f64>,
}

/// Looks at the only socket in CLOSE_WAIT there, whose FIN was sent at `fin`.
fn ages(netns: &str, fin: Timestamp) -> Result<Ages, Box<dyn std::error::Error>> {
    let ended = scan(&["--netns", netns, "--format", "json", "--all"])?;
    let record = close_wait_record(&ended);
    let leak = &record["stuck"];
    assert_eq!(leak["age_known"], "estimated");
    let at: Timestamp = record["ts"].as_str().ok_or("no time")?.parse()?;
    let ages = Ages {
        estimated: leak["age_ms"].as_f64().ok_or("no age")?,
        true_one: at.duration_since(fin).as_secs_f64() * 1e3,
        at_most: leak["age_at_most_ms"].as_f64(),
    };
    println!(
        "estimated {:.1} true {:.1} at most {:?}",
        ages.estimated, ages.true_one, ages.at_most
    );
    Ok(ages)
}

impl Ages {
    fn assert_right(&self) {
        let error = self.estimated - self.true_one;
        assert!(error.abs() < ERROR_MS, "off by {error} ms");
        assert!(self.at_most.is_none_or(|most| most >= self.estimated));
    }
}

#[test]
fn right_where_no_byte_was_ever_sent() -> TestResult {
    in_own_network(|netns| {
        let pair = Pair::new()?;
        thread::sleep(WAIT);
        let fin = Timestamp::now();
        drop(pair.client);
        thread::sleep(WAIT);
        let ages = ages(netns, fin)?;
        ages.assert_right();
        assert_eq!(ages.at_most, None);
        drop(pair.server);
        Ok(())
    })
}

#[test]
fn right_where_the_fin_came_with_the_last_bytes() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        set_option(&pair.client, libc::IPPROTO_TCP, libc::TCP_CORK, 1);
        pair.client.write_all(b"hello")?;
        let fin = Timestamp::now();
        drop(pair.client);
        thread::sleep(WAIT);
        let ages = ages(netns, fin)?;
        ages.assert_right();
        let width = ages.at_most.ok_or("no bound")? - ages.estimated;
        assert!(
            width < ERROR_MS,
            "data and FIN were one segment: {width} ms apart"
        );
        drop(pair.server);
        Ok(())
    })
}

#[test]
fn right_after_question_and_answer() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        let mut five = [0; 5];
        pair.client.write_all(b"query")?;
        pair.server.read_exact(&mut five)?;
        pair.server.write_all(b"reply")?;
        pair.client.read_exact(&mut five)?;
        thread::sleep(WAIT);
        let fin = Timestamp::now();
        drop(pair.client);
        thread::sleep(WAIT);
        let ages = ages(netns, fin)?;
        ages.assert_right();
        // The query bounds it.
        assert!(ages.at_most.ok_or("no bound")? >= ages.estimated + 600.0);
        drop(pair.server);
        Ok(())
    })
}

#[test]
fn too_small_but_bounded_where_the_answer_came_after_the_fin() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        pair.client.write_all(b"query")?;
        let fin = Timestamp::now();
        pair.client.shutdown(std::net::Shutdown::Write)?;
        thread::sleep(WAIT);
        pair.server.read_exact(&mut [0; 5])?;
        pair.server.write_all(b"reply")?;
        thread::sleep(WAIT);
        let ages = ages(netns, fin)?;
        let short = ages.true_one - ages.estimated;
        assert!(
            (600.0..800.0).contains(&short),
            "the ACK of the answer counts: {short} ms"
        );
        let most = ages.at_most.ok_or("no bound")?;
        assert!(
            (ages.true_one - most).abs() < ERROR_MS,
            "the query came with the FIN: {most}"
        );
        drop(pair);
        Ok(())
    })
}

#[test]
fn too_small_where_keepalive_is_answered() -> TestResult {
    in_own_network(|netns| {
        let pair = Pair::new()?;
        set_option(&pair.server, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        set_option(&pair.server, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 1);
        set_option(&pair.server, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 1);
        let fin = Timestamp::now();
        let pair = pair.half_closed()?;
        thread::sleep(Duration::from_millis(1600));
        let ages = ages(netns, fin)?;
        let short = ages.true_one - ages.estimated;
        assert!(
            (900.0..1400.0).contains(&short),
            "the probe's answer counts: {short} ms"
        );
        // It is reported that it may be older.
        let minute = crate::program::leaks(&["--netns", netns]).output()?;
        let text = String::from_utf8(minute.stdout)?;
        assert!(
            text.contains("possibly stuck: ") && text.contains("    1 of any age "),
            "{text}"
        );
        drop(pair);
        Ok(())
    })
}

#[test]
fn right_where_the_peer_never_reads_what_is_sent_at_once() -> TestResult {
    in_own_network(|netns| {
        let mut pair = Pair::new()?;
        pair.client.write_all(b"query")?;
        pair.server.read_exact(&mut [0; 5])?;
        let fin = Timestamp::now();
        let mut pair = pair.half_closed()?;
        pair.server.set_nonblocking(true)?;
        let full = std::iter::repeat_with(|| pair.server.write(&[0; 65_536]))
            .find_map(Result::err)
            .ok_or("writing ended")?;
        assert_eq!(full.kind(), std::io::ErrorKind::WouldBlock);
        // The kernel probes the closed window 0.2, 0.6, 1.4 and 3 seconds later; each answer is an
        // ACK.
        thread::sleep(Duration::from_millis(2200));
        let ages = ages(netns, fin)?;
        // The last bytes may go with the first probe.
        let short = ages.true_one - ages.estimated;
        assert!((0.0..600.0).contains(&short), "{short} ms");
        assert!(ages.at_most.ok_or("no bound")? >= ages.true_one - ERROR_MS);
        drop(pair);
        Ok(())
    })
}
