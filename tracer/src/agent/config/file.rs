//! Reads the configuration's file.

use std::io;
use std::path::Path;

use thiserror::Error;

use crate::small_file::{SmallFileError, read_small_file};

/// The largest file in bytes. The default configuration has three kilobytes.
const MAX_LEN: u64 = 1 << 20;

/// Why a file is not read. The message does not name the file.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(io::Error),
    #[error("it is not a regular file; name one that is")]
    NotRegular,
    #[error("it is longer than {MAX_LEN} bytes, the most that a configuration may have")]
    TooLong,
    #[error("it is not text (UTF-8)")]
    NotText,
}

impl From<SmallFileError> for ReadError {
    fn from(error: SmallFileError) -> Self {
        match error {
            SmallFileError::Io(error) => Self::Io(error),
            SmallFileError::NotRegular => Self::NotRegular,
            SmallFileError::TooLong => Self::TooLong,
        }
    }
}

/// Returns the text of a file.
pub(super) fn read(path: &Path) -> Result<String, ReadError> {
    let text = read_small_file(path, MAX_LEN)?;
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
