//! Looks at sockets that may be stuck, in a thread of their own: they read through /proc, and the loop must not wait for
//! that.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::leaks::Asker;
use crate::lifecycle::leak::{Answers, Question};

/// The thread. The core asks anew only when it was answered, so there is never more than one round on its way.
pub(super) struct Looks {
    questions: Sender<Vec<Question>>,
    answers: UnboundedReceiver<Answers>,
    /// Answers that [`Looks::ready`] has seen.
    next: Option<Answers>,
}

impl Looks {
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let (questions, asked) = channel();
        let (answer, answers) = unbounded_channel();
        thread::Builder::new()
            .name("looks".into())
            .spawn(move || work(&asked, &answer))?;
        Ok(Self {
            questions,
            answers,
            next: None,
        })
    }

    pub fn ask(&mut self, questions: Vec<Question>) {
        // A thread that is gone answers nothing: see `work`.
        let _ = self.questions.send(questions);
    }

    /// Waits until there are answers. Safe to cancel.
    pub async fn ready(&mut self) {
        if self.next.is_none() {
            match self.answers.recv().await {
                Some(answers) => self.next = Some(answers),
                None => std::future::pending().await,
            }
        }
    }

    /// The answers, if there are any.
    pub fn take(&mut self) -> Option<Answers> {
        self.next.take().or_else(|| self.answers.try_recv().ok())
    }
}

/// Ends with the session.
fn work(asked: &Receiver<Vec<Question>>, answer: &UnboundedSender<Answers>) {
    let mut asker = Asker::default();
    while let Ok(questions) = asked.recv() {
        if answer.send(asker.answer(&questions)).is_err() {
            return;
        }
    }
}
