/// What is known of the program that takes the transitions which interrupt the first one: the word of the map `TWIN`, which
/// user space writes.
///
/// A transition may be under way on any CPU at each step, so nothing is asked of the next that the one before has not
/// prepared: between two steps all of them are through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FallbackStage {
    /// It may not be attached yet, and the first program tells it nothing.
    Absent,
    /// It is attached, and hears what the first program has seen, but not yet of what was under way when that began.
    Listens,
    /// What it has not heard of, the first program has missed.
    Works,
}
