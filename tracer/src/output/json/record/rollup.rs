//! The `rollup` record: the closes of one service in an interval.

use serde::Serialize;

use super::parts::{Address, VERSION, netns};
use super::sample::Sample;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::output::json::close_counts::CloseCounts;
use tcpclose_core::summary::{self, RollupCounts, ServiceAddress, Sum};
use tcpclose_core::types::Nanos;

/// The closes of one service in an interval, or of all others together.
#[derive(Serialize)]
pub(in crate::output::json) struct Rollup {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    from: Rfc3339,
    to: Rfc3339,
    netns: Option<u32>,
    listening_port: Option<u16>,
    peer: Option<Address>,
    closed: u64,
    abnormal: u64,
    closes: CloseCounts,
    lifetime: Times,
    bytes: Bytes,
    exact: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

#[derive(Serialize)]
struct Times {
    count: u64,
    sum_ms: f64,
}

#[derive(Serialize)]
struct Bytes {
    sent: Amount,
    received: Amount,
}

#[derive(Serialize)]
struct Amount {
    count: u64,
    sum: u64,
}

impl From<Sum> for Amount {
    fn from(Sum { count, sum }: Sum) -> Self {
        Self {
            count,
            sum: u64::try_from(sum).unwrap_or(u64::MAX),
        }
    }
}

impl Rollup {
    pub(in crate::output::json) fn new(
        rollup: &summary::Rollup,
        clock: &WallClock,
        sample: Option<Sample>,
    ) -> Self {
        let summary::Rollup {
            from,
            to,
            service,
            counts,
            exact,
        } = rollup;
        let RollupCounts {
            closes,
            causes,
            lifetime,
            bytes_sent,
            bytes_received,
        } = counts;
        let (listening_port, peer) = match service.map(|it| it.service) {
            Some(ServiceAddress::Listening(port)) => (Some(port.get()), None),
            Some(ServiceAddress::Peer(peer)) => (None, Some(peer.into())),
            None => (None, None),
        };
        Self {
            v: VERSION,
            kind: "rollup",
            ts: clock.rfc3339(*to),
            from: clock.rfc3339(*from),
            to: clock.rfc3339(*to),
            netns: netns(service.and_then(|it| it.netns)),
            listening_port,
            peer,
            closed: closes.total(),
            abnormal: causes.total(),
            closes: CloseCounts::new(closes, causes),
            lifetime: Times {
                count: lifetime.count,
                sum_ms: rounded_ms(Nanos(u64::try_from(lifetime.sum).unwrap_or(u64::MAX))),
            },
            bytes: Bytes {
                sent: (*bytes_sent).into(),
                received: (*bytes_received).into(),
            },
            exact: *exact,
            sample,
        }
    }
}
