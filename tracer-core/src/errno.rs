//! Values of `sk_err`, which the kernel sets when a connection ends: the numbers of
//! `include/uapi/asm-generic/errno.h`, which x86-64 and arm64 have.

/// The peer's RST came in CLOSE_WAIT.
const EPIPE: u16 = 32;
/// `SOCK_DESTROY` ended the connection (`tcp_abort`).
pub(crate) const ECONNABORTED: u16 = 103;
/// The peer's RST came.
const ECONNRESET: u16 = 104;
/// The peer did not answer in time.
pub(crate) const ETIMEDOUT: u16 = 110;
/// The peer's RST came in SYN_SENT.
pub(crate) const ECONNREFUSED: u16 = 111;

/// Returns whether `sk_err` shows that the peer's RST came (`tcp_reset`).
pub(crate) const fn is_reset(error: u16) -> bool {
    matches!(error, ECONNREFUSED | EPIPE | ECONNRESET)
}
