//! Receivers that follow a script, and outputs to them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::sink_thread::RetryDelays;
use super::super::transport::{Delivered, Transport, Unavailable};
use super::super::*;
use crate::output::samples;
use tcpclose_core::finding::{Close, Endpoint, Finding};
use tcpclose_core::types::{EndpointId, Nanos};

/// Longer than anything here takes, even on the slowest machine.
pub(super) const LONG: Duration = Duration::from_secs(60);

pub(super) fn long() -> Instant {
    Instant::now() + LONG
}

pub(super) fn close(id: u64) -> Arc<Record> {
    let sample = samples::three_way();
    Arc::new(Record::Finding(Finding::Close(Box::new(Close {
        at: Nanos(id),
        endpoint: Endpoint {
            id: EndpointId(id),
            ..sample.endpoint
        },
        ..sample
    }))))
}

/// What a receiver does with one delivery: it accepts records, refuses records, and then may be
/// down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub written: usize,
    pub failed: usize,
    pub down: bool,
}

impl Turn {
    /// A receiver that accepts nothing.
    pub const DOWN: Self = Self {
        written: 0,
        failed: 0,
        down: true,
    };
}

/// Follows its script, then accepts everything.
pub(super) struct Scripted {
    turns: VecDeque<Turn>,
    pub got: Arc<Mutex<Vec<Arc<Record>>>>,
}

impl Scripted {
    pub fn new(turns: impl Into<VecDeque<Turn>>) -> Self {
        Self {
            turns: turns.into(),
            got: Arc::default(),
        }
    }
}

impl Transport for Scripted {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        let turn = self.turns.pop_front().unwrap_or(Turn {
            written: usize::MAX,
            failed: 0,
            down: false,
        });
        let written = turn.written.min(records.len());
        let failed = turn.failed.min(records.len() - written);
        let got = records[..written].iter().cloned();
        self.got.lock().expect("no panic").extend(got);
        Delivered {
            written,
            failed,
            uncertain: 0,
            refusal: (failed > 0).then(|| "it is malformed".to_owned()),
            unavailable: turn
                .down
                .then(|| Unavailable::from("it is gone".to_owned())),
        }
    }
}

/// Accepts one record for each permit.
pub(super) struct Gate {
    allowed: Receiver<()>,
    pub got: Arc<Mutex<Vec<Arc<Record>>>>,
}

impl Gate {
    pub fn new(allowed: Receiver<()>) -> Self {
        Self {
            allowed,
            got: Arc::default(),
        }
    }
}

impl Transport for Gate {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        // Without a sender, everything is accepted.
        let _ = self.allowed.recv();
        let mut got = self.got.lock().expect("no panic");
        got.push(Arc::clone(&records[0]));
        Delivered {
            written: 1,
            ..Delivered::default()
        }
    }
}

pub(super) struct Started {
    pub sink: Sink,
    pub messages: Receiver<String>,
}

pub(super) fn start(config: &SinkConfig, transport: impl Transport + 'static) -> Started {
    let (sender, messages) = mpsc::channel();
    let notify = move |message: &str| drop(sender.send(message.to_owned()));
    let retry_delays = RetryDelays {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
    };
    let (transport, notify) = (Box::new(transport), Box::new(notify));
    let sink = Sink::spawn(
        config,
        transport,
        LastAccepted::default(),
        notify,
        retry_delays,
    );
    let sink = sink.expect("a thread");
    Started { sink, messages }
}

pub(super) fn config(queue: usize) -> SinkConfig {
    SinkConfig {
        queue: NonZeroUsize::new(queue).expect("a capacity"),
        ..SinkConfig::new(Target::Stdout)
    }
}

pub(super) fn gated(queue: usize) -> (Started, Sender<()>) {
    let (gate, closed) = mpsc::channel();
    (start(&config(queue), Gate::new(closed)), gate)
}
