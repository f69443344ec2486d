//! The runtimes whose own tools show what an application does.

/// What a process runs on, recognized by its executable and what it has mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Runtime {
    /// `CPython`, also within another program.
    Python,
    /// A Java virtual machine (`HotSpot`).
    Java,
    /// Node.js.
    Node,
    /// Go.
    Go,
    /// .NET.
    DotNet,
    /// Ruby.
    Ruby,
    /// None of these: compiled code, as far as can be seen.
    Native,
}
