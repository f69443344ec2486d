//! What the writer gets, and how it is to show it.

use std::fmt;
use std::sync::{Arc, Mutex};

use tcpclose_core::container_filter::ContainerFilter;
use tcpclose_core::finding::Close;

use crate::cgroup_names::{CgroupNames, NoCgroups};
use crate::clock_offset::ClockOffset;
use crate::output::clock::WallClock;
use crate::output::close_tally::CloseTally;
use crate::output::json::JsonOptions;
use crate::output::stuck_digest::StuckGroup;
use crate::output::table::TableOptions;
use crate::output::terminal::Size;
use crate::record::{RawTransition, Record};

/// The most lines that wait for a slow reader: more than a full ring buffer can yield at once.
pub const DEFAULT_CAPACITY: usize = 65_536;

/// What the lines for people are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// A table of closes.
    #[default]
    Closes,
    /// A table of raw transitions.
    Transitions,
    /// A drawing of each close.
    Ladders,
}

/// Options for formatting lines.
pub struct Options {
    /// Converts the kernel's times to wall time, with the offset that the source had when the line
    /// was sent.
    pub clock: WallClock,
    /// Finds the names of the owners' cgroups, for JSON and for `containers`. Called in the
    /// writer's thread.
    pub cgroups: Box<dyn CgroupNames>,
    /// Which lines are written: the part of the filter that needs the names of containers.
    pub containers: ContainerFilter,
    /// The most lines that are written, without those about losses; `None` for all.
    pub limit: Option<u64>,
    /// What is written where the format is not JSON. Losses are left out: report them on standard
    /// error with [`loss_message`](fn@crate::output::loss_message).
    pub view: View,
    /// Counts the closes that are written.
    pub tally: Option<Arc<Mutex<CloseTally>>>,
    /// Returns the present size of the terminal; `None` if the output is not a terminal, and
    /// nothing is cut. Called in the writer's thread.
    pub terminal: fn() -> Option<Size>,
    /// How the table of closes looks.
    pub table: TableOptions,
    /// What the records in JSON have in common.
    pub json: JsonOptions,
    /// The most lines that wait, at least 1; further ones are dropped and counted.
    pub capacity: usize,
}

impl Default for Options {
    /// Returns the options for a pipe or file: nothing is cut, no colours, no cgroup names.
    fn default() -> Self {
        Self {
            clock: WallClock::new(ClockOffset::measured()),
            cgroups: Box::new(NoCgroups),
            containers: ContainerFilter::default(),
            limit: None,
            view: View::default(),
            tally: None,
            terminal: || None,
            table: TableOptions::default(),
            json: JsonOptions::default(),
            capacity: DEFAULT_CAPACITY,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            clock,
            cgroups: _,
            containers,
            limit,
            view,
            tally,
            terminal: _,
            table,
            json,
            capacity,
        } = self;
        f.debug_struct("Options")
            .field("clock", clock)
            .field("containers", containers)
            .field("limit", limit)
            .field("view", view)
            .field("tally", tally)
            .field("table", table)
            .field("json", json)
            .field("capacity", capacity)
            .finish_non_exhaustive()
    }
}

/// The content of one line.
#[derive(Clone, Debug)]
pub enum Line {
    /// A finding or a summary.
    Record(Record),
    /// Both endpoints of a connection on this host, for people: drawn as one.
    BothEndpoints(Box<[Close; 2]>),
    /// The stuck sockets of one process, for people.
    Stuck(Box<StuckGroup>),
    /// A raw transition.
    Transition(Box<RawTransition>),
}
