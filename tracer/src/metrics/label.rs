//! Labels, which tell the series of a metric apart.

use std::net::IpAddr;
use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::finding::{ClosePath, Initiator, LossLocation, ResetReason, Side, TimeWaitEnd};
use tcpclose_core::stuck::Verdict;
use tcpclose_core::types::{NetNs, Port};

use super::snapshot::Outcome;
use crate::output::escape::push_for_terminal;

/// The label with the name of a process.
pub const PROCESS: &str = "process.title";

/// Labels with an unbounded number of values. (The exporter for Prometheus bounds the names of
/// processes itself.)
pub const UNBOUNDED: [&str; 5] = [
    "process.pid",
    "netns",
    "network.local.address",
    "network.peer.address",
    "network.peer.port",
];

/// A label with its value. Labels have the names of OpenTelemetry's conventions where those have
/// one for the same fact.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Label {
    /// The path of a close.
    Path(ClosePath),
    /// Who sent the first FIN or RST.
    Initiator(Initiator),
    /// Who sent the RST.
    #[strum(serialize = "by")]
    ResetBy(Side),
    /// Why it was sent.
    #[strum(serialize = "reason")]
    ResetReason(Option<ResetReason>),
    /// How TIME_WAIT ended.
    #[strum(serialize = "end")]
    TimeWaitEnd(TimeWaitEnd),
    /// What the process of a stuck socket failed to do.
    Verdict(Verdict),
    /// A TCP state.
    #[strum(serialize = "network.connection.state")]
    State(TcpState),
    /// Where events were lost.
    Where(LossLocation),
    /// The name of an output.
    Output(Arc<str>),
    /// What became of an output's records.
    Outcome(Outcome),
    /// The name of a process.
    #[strum(serialize = "process.title")]
    Process(ProcessTitle),
    /// The id of a process.
    #[strum(serialize = "process.pid")]
    Pid(u32),
    /// A network namespace.
    Netns(NetNs),
    /// This host's address.
    #[strum(serialize = "network.local.address")]
    LocalAddress(IpAddr),
    /// The peer's address.
    #[strum(serialize = "network.peer.address")]
    PeerAddress(IpAddr),
    /// The peer's port.
    #[strum(serialize = "network.peer.port")]
    PeerPort(Port),
    /// The version of this program.
    Version,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelValue {
    /// A word or a name.
    Text(String),
    /// A number.
    Number(u32),
}

/// The name of a process in labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessTitle {
    /// The process's name.
    Named(Arc<str>),
    /// All processes without a name of their own, and unknown ones.
    Other,
}

/// The word for [`ProcessTitle::Other`].
const OTHER: &str = "other";

impl ProcessTitle {
    /// Escapes the name that the kernel has.
    #[must_use]
    pub fn of(comm: &[u8]) -> Self {
        let mut title = String::new();
        push_for_terminal(&mut title, comm);
        match &*title {
            OTHER => Self::Other,
            title => Self::Named(title.into()),
        }
    }
}

impl Label {
    /// Returns the label's name in OpenTelemetry. In Prometheus it has underscores instead of dots.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns the label's value. Words are those of the JSON records, but TCP states have the words
    /// of OpenTelemetry's conventions.
    #[must_use]
    pub fn value(&self) -> LabelValue {
        let word = match self {
            Self::Path(path) => path.into(),
            Self::Initiator(initiator) => initiator.into(),
            Self::ResetBy(side) => side.into(),
            Self::ResetReason(reason) => reason.map_or("unknown", Into::into),
            Self::TimeWaitEnd(end) => end.into(),
            Self::Verdict(verdict) => verdict.into(),
            Self::State(state) => state_word(*state),
            Self::Where(location) => location.into(),
            Self::Output(name) => name,
            Self::Outcome(outcome) => outcome.into(),
            Self::Process(ProcessTitle::Named(title)) => title,
            Self::Process(ProcessTitle::Other) => OTHER,
            Self::Version => env!("CARGO_PKG_VERSION"),
            Self::LocalAddress(address) | Self::PeerAddress(address) => {
                return LabelValue::Text(address.to_string());
            }
            Self::Pid(number) => return LabelValue::Number(*number),
            Self::Netns(netns) => return LabelValue::Number(netns.get()),
            Self::PeerPort(port) => return LabelValue::Number(port.get().into()),
        };
        LabelValue::Text(word.to_owned())
    }

    /// Returns whether the number of its values is bounded, so that Prometheus gets it.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        !UNBOUNDED.contains(&self.name())
    }
}

const fn state_word(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "established",
        TcpState::SynSent => "syn_sent",
        TcpState::SynRecv | TcpState::NewSynRecv => "syn_received",
        TcpState::FinWait1 => "fin_wait_1",
        TcpState::FinWait2 => "fin_wait_2",
        TcpState::TimeWait => "time_wait",
        TcpState::Close => "closed",
        TcpState::CloseWait => "close_wait",
        TcpState::LastAck => "last_ack",
        TcpState::Listen => "listen",
        TcpState::Closing => "closing",
    }
}
