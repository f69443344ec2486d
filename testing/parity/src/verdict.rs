//! The result of a comparison.

use std::fmt;

/// How bad a difference is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The record states that it does not know.
    NotReported,
    /// A step marked `inferred` is contradicted.
    Misjudged,
    /// A claim of fact is contradicted.
    Wrong,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// Who began to close (`close.initiator`).
    Initiator,
    /// The path of the close (`close.path`).
    Path,
    /// The number of closing segments (`close.segments`).
    Segments,
    /// Who sent the RST (`reset.by`).
    ResetBy,
    /// A step that is on one side only.
    Step,
    /// The order of the steps.
    Order,
    /// The flags of a step.
    Flags,
    /// The sequence number of a step.
    Seq,
    /// The acknowledgment number of a step.
    Ack,
    /// `half_close`.
    HalfClose,
}

/// One thing in which record and capture differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub about: About,
    /// The step that it is about.
    pub step: Option<&'static str>,
    /// What the capture shows.
    pub captured: String,
    /// What the record has.
    pub recorded: String,
}

/// How many numbers of steps were reported and were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceNumbers {
    /// Reported, right or wrong.
    pub reported: usize,
    /// Not reported: null in the record.
    pub null: usize,
}

/// The result of comparing one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The differences of record and capture, null numbers of steps excepted.
    pub differences: Vec<Difference>,
    /// The numbers of its steps.
    pub numbers: SequenceNumbers,
}

/// The sum of a judgement; the crate's documentation defines the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All is reported and right.
    Matched,
    /// All that is reported is right.
    Unknown,
    /// Only inferred steps are contradicted.
    Misjudged,
    /// A claim of fact is contradicted.
    Wrong,
}

impl Judgement {
    /// Its sum.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let worst = self
            .differences
            .iter()
            .map(|difference| difference.severity);
        match worst.max() {
            None => Verdict::Matched,
            Some(Severity::NotReported) => Verdict::Unknown,
            Some(Severity::Misjudged) => Verdict::Misjudged,
            Some(Severity::Wrong) => Verdict::Wrong,
        }
    }

    /// Returns whether initiator and path are reported and right.
    #[must_use]
    pub fn knows_initiator_and_path(&self) -> bool {
        let mut differences = self.differences.iter();
        !differences.any(|difference| matches!(difference.about, About::Initiator | About::Path))
    }

    pub(crate) fn add_difference(
        &mut self,
        severity: Severity,
        about: About,
        captured: impl ToString,
        recorded: impl ToString,
    ) {
        self.differences.push(Difference {
            severity,
            about,
            step: None,
            captured: captured.to_string(),
            recorded: recorded.to_string(),
        });
    }
}

impl fmt::Display for About {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Initiator => "initiator",
            Self::Path => "path",
            Self::Segments => "segments",
            Self::ResetBy => "reset.by",
            Self::Step => "step",
            Self::Order => "order",
            Self::Flags => "flags",
            Self::Seq => "seq",
            Self::Ack => "ack",
            Self::HalfClose => "half_close",
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(out, "{step}, ")?;
        }
        let Self {
            about,
            captured,
            recorded,
            ..
        } = self;
        write!(out, "{about}: captured {captured}, recorded {recorded}")
    }
}
