//! The rate limit: a token bucket, with one token per record.

use std::time::Instant;

use super::config::RateLimit;

/// A token bucket.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// Returns a full bucket.
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        let burst = f64::from(limit.burst.unwrap_or(limit.per_second).get());
        Self {
            per_second: f64::from(limit.per_second.get()),
            burst,
            tokens: burst,
            filled: now,
        }
    }

    /// Takes a token. Returns whether there was one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let span = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + span * self.per_second).min(self.burst);
        self.filled = self.filled.max(now);
        let has_token = self.tokens >= 1.0;
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;

    fn bucket(per_second: u32, burst: Option<u32>, now: Instant) -> TokenBucket {
        let limit = RateLimit {
            per_second: NonZeroU32::new(per_second).expect("a rate"),
            burst: burst.and_then(NonZeroU32::new),
        };
        TokenBucket::new(limit, now)
    }

    fn taken(bucket: &mut TokenBucket, now: Instant) -> u32 {
        (0..1_000).map(|_| u32::from(bucket.take(now))).sum()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = bucket(10, Some(50), start);
        assert_eq!(taken(&mut bucket, start), 50);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(550)), 0);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(600)), 1);
    }

    #[test]
    fn a_long_rest_saves_no_more_than_the_burst() {
        let start = Instant::now();
        let mut bucket = bucket(10, None, start);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3_600)), 10);
    }
}
