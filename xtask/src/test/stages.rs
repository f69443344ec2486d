//! The stages, in the order in which they run.

use std::{ffi::OsString, path::PathBuf, sync::Arc, thread};

use anyhow::{Context as _, Result, bail};

use super::checks;
use crate::{
    bench::Check,
    command::{Failed, announce, run},
    compile::{self, Ebpf},
    parity,
    privilege::Privilege,
    soak, test_deps,
    test_runner::{
        self, Counts, TestProgram, is_ci,
        isolated::{self, IsolatedTest},
        privilege_for_tests,
    },
    vm,
    workspace::Workspace,
};

/// One stage.
pub struct Stage {
    /// What `--only` takes.
    pub name: &'static str,
    /// What it does, for `--list`.
    pub about: &'static str,
    /// In which runs it is.
    pub run: Run,
    /// What may run beside it.
    pub company: Company,
    work: fn(&Context) -> Result<Counts>,
}

/// The shortest run that has a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Run {
    /// `--quick`: needs no root, no virtual machine and no services.
    Quick,
    /// Without options, and in CI.
    Usual,
    /// `--all`.
    All,
}

/// Whether a stage shares the processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// It measures time, or keeps all processors busy itself.
    Alone,
    /// It waits most of the time, or keeps one processor busy.
    Shared,
}

/// What stages work with.
struct Context<'a> {
    workspace: &'a Workspace,
    stage: &'static str,
    /// For the test programs, such as a name to filter by.
    args: &'a [OsString],
}

const fn stage(
    name: &'static str,
    run: Run,
    company: Company,
    work: fn(&Context) -> Result<Counts>,
    about: &'static str,
) -> Stage {
    Stage {
        name,
        about,
        run,
        company,
        work,
    }
}

/// All of them. Of those that share the processors, the long ones come first.
#[rustfmt::skip]
pub const STAGES: &[Stage] = &[
    stage("fmt", Run::Quick, Company::Alone, fmt, "rustfmt"),
    stage(BUILD, Run::Usual, Company::Alone, build, "install what the tests need; compile all programs and tests"),
    stage("lint", Run::Quick, Company::Alone, lint, "clippy, warnings denied"),
    stage("unit", Run::Quick, Company::Alone, suite, "tests of all crates that no other stage has"),
    stage("core", Run::Quick, Company::Alone, suite, "tests of tracer-core"),
    stage("fuzz", Run::Quick, Company::Alone, suite, "the parsers of foreign bytes, over the kept corpus and some seconds of random input"),
    stage("doc", Run::Quick, Company::Alone, doc, "rustdoc, warnings denied, and the examples in the documentation"),
    stage("deny", Run::Usual, Company::Alone, deny, "licences, duplicates and sources of the dependencies"),
    stage("dist", Run::Quick, Company::Alone, suite, "the files in dist/ against systemd, promtool and logrotate"),
    stage("vm-5.10", Run::Usual, Company::Shared, vm, "the kernel tests on Linux 5.10, in a virtual machine"),
    stage("integration", Run::Usual, Company::Shared, integration, "closes on this kernel against captures of them; root"),
    stage("vm-6.1", Run::Usual, Company::Shared, vm, "the same on Linux 6.1"),
    stage("vm-6.12", Run::Usual, Company::Shared, vm, "the same on Linux 6.12"),
    stage("agent", Run::Usual, Company::Shared, suite, "the agent as it is installed; root"),
    stage("leaks", Run::Usual, Company::Shared, suite, "stuck sockets on this kernel; root"),
    stage("sinks", Run::Usual, Company::Shared, suite, "outputs against real receivers; root"),
    stage("sys", Run::Usual, Company::Shared, suite, "tests of tracer-sys against this kernel; root"),
    stage("alone", Run::Usual, Company::Alone, alone, "the integration tests that need the processors for themselves; root"),
    stage("bench", Run::Usual, Company::Alone, bench, "ratios, instructions, memory and sizes against the kept numbers"),
    stage("vm-full", Run::All, Company::Alone, vm_full, "all kernel tests on every kernel, also those that the usual run spares"),
    stage("parity", Run::All, Company::Alone, parity_of_many, "20,000 random closes against captures of them, without losses and with; root"),
    stage("soak", Run::All, Company::Alone, soak_twice, "ten minutes of churn with the agent, and ten with losses; root"),
];

/// The stage that compiles. Where it fails, the others need not begin.
pub const BUILD: &str = "build";

/// The stage whose program has these tests.
fn stage_of(package: &str, target: &str) -> &'static str {
    match (package, target) {
        ("tcpclose-core", _) => "core",
        ("tcpclose-fuzz", _) => "fuzz",
        ("tcpclose-sys", _) => "sys",
        ("tcpclose", "agent") => "agent",
        ("tcpclose", "dist") => "dist",
        ("tcpclose", "integration") => "integration",
        ("tcpclose", "leaks") => "leaks",
        ("tcpclose", "sinks") => "sinks",
        _ => "unit",
    }
}

/// Stages whose tests need root.
const NEED_ROOT: &[&str] = &["agent", "alone", "integration", "leaks", "sinks", "sys"];

impl Stage {
    /// Runs it in this process.
    pub fn perform(&self, workspace: &Workspace, args: &[OsString]) -> Result<Counts> {
        (self.work)(&Context {
            workspace,
            stage: self.name,
            args,
        })
    }
}

impl Context<'_> {
    /// What compiles the eBPF programs; `None`, and reported, where nothing can and nothing is required.
    fn ebpf(&self) -> Result<Option<Ebpf>> {
        match Ebpf::prepare(self.workspace) {
            Ok(ebpf) => Ok(Some(ebpf)),
            Err(error) if is_ci() || error.is::<Failed>() => Err(error),
            Err(error) => {
                announce(format_args!(
                    "skipping the eBPF programs and the tests that load them: {error:#}"
                ));
                Ok(None)
            }
        }
    }

    /// The eBPF object, if there is one.
    fn object(&self) -> Result<Option<PathBuf>> {
        let ebpf = self.ebpf()?;
        ebpf.map(|ebpf| ebpf.compile(self.workspace)).transpose()
    }

    /// The programs with this stage's tests.
    fn programs(&self) -> Result<Vec<TestProgram>> {
        let suite = match self.stage {
            "alone" => "integration",
            stage => stage,
        };
        test_deps::provide(Privilege::detect(), suite, is_ci())?;
        let object = self.object()?;
        let targets = self.workspace.test_targets.iter();
        let tests = targets
            .filter(|target| stage_of(&target.package, &target.name) == suite)
            .flat_map(|target| ["--test", &target.name]);
        let units = match suite {
            "unit" => &["--lib", "--bins"][..],
            "core" | "fuzz" | "sys" => &["--lib"],
            _ => &[],
        };
        let select = tests.chain(units.iter().copied()).map(OsString::from);
        let mut programs = test_runner::build(self.workspace, object.as_deref(), select)?;
        programs.retain(|program| stage_of(&program.package, &program.target) == suite);
        Ok(programs)
    }

    fn privilege(&self) -> Option<Privilege> {
        let needs_root = NEED_ROOT.contains(&self.stage);
        needs_root.then(privilege_for_tests).flatten()
    }
}

fn fmt(context: &Context) -> Result<Counts> {
    checks::format(context.workspace)
}

/// Compiles all at once: the test programs, and meanwhile the program as users have it, whose linking keeps only one
/// processor busy.
fn build(context: &Context) -> Result<Counts> {
    let workspace = context.workspace;
    test_deps::provide_all(Privilege::detect(), is_ci())?;
    vm::provide(workspace, is_ci())?;
    let object = context.object()?;
    thread::scope(|scope| {
        let release = scope.spawn(|| match &object {
            Some(object) => compile::build_with_benches(workspace, object),
            None => Ok(()),
        });
        let tests = run(
            test_runner::cargo(workspace, object.as_deref()).args(["test", "--no-run", "--quiet"]),
            "compiling the tests",
        );
        release.join().expect("no panic inside").and(tests)
    })?;
    Ok(Counts::of_check(true))
}

fn lint(context: &Context) -> Result<Counts> {
    let ebpf = context.ebpf()?;
    let object = match &ebpf {
        Some(ebpf) => Some(ebpf.compile(context.workspace)?),
        None => None,
    };
    checks::lint(context.workspace, ebpf.as_ref(), object.as_deref())
}

fn deny(context: &Context) -> Result<Counts> {
    checks::deny(context.workspace)
}

fn doc(context: &Context) -> Result<Counts> {
    let object = context.object()?;
    let mut counts = checks::document(context.workspace, object.as_deref())?;
    announce("cargo test --doc");
    let mut examples = test_runner::cargo(context.workspace, object.as_deref());
    let examples = test_runner::observe(examples.args(["test", "--doc"]))?;
    counts += examples.counts_with_code();
    Ok(counts)
}

/// The stage's programs, one after the other.
fn suite(context: &Context) -> Result<Counts> {
    let privilege = context.privilege();
    let mut counts = Counts::default();
    for program in context.programs()? {
        counts += program.run(privilege, context.args)?;
    }
    Ok(counts)
}

/// Modules of the integration tests that need the processors for themselves: timers have to interrupt the program
/// under test while it runs.
const NEED_THE_PROCESSORS: &[&str] = &["interrupted::"];

fn integration(context: &Context) -> Result<Counts> {
    /// They wait for TIME_WAIT to end, which takes a minute.
    const SLOW: &[&str] = &["time_wait::expiry::"];
    let mut tests = integration_tests(context, |name| !needs_the_processors(name))?;
    tests.sort_by_key(|test| !SLOW.iter().any(|slow| test.name.starts_with(slow)));
    // Most of their time they wait: for the program to attach, for a FIN to come late, for TIME_WAIT to end.
    isolated::run(tests, context.privilege(), 4)
}

fn alone(context: &Context) -> Result<Counts> {
    let tests = integration_tests(context, needs_the_processors)?;
    isolated::run(tests, context.privilege(), 1)
}

fn needs_the_processors(name: &str) -> bool {
    let mut modules = NEED_THE_PROCESSORS.iter();
    modules.any(|module| name.starts_with(module))
}

fn integration_tests(context: &Context, select: fn(&str) -> bool) -> Result<Vec<IsolatedTest>> {
    let mut tests = Vec::new();
    for program in context.programs()? {
        tests.extend(isolated::list(&Arc::new(program), context.args)?);
    }
    tests.retain(|test| select(&test.name));
    Ok(tests)
}

/// On the kernel that the stage is named after.
fn vm(context: &Context) -> Result<Counts> {
    let (_, version) = context
        .stage
        .split_once('-')
        .context("the stage is named after a kernel")?;
    let Some(object) = context.object()? else {
        return Ok(Counts::of_skipped_check());
    };
    let args = match context.args {
        [] => vm::spared(),
        args => args.to_vec(),
    };
    vm::test(context.workspace, &object, version, &args, is_ci())
}

fn vm_full(context: &Context) -> Result<Counts> {
    let Some(object) = context.object()? else {
        return Ok(Counts::of_skipped_check());
    };
    let mut counts = Counts::default();
    for version in vm::versions() {
        counts += vm::test(context.workspace, &object, version, context.args, is_ci())?;
    }
    Ok(counts)
}

fn bench(context: &Context) -> Result<Counts> {
    test_deps::provide(Privilege::detect(), context.stage, is_ci())?;
    let program = match context.object()? {
        Some(_) => Some(compile::build(context.workspace)?),
        None => None,
    };
    let check = Check {
        workspace: context.workspace,
        program: program.as_deref(),
        required: is_ci(),
    };
    Ok(Counts::of_check(check.compare()?))
}

fn parity_of_many(context: &Context) -> Result<Counts> {
    need_root()?;
    let mut counts = Counts::default();
    for lost in [0, 3] {
        counts += Counts::of_check(parity::is_good(context.workspace, 20_000, lost)?);
    }
    Ok(counts)
}

fn soak_twice(context: &Context) -> Result<Counts> {
    need_root()?;
    let mut counts = Counts::default();
    for losses in [false, true] {
        counts += Counts::of_check(soak::is_good(context.workspace, 10, losses)?);
    }
    Ok(counts)
}

fn need_root() -> Result<()> {
    if !Privilege::detect().can_start_programs() {
        bail!("this stage needs root, and there is no sudo for it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_target_belongs_to_a_stage_that_runs_tests() {
        let workspace = Workspace::find().unwrap();
        for target in &workspace.test_targets {
            let name = stage_of(&target.package, &target.name);
            assert!(STAGES.iter().any(|stage| stage.name == name), "{name}");
        }
    }

    #[test]
    fn what_needs_root_or_a_virtual_machine_is_not_in_the_quick_run() {
        for stage in STAGES {
            let heavy = NEED_ROOT.contains(&stage.name) || stage.name.starts_with("vm");
            assert!(!heavy || stage.run > Run::Quick, "{}", stage.name);
        }
    }

    #[test]
    fn every_kernel_has_its_stage() {
        for version in vm::versions() {
            let name = format!("vm-{version}");
            assert!(STAGES.iter().any(|stage| stage.name == name), "{name}");
        }
    }
}
