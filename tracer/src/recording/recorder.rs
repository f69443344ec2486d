//! Writes a recording. The caller only encodes; a thread compresses and writes.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, JoinHandle};

use rustix::fs::{OFlags, fcntl_setfl};

use super::{EntryRef, FIRST_WORDS, Head, VERSION, frame};
use tcpclose_core::Input;
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// A frame is written when it holds so much. What a crash of the program loses, and what one bad byte spoils, is one frame.
const FRAME: usize = 256 << 10;
/// Or when its first entry is this old.
const OLDEST: Nanos = Nanos::from_secs(1);
/// Frames on their way to a slow disk: 32 MiB. Further ones are dropped and counted.
const QUEUE: usize = 128;

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    entries: Vec<u8>,
    count: u64,
    /// When the first of `entries` came.
    since: Nanos,
    /// Until the recording begins.
    prepared: Option<Prepared>,
    /// From then on.
    writer: Option<FrameWriter>,
    recorded: u64,
    /// Entries dropped, those told by [`Self::take_dropped`] too.
    dropped: u64,
    told: u64,
    /// Of those, the ones that the recording itself does not tell of yet.
    owed: u64,
    /// The last time that was recorded.
    now: Nanos,
}

/// A file that is locked and still holds what it held.
#[derive(Debug)]
struct Prepared {
    file: File,
    /// What the file is to begin with.
    start: Vec<u8>,
    /// Frames that were filled before the recording began.
    frames: Vec<Vec<u8>>,
}

/// The thread that compresses and writes, and the way to it.
#[derive(Debug)]
struct FrameWriter {
    queue: SyncSender<Vec<u8>>,
    thread: JoinHandle<io::Result<u64>>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Entries written.
    pub entries: u64,
    /// Entries dropped.
    pub dropped: u64,
    /// Size of the file.
    pub bytes: u64,
}

impl Recorded {
    /// What is in the file, and what is not.
    #[must_use]
    pub fn sentence(&self, file: &Path) -> String {
        let Self {
            entries,
            dropped,
            bytes,
        } = self;
        let file = file.display();
        let lost = match dropped {
            0 => String::new(),
            dropped => format!("; {dropped} more were not recorded, as the disk was too slow"),
        };
        format!("recorded {entries} entries in {file} ({bytes} bytes){lost}")
    }
}

impl Recorder {
    /// Opens the file, or makes it. What the file holds stays until [`Self::begin`]; what is
    /// recorded before that is kept in memory.
    ///
    /// # Errors
    /// When the file cannot be made, or another program records to it.
    pub fn prepare(path: &Path, head: &Head) -> io::Result<Self> {
        let file = open(path)?;
        let mut start = FIRST_WORDS.to_vec();
        start.extend(format!("{VERSION}\n").bytes());
        let head = serde_json::to_vec(head)?;
        frame::push(&mut start, frame::HEAD, head.len(), &head);
        Ok(Self {
            entries: Vec::with_capacity(FRAME + FRAME / 8),
            count: 0,
            since: Nanos(0),
            prepared: Some(Prepared {
                file,
                start,
                frames: Vec::new(),
            }),
            writer: None,
            recorded: 0,
            dropped: 0,
            told: 0,
            owed: 0,
            now: Nanos(0),
        })
    }

    /// Begins to write, over what the file held; only its owner may read the file, as it shows who
    /// talks with whom. Does nothing in a recording that has begun.
    ///
    /// # Errors
    /// When nothing can be written to the file, or the thread cannot be started.
    pub fn begin(&mut self) -> io::Result<()> {
        let Some(prepared) = self.prepared.take() else {
            return Ok(());
        };
        let Prepared {
            mut file,
            start,
            frames: earlier,
        } = prepared;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.set_len(0)?;
        }
        file.write_all(&start)?;
        let (queue, frames) = mpsc::sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("recorder".to_owned())
            .spawn(move || write(file, start.len() as u64, earlier.into_iter().chain(frames)))?;
        self.writer = Some(FrameWriter { queue, thread });
        Ok(())
    }

    /// Returns whether anything has been written.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.writer.is_some()
    }

    /// Records what the core is told.
    pub fn input(&mut self, input: &Input) {
        self.entry(EntryRef::Input(input));
        if let Input::Time(now) = input {
            self.now = *now;
            self.flush_due(*now);
        }
    }

    /// Records something else; it goes out with the inputs around it.
    pub fn entry(&mut self, entry: EntryRef<'_>) {
        self.push(entry);
        if self.entries.len() >= FRAME {
            self.flush();
        }
    }

    fn push(&mut self, entry: EntryRef<'_>) {
        let entries = std::mem::take(&mut self.entries);
        self.entries = postcard::to_extend(&entry, entries)
            .expect("every entry has a form, and a vector takes what is written");
        self.count += 1;
    }

    fn flush_due(&mut self, now: Nanos) {
        if self.since == Nanos(0) || self.since + OLDEST <= now {
            self.flush();
            self.since = now;
        }
    }

    /// When the next [`Input::Time`] is wanted: what has come must not lie in memory for long.
    #[must_use]
    pub fn next_flush(&self) -> Option<Nanos> {
        (self.count > 0).then_some(self.since + OLDEST)
    }

    /// Entries that the disk was too slow for, since the last call. The recording tells of them by itself.
    pub fn take_dropped(&mut self) -> u64 {
        let dropped = self.dropped - self.told;
        self.told = self.dropped;
        dropped
    }

    /// How many were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether nothing can be written any more; [`Self::finish`] says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| writer.thread.is_finished())
    }

    /// Writes all and ends the recording.
    ///
    /// # Errors
    /// What stopped the writing, now or earlier. The file holds what was whole then.
    pub fn finish(mut self) -> io::Result<Recorded> {
        self.begin()?;
        self.tell_owed();
        let rest = std::mem::take(&mut self.entries);
        let ended = || io::Error::other("the thread that writes the recording has ended");
        let FrameWriter { queue, thread } = self.writer.ok_or_else(ended)?;
        if !rest.is_empty() && queue.send(rest).is_ok() {
            self.recorded += self.count;
        }
        // No entries are the end. A thread that has ended has the reason.
        let _ = queue.send(Vec::new());
        let bytes = thread.join().map_err(|_| ended())??;
        Ok(Recorded {
            entries: self.recorded,
            dropped: self.dropped,
            bytes,
        })
    }

    /// Hands a frame over; never waits.
    fn flush(&mut self) {
        if self.count == 0 {
            return;
        }
        let told = self.tell_owed();
        let next = Vec::with_capacity(FRAME + FRAME / 8);
        let frame = std::mem::replace(&mut self.entries, next);
        let count = std::mem::take(&mut self.count);
        let taken = match (&mut self.prepared, &self.writer) {
            (Some(prepared), _) => {
                prepared.frames.push(frame);
                true
            }
            (None, Some(writer)) => writer.queue.try_send(frame).is_ok(),
            (None, None) => false,
        };
        if taken {
            self.recorded += count;
        } else {
            let dropped = count - u64::from(told > 0);
            self.dropped += dropped;
            self.owed = told + dropped;
        }
    }

    /// Puts what was dropped into the next frame, which may be dropped, too. Returns how much that is.
    fn tell_owed(&mut self) -> u64 {
        let lost = std::mem::take(&mut self.owed);
        if lost > 0 {
            self.push(EntryRef::Input(&Input::Lost(Loss {
                at: self.now,
                lost,
                location: LossLocation::Recording,
                repaired: false,
            })));
        }
        lost
    }
}

/// Opens a file without waiting for anybody, and locks it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    // A pipe that nobody reads would be waited for.
    let file = options.custom_flags(libc::O_NONBLOCK).open(path);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("nobody reads from this pipe"),
        _ => error,
    })?;
    if file.metadata()?.is_file() {
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::other(
                    "another program records to it; stop that one, or name another file",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        return Ok(file);
    }
    // The thread that writes may wait.
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

/// Compresses and writes frames until one is empty: the end, without which the recording counts as
/// broken off. Returns the size of the file. After an error the file ends with the last whole frame.
fn write(mut file: File, mut bytes: u64, frames: impl Iterator<Item = Vec<u8>>) -> io::Result<u64> {
    let mut stored = Vec::new();
    let mut add = |kind: u8, entries: &[u8]| {
        stored.clear();
        frame::push(&mut stored, kind, entries.len(), &compress(entries));
        file.write_all(&stored).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = file.set_len(bytes);
        })?;
        bytes += stored.len() as u64;
        io::Result::Ok(())
    };
    for entries in frames {
        if entries.is_empty() {
            add(frame::END, &[])?;
            break;
        }
        add(frame::ENTRIES, &entries)?;
    }
    match file.sync_data() {
        // A pipe.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        synced => synced?,
    }
    Ok(bytes)
}

fn compress(entries: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(entries)
}
