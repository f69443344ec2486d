//! A thread that answers questions, one after the other: what may take longer than the ring can wait.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::clock::now;
use tcpclose_sys::kernel::reader::SETTLED;

/// The thread, which ends with this. The core asks of each thing anew only when it was answered, so what waits here is
/// bounded by what the core holds.
pub(super) struct Worker<Q, A> {
    questions: Sender<Q>,
    /// With the time at which each was given.
    answers: UnboundedReceiver<(Nanos, A)>,
    /// The next one, where it was seen and not taken yet.
    next: Option<(Nanos, A)>,
}

impl<Q: Send + 'static, A: Send + 'static> Worker<Q, A> {
    /// # Errors
    /// The thread cannot be started.
    pub fn start(name: &str, answer: impl FnMut(Q) -> A + Send + 'static) -> io::Result<Self> {
        let (questions, asked) = channel();
        let (told, answers) = unbounded_channel();
        thread::Builder::new()
            .name(name.into())
            .spawn(move || work(&asked, answer, &told))?;
        Ok(Self {
            questions,
            answers,
            next: None,
        })
    }

    pub fn ask(&mut self, question: Q) {
        // A thread that is gone answers nothing: see `work`.
        let _ = self.questions.send(question);
    }

    /// Waits until there is an answer that is old enough to be taken. Safe to cancel.
    pub async fn ready(&mut self) {
        if self.next.is_none() {
            match self.answers.recv().await {
                Some(answer) => self.next = Some(answer),
                None => std::future::pending().await,
            }
        }
        if let Some((given, _)) = &self.next {
            let wait = *given + SETTLED - now();
            tokio::time::sleep(Duration::from_nanos(wait.0)).await;
        }
    }

    /// The next answer that was given by `until`. Up to then the records must have been taken: what has led to the answer
    /// must be known before it.
    pub fn take(&mut self, until: Nanos) -> Option<A> {
        let next = self.next.take().or_else(|| self.answers.try_recv().ok())?;
        if next.0 > until {
            self.next = Some(next);
            return None;
        }
        Some(next.1)
    }
}

fn work<Q, A>(
    asked: &Receiver<Q>,
    mut answer: impl FnMut(Q) -> A,
    told: &UnboundedSender<(Nanos, A)>,
) {
    while let Ok(question) = asked.recv() {
        let answer = answer(question);
        if told.send((now(), answer)).is_err() {
            return;
        }
    }
}
