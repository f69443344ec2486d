//! Reads a state file that may be anything: of another boot, damaged, or placed by a stranger.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

use super::format::{self, FormatError, MAX_FILE_LEN, StateContent, StateHead};
use crate::safe_path::ResolvedPath;
use tcpclose_core::types::Nanos;

/// Other users who may write to the file could have written anything into it.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why a state is not taken over. The message does not name the file.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it belongs to user {0}")]
    ForeignOwner(u32),
    #[error("other users may write to it")]
    WritableByOthers,
    #[error("it has {0} bytes, more than an agent writes")]
    TooLarge(u64),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error("the host has been booted since")]
    OtherBoot,
    #[error("it was written by an agent that traced other connections ([trace] has changed)")]
    OtherTrace,
    #[error("its times are in the future")]
    Future,
}

/// Reads the file; `None` if there is none. `boot`, `traced` and `now` are those of this agent.
pub(super) fn read(
    place: &ResolvedPath,
    boot: &str,
    traced: &str,
    now: Nanos,
) -> Result<Option<(StateHead, StateContent)>, Refusal> {
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    let file = match place.open(OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let (head, content) = format::decode(&checked_bytes(file)?)?;
    if head.boot != boot {
        return Err(Refusal::OtherBoot);
    }
    if head.traced != traced {
        return Err(Refusal::OtherTrace);
    }
    if content.until > now {
        return Err(Refusal::Future);
    }
    Ok(Some((head, content)))
}

fn checked_bytes(mut file: File) -> Result<Vec<u8>, Refusal> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Refusal::NotAFile);
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(Refusal::ForeignOwner(metadata.uid()));
    }
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(Refusal::WritableByOthers);
    }
    let most = MAX_FILE_LEN as u64;
    if metadata.len() > most {
        return Err(Refusal::TooLarge(metadata.len()));
    }
    let mut bytes = Vec::new();
    file.by_ref().take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
