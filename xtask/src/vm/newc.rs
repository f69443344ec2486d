//! The archive that a Linux kernel unpacks at boot: cpio in its "newc" format, as in the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst.

const MODE_FILE: u32 = 0o100_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_DEVICE: u32 = 0o020_000;
const MODE_EXECUTABLE: u32 = 0o755;

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; its parent must be there.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, MODE_DIRECTORY | MODE_EXECUTABLE, (0, 0), &[]);
    }

    /// Adds a file that can be executed; its directory must be there.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, MODE_FILE | MODE_EXECUTABLE, (0, 0), content);
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, MODE_DEVICE | 0o600, (major, minor), &[]);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("cpio has files below 4 GiB only");
        let name_size = path.len() as u32 + 1;
        let header = [
            self.entries, // inode
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // modified
            size,
            0, // major of the file system's device
            0, // its minor
            device.0,
            device.1,
            name_size,
            0, // checksum: unused
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in header {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, mode, device and content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    fn entries(mut bytes: &[u8]) -> Vec<Entry> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            assert_eq!(&bytes[..6], b"070701");
            let field = |number: usize| {
                let text = std::str::from_utf8(&bytes[6 + 8 * number..][..8]).unwrap();
                u32::from_str_radix(text, 16).unwrap()
            };
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let path = std::str::from_utf8(&bytes[110..][..name_size - 1]).unwrap();
            let start = (110 + name_size).next_multiple_of(4);
            let content = bytes[start..][..size].to_vec();
            found.push((path.to_owned(), field(1), (field(9), field(10)), content));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
        found
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut archive = Archive::default();
        archive.directory("dev");
        archive.device("dev/console", 5, 1);
        archive.file("init", b"#!/bin/sh\n");
        archive.file("empty", b"");
        let nothing = (0, 0);
        assert_eq!(
            entries(&archive.finish()),
            [
                ("dev".to_owned(), 0o040_755, nothing, vec![]),
                ("dev/console".to_owned(), 0o020_600, (5, 1), vec![]),
                (
                    "init".to_owned(),
                    0o100_755,
                    nothing,
                    b"#!/bin/sh\n".to_vec()
                ),
                ("empty".to_owned(), 0o100_755, nothing, vec![]),
                ("TRAILER!!!".to_owned(), 0, nothing, vec![]),
            ]
        );
    }
}
