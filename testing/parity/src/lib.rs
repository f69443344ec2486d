//! Whether a record of tcpclose about a close agrees with a capture of that close.
//!
//! Nothing here touches a socket or the kernel: segments of a capture and records of tcpclose in, judgements out. The
//! program of this package makes closes, captures and watches them, and has them judged here; tcpclose's integration
//! tests use the same comparison.
//!
//! # What is compared with what
//!
//! A record is about one end, so it is compared with a capture made at that end: what the end sent, lost later or not,
//! and what reached it. [`closing::Closing`] finds the closing segments in it:
//!
//! - each end's first FIN, the first segment of each side that acknowledges the other's FIN, and the first RST, with
//!   which the closing ends; further segments are answers to answers;
//! - a data segment may be such an ACK, and counts as one: what is compared is its own sequence number;
//! - a FIN sent again is no further step, unless it is the first to acknowledge the other's FIN, and then it is that
//!   ACK; the record's `segments` counts those that this end sent again, each time;
//! - what reached the end but was never taken by its socket, as the end's own segments prove, is no part of the story
//!   that the socket can tell: see [`delivered`].
//!
//! # What matches
//!
//! [`compare::judge`] compares initiator, path, who reset, the number of segments, and of each step its flags and both
//! numbers. An end
//!
//! - **matches** when the record tells all of them and each is as captured. A number that is null in a step is not held
//!   against it, but the nulls are counted. A step marked `inferred` must be as right as one marked `observed`.
//! - is **unknown** when all that is reported is right, but `path` or `initiator` is `unknown`, `segments` is null, or a
//!   captured step is not told.
//! - is **misjudged** when only steps marked `inferred` are contradicted.
//! - is **wrong** when anything else is contradicted: a step marked `observed`, or a field that carries no such mark.

pub mod closing;
pub mod compare;
pub mod delivered;
pub mod pairing;
pub mod record;
pub mod segment;
pub mod tshark;
pub mod verdict;
