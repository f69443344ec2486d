//! Writes a recording. The caller only encodes; a thread compresses and writes.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use super::buffer::EntryBuffer;
use super::destination::{Destination, IfExists};
use super::version::first_line;
use super::{EntryRef, Head, frame};
use tcpclose_core::Input;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::priority;

/// The most frames that wait for a slow disk: 32 MiB. Further ones are dropped and counted.
const MAX_QUEUED_FRAMES: usize = 128;

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    buffer: EntryBuffer,
    /// The file, until the recording begins.
    prepared: Option<Prepared>,
    /// The thread that writes, once the recording has begun.
    writer: Option<FrameWriter>,
    /// Whether frames wait for a slow disk, and are never dropped.
    waits: bool,
}

/// A recording that has not begun.
#[derive(Debug)]
struct Prepared {
    destination: Destination,
    /// The first bytes of the recording.
    start: Vec<u8>,
    /// Frames that were filled before the recording began.
    frames: Vec<Vec<u8>>,
}

/// The thread that compresses and writes frames, and its queue.
#[derive(Debug)]
struct FrameWriter {
    queue: SyncSender<Vec<u8>>,
    thread: JoinHandle<io::Result<u64>>,
}

/// What was recorded by the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The number of entries in the file.
    pub entries: u64,
    /// The number of dropped entries.
    pub dropped: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
}

impl Recorded {
    /// Returns a sentence that describes what is in the file, and what was dropped.
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
    /// Opens or creates the file. What exists stays as it is until [`Self::begin`]; until then,
    /// entries are kept in memory.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created, if `if_exists` refuses it, or if another
    /// program records to it.
    pub fn prepare(path: &Path, if_exists: IfExists, head: &Head) -> io::Result<Self> {
        let destination = Destination::prepare(path, if_exists)?;
        let mut start = first_line();
        let head = serde_json::to_vec(head)?;
        frame::push(&mut start, frame::KIND_HEAD, head.len(), &head);
        Ok(Self {
            buffer: EntryBuffer::default(),
            prepared: Some(Prepared {
                destination,
                start,
                frames: Vec::new(),
            }),
            writer: None,
            waits: false,
        })
    }

    /// Waits for a slow disk from now on, so that no entry is dropped.
    #[must_use]
    pub(crate) fn waiting(self) -> Self {
        Self {
            waits: true,
            ..self
        }
    }

    /// Begins to write: now an existing file is overwritten or moved aside. Does nothing if the
    /// recording has begun.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written, or if the thread cannot be started.
    pub fn begin(&mut self) -> io::Result<()> {
        let Some(prepared) = self.prepared.take() else {
            return Ok(());
        };
        let Prepared {
            destination,
            start,
            frames: earlier,
        } = prepared;
        let mut file = destination.begin()?;
        file.write_all(&start)?;
        let (queue, frames) = mpsc::sync_channel(MAX_QUEUED_FRAMES);
        let thread = priority::spawn("recorder", move || {
            write(file, start.len() as u64, earlier.into_iter().chain(frames))
        })?;
        self.writer = Some(FrameWriter { queue, thread });
        Ok(())
    }

    /// Returns whether the recording has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.writer.is_some()
    }

    /// Records an input of the core.
    pub fn input(&mut self, input: &Input) {
        if self.buffer.input(input) {
            self.flush();
        }
    }

    /// Records another entry, which is written together with the inputs around it.
    pub fn entry(&mut self, entry: EntryRef<'_>) {
        if self.buffer.entry(entry) {
            self.flush();
        }
    }

    /// Returns when the recorder needs the next [`Input::Time`], so that entries are not in memory
    /// for long.
    #[must_use]
    pub fn next_flush(&self) -> Option<Nanos> {
        self.buffer.next_flush()
    }

    /// Takes the number of entries that were dropped since the last call because the disk was too
    /// slow. The recorder itself adds that loss to the recording.
    pub fn take_dropped(&mut self) -> u64 {
        self.buffer.take_dropped()
    }

    /// Returns the number of entries that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.buffer.dropped()
    }

    /// Returns whether writing has failed; [`Self::finish`] returns the error.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let writer = self.writer.as_ref();
        writer.is_some_and(|writer| writer.thread.is_finished())
    }

    /// Writes the remaining entries and ends the recording.
    ///
    /// # Errors
    /// Returns the error that stopped the writing, now or earlier. The file then ends with the last
    /// whole frame.
    pub fn finish(mut self) -> io::Result<Recorded> {
        self.begin()?;
        let ended = || io::Error::other("the thread that writes the recording has ended");
        let FrameWriter { queue, thread } = self.writer.ok_or_else(ended)?;
        self.buffer.flush(|rest| queue.send(rest).is_ok());
        // An empty frame is the end. If the thread has ended, its result has the reason.
        let _ = queue.send(Vec::new());
        let bytes = thread.join().map_err(|_| ended())??;
        Ok(Recorded {
            entries: self.buffer.recorded(),
            dropped: self.buffer.dropped(),
            bytes,
        })
    }

    /// Passes the collected entries to the thread as a frame; never waits.
    fn flush(&mut self) {
        let (prepared, writer, waits) = (&mut self.prepared, &self.writer, self.waits);
        self.buffer.flush(|frame| match (prepared, writer) {
            (Some(prepared), _) => {
                prepared.frames.push(frame);
                true
            }
            (None, Some(writer)) if waits => writer.queue.send(frame).is_ok(),
            (None, Some(writer)) => writer.queue.try_send(frame).is_ok(),
            (None, None) => false,
        });
    }
}

/// Compresses and writes frames until one is empty: the end, without which the recording counts as
/// broken off. Returns the size of the file. After an error the file ends with the last whole
/// frame.
fn write(mut file: File, mut bytes: u64, frames: impl Iterator<Item = Vec<u8>>) -> io::Result<u64> {
    let mut stored = Vec::new();
    let mut add = |kind: u8, entries: &[u8]| {
        stored.clear();
        frame::push_compressed(&mut stored, kind, entries);
        file.write_all(&stored).inspect_err(|_| {
            // The caller reports the first error.
            let _ = file.set_len(bytes);
        })?;
        bytes += stored.len() as u64;
        io::Result::Ok(())
    };
    for entries in frames {
        if entries.is_empty() {
            add(frame::KIND_END, &[])?;
            break;
        }
        add(frame::KIND_ENTRIES, &entries)?;
    }
    match file.sync_data() {
        // A pipe.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        synced => synced?,
    }
    Ok(bytes)
}
