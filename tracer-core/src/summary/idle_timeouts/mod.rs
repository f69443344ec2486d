//! Finds idle timeouts: the silence after which one side closes the connections of a service.
//!
//! The silences before the closes of one service and one side show a timeout if [`MIN_SHARE`] of
//! them, and no fewer than [`MIN_CLOSES`], lie within [`tolerance`] of one value, and the closes of
//! these began at [`MIN_MOMENTS`] moments or more: when a server is stopped after a burst of
//! requests, all of its connections close after the same silence, at one moment. A close right
//! after data has no silence and does not count ([`MIN_SILENCE`]); silences shorter than
//! [`MIN_TIMEOUT`] do, since short random ones lie close together.

#[cfg(test)]
mod tests;

use super::service::ServiceAddress;
use crate::finding::{Cause, Close, Initiator, Side};
use crate::ranking::HeavyHitters;
use crate::types::{Nanos, NetNs, SharedOwner};

/// The shortest silence that counts: two ticks of the kernel's clock, at `CONFIG_HZ=100`.
const MIN_SILENCE: Nanos = Nanos::from_millis(20);
/// The shortest timeout that is found.
const MIN_TIMEOUT: Nanos = Nanos::from_millis(500);
/// The fewest closes that show a timeout.
const MIN_CLOSES: u64 = 8;
/// The fewest moments at which these closes began.
const MIN_MOMENTS: u64 = 4;
/// The smallest share of all silences that counts as a gathering, as a fraction.
const MIN_SHARE: (u64, u64) = (3, 4);
/// The most services and sides that are counted at one time.
const MAX_SERVICES: usize = 512;
/// The most different silences of one of them that are counted at one time.
const MAX_SILENCES: usize = 64;

/// The connections of a service that one side closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceSide {
    /// The network namespace.
    pub netns: Option<NetNs>,
    /// Whose connections end after a silence.
    pub service: ServiceAddress,
    /// The side that sent the first FIN or RST.
    pub closed_by: Side,
}

/// A silence after which one side closes the connections of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleTimeout {
    /// Whose connections they are, and which side closes them.
    pub of: ServiceSide,
    /// The process on this host, of the last of these connections that had a known one.
    pub owner: Option<SharedOwner>,
    /// How long the connections had been silent.
    pub silence: Nanos,
    /// The number of closes after this silence.
    pub closes: u64,
    /// The number of closes by that side after a silence of any length that counts.
    pub silent_closes: u64,
    /// What ran into the timeout.
    pub missed: MissedTimeouts,
}

/// The data that ran into an idle timeout, of the closes after that silence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissedTimeouts {
    /// Requests written after the peer's FIN had arrived ([`Cause::StaleKeepalive`]).
    pub late: u64,
    /// Requests that the peer's FIN passed on its way ([`Cause::CrossedKeepalive`]).
    pub crossed: u64,
    /// Data of the peer that came after this host had closed ([`Cause::DataAfterClose`]); whether
    /// it was late or crossed shows at the peer's end only.
    pub after_close: u64,
}

impl MissedTimeouts {
    /// Returns how many connections these are.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.late + self.crossed + self.after_close
    }
}

/// The timeouts that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTimeouts {
    /// Those with the most closes, these first.
    pub most: Vec<IdleTimeout>,
    /// The number of others.
    pub others: usize,
    /// No service was forgotten. If not, timeouts may be missing, and counts too low.
    pub exact: bool,
}

/// Gathers the silences before closes. Bounded: services, and silences of a service, that are rare
/// are forgotten first; what was forgotten of a service counts as another silence.
#[derive(Clone, Debug)]
pub struct IdleTimeouts {
    services: HeavyHitters<ServiceSide, Silences>,
}

/// The silences of one service and side.
#[derive(Clone, Debug)]
struct Silences {
    by_length: HeavyHitters<Nanos, SilenceNotes>,
    /// When the last moment at which connections closed began.
    moment: Option<Nanos>,
    owner: Option<SharedOwner>,
}

/// What is known of the closes after one silence.
#[derive(Clone, Copy, Debug, Default)]
struct SilenceNotes {
    missed: MissedTimeouts,
    moments: u64,
}

impl Default for IdleTimeouts {
    fn default() -> Self {
        Self {
            services: HeavyHitters::new(MAX_SERVICES),
        }
    }
}

impl Default for Silences {
    fn default() -> Self {
        Self {
            by_length: HeavyHitters::new(MAX_SILENCES),
            moment: None,
            owner: None,
        }
    }
}

impl IdleTimeouts {
    /// Counts the silence before a close, where that is known.
    pub fn record(&mut self, close: &Close) {
        let Some((of, silence)) = service_side(close).zip(counted_silence(close)) else {
            return;
        };
        let silences = self.services.add(of);
        if close.owner.is_some() {
            silences.owner.clone_from(&close.owner);
        }
        let notes = silences.by_length.add(rounded(silence));
        // Closes that become known late belong to a moment that is over.
        let began = close.steps.first().and_then(|first| first.at);
        let moment = silences.moment;
        if let Some(began) = began
            && moment.is_none_or(|moment| began > moment + tolerance(silence))
        {
            silences.moment = Some(began);
            notes.moments += 1;
        }
        match close.cause {
            Some(Cause::StaleKeepalive) => notes.missed.late += 1,
            Some(Cause::CrossedKeepalive) => notes.missed.crossed += 1,
            Some(Cause::DataAfterClose) => notes.missed.after_close += 1,
            _ => {}
        }
    }

    /// Returns the timeouts that the silences show, those with the most closes first, at most
    /// `len`.
    #[must_use]
    pub fn found(&self, len: usize) -> FoundTimeouts {
        let services = self.services.iter();
        let mut most: Vec<IdleTimeout> = services
            .filter_map(|(of, _, silences)| silences.timeout(*of))
            .collect();
        most.sort_unstable_by(|a, b| b.closes.cmp(&a.closes).then_with(|| a.of.cmp(&b.of)));
        let others = most.split_off(len.min(most.len())).len();
        FoundTimeouts {
            most,
            others,
            exact: self.services.is_exact(),
        }
    }
}

impl Silences {
    fn timeout(&self, of: ServiceSide) -> Option<IdleTimeout> {
        let lengths = self.by_length.iter().map(|(length, ..)| *length);
        let lengths = lengths.filter(|length| *length >= MIN_TIMEOUT);
        let near = lengths.map(|center| self.near(center));
        let most = near.max_by(|a, b| {
            let by_closes = a.closes.cmp(&b.closes);
            by_closes.then_with(|| b.center.cmp(&a.center))
        })?;
        let silent_closes = self.by_length.total();
        let (part, whole) = MIN_SHARE;
        let is_timeout = most.closes >= MIN_CLOSES
            && most.moments >= MIN_MOMENTS
            && most.closes * whole >= silent_closes * part;
        is_timeout.then(|| IdleTimeout {
            of,
            owner: self.owner.clone(),
            silence: Nanos((most.sum / u128::from(most.closes)) as u64),
            closes: most.closes,
            silent_closes,
            missed: most.missed,
        })
    }

    /// Returns what lies within the tolerance of one length.
    fn near(&self, center: Nanos) -> Near {
        let mut near = Near {
            center,
            ..Near::default()
        };
        for (length, count, notes) in self.by_length.iter() {
            if length.0.abs_diff(center.0) > tolerance(center).0 {
                continue;
            }
            let MissedTimeouts {
                late,
                crossed,
                after_close,
            } = notes.missed;
            near.closes += count;
            near.sum += u128::from(length.0) * u128::from(count);
            near.moments += notes.moments;
            near.missed.late += late;
            near.missed.crossed += crossed;
            near.missed.after_close += after_close;
        }
        near
    }
}

/// The closes after a silence of about one length.
#[derive(Debug, Default)]
struct Near {
    center: Nanos,
    closes: u64,
    /// Of the silences.
    sum: u128,
    moments: u64,
    missed: MissedTimeouts,
}

/// Returns how far silences of one timeout may lie from their middle: a fiftieth, and 50 ms or
/// more, for the delays of timers, processes and networks.
#[must_use]
pub fn tolerance(silence: Nanos) -> Nanos {
    Nanos((silence.0 / 50).max(Nanos::from_millis(50).0))
}

/// Rounds a silence to the steps in which silences are counted: a sixteenth to an eighth of the
/// tolerance, so that there is room for all silences of a timeout.
fn rounded(silence: Nanos) -> Nanos {
    let step = (tolerance(silence).0 / 16).next_power_of_two();
    Nanos((silence.0 + step / 2) / step * step)
}

fn service_side(close: &Close) -> Option<ServiceSide> {
    Some(ServiceSide {
        netns: close.endpoint.netns,
        service: ServiceAddress::from_endpoint(&close.endpoint)?,
        closed_by: match close.initiator {
            Initiator::Local => Side::Local,
            Initiator::Peer => Side::Peer,
            Initiator::Both | Initiator::Unknown => return None,
        },
    })
}

/// Returns the silence before a close, where it may be that of a timeout of the side that closed:
/// the kernel's own timers, an administrator and what lies between the two are others.
fn counted_silence(close: &Close) -> Option<Nanos> {
    let by_others = matches!(
        close.cause,
        Some(Cause::KeepaliveTimeout | Cause::Destroyed | Cause::FromPath)
    );
    close.idle.filter(|idle| *idle >= MIN_SILENCE && !by_others)
}
