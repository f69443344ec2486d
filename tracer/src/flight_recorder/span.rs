//! Reads segments one after the other, as one recording.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::{MAX_SEGMENTS, open_segment, segment_name, segments};
use crate::recording::{BrokenPart, Entry, Head, OpenError, Reader, SegmentHead};
use tcpclose_core::Input;
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::Nanos;

/// Which segments are read.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub folder: PathBuf,
    /// The boot of which they are; `None`: that of the last segment.
    pub boot: Option<String>,
    /// The agent that writes the last segment now, by when it began to record.
    pub writing: Option<Nanos>,
    /// From when on; `None`: from the first segment on.
    pub from: Option<Nanos>,
}

/// The segments of a span, which are open: they can be read though they make room meanwhile.
#[derive(Debug)]
pub(crate) struct SpanReader {
    waiting: VecDeque<OpenSegment>,
    current: OpenSegment,
    writing: Option<Nanos>,
    /// The time of the first segment.
    began: Nanos,
    /// Whether there were earlier ones.
    is_overwritten: bool,
    /// Whether earlier segments are of another boot, or of an agent that traced in another way.
    is_preceded: bool,
    /// Whether it begins later than was asked for.
    is_short: bool,
    /// How many endpoints that were open where it begins had no room in the first segment.
    left_out: u64,
    /// Whether entries of the present segment could not be read: the next one repairs that.
    is_damaged: bool,
    /// Segments that cannot be read at all, and why.
    unreadable: Vec<String>,
    /// How many segments end unfinished: their agent was killed, or could not write.
    unfinished: usize,
}

#[derive(Debug)]
struct OpenSegment {
    number: u64,
    head: SegmentHead,
    reader: Reader<File>,
}

impl OpenSegment {
    fn open(folder: &Path, number: u64) -> Result<Self, OpenError> {
        let reader = Reader::new(open_segment(folder, number)?)?;
        let head = reader.head().segment.clone();
        Ok(Self {
            number,
            head: head.ok_or(OpenError::NotARecording)?,
            reader,
        })
    }

    /// Returns whether another segment belongs to the same recording.
    fn fits(&self, other: &Self) -> bool {
        let settings = |segment: &Self| Head {
            program: String::new(),
            segment: None,
            ..segment.reader.head().clone()
        };
        self.head.boot == other.head.boot && settings(self) == settings(other)
    }
}

impl SpanReader {
    /// Opens the segments of a span.
    ///
    /// # Errors
    /// The folder cannot be read, or has no segment of the span.
    pub fn open(span: &Span) -> io::Result<Self> {
        let numbers = segments(&span.folder)?;
        let newest = numbers.len().saturating_sub(MAX_SEGMENTS);
        let (mut unreadable, mut found) = (Vec::new(), VecDeque::<OpenSegment>::new());
        let (mut is_preceded, mut is_complete) = (false, false);
        for &number in numbers[newest..].iter().rev() {
            let segment = match OpenSegment::open(&span.folder, number) {
                Ok(segment) => segment,
                // It has made room meanwhile.
                Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => continue,
                // The last one may be just begun.
                Err(OpenError::NotARecording | OpenError::Head)
                    if numbers.last() == Some(&number) && span.writing.is_some() =>
                {
                    continue;
                }
                Err(error) => {
                    unreadable.push(format!("{} cannot be read: {error}", segment_name(number)));
                    continue;
                }
            };
            let fits = match found.front() {
                Some(later) => segment.fits(later),
                None => span
                    .boot
                    .as_ref()
                    .is_none_or(|boot| *boot == segment.head.boot),
            };
            if !fits {
                is_preceded = true;
                break;
            }
            let at = segment.head.at;
            found.push_front(segment);
            if span.from.is_some_and(|from| at <= from) {
                is_complete = true;
                break;
            }
        }
        let none = || io::Error::new(io::ErrorKind::NotFound, "there is no segment to be read");
        let current = found.pop_front().ok_or_else(none)?;
        Ok(Self {
            is_overwritten: !is_complete && !is_preceded && current.number > 1,
            is_preceded,
            began: current.head.at,
            is_short: span.from.is_some_and(|from| current.head.at > from),
            left_out: current.head.left_out,
            is_damaged: false,
            waiting: found,
            current,
            writing: span.writing,
            unreadable,
            unfinished: 0,
        })
    }

    /// Returns the head of the first segment.
    pub fn head(&self) -> &Head {
        self.current.reader.head()
    }

    /// Returns when the first segment begins.
    pub const fn began(&self) -> Nanos {
        self.began
    }

    /// Returns whether a segment cannot be read at all.
    pub fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Returns whether not all is there that was asked for, as far as the heads show.
    pub fn is_incomplete(&self) -> bool {
        self.is_short || self.left_out > 0 || self.has_unreadable()
    }

    /// Returns a sentence on each thing that was not read, but for broken parts.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.is_short {
            notes.push("it reaches back less far than was asked for".to_owned());
        }
        if self.left_out > 0 {
            notes.push(format!(
                "{} connections that were open where it begins are not known",
                self.left_out
            ));
        }
        if self.is_overwritten {
            notes.push("what came before was overwritten".to_owned());
        }
        if self.is_preceded {
            notes.push(
                "earlier segments are of another boot, or of an agent that traced in another way; \
                 each can be read on its own, with --replay"
                    .to_owned(),
            );
        }
        notes.extend(self.unreadable.iter().cloned());
        match self.unfinished {
            0 => {}
            1 => notes.push(
                "one segment ends unfinished, as its agent was killed or could not write: what is \
                 missing counts as a loss"
                    .to_owned(),
            ),
            several => notes.push(format!(
                "{several} segments end unfinished, as their agents were killed or could not \
                 write: what is missing counts as losses"
            )),
        }
        notes
    }

    /// Returns the next entry; `None` at the end.
    ///
    /// # Errors
    /// Returns a [`BrokenPart`] where entries are missing; those that follow come next.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, BrokenPart> {
        loop {
            match self.current.reader.next_entry() {
                Ok(Some(entry)) => return Ok(Some(entry)),
                // Segments end in the middle where their agent was killed, and that of a running
                // agent is being written.
                Err(broken) if broken.is_cut() => {}
                Err(broken) => {
                    self.is_damaged = true;
                    return Err(broken.in_segment(segment_name(self.current.number)));
                }
                Ok(None) => {}
            }
            let Some(next) = self.waiting.pop_front() else {
                let is_written = self.writing == Some(self.current.head.session);
                if !self.current.reader.has_end() && !is_written {
                    self.unfinished = self.unfinished.max(1);
                }
                return Ok(None);
            };
            let before = std::mem::replace(&mut self.current, next);
            if let Some(lost) = self.join(&before) {
                return Ok(Some(lost));
            }
        }
    }

    /// Begins the next segment: goes on with what is known, or with what the segment says. Returns
    /// the loss between the two, where the segment does not have it.
    fn join(&mut self, before: &OpenSegment) -> Option<Entry> {
        let OpenSegment {
            number,
            head,
            reader,
        } = &mut self.current;
        let is_next = head.session == before.head.session && *number == before.number + 1;
        let is_whole = before.reader.has_end();
        let was_damaged = std::mem::take(&mut self.is_damaged);
        if is_next && is_whole {
            // What is missing within a segment was counted there, and what is known now repairs it.
            if head.lost_before == 0 && !was_damaged {
                reader.skip_snapshot();
            }
            return None;
        }
        self.unfinished += usize::from(!is_whole);
        let is_other = head.session != before.head.session;
        if head.lost_before > 0 || (is_other && is_whole) {
            return None;
        }
        Some(Entry::Input(Input::Loss(Loss {
            at: head.at,
            lost: 1,
            location: LossLocation::Recording,
            repaired: true,
            duration: None,
        })))
    }
}
