//! Opens the agent's flight recorder, and says what commands need to read it.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use super::config::FlightConfig;
use super::output_locks::take_lock;
use super::state_directory::in_state_directory;
use crate::agent_socket::FlightStatus;
use crate::flight_recorder::{DEFAULT_FOLDER, FlightRecorder, LOCK_NAME};
use crate::notice::notice;
use crate::safe_path;
use crate::session::{Live, Session, now};
use tcpclose_core::types::Nanos;

/// The name of the folder in that of `StateDirectory=`.
const FOLDER_NAME: &str = "flight";

/// Starts the flight recorder, if there is to be one. The agent works without it, too.
pub(super) fn start(config: &FlightConfig, session: &mut Session<Live>) {
    if !config.enabled {
        return;
    }
    let folder = folder(config);
    let at = now();
    match open(&folder, config, session, at) {
        Ok(recorder) => session.start_flight_recorder(recorder, at),
        Err(error) => {
            let folder = folder.display();
            notice!("there is no flight recorder, as {folder} cannot be used: {error:#}");
        }
    }
}

fn folder(config: &FlightConfig) -> PathBuf {
    let configured = config.directory.clone();
    let folder = configured.or_else(|| in_state_directory(FOLDER_NAME));
    folder.unwrap_or_else(|| DEFAULT_FOLDER.into())
}

fn open(
    folder: &Path,
    config: &FlightConfig,
    session: &Session<Live>,
    at: Nanos,
) -> anyhow::Result<FlightRecorder> {
    if !safe_path::create_folders(folder)? {
        bail!("others may write to it: take a directory that only the agent's user may write to");
    }
    let lock = folder.join(LOCK_NAME);
    let lock = take_lock(&lock, || {
        format!("its lock {} cannot be taken", lock.display())
    })?;
    let head = session.recorded_head().clone();
    FlightRecorder::open((folder.to_owned(), lock), config.size, head, at)
}

/// Returns what a command needs to read the segments, after passing on what was collected.
pub(super) fn status(session: &mut Session<Live>) -> Option<FlightStatus> {
    let recorder = session.flight_recorder()?;
    // Of what earlier questions have passed on: each answer is followed by the record of its time.
    let is_written = recorder.is_idle();
    recorder.flush();
    let (boot, began) = recorder.session();
    Some(FlightStatus {
        folder: recorder.folder().as_os_str().as_bytes().to_vec(),
        boot: boot.to_owned(),
        began,
        at: now(),
        is_written,
    })
}
