//! JSON lines on standard output.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use crate::output::unbuffered_stdout::unbuffered_stdout;
use crate::output::write_all::write_all;
use crate::record::Record;

use super::render::RenderContext;
use super::transport::{Delivered, Transport};

/// A transport that writes JSON lines to standard output.
pub(super) struct Stdout<W> {
    out: W,
    context: RenderContext,
    /// The rest of a line that was written in part; it belongs to the first undelivered record.
    rest: Vec<u8>,
}

impl Stdout<File> {
    pub(super) fn open(context: RenderContext) -> io::Result<Self> {
        Ok(Self::to(unbuffered_stdout()?, context))
    }
}

impl<W: Write> Stdout<W> {
    fn to(out: W, context: RenderContext) -> Self {
        Self {
            out,
            context,
            rest: Vec::new(),
        }
    }
}

impl<W: Write + Send> Transport for Stdout<W> {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        let mut lines = std::mem::take(&mut self.rest);
        let begun = usize::from(!lines.is_empty());
        self.context.clock.refresh();
        for record in &records[begun..] {
            self.context.write_line(&mut lines, record);
        }
        let mut out = 0;
        let result = write_all(&mut self.out, &lines, |written| out += written.len());
        let written = lines[..out].iter().filter(|byte| **byte == b'\n').count();
        let is_cut = match written {
            0 => begun > 0 || out > 0,
            _ => lines[out - 1] != b'\n',
        };
        if is_cut {
            self.rest = first_line(&lines[out..]).to_vec();
        }
        Delivered {
            written,
            unavailable: result
                .err()
                .map(|error| format!("write failed: {error}").into()),
            ..Delivered::default()
        }
    }
}

/// Returns the first line, with its newline.
fn first_line(lines: &[u8]) -> &[u8] {
    let end = lines.iter().position(|byte| *byte == b'\n');
    end.map_or(lines, |end| &lines[..=end])
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};

    use super::*;
    use crate::cgroup_names::NoCgroups;
    use crate::output::samples;
    use tcpclose_core::finding::Finding;

    fn context() -> RenderContext {
        RenderContext {
            clock: samples::clock(),
            cgroups: Box::new(NoCgroups),
            lock: None,
            json: Default::default(),
        }
    }

    fn records(count: usize) -> Vec<Arc<Record>> {
        let close = Arc::new(Record::from(Finding::Close(Box::new(samples::three_way()))));
        vec![close; count]
    }

    fn lines(count: usize) -> Vec<u8> {
        let mut lines = Vec::new();
        for record in records(count) {
            context().write_line(&mut lines, &record);
        }
        lines
    }

    /// A disk with limited space.
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let fits = text.len().min(self.room);
            self.room -= fits;
            self.text.extend_from_slice(&text[..fits]);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_is_ended_before_the_next_one() {
        let length = lines(1).len();
        for room in [
            0,
            1,
            length - 1,
            length,
            length + 1,
            2 * length + length / 2,
        ] {
            let disk = Disk {
                text: Vec::new(),
                room,
            };
            let mut stdout = Stdout::to(disk, context());
            let records = records(3);
            let first = stdout.deliver(&records);
            assert_eq!(first.written, room / length, "room for {room}");
            assert!(first.unavailable.is_some());
            let mut written = first.written;
            for more in [0, 0, 2, 0] {
                stdout.out.room = more;
                let delivered = stdout.deliver(&records[written..]);
                written += delivered.written;
                assert!(delivered.unavailable.is_some());
            }
            stdout.out.room = usize::MAX;
            written += stdout.deliver(&records[written..]).written;
            assert_eq!(written, 3, "room for {room}");
            assert_eq!(stdout.out.text, lines(3), "room for {room}");
        }
    }

    #[test]
    fn a_slow_reader_gets_everything() {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text)
        });
        let mut stdout = Stdout::to(writer, context());
        // Several times what a pipe holds.
        let delivered = stdout.deliver(&records(500));
        drop(stdout);
        assert_eq!(delivered.written, 500);
        assert!(delivered.unavailable.is_none());
        assert_eq!(reading.join().expect("no panic").expect("text"), lines(500));
    }

    #[test]
    fn a_closed_pipe_is_reported() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop::<PipeReader>(reader);
        let delivered = Stdout::to(writer, context()).deliver(&records(1));
        let unavailable = delivered.unavailable.expect("the reader has gone");
        assert!(
            unavailable.reason.contains("Broken pipe"),
            "{}",
            unavailable.reason
        );
    }
}
