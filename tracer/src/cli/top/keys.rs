//! Reads keys from the terminal, in a thread of its own.
//!
//! Not by crossterm's reader: on a terminal that is gone it takes a whole processor for ever, and a
//! key that comes together with a new size waits for the next one (0.29, `try_read` in
//! `event/source/unix/mio.rs`).

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::sync::mpsc::Sender;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::key_decoder::KeyDecoder;
use super::message::Message;

/// For so long the rest of a sequence may be on its way.
const SEQUENCE_TIMEOUT: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Sends keys until the terminal or the receiver is gone. Without a terminal there are none.
///
/// # Errors
/// The thread cannot be started.
pub(super) fn start(messages: Sender<Message>) -> io::Result<()> {
    let Ok(terminal) = keyboard() else {
        return Ok(());
    };
    let thread = thread::Builder::new().name("keys".to_owned());
    thread.spawn(move || {
        let ended = read(&terminal, &messages);
        let _ = messages.send(Message::Gone(ended.err()));
    })?;
    Ok(())
}

/// Returns the terminal that keys come from: stdin, or else the one that controls the process.
fn keyboard() -> io::Result<File> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => Ok(stdin.as_fd().try_clone_to_owned()?.into()),
        false => File::open("/dev/tty"),
    }
}

fn read(mut terminal: &File, messages: &Sender<Message>) -> io::Result<()> {
    let mut decoder = KeyDecoder::default();
    let mut bytes = [0; 256];
    loop {
        let mut ready = [PollFd::new(terminal, PollFlags::IN)];
        let timeout = decoder.is_waiting().then_some(&SEQUENCE_TIMEOUT);
        let keys = match poll(&mut ready, timeout) {
            Ok(0) => decoder.end(),
            Ok(_) => match terminal.read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(len) => decoder.feed(&bytes[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            },
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for key in keys {
            if messages.send(Message::Key(key)).is_err() {
                return Ok(());
            }
        }
    }
}
