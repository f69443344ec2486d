//! What the two ends of a connection prove together, and neither alone.

use smallvec::SmallVec;

use super::clocks::Alignment;
use super::recorded_endpoint::{Host, Pair, RecordedEndpoint};
use crate::finding::{Close, ClosePath, Loss};
use crate::types::Nanos;

/// What went wrong between two hosts, the worst first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum VerdictKind {
    /// An endpoint received a RST that the other end never sent.
    ResetFromPath,
    /// One endpoint had ended the connection, and the other knew nothing of that.
    HalfOpen,
    /// A FIN that the other end sent never got through to this one.
    FinNeverArrived,
}

/// At which end something shows.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[strum(serialize_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum AffectedHosts {
    A,
    B,
    Both,
}

impl From<Host> for AffectedHosts {
    fn from(host: Host) -> Self {
        match host {
            Host::A => Self::A,
            Host::B => Self::B,
        }
    }
}

/// One thing that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Verdict {
    /// What was found.
    pub kind: VerdictKind,
    /// The end that received the RST, that the connection had ended at, or that the FIN did not get
    /// through to.
    pub at: AffectedHosts,
}

/// What is known of one recording beside its ends.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When it began, and when it ended.
    pub span: Option<(Nanos, Nanos)>,
    pub losses: LossTimes,
}

/// The most times of losses that are kept; with more, any time is one.
const MAX_LOSS_TIMES: usize = 4096;

/// How much later a loss may be noticed.
const LOSS_NOTICE_TIMEOUT: Nanos = Nanos::from_secs(10);

/// How long a segment may take until it counts as not having arrived, and an endpoint until it
/// counts as not having been informed.
const MAX_TRAVEL_TIME: Nanos = Nanos::from_secs(1);

/// When records were lost.
#[derive(Debug, Default)]
pub(super) struct LossTimes {
    times: Vec<Nanos>,
    pub count: u64,
}

impl LossTimes {
    pub fn add(&mut self, loss: &Loss) {
        self.count += loss.lost.max(1);
        if self.times.len() <= MAX_LOSS_TIMES {
            self.times.push(loss.at);
        }
    }

    /// Returns whether records of this time may be among those that were lost.
    fn may_hide(&self, from: Nanos, to: Nanos) -> bool {
        let until = to + LOSS_NOTICE_TIMEOUT;
        self.times.len() > MAX_LOSS_TIMES || self.times.iter().any(|at| (from..=until).contains(at))
    }
}

/// Why something that looks like a verdict is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unproven {
    /// The clocks of the two hosts cannot be compared.
    Clocks,
    /// Records were lost at that time.
    Losses,
}

/// What two ends prove.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judgement {
    pub verdicts: SmallVec<[Verdict; 2]>,
    /// Set where a verdict was prevented.
    pub unproven: Option<Unproven>,
}

/// Whether something holds.
enum Proof {
    Yes,
    No,
    Unproven(Unproven),
}

/// What pairs are judged by.
pub(super) struct Judge<'a> {
    pub alignment: &'a Alignment,
    pub seen: [&'a Seen; 2],
}

impl Judge<'_> {
    pub fn judge(&self, pair: &Pair) -> Judgement {
        let mut judgement = Judgement::default();
        let mut note = |kind, at, proof| match proof {
            Proof::Yes => judgement.verdicts.push(Verdict { kind, at }),
            Proof::No => {}
            Proof::Unproven(why) => judgement.unproven = judgement.unproven.max(Some(why)),
        };
        match self.resets_at_both(pair) {
            Some(proof) => note(VerdictKind::ResetFromPath, AffectedHosts::Both, proof),
            None => {
                for host in Host::BOTH {
                    let proof = self.is_reset_from_path(pair, host);
                    note(VerdictKind::ResetFromPath, host.into(), proof);
                }
            }
        }
        for host in Host::BOTH {
            note(
                VerdictKind::HalfOpen,
                host.into(),
                self.is_half_open(pair, host),
            );
            let proof = self.has_lost_fin(pair, host);
            note(VerdictKind::FinNeverArrived, host.into(), proof);
        }
        judgement
    }

    /// Both endpoints received a RST, and it is not known which was first. A socket that sends a
    /// RST is closed in the same moment, so neither has sent one. Which of the two RSTs came from
    /// the path cannot be informed: the host of the end that was gone first may have sent the
    /// other.
    fn resets_at_both(&self, pair: &Pair) -> Option<Proof> {
        let a = pair.end(Host::A).reset_received()?;
        let b = pair.end(Host::B).reset_received()?;
        if let Alignment::Known(clocks) = self.alignment
            && (clocks.is_after(Host::A, a, b) || clocks.is_after(Host::B, b, a))
        {
            return None;
        }
        Some(Proof::Yes)
    }

    /// The end of `host` received a RST while the other end's socket lived on: that one has not
    /// sent it.
    fn is_reset_from_path(&self, pair: &Pair, host: Host) -> Proof {
        let Some(came) = pair.end(host).reset_received() else {
            return Proof::No;
        };
        self.is_alive_after(pair, host.other(), came)
    }

    /// The end of `host` was ended, and the other end was neither informed by a FIN nor by a RST.
    fn is_half_open(&self, pair: &Pair, host: Host) -> Proof {
        let (end, other) = (pair.end(host), pair.end(host.other()));
        match end.ended_abnormally() {
            Some(ended) if !other.may_have_fin() && !end.may_be_acknowledged() => {
                self.is_alive_after(pair, host.other(), ended + MAX_TRAVEL_TIME)
            }
            _ => Proof::No,
        }
    }

    /// The other end has sent a FIN, and the end of `host`, which lived on, has never had it.
    fn has_lost_fin(&self, pair: &Pair, host: Host) -> Proof {
        let (end, sender) = (pair.end(host), pair.end(host.other()));
        match sender.fin_sent() {
            Some(sent) if !sender.may_be_acknowledged() && !end.may_have_fin() => {
                self.is_alive_after(pair, host, sent + MAX_TRAVEL_TIME)
            }
            _ => Proof::No,
        }
    }

    /// Returns whether the socket of an endpoint on `host` was surely there after a time of the
    /// other host's clock.
    fn is_alive_after(&self, pair: &Pair, host: Host, time: Nanos) -> Proof {
        let seen = self.seen[host.index()];
        let end = pair.end(host);
        let until = match end {
            RecordedEndpoint::Closed(close) if close.path == ClosePath::Unknown => {
                return Proof::No;
            }
            RecordedEndpoint::Closed(close) => socket_end(close),
            RecordedEndpoint::Open(_) => match seen.span {
                Some((_, last)) => last,
                None => return Proof::No,
            },
        };
        let Alignment::Known(clocks) = self.alignment else {
            return Proof::Unproven(Unproven::Clocks);
        };
        if !clocks.is_after(host, until, time) {
            return Proof::No;
        }
        let from = end.endpoint().opened.unwrap_or_default();
        match seen.losses.may_hide(from, clocks.latest_on(host, time)) {
            true => Proof::Unproven(Unproven::Losses),
            false => Proof::Yes,
        }
    }
}

/// Returns until when a closed end surely had its socket.
fn socket_end(close: &Close) -> Nanos {
    let last = close.steps.iter().filter(|step| step.is_reset());
    let reset = last.filter_map(|step| step.at).min();
    reset.map_or(close.at, |reset| reset.min(close.at))
}
