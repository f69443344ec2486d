//! The folder that systemd makes for the agent's state.

use std::path::PathBuf;

/// The environment variable in which systemd names the folders of `StateDirectory=`.
const VARIABLE: &str = "STATE_DIRECTORY";

/// Returns the path of this name in the folder; `None` where the unit has none.
pub(super) fn in_state_directory(name: &str) -> Option<PathBuf> {
    // systemd separates several folders by colons.
    let folders = std::env::var_os(VARIABLE)?;
    let first = std::env::split_paths(&folders).next()?;
    first.is_absolute().then(|| first.join(name))
}
