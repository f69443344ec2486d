//! Writing everything, and knowing how far one got.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

/// How long to wait for a reader when the output is non-blocking: a shared terminal or pipe that
/// another program has set so.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(5);

/// Writes everything and reports each part as soon as it is written. Waits where a non-blocking
/// output is full.
pub(super) fn write_all(
    out: &mut impl Write,
    mut text: &[u8],
    mut written: impl FnMut(&[u8]),
) -> io::Result<()> {
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                written(&text[..count]);
                text = &text[count..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(WOULD_BLOCK_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
