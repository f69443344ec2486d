//! The files that container runtimes keep of containers, and the names of the kubelet's logs. Who
//! may start containers chooses parts of them.

use tcpclose_sys::fuzzing::{names_in_files, names_in_logs};

/// The longest name, in bytes.
const MAX_NAME_LENGTH: usize = 253;

/// Takes the bytes for each of the files, and each line for a name in the log directories.
pub fn container_names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let of_lines = text.lines().flat_map(names_in_logs);
    for name in names_in_files(data).into_iter().chain(of_lines) {
        assert!(
            !name.is_empty() && name.len() <= MAX_NAME_LENGTH,
            "{name:?}"
        );
    }
}
