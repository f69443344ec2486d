//! What becomes of records that are offered to outputs.

/// What became of a record that was offered to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RecordOutcome {
    Written,
    Filtered,
    #[strum(serialize = "cut")]
    RateLimited,
    Dropped,
    Failed,
}
