//! Whatever ends the loop, nothing that was found is lost.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;

use super::core_driver::{CoreDriver, OnTransition};
use super::event_loop::{Consumer, Session, first_failure};
use super::recording::Recording;
use super::source::Source;
use crate::clock_offset::ClockOffset;
use crate::recording::{Head, IfExists, Reader};
use tcpclose_core::Input;
use tcpclose_core::finding::{Finding, Loss, LossLocation};
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

/// Returns a finding that its number identifies.
fn loss(lost: u64) -> Input {
    Input::Loss(Loss {
        at: Nanos(lost),
        lost,
        location: LossLocation::Ring,
        repaired: false,
        duration: None,
    })
}

enum Round {
    /// Brings these findings.
    Brings(u64),
    WaitFails,
    /// Brings a finding, and cannot be read further.
    PumpFails(u64),
}

struct FakeSource {
    rounds: VecDeque<Round>,
    /// What is still on its way at the end.
    last: Option<u64>,
}

impl Source for FakeSource {
    async fn wait(&mut self, _: &CoreDriver) -> anyhow::Result<()> {
        match self.rounds.front() {
            Some(Round::WaitFails) => anyhow::bail!("the kernel is gone"),
            Some(_) => Ok(()),
            None => std::future::pending().await,
        }
    }

    fn pump(
        &mut self,
        core: &mut CoreDriver,
        _: &ClockOffset,
        _: OnTransition<'_>,
    ) -> anyhow::Result<ControlFlow<()>> {
        match self.rounds.pop_front() {
            Some(Round::Brings(number)) => core.take(&loss(number)),
            Some(Round::PumpFails(number)) => {
                core.take(&loss(number));
                anyhow::bail!("the ring cannot be read");
            }
            Some(Round::WaitFails) | None => {}
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn settle(&mut self) {}

    fn drain(
        &mut self,
        core: &mut CoreDriver,
        _: &ClockOffset,
        _: OnTransition<'_>,
    ) -> anyhow::Result<()> {
        if let Some(number) = self.last {
            core.take(&loss(number));
        }
        Ok(())
    }

    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

#[derive(Clone, Default)]
struct FakeConsumer {
    found: Rc<RefCell<Vec<u64>>>,
    finished: Rc<RefCell<u32>>,
    fails_at: Option<u64>,
    wake_fails: bool,
    wants: usize,
}

impl Consumer<FakeSource> for FakeConsumer {
    type Output = ();

    async fn wait(&mut self) {
        if !self.wake_fails {
            std::future::pending().await
        }
    }

    fn on_wake(&mut self, _: &mut Session<FakeSource>) -> anyhow::Result<()> {
        anyhow::bail!("the interval cannot end")
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        let Finding::Loss(loss) = finding else {
            panic!("only losses went in")
        };
        self.found.borrow_mut().push(loss.lost);
        anyhow::ensure!(self.fails_at != Some(loss.lost), "the disk is full");
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.found.borrow().len() >= self.wants
    }

    fn finish(self, _: &mut Session<FakeSource>) -> anyhow::Result<()> {
        *self.finished.borrow_mut() += 1;
        Ok(())
    }
}

/// Runs these rounds, and returns what the consumer got, and what the session ended with.
fn run(consumer: FakeConsumer, rounds: impl IntoIterator<Item = Round>) -> (Vec<u64>, String) {
    let file = Scratch::new();
    let head = Head::new(&TraceOptions::default(), Tier::Btf, 10);
    let recording = Recording::prepare(&file.0, IfExists::Refuse, &head).expect("a file of ours");
    let mut session = Session {
        source: FakeSource {
            rounds: rounds.into_iter().collect(),
            last: Some(99),
        },
        core: CoreDriver::new(&head, Some(recording)),
        clock: ClockOffset::new(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let ended = runtime.block_on(session.run(consumer.clone()));
    assert_eq!(*consumer.finished.borrow(), 1, "it was not finished");
    let found = consumer.found.take();
    assert_eq!(recorded(&file), found, "the recording lacks some");
    (
        found,
        ended
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default(),
    )
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or_default().replace(':', "-");
        let name = format!("tcpclose-{}-{name}.rec", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn recorded(file: &Scratch) -> Vec<u64> {
    let mut reader = Reader::open(&file.0).expect("a recording");
    let mut lost = Vec::new();
    while let Some(entry) = reader.next_entry().expect("it is whole, with its end") {
        if let crate::recording::Entry::Input(Input::Loss(loss)) = entry {
            lost.push(loss.lost);
        }
    }
    lost
}

fn wants(wants: usize) -> FakeConsumer {
    FakeConsumer {
        wants,
        ..FakeConsumer::default()
    }
}

#[test]
fn what_is_on_its_way_at_the_end_is_found_too() {
    let (found, error) = run(
        wants(2),
        [Round::Brings(1), Round::Brings(2), Round::Brings(3)],
    );
    assert_eq!((found, error.as_str()), (vec![1, 2, 99], ""));
}

#[test]
fn a_kernel_that_can_no_longer_be_waited_for_loses_nothing() {
    let (found, error) = run(wants(9), [Round::Brings(1), Round::WaitFails]);
    assert_eq!((found, error.as_str()), (vec![1, 99], "the kernel is gone"));
}

#[test]
fn what_came_before_a_ring_fails_is_found() {
    let (found, error) = run(wants(9), [Round::Brings(1), Round::PumpFails(2)]);
    assert_eq!(found, [1, 2, 99]);
    assert_eq!(error, "the ring cannot be read");
}

#[test]
fn a_consumer_that_fails_gets_the_rest_and_is_finished() {
    let consumer = FakeConsumer {
        fails_at: Some(1),
        ..wants(9)
    };
    let (found, error) = run(consumer, [Round::Brings(1), Round::Brings(2)]);
    assert_eq!((found, error.as_str()), (vec![1, 99], "the disk is full"));
}

#[test]
fn a_wake_that_fails_ends_the_session_as_any_other_end_does() {
    let consumer = FakeConsumer {
        wake_fails: true,
        ..wants(9)
    };
    let (found, error) = run(consumer, []);
    assert_eq!(found, [99]);
    assert_eq!(error, "the interval cannot end");
}

#[test]
fn only_the_first_failure_ends_a_session_and_the_others_are_reported() {
    let failures = ["the disk is full", "the ring is broken", "stdout is closed"];
    let mut reported = Vec::new();
    let first = first_failure(failures.map(anyhow::Error::msg).into_iter(), |other| {
        reported.push(other.to_string());
    });
    assert_eq!(
        first.map(|error| error.to_string()).as_deref(),
        Some(failures[0])
    );
    assert_eq!(reported, failures[1..]);
    assert!(first_failure(std::iter::empty(), |_| panic!("there is none")).is_none());
}
