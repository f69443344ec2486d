//! The stages of the fallback for transitions that interrupt the main program.

/// How far the fallback of the transition program is: the word of the map `FALLBACK_STAGE`, which
/// user space writes.
///
/// The fallback records the transitions that interrupt the main program. A transition may be under
/// way on any CPU when the stage changes, so each stage relies only on what the one before has
/// prepared: when a stage begins, all transitions of the one before have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FallbackStage {
    /// The fallback may not be attached yet, and the main program keeps no marks for it.
    Detached,
    /// The fallback is attached and takes the main program's marks away, but the main program may
    /// have begun some transitions before it left marks.
    Syncing,
    /// A transition without a mark is one that the main program has missed: the fallback records
    /// it.
    Active,
}
