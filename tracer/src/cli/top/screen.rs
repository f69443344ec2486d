//! The thread that has the terminal: takes keys and views, and draws. A terminal that is slow holds
//! up nothing else.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, kill_process};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::message::Message;
use super::painter::Painter;
use super::{keys, terminal_guard};
use crate::notice;
use crate::output::top::{Effect, Key, ListKind, ScreenState, Theme, View, draw};

/// The shortest time between two screens.
const MIN_DRAW_INTERVAL: Duration = Duration::from_millis(50);
/// For so long a message to the user is on the screen.
const NOTICE_DELAY: Duration = Duration::from_secs(10);

/// What the thread reports.
pub(super) enum ScreenEvent {
    /// Somebody has pressed a key for this.
    Effect(Effect),
    /// The thread has ended, because the terminal is gone or cannot be used.
    Gone(io::Error),
}

/// The thread, as others see it.
pub(super) struct Screen {
    messages: Sender<Message>,
    /// The newest view that is not drawn yet.
    view: Arc<Mutex<Option<Box<View>>>>,
    reports: UnboundedReceiver<ScreenEvent>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// It cannot be used, or the threads cannot be started.
    pub fn start(look: Theme, first: ListKind, is_replay: bool) -> io::Result<Self> {
        let painter = Painter::new()?;
        terminal_guard::take()?;
        let (messages, received) = channel();
        let (report, reports) = unbounded_channel();
        let (alive, ended) = channel();
        let view = Arc::new(Mutex::new(None));
        let mut thread = ScreenThread {
            painter,
            look,
            state: ScreenState::new(look.symbols, is_replay).beginning_with(first),
            incoming: Arc::clone(&view),
            view: None,
            notice: None,
            report,
        };
        let started = keys::start(messages.clone()).and_then(|()| {
            let builder = thread::Builder::new().name("screen".to_owned());
            builder.spawn(move || {
                let _alive: Sender<()> = alive;
                let ended = thread.run(&received);
                terminal_guard::give_back();
                if let Err(error) = ended {
                    let _ = thread.report.send(ScreenEvent::Gone(error));
                }
            })
        });
        if let Err(error) = started {
            terminal_guard::give_back();
            return Err(error);
        }
        Ok(Self {
            messages,
            view,
            reports,
            ended,
        })
    }

    /// Shows a view, unless a newer one comes first.
    pub fn show(&self, view: View) {
        let mut incoming = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if incoming.replace(Box::new(view)).is_none() {
            self.send(Message::View);
        }
    }

    /// Passes a message on. Safe after the thread has ended.
    pub fn send(&self, message: Message) {
        let _ = self.messages.send(message);
    }

    /// Waits for what the thread reports; `None` when it has ended. Safe to cancel.
    pub async fn reported(&mut self) -> Option<ScreenEvent> {
        self.reports.recv().await
    }

    /// Gives the terminal back. One that takes no output is left after a while.
    pub fn end(self, timeout: Duration) {
        self.send(Message::End);
        let _ = self.ended.recv_timeout(timeout);
        terminal_guard::give_back();
    }
}

struct ScreenThread {
    painter: Painter,
    look: Theme,
    state: ScreenState,
    incoming: Arc<Mutex<Option<Box<View>>>>,
    view: Option<Box<View>>,
    notice: Option<(String, Instant)>,
    report: UnboundedSender<ScreenEvent>,
}

/// What is to be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Nothing,
    Changes,
    All,
}

impl ScreenThread {
    fn run(&mut self, messages: &Receiver<Message>) -> io::Result<()> {
        let mut due = Due::All;
        let mut drawn: Option<Instant> = None;
        loop {
            let next = drawn.map_or(Duration::ZERO, |at| {
                MIN_DRAW_INTERVAL.saturating_sub(at.elapsed())
            });
            let message = match due {
                Due::Nothing => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                _ => messages.recv_timeout(next),
            };
            match message {
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(message) => due = due.max(self.take(message)?),
                Err(RecvTimeoutError::Timeout) => {
                    self.draw(due == Due::All)?;
                    (due, drawn) = (Due::Nothing, Some(Instant::now()));
                }
            }
        }
    }

    fn take(&mut self, message: Message) -> io::Result<Due> {
        match message {
            Message::Key(key) => return self.press(key),
            Message::View => {
                let mut incoming = self.incoming.lock();
                let incoming = incoming.as_deref_mut();
                let view = incoming.map_or(None, Option::take);
                if self.state.stands_still() && self.view.is_some() {
                    return Ok(Due::Nothing);
                }
                self.view = view.or(self.view.take());
            }
            Message::Resize => {}
            Message::Suspend => return self.suspend(),
            Message::Continued => {
                terminal_guard::take_again()?;
                return Ok(Due::All);
            }
            Message::Gone(Some(error)) => return Err(error),
            Message::Gone(None) => {
                return Err(io::Error::other("the terminal is gone"));
            }
            Message::End => {}
        }
        Ok(Due::Changes)
    }

    fn press(&mut self, key: Key) -> io::Result<Due> {
        self.notice = None;
        match self.state.press(key, self.view.as_deref()) {
            Effect::Draw => return Ok(Due::Changes),
            Effect::DrawAll => return Ok(Due::All),
            Effect::Suspend => return self.suspend(),
            effect => {
                let _ = self.report.send(ScreenEvent::Effect(effect));
            }
        }
        Ok(Due::Changes)
    }

    /// Stops the whole program, with the terminal given back, until it is continued.
    fn suspend(&mut self) -> io::Result<Due> {
        terminal_guard::give_back();
        kill_process(getpid(), Signal::STOP)?;
        terminal_guard::take()?;
        Ok(Due::All)
    }

    fn draw(&mut self, all: bool) -> io::Result<()> {
        if let Some(new) = notice::take_new() {
            self.notice = Some((new, Instant::now()));
        }
        let notice = self.notice.as_ref();
        let notice = notice.filter(|(_, at)| at.elapsed() < NOTICE_DELAY);
        let notice = notice.map(|(text, _)| &**text);
        let (state, view, look) = (&mut self.state, self.view.as_deref(), self.look);
        self.painter
            .paint(all, |buffer| draw(buffer, state, view, look, notice))
    }
}
