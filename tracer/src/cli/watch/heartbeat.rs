//! A sign of life when nothing was shown for a while: what is open, and which filter hides it.

use std::fmt::Write as _;

use crate::output::close_tally::grouped;
use crate::output::duration::push_with_unit;
use crate::plural::plural;
use tcpclose_core::types::Nanos;

/// How long nothing must have been shown.
const QUIET_INTERVAL: Nanos = Nanos::from_secs(60);
/// The longest time between two signs of life.
const MAX_QUIET_INTERVAL: Nanos = Nanos::from_secs(3_600);

/// Decides when a sign of life is due: after a minute without a line, and then after twice the
/// time, up to an hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heartbeat {
    /// How many lines had been shown.
    shown: u64,
    /// How many closes had not been.
    hidden: u64,
    since: Nanos,
    next: Nanos,
}

/// A time in which nothing was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    pub lasted: Nanos,
    /// How many closes were not shown in that time.
    pub hidden: u64,
}

impl Heartbeat {
    pub fn new(now: Nanos) -> Self {
        Self {
            shown: 0,
            hidden: 0,
            since: now,
            next: now + QUIET_INTERVAL,
        }
    }

    /// Returns when [`Self::check`] has something to report, if nothing is shown until then.
    pub const fn next_due(&self) -> Nanos {
        self.next
    }

    /// Returns the silence up to now, if a sign of life is due. So far, `shown` lines were shown,
    /// and `hidden` closes were not.
    pub fn check(&mut self, now: Nanos, shown: u64, hidden: u64) -> Option<Silence> {
        if shown != self.shown {
            *self = Self {
                shown,
                hidden,
                ..Self::new(now)
            };
        }
        if now < self.next {
            return None;
        }
        let lasted = now - self.since;
        self.next = now + lasted.min(MAX_QUIET_INTERVAL);
        Some(Silence {
            lasted,
            hidden: hidden - self.hidden,
        })
    }
}

/// What a sign of life says beside the silence.
#[derive(Clone, Debug, Default)]
pub(super) struct Reasons {
    /// Whether only abnormal closes are shown.
    pub abnormal_only: bool,
    /// The filters, as they were given: `-L 9000 and -D 9000`.
    pub filters: Option<String>,
    /// How many connections are open, where that is known.
    pub open: Option<u64>,
    /// How many of them match, where that is known.
    pub matching: Option<u64>,
    /// Another filter that may be meant.
    pub hint: Option<String>,
}

/// Returns the sign of life.
pub(super) fn text(silence: Silence, reasons: &Reasons) -> String {
    let kind = if reasons.abnormal_only {
        "abnormal "
    } else {
        ""
    };
    let mut text = format!("0 {kind}closes shown in ");
    push_with_unit(&mut text, silence.lasted);
    let hidden = silence.hidden;
    let filters = reasons.filters.as_deref();
    if hidden > 0 {
        let _ = write!(
            text,
            "; {} {}",
            grouped(hidden),
            plural(hidden, "close", "closes")
        );
        let _ = match (filters, reasons.abnormal_only) {
            (Some(filters), false) => write!(text, " did not match {filters}"),
            (Some(filters), true) => write!(text, " normal, or did not match {filters}"),
            (None, _) => write!(text, " normal"),
        };
    }
    let connections = |count| plural(count, "connection", "connections");
    let open = |count: u64| format!("{} {} open", grouped(count), connections(count));
    let _ = match (filters, reasons.open, reasons.matching) {
        (Some(filters), Some(count), Some(0)) => {
            write!(text, "; {}, none matches {filters}", open(count))
        }
        (Some(filters), None, Some(0)) => write!(text, "; no open connection matches {filters}"),
        (Some(filters), _, Some(count)) => {
            let matches = plural(count, "matches", "match");
            let connections = connections(count);
            write!(
                text,
                "; {} open {connections} {matches} {filters}",
                grouped(count)
            )
        }
        (_, Some(count), _) => write!(text, "; {}", open(count)),
        (_, None, _) => Ok(()),
    };
    if let Some(hint) = &reasons.hint {
        let _ = write!(text, ". Did you mean {hint}?");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_reported_after_a_minute_and_then_ever_more_rarely() {
        let mut heartbeat = Heartbeat::new(Nanos(0));
        let mut reported = Vec::new();
        for second in 0..20_000 {
            let silence = heartbeat.check(Nanos::from_secs(second), 0, second);
            reported.extend(silence.map(|silence| {
                assert_eq!(silence.hidden, second);
                silence.lasted.0 / 1_000_000_000
            }));
        }
        let expected = [
            60, 120, 240, 480, 960, 1_920, 3_840, 7_440, 11_040, 14_640, 18_240,
        ];
        assert_eq!(reported, expected);
    }

    #[test]
    fn a_line_begins_a_new_silence() {
        let mut heartbeat = Heartbeat::new(Nanos(0));
        assert_eq!(heartbeat.check(Nanos::from_secs(59), 1, 5), None);
        assert_eq!(heartbeat.next_due(), Nanos::from_secs(119));
        assert_eq!(heartbeat.check(Nanos::from_secs(60), 1, 6), None);
        let silence = Silence {
            lasted: Nanos::from_secs(60),
            hidden: 2,
        };
        assert_eq!(heartbeat.check(Nanos::from_secs(119), 1, 7), Some(silence));
    }

    fn sign(hidden: u64, reasons: &Reasons) -> String {
        let lasted = Nanos::from_secs(60);
        text(Silence { lasted, hidden }, reasons)
    }

    #[test]
    fn a_sign_of_life_names_what_is_open_and_what_hides_it() {
        let reasons = Reasons {
            filters: Some("-L 9000 and -D 9000".to_owned()),
            open: Some(1_412),
            matching: Some(0),
            hint: Some("--port 9000".to_owned()),
            ..Reasons::default()
        };
        assert_eq!(
            sign(0, &reasons),
            "0 closes shown in 1m00s; 1,412 connections open, none matches -L 9000 and -D 9000. \
             Did you mean --port 9000?"
        );
        let some = Reasons {
            matching: Some(1),
            hint: None,
            ..reasons.clone()
        };
        assert_eq!(
            sign(0, &some),
            "0 closes shown in 1m00s; 1 open connection matches -L 9000 and -D 9000"
        );
        let unknown = Reasons {
            open: None,
            hint: None,
            ..reasons
        };
        assert_eq!(
            sign(7, &unknown),
            "0 closes shown in 1m00s; 7 closes did not match -L 9000 and -D 9000; no open \
             connection matches -L 9000 and -D 9000"
        );
    }

    #[test]
    fn without_filters_only_normal_closes_are_hidden() {
        let all = Reasons {
            open: Some(1),
            ..Reasons::default()
        };
        assert_eq!(sign(0, &all), "0 closes shown in 1m00s; 1 connection open");
        let abnormal = Reasons {
            abnormal_only: true,
            ..Reasons::default()
        };
        assert_eq!(
            sign(2, &abnormal),
            "0 abnormal closes shown in 1m00s; 2 closes normal"
        );
    }
}
