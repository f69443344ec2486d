//! Whether a record of tcpclose about a close agrees with a capture of that close.
//!
//! Nothing here touches a socket or the kernel: segments of a capture and records of tcpclose in,
//! verdicts out. The program of this package makes closes, captures and watches them, and compares
//! them here; tcpclose's integration tests use the same comparison.
//!
//! [`segment::Segment`], [`segment::Endpoint`] and [`closing::Initiator`] resemble types of
//! tcpclose's core on purpose: the comparison is an independent oracle, so it shares no code with
//! what it checks.
//!
//! # What is compared with what
//!
//! A record is about one endpoint, so it is compared with a capture made on that side: what the
//! endpoint sent, lost later or not, and what reached it. [`closing::Closing`] finds the closing
//! segments in it:
//!
//! - each endpoint's first FIN, the first segment of each side that acknowledges the other's FIN,
//!   and the first RST, with which the closing ends; further segments are answers to answers;
//! - a data segment may be such an ACK, and counts as one: what is compared is its own sequence
//!   number;
//! - a FIN sent again is no further step, unless it is the first to acknowledge the other's FIN,
//!   and then it is that ACK; the record's `segments` counts those that this endpoint sent again,
//!   each time;
//! - what reached the endpoint but was never taken by its socket, as the endpoint's own segments
//!   prove, is not part of the close as the socket knows it: see [`delivered`].
//!
//! # What matches
//!
//! [`compare::compare`] compares initiator, path, who reset, the number of segments, and of each
//! step its flags and both numbers; [`half_close::difference`] compares a reported half-close with
//! the FINs. An endpoint
//!
//! - **matches** when the record reports all of them and each is as captured. A number that is null
//!   in a step does not count as a difference, but the nulls are counted. A step marked `inferred`
//!   must be as right as one marked `observed`.
//! - is **unknown** when all that is reported is right, but `path` or `initiator` is `unknown`,
//!   `segments` is null, or a captured step is not reported.
//! - is **misjudged** when only steps marked `inferred` are contradicted.
//! - is **wrong** when anything else is contradicted: a step marked `observed`, or a field that
//!   carries no such mark.

pub mod closing;
pub mod compare;
pub mod delivered;
pub mod half_close;
pub mod pairing;
pub mod record;
pub mod segment;
pub mod tshark;
pub mod verdict;
