//! Receivers that do as a script says, and outputs to them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::super::transport::{Delivered, Transport, Unavailable};
use super::super::worker::Pauses;
use super::super::*;
use crate::output::samples;
use tcpclose_core::finding::{Close, Endpoint, Finding};
use tcpclose_core::types::{EndpointId, Nanos};

/// Longer than anything here takes on the slowest machine.
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

/// What a receiver does with one delivery: this many records are taken, this many refused, and then it may be down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub written: usize,
    pub failed: usize,
    pub down: bool,
}

impl Turn {
    /// Nothing is taken.
    pub const DOWN: Self = Self {
        written: 0,
        failed: 0,
        down: true,
    };
}

/// Does what its script says, then takes everything.
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
            refusal: (failed > 0).then(|| "it is not to its taste".to_owned()),
            down: turn
                .down
                .then(|| Unavailable::from("it is gone".to_owned())),
        }
    }
}

/// Takes a record whenever it is allowed to.
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
        // A gate that is gone stands open.
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
    pub said: Receiver<String>,
}

pub(super) fn start(config: &SinkConfig, delivery: impl Transport + 'static) -> Started {
    let (ear, said) = mpsc::channel();
    let say = move |sentence: &str| drop(ear.send(sentence.to_owned()));
    let pauses = Pauses {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(4),
    };
    let sink = Sink::deliver(config, Box::new(delivery), Box::new(say), pauses).expect("a thread");
    Started { sink, said }
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
