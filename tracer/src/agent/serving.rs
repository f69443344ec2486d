//! What the agent's servers share. Each runs in a thread of its own, with a runtime of its own.

use std::io;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::notice::notice;

/// How long a server waits after a client that it could not accept.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Serves until `stopped`, or until it cannot any more, which is reported with these words.
pub(super) fn run(
    runtime: Runtime,
    serving: impl Future<Output = io::Error>,
    stopped: oneshot::Receiver<()>,
    ended: &str,
) {
    runtime.block_on(async {
        tokio::select! {
            error = serving => notice!("{ended}: {error}"),
            _ = stopped => {}
        }
    });
}

/// Returns the connection of the next client.
pub(super) async fn accept<S, A>(mut accept: impl AsyncFnMut() -> io::Result<(S, A)>) -> S {
    loop {
        match accept().await {
            Ok((stream, _)) => return stream,
            // The client has gone already, or no descriptors are left: neither lasts.
            Err(_) => sleep(RETRY_DELAY).await,
        }
    }
}
