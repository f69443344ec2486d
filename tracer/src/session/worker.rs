//! A thread that answers questions, one after the other: what may take longer than the ring can wait.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, thread};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The thread, which ends with this. The core asks of each thing anew only when it was answered, so what waits here is
/// bounded by what the core holds.
pub(super) struct Worker<Q, A> {
    questions: Sender<Q>,
    answers: UnboundedReceiver<A>,
    /// An answer that [`Self::ready`] has seen.
    next: Option<A>,
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

    /// Waits until there is an answer. Safe to cancel.
    pub async fn ready(&mut self) {
        if self.next.is_none() {
            match self.answers.recv().await {
                Some(answer) => self.next = Some(answer),
                None => std::future::pending().await,
            }
        }
    }

    /// The next answer, if there is one.
    pub fn take(&mut self) -> Option<A> {
        self.next.take().or_else(|| self.answers.try_recv().ok())
    }
}

fn work<Q, A>(asked: &Receiver<Q>, mut answer: impl FnMut(Q) -> A, told: &UnboundedSender<A>) {
    while let Ok(question) = asked.recv() {
        if told.send(answer(question)).is_err() {
            return;
        }
    }
}
