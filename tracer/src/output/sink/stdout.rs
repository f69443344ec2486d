//! JSON lines to standard output.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use crate::output::write_all::write_all;
use crate::record::Record;

use super::render::RenderContext;
use super::transport::{Delivered, Transport};

/// See the module.
pub(super) struct Stdout<W> {
    out: W,
    surroundings: RenderContext,
    /// What is left of a line that was written in part: always of the next record.
    rest: Vec<u8>,
}

impl Stdout<File> {
    /// Past std's own buffer, whose lines would count as written.
    pub(super) fn open(surroundings: RenderContext) -> io::Result<Self> {
        let fd = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self::to(fd.into(), surroundings))
    }
}

impl<W: Write> Stdout<W> {
    fn to(out: W, surroundings: RenderContext) -> Self {
        Self {
            out,
            surroundings,
            rest: Vec::new(),
        }
    }
}

impl<W: Write + Send> Transport for Stdout<W> {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        let mut lines = std::mem::take(&mut self.rest);
        let begun = usize::from(!lines.is_empty());
        self.surroundings.clock.refresh();
        for record in &records[begun..] {
            self.surroundings.write_line(&mut lines, record);
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
            down: result
                .err()
                .map(|error| format!("write failed: {error}").into()),
            ..Delivered::default()
        }
    }
}

/// Up to its end.
fn first_line(lines: &[u8]) -> &[u8] {
    let end = lines.iter().position(|byte| *byte == b'\n');
    end.map_or(lines, |end| &lines[..=end])
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, Read as _};

    use super::*;
    use crate::output::cgroup_names::NoCgroups;
    use crate::output::samples;
    use tcpclose_core::finding::Finding;

    fn surroundings() -> RenderContext {
        RenderContext {
            clock: samples::clock(),
            cgroups: Box::new(NoCgroups),
            lock: None,
        }
    }

    fn records(count: usize) -> Vec<Arc<Record>> {
        let close = Arc::new(Record::from(Finding::Close(Box::new(samples::three_way()))));
        vec![close; count]
    }

    fn lines(count: usize) -> Vec<u8> {
        let mut lines = Vec::new();
        for record in records(count) {
            surroundings().write_line(&mut lines, &record);
        }
        lines
    }

    /// A disk with room for so many bytes.
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
            let mut stdout = Stdout::to(disk, surroundings());
            let records = records(3);
            let first = stdout.deliver(&records);
            assert_eq!(first.written, room / length, "room for {room}");
            assert!(first.down.is_some());
            let mut written = first.written;
            for more in [0, 0, 2, 0] {
                stdout.out.room = more;
                let progress = stdout.deliver(&records[written..]);
                written += progress.written;
                assert!(progress.down.is_some());
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
        let mut stdout = Stdout::to(writer, surroundings());
        // Several times what a pipe holds.
        let progress = stdout.deliver(&records(500));
        drop(stdout);
        assert_eq!(progress.written, 500);
        assert!(progress.down.is_none());
        assert_eq!(reading.join().expect("no panic").expect("text"), lines(500));
    }

    #[test]
    fn a_reader_that_is_gone_is_said() {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop::<PipeReader>(reader);
        let progress = Stdout::to(writer, surroundings()).deliver(&records(1));
        let down = progress.down.expect("nobody reads");
        assert!(down.reason.contains("Broken pipe"), "{}", down.reason);
    }
}
