//! Which tests a kernel's machine runs.

use std::ffi::OsString;

use super::series::{Run, Series};

/// The tests of one run.
pub struct Selection<'a> {
    /// How many they are.
    pub run: Run,
    /// The user's own arguments for each test program.
    pub args: &'a [OsString],
}

/// Test programs that are worth another kernel.
const USUAL_TARGETS: &[&str] = &["integration", "sock_diag"];
/// All that a machine can run.
const ALL_TARGETS: &[&str] = &["integration", "leaks", "sock_diag"];

/// Tests that a usual run skips on other kernels, because emulation is slow: it runs the scenarios
/// whose outcome the kernel decides, in IPv4.
const SKIPPED_TESTS: &[&str] = &[
    "::ipv6",
    "::v4_mapped",
    "attached_late::",
    "bursts::",
    "closed_window::",
    "confined::",
    "crossing::",
    "disconnected::",
    "filters::",
    "fin_with_data::",
    "half_reset::",
    "hostile_names::",
    "owners::",
    "port_reuse::",
    "recordings::",
    "stopping::",
    "environment::",
    "timeouts::",
    "transitions::",
    "usage::",
];

/// The integration tests of a usual run on another architecture, whose kernel has the same TCP as
/// this one's: one of each way in which events come from the kernel. Its programs are not the
/// optimised ones, and its processor is always an emulated one.
const SHORT_LIST: &[&str] = &[
    "accept_queue::client_resets_before_it_is_accepted::ipv4",
    "classic::a_reset_on_close::ipv4",
    "destroyed::the_clients_end_is_destroyed::ipv4",
    "doctor::",
    "four_way::client_closes_and_server_follows_late::ipv4",
    "half_close::the_server_says_goodbye_first::ipv4",
    "minisockets::the_peers_fin_is_observed::ipv4",
    "refused::connecting_where_nobody_listens::ipv4",
    "resets::client_closes_with_unread_data::ipv4",
    "resets::data_for_a_closed_socket_is_answered_with_a_reset::ipv4",
    "three_way::client_closes_before_its_ack_has_gone::ipv4",
    "time_wait::cut_short::a_reset_assassinates_it",
    "time_wait::replaced::the_peers_syn_recycles_it::ipv4",
    "time_wait::the_hooks_are_there_where_they_must_be",
    "transitions::",
];

impl Selection<'_> {
    /// What a stage runs without the user's arguments.
    pub const USUAL: Self = Self {
        run: Run::Usual,
        args: &[],
    };

    /// The test programs.
    pub fn targets(&self) -> &'static [&'static str] {
        match self.run {
            Run::Usual => USUAL_TARGETS,
            Run::Full => ALL_TARGETS,
        }
    }

    /// The arguments of a test program on a kernel.
    pub fn arguments(&self, series: &Series, target: &str) -> Vec<OsString> {
        if !self.args.is_empty() {
            return self.args.to_vec();
        }
        let arguments = match (self.run, series.arch.is_native()) {
            (Run::Full, _) => Vec::new(),
            (Run::Usual, true) => SKIPPED_TESTS
                .iter()
                .flat_map(|name| ["--skip", name])
                .collect(),
            (Run::Usual, false) if target == "integration" => SHORT_LIST.to_vec(),
            (Run::Usual, false) => Vec::new(),
        };
        arguments.into_iter().map(OsString::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::series::ALL_SERIES;

    fn series(is_native: bool) -> &'static Series {
        let mut all = ALL_SERIES.iter();
        all.find(|series| series.arch.is_native() == is_native)
            .unwrap()
    }

    #[test]
    fn the_users_arguments_take_the_place_of_ours() {
        for run in [Run::Usual, Run::Full] {
            let args = &["four_way".into()];
            let selection = Selection { run, args };
            let chosen = selection.arguments(series(false), "integration");
            assert_eq!(chosen, args);
        }
    }

    #[test]
    fn a_usual_run_is_short_where_the_processor_is_never_this_hosts() {
        let usual = Selection::USUAL;
        let native = usual.arguments(series(true), "integration");
        assert_eq!(native.first(), Some(&"--skip".into()));
        let foreign = usual.arguments(series(false), "integration");
        assert!(!foreign.contains(&"--skip".into()) && !foreign.is_empty());
        assert!(usual.arguments(series(false), "sock_diag").is_empty());
    }

    #[test]
    fn a_full_run_leaves_nothing_out() {
        let full = Selection {
            run: Run::Full,
            args: &[],
        };
        for target in full.targets() {
            assert!(full.arguments(series(true), target).is_empty());
        }
        assert!(usual_is_part_of(full.targets()));
    }

    fn usual_is_part_of(all: &[&str]) -> bool {
        USUAL_TARGETS.iter().all(|target| all.contains(target))
    }
}
