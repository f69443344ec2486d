//! Outputs of type `http`.

mod lost_answers;
mod receiver;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tcpclose::output::sink::{Sink, SinkConfig};

use self::receiver::Answer;
pub use self::receiver::Receiver;
#[cfg(feature = "otlp")]
use crate::collector::Protocol;
use crate::findings::{
    Messages, assert_adds_up, close, long, loss, record, render_context, start, summary, time_wait,
    try_start, wait_until,
};
#[cfg(feature = "otlp")]
use crate::tls::Authority;
use tcpclose_kit::scratch::Scratch;

/// As with a database, which takes its statement in the query.
const PATH: &str = "/?query=INSERT INTO tcpclose.records FORMAT JSONEachRow";

fn config(address: SocketAddr, more: &str) -> SinkConfig {
    config_at(&format!("http://{address}{PATH}"), more)
}

fn config_at(url: &str, more: &str) -> SinkConfig {
    toml::from_str(&format!("type = 'http'\nurl = '{url}'\n{more}"))
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_batch_has_the_lines_of_the_other_outputs() {
    for (compression, encoding) in [("gzip", Some("gzip")), ("none", None)] {
        let receiver = Receiver::start();
        let more = format!("compression = '{compression}'\nheaders = {{ X-Database = 'fleet' }}");
        let (mut sink, messages) = start(&config(receiver.address, &more));
        let offered = [close(13), time_wait(14), loss(5), summary(0, 60, 7)];
        for finding in &offered {
            sink.offer(finding);
        }
        let counts = sink.finish(long());
        assert_adds_up(counts);
        assert_eq!((counts.offered, counts.written), (4, 4));
        assert_eq!((counts.uncertain, messages.all().len()), (0, 0));
        let got = receiver.got();
        let kept = got.kept.concat();
        let lines = String::from_utf8(kept).expect("UTF-8");
        let lines: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines, offered.map(|offered| record(&offered)));
        let (path, headers) = &got.heads[0];
        assert_eq!(
            path,
            "/?query=INSERT%20INTO%20tcpclose.records%20FORMAT%20JSONEachRow"
        );
        assert_eq!(headers["content-type"], "application/x-ndjson");
        assert_eq!(headers["x-database"], "fleet");
        let sent = headers.get("content-encoding");
        assert_eq!(sent.and_then(|it| it.to_str().ok()), encoding);
    }
}

#[test]
fn many_records_go_in_few_requests_of_a_bounded_size() {
    let receiver = Receiver::start();
    let (mut sink, _) = start(&config(receiver.address, "batch = 1_000"));
    for id in 1..=10_000 {
        sink.offer(&close(id));
    }
    let counts = sink.finish(long());
    assert_eq!(counts.written, 10_000);
    let got = receiver.got();
    assert!(got.ids().into_iter().eq(1..=10_000));
    let sizes = got
        .kept
        .iter()
        .map(|lines| lines.split(|byte| *byte == b'\n').count() - 1);
    assert!(
        sizes.clone().all(|size| size <= 1_000),
        "{:?}",
        Vec::from_iter(sizes)
    );
    assert!(got.kept.len() < 100, "{}", got.kept.len());
}

/// Statuses by which a receiver says that it would take the records later, and the others.
#[test]
fn a_busy_receiver_is_tried_again_and_one_that_refuses_is_not() {
    let receiver = Receiver::start();
    for status in [408, 425, 429, 500, 502, 503, 504] {
        receiver.will([Answer::Status(status, Some(0))]);
        let (mut sink, messages) = start(&config(receiver.address, ""));
        sink.offer(&close(status.into()));
        let counts = sink.finish(long());
        assert_eq!((counts.written, counts.uncertain), (1, 0), "{status}");
        let expected = format!("is down: the receiver answered {status}");
        assert!(
            messages.all()[0].contains(&expected),
            "{:?}",
            messages.all()
        );
    }
    for status in [301, 400, 401, 403, 404, 422] {
        receiver.will([Answer::Status(status, None)]);
        let (mut sink, messages) = start(&config(receiver.address, ""));
        sink.offer(&close(1));
        let counts = sink.finish(long());
        assert_eq!((counts.written, counts.failed), (0, 1), "{status}");
        let [message] = &*messages.all() else {
            panic!("{status}: {:?}", messages.all())
        };
        let expected = "refused 1 record, which is not sent again: the receiver answered ";
        assert!(message.contains(expected), "{message}");
        assert!(message.contains(r"\u{1b}not like this"), "{message}");
    }
    assert_eq!(receiver.got().ids(), [408, 425, 429, 500, 502, 503, 504]);
}

#[test]
fn refusals_are_reported_once_and_all_counted() {
    let receiver = Receiver::start();
    receiver.will([Answer::Status(400, None); 20]);
    let (mut sink, messages) = start(&config(receiver.address, "batch = 10"));
    for id in 1..=100 {
        sink.offer(&close(id));
    }
    let counts = sink.finish(long());
    assert_adds_up(counts);
    assert!(counts.failed >= 100, "{counts:?}");
    assert_eq!(messages.all().len(), 1, "{:?}", messages.all());
}

#[test]
fn a_batch_that_is_too_large_is_divided() {
    let receiver = Receiver::start();
    let too_large = Answer::Status(413, None);
    receiver.will([too_large; 3]);
    let (mut sink, messages) = start(&config(receiver.address, ""));
    for id in 1..=512 {
        sink.offer(&close(id));
    }
    let counts = sink.finish(long());
    assert_eq!((counts.written, counts.failed), (512, 0));
    assert!(receiver.got().ids().into_iter().eq(1..=512));
    assert!(messages.all().is_empty(), "{:?}", messages.all());
    // One record alone cannot be divided.
    receiver.will([too_large]);
    let (mut sink, _) = start(&config(receiver.address, ""));
    sink.offer(&close(1));
    assert_eq!(sink.finish(long()).failed, 1);
}

/// An output whose receiver has taken the first record, and is gone.
fn start_and_kill_receiver() -> (SocketAddr, Sink, Messages) {
    let receiver = Receiver::start();
    let address = receiver.address;
    let (mut sink, messages) = start(&config(address, "batch_delay = '10ms'"));
    sink.offer(&close(1));
    wait_until("the first is taken", || sink.counts().written == 1);
    (address, sink, messages)
}

#[test]
fn a_receiver_that_was_killed_is_found_again() {
    let (address, mut sink, messages) = start_and_kill_receiver();
    for id in 2..=1_000 {
        sink.offer(&close(id));
    }
    messages.wait_for("is down: ");
    let outage = sink.outage().expect("it is down").reason;
    assert!(outage.contains("refused"), "{outage}");
    let second = Receiver::start_at(address);
    messages.wait_for("is up again");
    let counts = sink.finish(long());
    assert_adds_up(counts);
    assert_eq!((counts.offered, counts.written), (1_000, 1_000));
    assert!(second.got().ids().into_iter().eq(2..=1_000));
}

#[test]
fn a_slow_receiver_fills_the_queue_and_no_more() {
    let receiver = Receiver::start();
    receiver.will([Answer::KeepAndSleep(Duration::from_secs(5))]);
    let (mut sink, _) = start(&config(receiver.address, "queue = 10\nbatch_delay = '0s'"));
    for id in 1..=100 {
        sink.offer(&close(id));
    }
    wait_until("the request is there", || receiver.got().heads.len() == 1);
    let counts = sink.finish(Instant::now());
    assert_adds_up(counts);
    assert_eq!((counts.dropped, counts.queued, counts.written), (90, 10, 0));
}

#[test]
fn tokens_are_read_from_files_again_when_the_configuration_is() {
    let (scratch, receiver) = (Scratch::new(), Receiver::start());
    let file = scratch.path("token");
    let more = format!(
        "batch_delay = '10ms'\nheader_files = {{ authorization = '{}' }}",
        file.display()
    );
    let config = config(receiver.address, &more);
    for (text, why) in [
        (None, "No such file"),
        (Some(""), "it is empty"),
        (Some("a\nb"), "it is not one line of text"),
        (Some(&*"x".repeat(20_000)), "it is too long"),
    ] {
        if let Some(text) = text {
            fs::write(&file, text).expect("a file");
        }
        let error = format!("{:#}", try_start(&config).0.expect_err("no token"));
        let begin = format!(
            "output http:http://{} cannot be used: header_files {}",
            receiver.address,
            file.display()
        );
        assert!(error.starts_with(&begin) && error.contains(why), "{error}");
    }
    fs::write(&file, "Bearer old\n").expect("a file");
    let (mut sink, _) = start(&config);
    sink.offer(&close(1));
    wait_until("the first is taken", || sink.counts().written == 1);
    fs::write(&file, "Bearer new\n").expect("a file");
    sink.adopt(&config, || Ok(render_context()));
    sink.offer(&close(2));
    assert_eq!(sink.finish(long()).written, 2);
    let got = receiver.got();
    let tokens = got
        .heads
        .iter()
        .map(|(_, headers)| &headers["authorization"]);
    assert_eq!(Vec::from_iter(tokens), ["Bearer old", "Bearer new"]);
}

#[cfg(feature = "otlp")]
#[test]
fn tls_is_used_and_the_certificate_checked() {
    let (scratch, right, other) = (Scratch::new(), Authority::new(), Authority::new());
    let (file, receiver) = (scratch.path("ca.pem"), Receiver::start());
    fs::write(&file, right.pem()).expect("a file");
    let ca_file = format!("ca_file = '{}'", file.display());
    let address = right.guard(Protocol::Http, receiver.address, "127.0.0.1");
    let (mut sink, messages) = start(&config_at(&format!("https://{address}/in"), &ca_file));
    sink.offer(&close(1));
    assert_eq!(sink.finish(long()).written, 1, "{:?}", messages.all());
    let address = other.guard(Protocol::Http, receiver.address, "127.0.0.1");
    let (mut sink, messages) = start(&config_at(&format!("https://{address}/in"), &ca_file));
    sink.offer(&close(2));
    messages.wait_for("its certificate is not signed by a trusted authority");
    assert_eq!(sink.finish(Instant::now()).queued, 1);
    assert_eq!(receiver.got().ids(), [1]);
}
