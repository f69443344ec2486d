//! How long scenarios wait.

use std::time::Duration;

/// Long enough for a busy machine, and shorter than TIME_WAIT.
pub const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Enough for what has happened already and only has to be read.
pub const SOON: Duration = Duration::from_secs(3);
