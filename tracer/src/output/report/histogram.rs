//! How durations are spread over the orders of magnitude.

use tcpclose_core::summary::DurationSketch;
use tcpclose_core::types::Nanos;

/// Where the bars of each decade begin: a timeout that many connections run into is a wall in one.
const STEPS: [u64; 6] = [10, 15, 20, 30, 50, 70];
/// The first decade begins here: what is shorter is in its first bar.
const SHORTEST: u64 = 1_000;
/// Up to 27 hours, and the rest.
const DECADES: usize = 11;

/// Durations by length, with their quantiles.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    pub sketch: DurationSketch,
    counts: [[u64; STEPS.len()]; DECADES],
}

/// The number of durations from `from` on that are shorter than the next bar's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub from: Nanos,
    pub count: u64,
}

impl Histogram {
    /// Adds a duration.
    pub fn add(&mut self, span: Nanos) {
        self.sketch.add(span);
        let mut decade = 0;
        let mut start = SHORTEST;
        while decade + 1 < DECADES && span.0 >= start * 10 {
            decade += 1;
            start *= 10;
        }
        let reached = |step: &u64| span.0 / 10 >= start * step / 100;
        let step = STEPS.iter().take_while(|step| reached(step)).count();
        self.counts[decade][step.saturating_sub(1)] += 1;
    }

    /// Returns the bars from the shortest to the longest duration; none if there are no durations.
    pub fn bars(&self) -> Vec<Bar> {
        let decades = (0_u32..).zip(&self.counts);
        let bars = decades.flat_map(|(decade, counts)| {
            let start = SHORTEST * 10_u64.pow(decade) / 10;
            let bar = move |(step, count): (&u64, &u64)| Bar {
                from: Nanos(start * step),
                count: *count,
            };
            STEPS.iter().zip(counts).map(bar)
        });
        let bars: Vec<Bar> = bars.collect();
        let used = |bar: &Bar| bar.count > 0;
        let Some(first) = bars.iter().position(used) else {
            return Vec::new();
        };
        let last = bars.iter().rposition(used).unwrap_or(first);
        bars[first..=last].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Histogram};
    use tcpclose_core::types::Nanos;

    #[test]
    fn a_timeout_is_one_bar() {
        let mut spread = Histogram::default();
        for ms in [5_000, 5_001, 5_900, 60_000] {
            spread.add(Nanos::from_millis(ms));
        }
        let bars = spread.bars();
        let bar = |seconds, count| Bar {
            from: Nanos::from_secs(seconds),
            count,
        };
        assert_eq!(bars.first(), Some(&bar(5, 3)));
        assert_eq!(bars.last(), Some(&bar(50, 1)));
        assert_eq!(bars[1], bar(7, 0));
    }

    #[test]
    fn all_durations_are_in_a_bar() {
        let mut spread = Histogram::default();
        let mut count = 0;
        for span in [0, 1, 999, 1_000, 1_499, 1_500, 9_999, 10_000, u64::MAX] {
            spread.add(Nanos(span));
            count += 1;
            let bars = spread.bars();
            assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), count);
            let of_span = bars
                .iter()
                .rev()
                .find(|bar| bar.count > 0 && bar.from.0 <= span.max(1_000));
            assert!(of_span.is_some(), "{span}");
        }
        assert_eq!(Histogram::default().bars(), []);
    }
}
