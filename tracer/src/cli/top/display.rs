//! Where views go: a full screen, or blocks of text where there is none.

use std::env;
use std::fs::File;
use std::future::pending;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::args::TopArgs;
use super::message::Message;
use super::screen::{Screen, ScreenEvent};
use crate::cli::common::FLUSH_TIMEOUT;
use crate::output::symbols::Symbols;
use crate::output::terminal;
use crate::output::top::{Effect, Theme, View, block_text};
use crate::output::unbuffered_stdout::unbuffered_stdout;

/// The columns of text where stdout is no terminal.
const DEFAULT_WIDTH: u16 = 80;

/// Where views go.
pub(super) enum Display {
    /// A full screen.
    Screen(Screen),
    /// Blocks of text.
    Blocks(Blocks),
}

/// What the user or the output wants.
pub(super) enum DisplayEvent {
    /// What a key was pressed for.
    Effect(Effect),
    /// The end, since nobody reads.
    End(io::Result<()>),
}

/// Returns whether stdout is a terminal that can have a full screen.
pub(in crate::cli) fn has_screen() -> bool {
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    terminal::is_stdout() && !is_dumb
}

/// Returns the columns of blocks of text.
pub(super) fn block_width() -> u16 {
    terminal::width().unwrap_or(DEFAULT_WIDTH)
}

impl Display {
    /// Takes the terminal, or starts to write text.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub fn start(args: &TopArgs, is_replay: bool) -> io::Result<Self> {
        let look = Theme {
            symbols: terminal::symbols(),
            colours: args.has_colours(),
        };
        Ok(match has_screen() {
            true => Self::Screen(Screen::start(look, args.first, is_replay)?),
            false => Self::Blocks(Blocks::start(look.symbols, is_replay)?),
        })
    }

    pub fn show(&mut self, view: View) {
        match self {
            Self::Screen(screen) => screen.show(view),
            Self::Blocks(blocks) => blocks.show(&view),
        }
    }

    /// Passes a message on to the screen.
    pub fn send(&self, message: Message) {
        if let Self::Screen(screen) = self {
            screen.send(message);
        }
    }

    /// Waits for what the user or the output wants. Safe to cancel.
    pub async fn wanted(&mut self) -> DisplayEvent {
        match self {
            Self::Screen(screen) => match screen.reported().await {
                Some(ScreenEvent::Effect(effect)) => DisplayEvent::Effect(effect),
                Some(ScreenEvent::Gone(error)) => DisplayEvent::End(Err(error)),
                None => DisplayEvent::End(Err(io::Error::other("the thread that draws has ended"))),
            },
            Self::Blocks(blocks) => DisplayEvent::End(blocks.ended().await),
        }
    }

    /// Gives the terminal back, or writes what is left.
    pub fn end(self) {
        match self {
            Self::Screen(screen) => screen.end(FLUSH_TIMEOUT),
            Self::Blocks(blocks) => blocks.end(FLUSH_TIMEOUT),
        }
    }
}

/// A thread that writes blocks of text. A slow reader misses some of the running host, and none of
/// a recording, which can wait.
pub(super) struct Blocks {
    blocks: SyncSender<String>,
    waits_for_reader: bool,
    symbols: Symbols,
    failed: Option<oneshot::Receiver<io::Error>>,
    done: Receiver<()>,
}

impl Blocks {
    fn start(symbols: Symbols, waits_for_reader: bool) -> io::Result<Self> {
        let out = unbuffered_stdout()?;
        let (blocks, received) = sync_channel(1);
        let (fail, failed) = oneshot::channel();
        let (alive, done) = sync_channel(0);
        thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                let _alive: SyncSender<()> = alive;
                if let Err(error) = write_all(out, &received) {
                    let _ = fail.send(error);
                }
            })?;
        Ok(Self {
            blocks,
            waits_for_reader,
            symbols,
            failed: Some(failed),
            done,
        })
    }

    fn show(&self, view: &View) {
        let text = block_text(view, block_width(), self.symbols);
        // Who no longer receives has reported why.
        if self.waits_for_reader {
            let _ = self.blocks.send(text);
        } else {
            let _ = self.blocks.try_send(text);
        }
    }

    /// Waits until writing has failed. A reader that has gone is no error.
    async fn ended(&mut self) -> io::Result<()> {
        match &mut self.failed {
            None => pending().await,
            Some(failed) => match failed.await {
                Ok(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                Ok(error) => Err(error),
                Err(_) => {
                    self.failed = None;
                    pending().await
                }
            },
        }
    }

    fn end(self, timeout: Duration) {
        let Self { blocks, done, .. } = self;
        drop(blocks);
        let _ = done.recv_timeout(timeout);
    }
}

fn write_all(mut out: File, blocks: &Receiver<String>) -> io::Result<()> {
    for block in blocks {
        out.write_all(block.as_bytes())?;
    }
    Ok(())
}
