//! The stages, in the order in which they run.

use std::ffi::OsString;

use anyhow::Result;

use super::{
    packages,
    tasks::{self, Context},
};
use crate::{test_runner::Counts, workspace::Workspace};

/// One stage.
pub struct Stage {
    /// What `--only` takes.
    pub name: &'static str,
    /// What it does, for `--list`.
    pub about: &'static str,
    /// In which runs it is.
    pub run: Run,
    /// What may run beside it.
    pub concurrency: Concurrency,
    work: fn(&Context) -> Result<Counts>,
}

/// The shortest run that has a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Run {
    /// `--quick`: needs no root, no virtual machine and no services.
    Quick,
    /// Without options, and in CI.
    Usual,
    /// `--all`: takes longer than CI may.
    All,
}

/// Whether a stage may run beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// It measures time, or keeps all processors busy itself.
    Alone,
    /// It waits most of the time, or keeps one processor busy.
    Shared,
}

const fn stage(
    name: &'static str,
    run: Run,
    concurrency: Concurrency,
    work: fn(&Context) -> Result<Counts>,
    about: &'static str,
) -> Stage {
    Stage {
        name,
        about,
        run,
        concurrency,
        work,
    }
}

/// All stages. Of those that share the processors, the long ones come first.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    stage("fmt", Run::Quick, Concurrency::Alone, tasks::fmt, "rustfmt, and names, words and line lengths"),
    stage(BUILD, Run::Usual, Concurrency::Alone, tasks::build, "install what the tests need; compile all programs and tests"),
    stage("lint", Run::Quick, Concurrency::Alone, tasks::lint, "clippy, warnings denied"),
    stage("unit", Run::Quick, Concurrency::Alone, tasks::suite, "tests of all crates that no other stage has"),
    stage("core", Run::Quick, Concurrency::Alone, tasks::suite, "tests of tracer-core"),
    stage("fuzz", Run::Quick, Concurrency::Alone, tasks::suite, "the parsers of foreign bytes, over the kept corpus and some seconds of random input"),
    stage("screens", Run::Quick, Concurrency::Alone, tasks::screens, "the pictures of the README against what the program writes on a terminal"),
    stage("doc", Run::Quick, Concurrency::Alone, tasks::doc, "rustdoc, warnings denied, and the examples in the documentation"),
    stage("ebpf", Run::Usual, Concurrency::Alone, tasks::ebpf, "the kept eBPF object against what its sources become"),
    stage("crates", Run::Usual, Concurrency::Alone, tasks::crates, "cargo package for the crates that are published, each compiled from its package"),
    stage("deny", Run::Usual, Concurrency::Alone, tasks::deny, "licences, duplicates and sources of the dependencies"),
    stage("dist", Run::Quick, Concurrency::Alone, tasks::suite, "the files in dist/ against systemd, promtool, logrotate and helm; man pages and completions"),
    stage("fleet", Run::Usual, Concurrency::Shared, tasks::suite, "the queries for fleets on ClickHouse and DuckDB: each finds what was planted in a simulated fleet"),
    stage("vm-5.10", Run::Usual, Concurrency::Shared, tasks::vm_test, "the kernel tests on Linux 5.10, in a virtual machine"),
    stage("integration", Run::Usual, Concurrency::Shared, tasks::integration, "closes on this kernel against captures of them; root"),
    stage("vm-6.1", Run::Usual, Concurrency::Shared, tasks::vm_test, "the same on Linux 6.1"),
    stage("vm-6.12", Run::Usual, Concurrency::Shared, tasks::vm_test, "the same on Linux 6.12"),
    stage("vm-arm64", Run::Usual, Concurrency::Shared, tasks::vm_test, "a short list of them on Linux 6.12 for arm64, from static programs"),
    stage("agent", Run::Usual, Concurrency::Shared, tasks::suite, "the agent as it is installed; root"),
    stage("leaks", Run::Usual, Concurrency::Shared, tasks::suite, "stuck sockets on this kernel; root"),
    stage("sinks", Run::Usual, Concurrency::Shared, tasks::suite, "outputs against real receivers; root"),
    stage("sys", Run::Usual, Concurrency::Shared, tasks::suite, "tests of tracer-sys against this kernel; root"),
    stage("alone", Run::Usual, Concurrency::Alone, tasks::alone, "the integration tests that need the processors for themselves; root"),
    stage("parity", Run::Usual, Concurrency::Alone, tasks::parity, "1,000 random closes of every kind against captures of them; root"),
    stage("package", Run::Usual, Concurrency::Alone, packages::package, "packages of this architecture, made twice, and used as users do; root"),
    stage("bench", Run::Usual, Concurrency::Alone, tasks::bench, "ratios, instructions, memory and sizes against the kept numbers"),
    stage("vm-full", Run::All, Concurrency::Alone, tasks::vm_full, "all kernel tests on every kernel, also those that the usual run skips, and stuck sockets"),
    stage("package-full", Run::All, Concurrency::Alone, packages::package_full, "packages of all architectures, made from two checkouts"),
    stage("parity-full", Run::All, Concurrency::Alone, tasks::parity_full, "20,000 random closes against captures, without losses and with, and those of real programs; root"),
    stage("soak", Run::All, Concurrency::Alone, tasks::soak, "ten minutes of churn with the agent, and ten with losses; root"),
];

/// The stage that compiles. Where it fails, the others need not begin.
pub const BUILD: &str = "build";

impl Stage {
    /// Runs it in this process.
    pub fn run(&self, workspace: &Workspace, args: &[OsString]) -> Result<Counts> {
        (self.work)(&Context {
            workspace,
            stage: self.name,
            args,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tasks::{STAGES_WITH_ROOT, stage_of};
    use super::*;
    use crate::vm;

    #[test]
    fn every_test_target_belongs_to_a_stage_that_runs_tests() {
        let workspace = Workspace::find().unwrap();
        for target in &workspace.test_targets {
            let name = stage_of(&target.package, &target.name);
            assert!(STAGES.iter().any(|stage| stage.name == name), "{name}");
        }
    }

    #[test]
    fn the_quick_run_needs_neither_root_nor_a_virtual_machine() {
        for stage in STAGES {
            let heavy = STAGES_WITH_ROOT.contains(&stage.name) || stage.name.starts_with("vm");
            assert!(!heavy || stage.run > Run::Quick, "{}", stage.name);
        }
    }

    #[test]
    fn every_kernel_has_its_stage() {
        for kernel in vm::names_of_usual_runs() {
            let name = format!("vm-{kernel}");
            assert!(STAGES.iter().any(|stage| stage.name == name), "{name}");
        }
    }
}
