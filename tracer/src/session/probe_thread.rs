//! A thread that answers requests which may take longer than the ring buffer can wait. If the
//! thread panics, its unanswered requests are given up, and another thread is started.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::notice::notice;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::priority;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::reader::MIN_RECORD_AGE;

/// The shortest time between the starts of two threads: the cause of a panic may recur.
const MIN_RESTART_INTERVAL: Nanos = Nanos::from_secs(10);

/// Answers a request, in the worker's thread.
pub(super) type Work<Q, A> = Box<dyn FnMut(&Q) -> A + Send>;

/// A handle to the thread, which ends when the handle is dropped. The core repeats a request only
/// after its answer, so the core's size limits the number of waiting requests.
pub(super) struct ProbeThread<Q, A> {
    name: &'static str,
    /// Returns the work of a new thread, because a panic may leave the old one in any state.
    make_work: Box<dyn FnMut() -> Work<Q, A>>,
    /// Returns the answer to a request that is given up.
    give_up: fn(&Q) -> A,
    /// `None` after a panic, until another thread is started.
    channels: Option<Channels<Q, A>>,
    started: Nanos,
    /// Requests that are not answered yet, oldest first.
    unanswered: VecDeque<Arc<Q>>,
    /// Answers that are not taken yet, oldest first, each with the time at which it was given.
    answers: VecDeque<(Nanos, A)>,
    has_failed: bool,
    given_up: u64,
}

struct Channels<Q, A> {
    requests: Sender<Arc<Q>>,
    answers: UnboundedReceiver<(Nanos, A)>,
}

impl<Q: Send + Sync + 'static, A: Send + 'static> ProbeThread<Q, A> {
    /// Starts a thread that does the work that `make_work` returns. `give_up` returns the answer to
    /// a request whose thread has panicked.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start(
        name: &'static str,
        make_work: impl FnMut() -> Work<Q, A> + 'static,
        give_up: fn(&Q) -> A,
    ) -> io::Result<Self> {
        let mut probe_thread = Self {
            name,
            make_work: Box::new(make_work),
            give_up,
            channels: None,
            started: now(),
            unanswered: VecDeque::new(),
            answers: VecDeque::new(),
            has_failed: false,
            given_up: 0,
        };
        probe_thread.channels = Some(probe_thread.start_thread()?);
        Ok(probe_thread)
    }

    fn start_thread(&mut self) -> io::Result<Channels<Q, A>> {
        let (requests, requested) = channel();
        let (answered, answers) = unbounded_channel();
        let work = (self.make_work)();
        priority::spawn(self.name, move || answer_all(&requested, work, &answered))?;
        Ok(Channels { requests, answers })
    }

    /// Submits a request to the thread.
    pub fn submit(&mut self, request: Q) {
        let at = now();
        if self.channels.is_none() && at - self.started >= MIN_RESTART_INTERVAL {
            self.started = at;
            self.channels = self.start_thread().ok();
        }
        let request = Arc::new(request);
        self.unanswered.push_back(Arc::clone(&request));
        match &self.channels {
            // If the thread has just panicked, the request is given up with the others.
            Some(channels) => drop(channels.requests.send(request)),
            None => self.give_up(),
        }
    }

    /// Waits until there is an answer that is old enough to be taken. Safe to cancel.
    pub async fn wait_for_answer(&mut self) {
        if self.answers.is_empty() {
            let Some(channels) = &mut self.channels else {
                return std::future::pending().await;
            };
            match channels.answers.recv().await {
                Some(answer) => self.answered(answer),
                None => self.panicked(),
            }
        }
        if let Some((given, _)) = self.answers.front() {
            let wait = *given + MIN_RECORD_AGE - now();
            tokio::time::sleep(Duration::from_nanos(wait.0)).await;
        }
    }

    /// Takes the next answer, if it was given by `until`. The records up to that time must have
    /// been passed to the core, because the events before an answer must precede it.
    pub fn take(&mut self, until: Nanos) -> Option<A> {
        if self.answers.is_empty() {
            match self.channels.as_mut()?.answers.try_recv() {
                Ok(answer) => self.answered(answer),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.panicked(),
            }
        }
        let next = self.answers.pop_front_if(|(given, _)| *given <= until)?;
        Some(next.1)
    }

    /// Returns the name of the thread if it has panicked and has not answered since.
    pub fn failed(&self) -> Option<&'static str> {
        self.has_failed.then_some(self.name)
    }

    /// Takes the number of requests that were given up since the last call.
    pub fn take_given_up(&mut self) -> u64 {
        std::mem::take(&mut self.given_up)
    }

    fn answered(&mut self, answer: (Nanos, A)) {
        self.unanswered.pop_front();
        self.answers.push_back(answer);
        if std::mem::take(&mut self.has_failed) {
            let name = self.name;
            notice!("the thread {name} works again");
        }
    }

    fn panicked(&mut self) {
        self.channels = None;
        if !std::mem::replace(&mut self.has_failed, true) {
            let name = self.name;
            notice!(
                "the thread {name} has panicked, which is a bug in tcpclose; another one is started"
            );
        }
        self.give_up();
    }

    fn give_up(&mut self) {
        let at = now();
        self.given_up += self.unanswered.len() as u64;
        for request in self.unanswered.drain(..) {
            self.answers.push_back((at, (self.give_up)(&request)));
        }
    }
}

fn answer_all<Q, A>(
    requests: &Receiver<Arc<Q>>,
    mut work: Work<Q, A>,
    answers: &UnboundedSender<(Nanos, A)>,
) {
    while let Ok(request) = requests.recv() {
        let answer = work(&request);
        if answers.send((now(), answer)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    const GIVEN_UP_OFFSET: u32 = 1000;

    /// Returns a worker whose threads answer with ten times the request and panic at 7, and the
    /// number of threads that were started.
    fn probe_thread() -> (ProbeThread<u32, u32>, Rc<Cell<u32>>) {
        let started = Rc::new(Cell::new(0));
        let count = Rc::clone(&started);
        let make_work = move || -> Work<u32, u32> {
            count.set(count.get() + 1);
            Box::new(|request| {
                assert_ne!(*request, 7, "this panic is part of the test");
                10 * request
            })
        };
        let probe_thread =
            ProbeThread::start("test", make_work, |request| GIVEN_UP_OFFSET + request);
        (probe_thread.expect("a thread"), started)
    }

    /// Waits for this number of answers.
    fn answers(probe_thread: &mut ProbeThread<u32, u32>, count: usize) -> Vec<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let mut answers = Vec::new();
        runtime.expect("a runtime").block_on(async {
            while answers.len() < count {
                let wait_for_answer =
                    tokio::time::timeout(Duration::from_secs(30), probe_thread.wait_for_answer());
                wait_for_answer
                    .await
                    .expect("a worker that panics is noticed");
                answers.extend(std::iter::from_fn(|| probe_thread.take(now())));
            }
        });
        answers
    }

    #[test]
    fn requests_of_a_thread_that_panics_are_given_up() {
        let (mut probe_thread, _) = probe_thread();
        for request in [1, 7, 2] {
            probe_thread.submit(request);
        }
        assert_eq!(
            answers(&mut probe_thread, 3),
            [10, GIVEN_UP_OFFSET + 7, GIVEN_UP_OFFSET + 2]
        );
        assert_eq!(probe_thread.failed(), Some("test"));
        assert_eq!(probe_thread.take_given_up(), 2);
        assert_eq!(probe_thread.take_given_up(), 0);
    }

    #[test]
    fn another_thread_is_started_after_a_while() {
        let (mut probe_thread, started) = probe_thread();
        probe_thread.submit(7);
        answers(&mut probe_thread, 1);
        // The thread was started a moment ago.
        probe_thread.submit(3);
        assert_eq!(answers(&mut probe_thread, 1), [GIVEN_UP_OFFSET + 3]);
        assert_eq!(started.get(), 1);
        probe_thread.started = now() - MIN_RESTART_INTERVAL;
        probe_thread.submit(4);
        assert_eq!(
            probe_thread.failed(),
            Some("test"),
            "it has not answered yet"
        );
        assert_eq!(answers(&mut probe_thread, 1), [40]);
        assert_eq!((probe_thread.failed(), started.get()), (None, 2));
        assert_eq!(probe_thread.take_given_up(), 2);
    }

    #[test]
    fn answers_given_later_are_left() {
        let (mut probe_thread, _) = probe_thread();
        let before = now();
        probe_thread.submit(1);
        assert_eq!(answers(&mut probe_thread, 1), [10]);
        probe_thread.submit(2);
        while probe_thread.answers.is_empty() {
            assert_eq!(probe_thread.take(before), None);
            std::thread::yield_now();
        }
        assert_eq!(probe_thread.take(now()), Some(20));
    }
}
