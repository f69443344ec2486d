//! The server, over loopback, with snapshots that the test gives.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Instant;

use super::*;
use crate::output_status::OutputStatus;
use tcpclose_core::types::Nanos;

fn start(scrapes: mpsc::Sender<Scrape>) -> HttpServer {
    let config = config::PrometheusConfig {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        ..config::PrometheusConfig::default()
    };
    HttpServer::start(&config, scrapes).expect("a port is free")
}

fn get(http_server: &HttpServer, request: &str) -> String {
    let mut stream = TcpStream::connect(http_server.address()).expect("it listens");
    write!(stream, "{request} HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_loop_that_does_not_run_is_unhealthy_with_a_reason() {
    let (scrapes, requests) = mpsc::channel(1);
    let http_server = start(scrapes);
    for path in ["/healthz", "/metrics"] {
        let answer = get(&http_server, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
        assert!(answer.contains("event loop has not answered"), "{answer}");
    }
    drop(requests);
    let answer = get(&http_server, "GET /healthz");
    assert!(answer.contains("the tracer has ended"), "{answer}");
}

#[test]
fn an_output_that_is_down_is_listed() {
    let (scrapes, mut requests) = mpsc::channel::<Scrape>(1);
    let http_server = start(scrapes);
    let answering = thread::spawn(move || {
        let outputs = vec![OutputStatus {
            state: OutputState::Down {
                since: Nanos(0),
                reason: "no space left".to_owned(),
            },
            ..OutputStatus::default()
        }];
        let snapshot = Arc::new(MetricsSnapshot {
            outputs,
            ..MetricsSnapshot::default()
        });
        while let Some(request) = requests.blocking_recv() {
            let _ = request.send(snapshot.clone());
        }
    });
    let answer = get(&http_server, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.contains("is down: no space left"), "{answer}");
    let answer = get(&http_server, "POST /metrics");
    assert!(answer.starts_with("HTTP/1.0 405 "), "{answer}");
    drop(http_server);
    answering.join().expect("the channel ends with the server");
}

#[test]
fn a_thread_that_has_panicked_makes_the_agent_unhealthy() {
    let (scrapes, mut requests) = mpsc::channel::<Scrape>(1);
    let http_server = start(scrapes);
    let answering = thread::spawn(move || {
        for failed_threads in [vec!["sock_diag"], vec![]] {
            let snapshot = MetricsSnapshot {
                failed_threads,
                ..MetricsSnapshot::default()
            };
            let request = requests.blocking_recv().expect("a request");
            let _ = request.send(Arc::new(snapshot));
        }
    });
    let answer = get(&http_server, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    assert!(answer.contains("panicked: sock_diag"), "{answer}");
    let answer = get(&http_server, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    answering.join().expect("two requests came");
}

#[test]
fn silent_clients_do_not_delay_others() {
    let (scrapes, mut requests) = mpsc::channel::<Scrape>(1);
    let http_server = start(scrapes);
    let silent: Vec<_> = (0..=MAX_CLIENTS)
        .map(|_| TcpStream::connect(http_server.address()).expect("it listens"))
        .collect();
    thread::spawn(move || {
        while let Some(request) = requests.blocking_recv() {
            let _ = request.send(Arc::default());
        }
    });
    for path in ["/metrics", "/healthz"] {
        let begun = Instant::now();
        let answer = get(&http_server, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
        assert!(begun.elapsed() < REQUEST_TIMEOUT, "it waited for them");
    }
    // The oldest connections were closed for it, the youngest was not.
    let read = |mut stream: &TcpStream| stream.read(&mut [0]);
    assert_eq!(read(&silent[0]).expect("it is closed"), 0);
    let youngest = &silent[MAX_CLIENTS];
    youngest.set_nonblocking(true).expect("a socket");
    read(youngest).expect_err("it is open");
}

#[test]
fn the_address_is_free_after_the_end() {
    let (scrapes, _requests) = mpsc::channel::<Scrape>(1);
    let http_server = start(scrapes.clone());
    let config = config::PrometheusConfig {
        listen: http_server.address(),
        ..config::PrometheusConfig::default()
    };
    let taken = HttpServer::start(&config, scrapes.clone()).expect_err("it is in use");
    assert!(
        format!("{taken:#}").contains("cannot listen on"),
        "{taken:#}"
    );
    let _client = TcpStream::connect(http_server.address()).expect("it listens");
    let runtime = runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(http_server.stop());
    HttpServer::start(&config, scrapes).expect("it is free");
}
