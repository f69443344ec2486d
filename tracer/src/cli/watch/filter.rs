//! Which findings were asked for.

use crate::cli::filters::Filters;
use tcpclose_core::event::Transition;
use tcpclose_core::finding::Finding;
use tcpclose_sys::kernel::loader::Options;
use tcpclose_sys::kernel::netns::NetNsError;

/// What the kernel has not filtered yet.
pub(in crate::cli) struct Filter {
    pids: Vec<u32>,
    /// Of a recording: its kernel had other filters.
    ends: Option<Options>,
}

impl Filter {
    /// What the kernel filters already.
    pub fn live(filters: &Filters) -> Self {
        Self {
            pids: filters.pids.clone(),
            ends: None,
        }
    }

    /// Of a recording.
    pub fn recorded(filters: &Filters) -> Result<Self, NetNsError> {
        Ok(Self {
            pids: filters.pids.clone(),
            ends: Some(filters.ends.options_of_recording()?),
        })
    }

    /// Whether nothing is left out here.
    pub fn is_all(&self) -> bool {
        self.pids.is_empty() && self.ends.as_ref().is_none_or(Options::want_all)
    }

    pub fn transition(&self, transition: &Transition) -> bool {
        let tuple = &transition.tuple;
        let task = transition.task.as_ref();
        (self.pids.is_empty() || task.is_some_and(|task| self.pids.contains(&task.pid)))
            // As in the kernel, a connect() passes whose port is not chosen yet.
            && (self.ends.as_ref()).is_none_or(|ends| {
                tuple.local_port == 0 || ends.want(transition.netns, tuple)
            })
    }

    pub fn finding(&self, finding: &Finding) -> bool {
        let (conn, owner) = match finding {
            Finding::Close(close) => (&close.endpoint, &close.owner),
            Finding::TimeWait(time_wait) => (&time_wait.endpoint, &time_wait.owner),
            Finding::Leak(stuck) => (&stuck.endpoint, &stuck.owner),
            Finding::Loss(_) | Finding::Summary(_) => return true,
        };
        let mut holders = match finding {
            Finding::Leak(stuck) => stuck.holders.as_slice(),
            _ => &[],
        }
        .iter();
        let wanted = |pid| self.pids.contains(&pid);
        (self.pids.is_empty()
            || owner.as_ref().is_some_and(|owner| wanted(owner.pid))
            || holders.any(|holder| wanted(holder.pid)))
            && (self.ends.as_ref()).is_none_or(|ends| ends.want(conn.netns, &conn.tuple))
    }
}
