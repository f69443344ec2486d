//! Recordings as files: what was written is read again, and of a broken one what is whole.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]
#![expect(unsafe_code, reason = "system calls that std does not offer")]

mod compared;
mod damage;
mod existing;
mod harness;
mod limits;
mod resumed;
mod writing;
