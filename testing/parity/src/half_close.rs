//! The time in which only one side had closed, from FIN to FIN.

use jiff::SignedDuration;

use crate::closing::Closing;
use crate::record::RecordedHalfClose;
use crate::segment::{Endpoint, Segment};
use crate::tshark::{Frame, Stream};
use crate::verdict::{About, Difference, Severity};

/// How far the kernel's time of a FIN and its time in the capture may be apart: a processor may be
/// taken away between the two.
const TOLERANCE: SignedDuration = SignedDuration::from_millis(20);

/// Returns what a reported half-close contradicts in the capture of the endpoint `local`: who sent
/// the first FIN, and the time until the other's or until the RST that ended the connection. Of a
/// FIN that was sent again any may have been the one that the socket took: without room for it, the
/// first is dropped.
#[must_use]
pub fn difference(
    stream: &Stream,
    closing: &Closing,
    local: Endpoint,
    reported: &RecordedHalfClose,
) -> Option<Difference> {
    let ends = closing.segments.iter().map(|part| part.0);
    let mut ends = ends.filter(|segment| segment.flags.fin || segment.flags.rst);
    let (first, second) = (ends.next(), ends.next());
    let by = match first {
        Some(first) if first.flags.rst => "nobody",
        Some(fin) if fin.from == local => "local",
        Some(_) => "peer",
        None => "nobody",
    };
    let frames = |segment: Segment| {
        let is_it = move |frame: &&Frame| {
            let Segment { from, flags, .. } = frame.segment;
            frame.segment == segment || (from == segment.from && flags.fin && segment.flags.fin)
        };
        stream.frames.iter().filter(is_it)
    };
    let began = first.and_then(|first| frames(first).next());
    let times: Vec<SignedDuration> = match (began, second) {
        (Some(began), Some(second)) => frames(second)
            .map(|frame| frame.at.duration_since(began.at))
            .collect(),
        _ => Vec::new(),
    };
    let fits = |lasted: &SignedDuration| (*lasted - reported.lasted).abs() <= TOLERANCE;
    let is_as_long = times.is_empty() || times.iter().any(fits);
    let lasted = times.first().copied();
    let describe = |by: &str, lasted: Option<SignedDuration>| match lasted {
        Some(lasted) => format!("by {by}, {} ms", lasted.as_millis()),
        None => format!("by {by}"),
    };
    (by != reported.by || !is_as_long).then(|| Difference {
        severity: Severity::Wrong,
        about: About::HalfClose,
        step: None,
        captured: describe(by, lasted),
        recorded: describe(&reported.by, Some(reported.lasted)),
    })
}
