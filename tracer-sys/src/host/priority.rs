//! The priority of single threads: on Linux, a nice value belongs to a thread (setpriority(2)).
//! Threads inherit it, so one that starts beside a thread with a high priority takes back that of
//! the process.

use std::io;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use rustix::process::{
    Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit,
};

use super::capabilities::{self, Capability};

/// The nice value with which the process was started, once one of its threads has another.
static STARTED_WITH: OnceLock<i32> = OnceLock::new();

/// `MAX_NICE + 1` of `linux/sched/prio.h`: RLIMIT_NICE counts down from it.
const NICE_LIMIT_BASE: i64 = 20;

/// Gives the calling thread this nice value, unless it has a lower one (a higher priority).
///
/// # Errors
/// The kernel refuses: see [`may_have`].
pub fn raise_to(nice: i32) -> io::Result<()> {
    let own = getpriority_process(None)?;
    STARTED_WITH.get_or_init(|| own);
    if own > nice {
        setpriority_process(None, nice)?;
    }
    Ok(())
}

/// Gives the calling thread the nice value back that the process was started with.
///
/// # Errors
/// None is known.
pub fn give_back() -> io::Result<()> {
    if let Some(&started_with) = STARTED_WITH.get()
        && getpriority_process(None)? < started_with
    {
        setpriority_process(None, started_with)?;
    }
    Ok(())
}

/// Returns whether a thread of this process may have this nice value: with `CAP_SYS_NICE`, within
/// `RLIMIT_NICE`, or because it has it (`can_nice` of `kernel/sched/syscalls.c`).
#[must_use]
pub fn may_have(nice: i32) -> bool {
    capabilities::has(Capability::CAP_SYS_NICE)
        || is_within_limit(nice)
        || getpriority_process(None).is_ok_and(|own| own <= nice)
}

fn is_within_limit(nice: i32) -> bool {
    let limit = getrlimit(Resource::Nice).current;
    limit.is_none_or(|limit| limit as i64 >= NICE_LIMIT_BASE - i64::from(nice))
}

/// Lets threads of this process have this nice value also after `CAP_SYS_NICE` is given up. Without
/// `CAP_SYS_RESOURCE` the limit stays as it is.
pub fn keep_allowed(nice: i32) {
    if is_within_limit(nice) {
        return;
    }
    let limit = u64::try_from(NICE_LIMIT_BASE - i64::from(nice)).ok();
    let limits = Rlimit {
        current: limit,
        maximum: limit,
    };
    let _ = setrlimit(Resource::Nice, limits);
}

/// Starts a thread with the priority of the process, whatever its parent has.
///
/// # Errors
/// The thread cannot be started.
pub fn spawn<T: Send + 'static>(
    name: impl Into<String>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let thread = thread::Builder::new().name(name.into());
    thread.spawn(move || {
        // Less priority is always allowed.
        let _ = give_back();
        work()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread of its own, whose priority ends with it.
    #[test]
    fn a_thread_beside_one_with_priority_has_none() {
        const NICE: i32 = -3;
        let raised = thread::spawn(|| {
            let before = getpriority_process(None).expect("one may ask");
            if !may_have(NICE) {
                assert!(raise_to(NICE).is_err());
                return None;
            }
            raise_to(NICE).expect("it is allowed");
            let raised = getpriority_process(None).expect("one may ask");
            let beside = spawn("beside", || getpriority_process(None));
            let beside = beside.expect("a thread").join().expect("it did not panic");
            give_back().expect("less is always allowed");
            let after = getpriority_process(None).expect("one may ask");
            Some((before, raised, beside.expect("one may ask"), after))
        });
        let raised = raised.join().expect("it did not panic");
        if let Some((before, raised, beside, after)) = raised {
            assert_eq!(raised, before.min(NICE));
            assert_eq!((beside, after), (before, before));
        }
    }
}
