//! What the report consists of.

/// One line of the report.
pub(super) struct Check {
    pub name: &'static str,
    pub found: Result<String, MissingFeature>,
}

/// A missing piece: its cause, its effect, and how to fix it.
pub(super) struct MissingFeature {
    pub problem: String,
    pub effect: &'static str,
    pub remedy: &'static str,
}

impl MissingFeature {
    pub fn new(problem: impl Into<String>, effect: &'static str, remedy: &'static str) -> Self {
        Self {
            problem: problem.into(),
            effect,
            remedy,
        }
    }
}
