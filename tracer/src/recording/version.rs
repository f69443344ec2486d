//! The version of the format, and the first line of a file, which shows it.

/// The version of the format that is written.
pub const VERSION: u32 = 7;

/// The oldest version that is read; no release had an earlier one. Its sockets show neither a FIN
/// that is out of order nor a backlog. Up to version 3, those of snapshots do not show which side
/// opened them, and probes not which processes were searched for holders; up to version 4, nothing
/// shows when data was last sent and received, and probes
/// are of sockets in CLOSE_WAIT alone; up to version 5, nothing was taken over at a restart; up to
/// version 6, nothing shows which thread called connect(), and none begins in the middle of what
/// happens.
pub const OLDEST_VERSION: u32 = 2;

/// The first line of a file, up to the version's number and the end of the line.
pub(super) const MAGIC: &[u8] = b"tcpclose recording ";

/// Returns the first line of a file that is written.
pub(crate) fn first_line() -> Vec<u8> {
    let mut line = MAGIC.to_vec();
    line.extend(format!("{VERSION}\n").bytes());
    line
}
