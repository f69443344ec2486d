//! A record of one endpoint against the capture of its closing.

use crate::closing::{Closing, ClosingSegment, Initiator};
use crate::record::{RecordedClose, RecordedStep};
use crate::segment::Endpoint;
use crate::verdict::{About, Difference, Judgement, Severity};

impl Closing {
    /// What a record of the endpoint `local` reports differently from this closing, and what it
    /// leaves out; empty when they agree. Softer than [`compare`] only where a scenario asks on its
    /// own: the path and the number of segments may be unknown, and an inferred RST may have had an
    /// ACK or not, which a socket that takes one cannot know.
    #[must_use]
    pub fn differences(&self, local: Endpoint, record: &RecordedClose) -> Vec<String> {
        let judgement = compare(self, local, record);
        let counts = |difference: &&Difference| match (difference.about, difference.severity) {
            (About::Path | About::Segments, severity) => severity == Severity::Wrong,
            (About::Flags, severity) => severity == Severity::Wrong,
            _ => true,
        };
        let counting = judgement.differences.iter().filter(counts);
        counting.map(ToString::to_string).collect()
    }
}

impl RecordedStep {
    /// Returns whether this step agrees with the captured segment, sent by the side `from`, in all
    /// that it reports.
    #[must_use]
    pub fn agrees(&self, from: &str, captured: &ClosingSegment) -> bool {
        let mut judgement = Judgement::default();
        compare_step(
            self,
            step_name(&self.from, flag_name(&self.flags)),
            captured,
            &mut judgement,
        );
        self.from == from && judgement.differences.is_empty()
    }
}

/// Compares the record of the endpoint `local` with its closing as captured at that endpoint.
#[must_use]
pub fn compare(closing: &Closing, local: Endpoint, record: &RecordedClose) -> Judgement {
    let mut judgement = Judgement::default();
    compare_fields(closing, local, record, &mut judgement);
    compare_steps(closing, local, record, &mut judgement);
    judgement
}

/// The fields about the close as a whole.
fn compare_fields(
    closing: &Closing,
    local: Endpoint,
    record: &RecordedClose,
    judgement: &mut Judgement,
) {
    let captured = initiator(closing, local);
    if record.initiator != captured {
        let severity = severity_if_reported(record.initiator != "unknown");
        judgement.add_difference(severity, About::Initiator, captured, &record.initiator);
    }
    match closing.path() {
        // The record may know why this endpoint sent its RST: a timeout, or `ss -K`.
        Some("reset") if may_send_reset(&record.path) && reset_by(closing, local) == "local" => {}
        Some(path) if path != record.path => {
            let severity = severity_if_reported(record.path != "unknown");
            judgement.add_difference(severity, About::Path, path, &record.path);
        }
        // No further segment came: a capture does not show why.
        None if !["timeout", "destroyed", "unknown"].contains(&record.path.as_str()) => {
            judgement.add_difference(Severity::Wrong, About::Path, "not closed", &record.path);
        }
        _ => {}
    }
    let segments = closing.segments.len() + closing.repeated_by(local);
    match record.segments {
        Some(reported) if reported != segments as u64 => {
            judgement.add_difference(Severity::Wrong, About::Segments, segments, reported);
        }
        None => judgement.add_difference(Severity::NotReported, About::Segments, segments, "null"),
        Some(_) => {}
    }
    if let Some(by) = &record.reset_by {
        let captured = reset_by(closing, local);
        if by != captured {
            judgement.add_difference(Severity::Wrong, About::ResetBy, captured, by);
        }
    }
}

fn may_send_reset(path: &str) -> bool {
    ["timeout", "destroyed"].contains(&path)
}

fn reset_by(closing: &Closing, local: Endpoint) -> &'static str {
    closing.reset().map_or("nobody", |reset| side(reset, local))
}

fn severity_if_reported(is_reported: bool) -> Severity {
    if is_reported {
        Severity::Wrong
    } else {
        Severity::NotReported
    }
}

fn initiator(closing: &Closing, local: Endpoint) -> &'static str {
    match closing.initiator {
        Initiator::Unknown => "unknown",
        Initiator::One(endpoint) if endpoint == local => "local",
        Initiator::One(_) => "peer",
        Initiator::Both => "both",
    }
}

fn side(segment: &ClosingSegment, local: Endpoint) -> &'static str {
    if segment.0.from == local {
        "local"
    } else {
        "peer"
    }
}

/// A closing has each of these at most once a side.
fn flag_name(flags: &str) -> &'static str {
    match flags {
        "ACK" => "ACK",
        "FIN,ACK" => "FIN",
        _ => "RST",
    }
}

fn step_name(from: &str, flag_name: &str) -> &'static str {
    match (from, flag_name) {
        ("local", "FIN") => "local FIN",
        ("local", "ACK") => "local ACK",
        ("local", _) => "local RST",
        (_, "FIN") => "peer's FIN",
        (_, "ACK") => "peer's ACK",
        _ => "peer's RST",
    }
}

fn compare_steps(
    closing: &Closing,
    local: Endpoint,
    record: &RecordedClose,
    judgement: &mut Judgement,
) {
    let captured: Vec<(&str, &ClosingSegment)> = closing
        .segments
        .iter()
        .map(|segment| {
            (
                step_name(side(segment, local), flag_name(segment.flags())),
                segment,
            )
        })
        .collect();
    let mut reported = Vec::new();
    for step in &record.steps {
        let step_name = step_name(&step.from, flag_name(&step.flags));
        match captured.iter().position(|(name, _)| *name == step_name) {
            Some(place) if !reported.contains(&place) => {
                reported.push(place);
                compare_step(step, step_name, captured[place].1, judgement);
            }
            _ => judgement.differences.push(Difference {
                severity: severity_of(step),
                about: About::Step,
                step: Some(step_name),
                captured: "not captured".to_owned(),
                recorded: step.to_string(),
            }),
        }
    }
    for (place, (name, segment)) in captured.iter().enumerate() {
        if !reported.contains(&place) {
            judgement.differences.push(Difference {
                severity: Severity::NotReported,
                about: About::Step,
                step: Some(name),
                captured: format!("{} {segment}", side(segment, local)),
                recorded: "not reported".to_owned(),
            });
        }
    }
    // Which of two crossing segments came first depends on where one stands.
    if closing.initiator == Initiator::Both {
        let own = |place: &usize| captured[*place].1.0.from == local;
        let (own, peers): (Vec<_>, Vec<_>) = reported.iter().copied().partition(own);
        reported = if own.is_sorted() && peers.is_sorted() {
            Vec::new()
        } else {
            reported
        };
    }
    if !reported.is_sorted() {
        let order = |steps: &[RecordedStep]| {
            let names = steps
                .iter()
                .map(|step| step_name(&step.from, flag_name(&step.flags)));
            names.collect::<Vec<_>>().join(", ")
        };
        judgement.add_difference(Severity::Wrong, About::Order, closing, order(&record.steps));
    }
}

fn severity_of(step: &RecordedStep) -> Severity {
    if step.inferred {
        Severity::Misjudged
    } else {
        Severity::Wrong
    }
}

fn compare_step(
    step: &RecordedStep,
    name: &'static str,
    segment: &ClosingSegment,
    judgement: &mut Judgement,
) {
    let Judgement {
        differences,
        numbers,
    } = judgement;
    let mut add_difference = |about, captured: String, recorded: String| {
        differences.push(Difference {
            severity: severity_of(step),
            about,
            step: Some(name),
            captured,
            recorded,
        });
    };
    if step.flags != segment.flags() {
        add_difference(About::Flags, segment.flags().to_owned(), step.flags.clone());
    }
    let segment = &segment.0;
    let ack = segment.flags.ack.then_some(segment.ack);
    for (about, captured, recorded) in [
        (About::Seq, Some(segment.seq), step.seq),
        (About::Ack, ack, step.ack),
    ] {
        let Some(recorded) = recorded else {
            numbers.null += usize::from(captured.is_some());
            continue;
        };
        numbers.reported += 1;
        if captured.map(u64::from) != Some(recorded) {
            let captured = captured.map_or_else(|| "none".to_owned(), |number| number.to_string());
            add_difference(about, captured, recorded.to_string());
        }
    }
}
