//! Reads the configuration's file, which may be anything, in bounded time and memory.

use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::OFlags;
use thiserror::Error;

use crate::safe_path;

/// The largest file in bytes. The default configuration has three kilobytes.
const MAX_LEN: u64 = 1 << 20;

/// Why a file is not read. The message does not name the file.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file; name one that is")]
    NotRegular,
    #[error("it is longer than {MAX_LEN} bytes, the most that a configuration may have")]
    TooLong,
    #[error("it is not text (UTF-8)")]
    NotText,
}

/// Returns the text of a file. Waits neither for the writer of a pipe nor for a terminal.
pub(super) fn read(path: &Path) -> Result<String, ReadError> {
    let opened = match safe_path::open_to_read(path, OFlags::NONBLOCK | OFlags::NOCTTY) {
        // A regular file that another program has leased, such as a file server: it is free soon.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            safe_path::open_to_read(path, OFlags::NOCTTY)
        }
        opened => opened,
    };
    let file = opened?;
    if !file.metadata()?.is_file() {
        return Err(ReadError::NotRegular);
    }
    let mut text = Vec::new();
    file.take(MAX_LEN + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_LEN {
        return Err(ReadError::TooLong);
    }
    String::from_utf8(text).map_err(|_| ReadError::NotText)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    fn refusal(path: &Path) -> String {
        read(path).expect_err("no configuration").to_string()
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let folder = std::env::temp_dir().join(format!("tcpclose-kinds-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (pipe, file, link) = (
            folder.join("pipe"),
            folder.join("file"),
            folder.join("link"),
        );
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
        for other in [
            &pipe,
            &folder,
            Path::new("/dev/zero"),
            Path::new("/dev/null"),
        ] {
            assert!(refusal(other).contains("not a regular file"), "{other:?}");
        }
        symlink("file", &link).expect("a link");
        for (length, is_read) in [(0, true), (MAX_LEN, true), (MAX_LEN + 1, false)] {
            fs::write(&file, vec![b'#'; length as usize]).expect("a file");
            assert_eq!(read(&link).is_ok(), is_read, "{length}");
        }
        assert!(refusal(&file).contains("longer than 1048576 bytes"));
        fs::write(&file, [0xff]).expect("a file");
        assert!(refusal(&file).contains("not text"));
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
