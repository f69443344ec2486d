//! The priority of the thread that reads the kernel's records. Where every processor is wanted by
//! others, a reader without priority gets so little of them that the rings overflow. What it may
//! take with priority is limited: a storm of connections is no reason to stop the host's work.

use std::thread::available_parallelism;

use crate::notice::notice;
use tcpclose_core::types::Nanos;
use tcpclose_sys::host::priority;
use tcpclose_sys::kernel::clock::{now, thread_cpu_time};

/// The part of all processors that the thread may use with priority, in the long run: one in so
/// many.
const SHARE_DIVISOR: u64 = 4;

/// The time of which it may use the whole share at once.
const SAVED_TIME: Nanos = Nanos::from_secs(60);

/// Priority is taken again when this part of a full budget is there: one in so many.
const RESUME_DIVISOR: u64 = 4;

/// How often the thread's use is looked at.
const CHECK_INTERVAL: Nanos = Nanos::from_secs(1);

/// The shortest time between two messages that the budget is used up.
const MIN_NOTICE_INTERVAL: Nanos = Nanos::from_secs(600);

/// The priority of the calling thread, within its budget.
pub(super) struct ReaderPriority {
    nice: i32,
    budget: Budget,
    has_priority: bool,
    /// When it was said that the budget was used up.
    noticed_at: Option<Nanos>,
}

impl ReaderPriority {
    /// Gives the calling thread this nice value. `None` where that is not allowed, or not less than
    /// it has.
    pub fn take(nice: i32) -> Option<Self> {
        let has_more = nice >= 0 || priority::raise_to(nice).is_err();
        (!has_more).then(|| {
            let processors = available_parallelism().map_or(1, |count| count.get() as u64);
            Self {
                nice,
                budget: Budget::new(processors, now(), thread_cpu_time()),
                has_priority: true,
                noticed_at: None,
            }
        })
    }

    /// Looks at the thread's use of the processors, at most once a second, and gives the priority
    /// back or takes it again.
    pub fn check(&mut self, at: Nanos) {
        if at - self.budget.checked < CHECK_INTERVAL {
            return;
        }
        let may_have = self.budget.spend(at, thread_cpu_time(), self.has_priority);
        if may_have == self.has_priority {
            return;
        }
        if may_have {
            // Where it may not be taken again, it is tried again with the next budget.
            self.has_priority = priority::raise_to(self.nice).is_ok();
        } else if priority::give_back().is_ok() {
            self.has_priority = false;
            if self
                .noticed_at
                .is_some_and(|noticed_at| at - noticed_at < MIN_NOTICE_INTERVAL)
            {
                return;
            }
            self.noticed_at = Some(at);
            notice!(
                "reading the kernel's records takes more than a quarter of all processors, so it has no priority at times, and records may be lost"
            );
        }
    }
}

/// Processor time that may be used with priority.
struct Budget {
    /// Nanoseconds that come in 1,000.
    income: u64,
    capacity: Nanos,
    left: Nanos,
    checked: Nanos,
    used: Nanos,
}

impl Budget {
    fn new(processors: u64, at: Nanos, used: Nanos) -> Self {
        let income = processors * 1000 / SHARE_DIVISOR;
        let capacity = Nanos(SAVED_TIME.0 / 1000 * income);
        Self {
            income,
            capacity,
            left: capacity,
            checked: at,
            used,
        }
    }

    /// Takes what was used by now, and returns whether there may be priority.
    fn spend(&mut self, at: Nanos, used: Nanos, has_priority: bool) -> bool {
        let income = Nanos((at - self.checked).0 / 1000 * self.income);
        let spent = used - self.used;
        self.left = (self.left + income - spent).min(self.capacity);
        (self.checked, self.used) = (at, used);
        let least = match has_priority {
            true => Nanos(0),
            false => Nanos(self.capacity.0 / RESUME_DIVISOR),
        };
        self.left > least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spends a part of a processor, in percent, second by second. Returns for how many seconds of
    /// `seconds` there was priority.
    fn seconds_with_priority(processors: u64, percent: u64, seconds: u64) -> u64 {
        let (mut at, mut used) = (Nanos::from_secs(1), Nanos(0));
        let mut budget = Budget::new(processors, at, used);
        let (mut has_priority, mut with) = (true, 0);
        for _ in 0..seconds {
            at = at + Nanos::from_secs(1);
            if has_priority {
                used = used + Nanos::from_millis(10 * percent);
                with += 1;
            }
            has_priority = budget.spend(at, used, has_priority);
        }
        with
    }

    #[test]
    fn a_quarter_of_all_processors_may_be_used_for_ever() {
        assert_eq!(seconds_with_priority(2, 50, 10_000), 10_000);
        assert_eq!(seconds_with_priority(4, 100, 10_000), 10_000);
        assert_eq!(seconds_with_priority(64, 100, 10_000), 10_000);
    }

    #[test]
    fn more_than_that_ends_the_priority_until_it_is_saved_again() {
        // A budget of 30 s of a processor, of which half a second goes each second.
        let with = seconds_with_priority(2, 100, 1_000);
        assert!((500..=560).contains(&with), "{with}");
        assert_eq!(seconds_with_priority(2, 100, 60), 60);
        let with = seconds_with_priority(1, 100, 1_000);
        assert!((250..=320).contains(&with), "{with}");
    }
}
