//! Raw transitions, in the columns of bcc's and libbpf-tools' `tcpstates`.

use std::fmt::Write as _;

use tcpclose_core::event::Transition;
use tcpclose_core::types::Nanos;

use super::layout::{Cell, Spacing, column_starts};
use crate::escape::{push_for_terminal, until_nul};

const COLUMNS: usize = 11;
const COLUMN_TITLES: [&str; COLUMNS] = [
    "SKADDR", "PID", "COMM", "LADDR", "LPORT", "RADDR", "RPORT", "OLDSTATE", "->", "NEWSTATE", "MS",
];
const COLUMN_STARTS: [usize; COLUMNS] = column_starts([16, 7, 10, 15, 5, 15, 5, 11, 2, 11, 0]);

/// Formats raw transitions as lines of a table. Nothing is cut.
#[derive(Debug, Default)]
pub struct TransitionTable {
    cells: [Cell; COLUMNS],
}

impl TransitionTable {
    /// Appends the line of titles.
    pub fn write_header(&mut self, out: &mut Vec<u8>) {
        for (cell, title) in self.cells.iter_mut().zip(COLUMN_TITLES) {
            cell.set(title);
        }
        self.write(out);
    }

    /// Appends the line of one transition. `time_in_old_state` is the time spent in the state that
    /// was left. PID and COMM are `-` unless a system call caused the transition; tcpstates prints
    /// the task that was on the CPU.
    pub fn write_transition(
        &mut self,
        out: &mut Vec<u8>,
        transition: &Transition,
        time_in_old_state: Option<Nanos>,
    ) {
        let [
            address,
            pid,
            comm,
            laddr,
            lport,
            raddr,
            rport,
            old,
            arrow,
            new,
            ms,
        ] = &mut self.cells;
        let (local, peer) = (transition.tuple.local(), transition.tuple.peer());
        match transition.skaddr {
            None => address.set_unknown(),
            Some(skaddr) => {
                let _ = write!(address.clear(), "{:x}", skaddr.get());
            }
        }
        match &transition.task {
            Some(task) => {
                let _ = write!(pid.clear(), "{}", task.pid);
                push_for_terminal(comm.clear(), until_nul(&task.comm));
            }
            None => {
                pid.set_unknown();
                comm.set_unknown();
            }
        }
        let _ = write!(laddr.clear(), "{}", local.ip());
        let _ = write!(lport.clear(), "{}", local.port());
        let _ = write!(raddr.clear(), "{}", peer.ip());
        let _ = write!(rport.clear(), "{}", peer.port());
        old.set(transition.old.into());
        arrow.set("->");
        new.set(transition.new.into());
        match time_in_old_state {
            Some(span) => {
                let _ = write!(ms.clear(), "{:.3}", span.as_millis());
            }
            None => ms.set_unknown(),
        }
        self.write(out);
    }

    fn write(&self, out: &mut Vec<u8>) {
        Spacing::new(&self.cells, &COLUMN_STARTS).write(&self.cells, false, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples::{self, tuple, us};
    use tcpclose_core::event::Task;

    fn line(transition: &Transition, time_in_old_state: Option<Nanos>) -> String {
        let mut out = Vec::new();
        TransitionTable::default().write_transition(&mut out, transition, time_in_old_state);
        String::from_utf8(out).expect("a line is UTF-8")
    }

    #[test]
    fn the_columns_are_those_of_tcpstates() {
        let mut out = Vec::new();
        let mut table = TransitionTable::default();
        table.write_header(&mut out);
        table.write_transition(&mut out, &samples::transition(), Some(us(8_360)));
        assert_eq!(
            String::from_utf8_lossy(&out),
            "\
SKADDR           PID     COMM       LADDR           LPORT RADDR           RPORT OLDSTATE    -> NEWSTATE    MS
ffff88810a2b3c40 28089   curl       127.0.0.1       48350 127.0.0.1       3306  ESTABLISHED -> FIN_WAIT1   8.360
"
        );
    }

    #[test]
    fn a_transition_from_softirq_has_no_owner() {
        let transition = Transition {
            skaddr: None,
            task: None,
            tuple: tuple("[2001:db8::1]:443", "[2001:db8::2]:50000"),
            ..samples::transition()
        };
        assert_eq!(
            line(&transition, None),
            "-                -       -          2001:db8::1     443   2001:db8::2     50000 ESTABLISHED -> FIN_WAIT1   -\n"
        );
    }

    #[test]
    fn a_hostile_name_is_escaped() {
        let mut comm = [0; tcpclose_common::COMM_LEN];
        comm[..4].copy_from_slice(b"\x1b[m\n");
        let transition = Transition {
            task: samples::transition().task.map(|task| Task { comm, ..task }),
            ..samples::transition()
        };
        assert!(line(&transition, None).contains(" \\x1b[m\\n   127.0.0.1 "));
    }
}
