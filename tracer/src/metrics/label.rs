//! Labels, which distinguish the series of a metric.

use std::net::IpAddr;
use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::finding::{
    Cause, ClosePath, Initiator, LossLocation, ResetReason, Side, TimeWaitEnd,
};
use tcpclose_core::process::{Container, Unit};
use tcpclose_core::stuck::Verdict;
use tcpclose_core::types::{NetNs, Port};

use super::record_outcome::RecordOutcome;
use crate::escape::push_for_terminal;

/// The label with the name of a process.
pub const PROCESS_LABEL: &str = "process";

/// The labels that a process's series have beside its name, as far as their values are known.
pub const PLACE_LABELS: [&str; 5] = [
    UNIT_LABEL,
    "container.name",
    "k8s.container.name",
    "k8s.namespace.name",
    "k8s.pod.name",
];

/// The label with the systemd unit of a process.
const UNIT_LABEL: &str = "unit";

/// Labels with an unbounded number of values. (The exporter for Prometheus bounds the names of
/// processes itself.)
pub const HIGH_CARDINALITY: [&str; 5] = [
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
    /// The cause of an abnormal close.
    Cause(Option<Cause>),
    /// Who sent the RST.
    #[strum(serialize = "sender")]
    ResetSender(Side),
    /// Why it was sent.
    #[strum(serialize = "reason")]
    ResetReason(Option<ResetReason>),
    /// How TIME_WAIT ended.
    #[strum(serialize = "reason")]
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
    Outcome(RecordOutcome),
    /// The name of a process.
    Process(ProcessName),
    /// The id of a process.
    #[strum(serialize = "process.pid")]
    Pid(u32),
    /// A network namespace.
    Netns(NetNs),
    /// This host's address.
    #[strum(serialize = "network.local.address")]
    LocalAddress(IpAddr),
    /// A local port that the configuration lists.
    #[strum(serialize = "network.local.port")]
    LocalPort(Port),
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
    /// A number, such as a port.
    Number(u32),
}

/// The name of a process in labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessName {
    /// The process's name.
    Named {
        /// What the kernel has, escaped.
        title: Arc<str>,
        /// The system manager's service that the process is of, escaped.
        unit: Option<Arc<str>>,
        /// The container that the process is in.
        container: Option<Arc<ContainerLabels>>,
    },
    /// All processes without a name of their own, and unknown ones.
    Other,
}

/// The word for [`ProcessName::Other`].
const OTHER: &str = "other";

impl ProcessName {
    /// Escapes the name that the kernel has.
    #[must_use]
    pub fn from_comm(comm: &[u8]) -> Self {
        let mut name = String::new();
        push_for_terminal(&mut name, comm);
        match &*name {
            OTHER => Self::Other,
            title => Self::Named {
                title: title.into(),
                unit: None,
                container: None,
            },
        }
    }

    /// Adds the names of the process's service and container, where those are known. Other units
    /// than services (scopes) have a number or an id in their names, and no two runs the same one.
    #[must_use]
    pub fn placed(self, unit: Option<&Unit>, container: Option<&Container>) -> Self {
        let Self::Named { title, .. } = self else {
            return self;
        };
        let unit = unit.filter(|unit| unit.name.ends_with(".service"));
        Self::Named {
            title,
            unit: unit.map(|unit| escaped(&unit.name).into()),
            container: container.and_then(ContainerLabels::new),
        }
    }
}

fn escaped(name: &str) -> String {
    let mut text = String::new();
    push_for_terminal(&mut text, name.as_bytes());
    text
}

/// The names of a container in labels, escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerLabels {
    container: Option<String>,
    namespace: Option<String>,
    pod: Option<String>,
}

impl ContainerLabels {
    fn new(container: &Container) -> Option<Arc<Self>> {
        let pod = container.pod_name();
        container.names.as_ref()?;
        Some(Arc::new(Self {
            container: container.name().map(escaped),
            namespace: pod.map(|pod| escaped(&pod.namespace)),
            pod: pod.map(|pod| escaped(&pod.name)),
        }))
    }

    /// Returns the labels with their names in OpenTelemetry's conventions, which tell the name in a
    /// pod's specification from the runtime's own name for a container.
    fn pairs(&self) -> impl Iterator<Item = (&'static str, LabelValue)> {
        let container = match self.namespace {
            Some(_) => "k8s.container.name",
            None => "container.name",
        };
        let pairs = [
            (container, &self.container),
            ("k8s.namespace.name", &self.namespace),
            ("k8s.pod.name", &self.pod),
        ];
        let known = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)));
        known.map(|(name, value)| (name, LabelValue::Text(value)))
    }
}

impl Label {
    /// Returns the label's name in OpenTelemetry. In Prometheus it has underscores instead of dots.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Returns the label's value. Words are those of the JSON records, but TCP states have the
    /// words of OpenTelemetry's conventions.
    #[must_use]
    pub fn value(&self) -> LabelValue {
        let word = match self {
            Self::Path(path) => path.into(),
            Self::Initiator(initiator) => initiator.into(),
            Self::Cause(cause) => cause.map_or("unknown", Into::into),
            Self::ResetSender(side) => side.into(),
            Self::ResetReason(reason) => reason.map_or("unknown", Into::into),
            Self::TimeWaitEnd(end) => end.into(),
            Self::Verdict(verdict) => verdict.into(),
            Self::State(state) => state_word(*state),
            Self::Where(location) => location.into(),
            Self::Output(name) => name,
            Self::Outcome(outcome) => outcome.into(),
            Self::Process(ProcessName::Named { title, .. }) => title,
            Self::Process(ProcessName::Other) => OTHER,
            Self::Version => env!("CARGO_PKG_VERSION"),
            Self::LocalAddress(address) | Self::PeerAddress(address) => {
                return LabelValue::Text(address.to_string());
            }
            Self::Pid(number) => return LabelValue::Number(*number),
            Self::Netns(netns) => return LabelValue::Number(netns.get()),
            Self::LocalPort(port) | Self::PeerPort(port) => {
                return LabelValue::Number(port.get().into());
            }
        };
        LabelValue::Text(word.to_owned())
    }

    /// Returns the names and values that it stands for: its own, and for a process those of its
    /// service and container.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, LabelValue)> {
        let (unit, container) = match self {
            Self::Process(ProcessName::Named {
                unit, container, ..
            }) => (unit.as_deref(), container.as_deref()),
            _ => (None, None),
        };
        let unit = unit.map(|unit| (UNIT_LABEL, LabelValue::Text(unit.to_owned())));
        let of_container = container.into_iter().flat_map(ContainerLabels::pairs);
        [(self.name(), self.value())]
            .into_iter()
            .chain(unit)
            .chain(of_container)
    }

    /// Returns whether the number of its values is bounded, so that Prometheus gets it.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        !HIGH_CARDINALITY.contains(&self.name())
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
