//! The endpoint, over loopback, with snapshots that the test gives.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use super::*;
use crate::output::state::Output;
use tcpclose_core::types::Nanos;

fn start(scrapes: mpsc::Sender<Scrape>) -> Endpoint {
    let config = config::Prometheus {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        ..config::Prometheus::default()
    };
    Endpoint::start(&config, scrapes).expect("a port is free")
}

fn get(endpoint: &Endpoint, request: &str) -> String {
    let mut stream = TcpStream::connect(endpoint.address()).expect("it listens");
    write!(stream, "{request} HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_loop_that_does_not_run_is_unhealthy_with_a_reason() {
    let (scrapes, requests) = mpsc::channel(1);
    let endpoint = start(scrapes);
    for path in ["/healthz", "/metrics"] {
        let answer = get(&endpoint, &format!("GET {path}"));
        assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
        assert!(answer.contains("event loop has not answered"), "{answer}");
    }
    drop(requests);
    let answer = get(&endpoint, "GET /healthz");
    assert!(answer.contains("the tracer has ended"), "{answer}");
}

#[test]
fn an_output_that_is_down_is_listed() {
    let (scrapes, mut requests) = mpsc::channel::<Scrape>(1);
    let endpoint = start(scrapes);
    let answering = thread::spawn(move || {
        let outputs = vec![Output {
            state: OutputState::Down {
                since: Nanos(0),
                reason: "no space left".to_owned(),
            },
            ..Output::default()
        }];
        let snapshot = Arc::new(Snapshot {
            outputs,
            ..Snapshot::default()
        });
        while let Some(request) = requests.blocking_recv() {
            let _ = request.send(snapshot.clone());
        }
    });
    let answer = get(&endpoint, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    assert!(answer.contains("is down: no space left"), "{answer}");
    let answer = get(&endpoint, "POST /metrics");
    assert!(answer.starts_with("HTTP/1.0 405 "), "{answer}");
    drop(endpoint);
    answering
        .join()
        .expect("the channel ends with the endpoint");
}

#[test]
fn a_thread_that_has_panicked_makes_the_agent_unhealthy() {
    let (scrapes, mut requests) = mpsc::channel::<Scrape>(1);
    let endpoint = start(scrapes);
    let answering = thread::spawn(move || {
        for failed_threads in [vec!["sock_diag"], vec![]] {
            let snapshot = Snapshot {
                failed_threads,
                ..Snapshot::default()
            };
            let request = requests.blocking_recv().expect("a request");
            let _ = request.send(Arc::new(snapshot));
        }
    });
    let answer = get(&endpoint, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
    assert!(answer.contains("panicked: sock_diag"), "{answer}");
    let answer = get(&endpoint, "GET /healthz");
    assert!(answer.starts_with("HTTP/1.0 200 "), "{answer}");
    answering.join().expect("two requests came");
}

#[test]
fn silent_clients_keep_nobody_waiting() {
    let (scrapes, mut requests) = mpsc::channel::<Scrape>(1);
    let endpoint = start(scrapes);
    let silent: Vec<_> = (0..=MAX_CLIENTS)
        .map(|_| TcpStream::connect(endpoint.address()).expect("it listens"))
        .collect();
    thread::spawn(move || {
        while let Some(request) = requests.blocking_recv() {
            let _ = request.send(Arc::default());
        }
    });
    for path in ["/metrics", "/healthz"] {
        let begun = Instant::now();
        let answer = get(&endpoint, &format!("GET {path}"));
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
    let endpoint = start(scrapes.clone());
    let config = config::Prometheus {
        listen: endpoint.address(),
        ..config::Prometheus::default()
    };
    let taken = Endpoint::start(&config, scrapes.clone()).expect_err("it is in use");
    assert!(
        format!("{taken:#}").contains("cannot listen on"),
        "{taken:#}"
    );
    let _client = TcpStream::connect(endpoint.address()).expect("it listens");
    let runtime = runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(endpoint.stop());
    Endpoint::start(&config, scrapes).expect("it is free");
}
