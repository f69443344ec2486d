//! What each stage does.

use std::{ffi::OsString, sync::Arc, thread};

use anyhow::{Context as _, Result, bail};

use super::{checks, words};
use crate::{
    bench::Check,
    chart_tools,
    command::{Failed, announce, run},
    compile,
    ebpf::{self, Ebpf, EbpfObject},
    fleet_engines,
    privilege::Privilege,
    screens, test_deps,
    test_runner::{
        self, Counts, TestProgram, is_ci,
        isolated::{self, IsolatedTest},
        privilege_for_tests,
    },
    vm,
    workspace::Workspace,
};

/// The workspace, programs and options that stages use.
pub struct Context<'a> {
    /// The checkout.
    pub workspace: &'a Workspace,
    /// The stage's name.
    pub stage: &'static str,
    /// For the test programs, such as a name to filter by.
    pub args: &'a [OsString],
}

/// The stage whose program has these tests.
pub fn stage_of(package: &str, target: &str) -> &'static str {
    match (package, target) {
        ("tcpclose-core", _) => "core",
        ("tcpclose-fuzz", _) => "fuzz",
        ("tcpclose-sys", _) => "sys",
        ("tcpclose-manual", _) => "dist",
        ("tcpclose-fleet", "engines") => "fleet",
        ("tcpclose", "agent") => "agent",
        ("tcpclose", "dist") => "dist",
        ("tcpclose", "integration") => "integration",
        ("tcpclose", "leaks") => "leaks",
        ("tcpclose", "packages") => "package",
        ("tcpclose", "sinks") => "sinks",
        _ => "unit",
    }
}

/// Stages whose tests need root.
pub const STAGES_WITH_ROOT: &[&str] = &[
    "agent",
    "alone",
    "integration",
    "leaks",
    "package",
    "sinks",
    "sys",
];

impl Context<'_> {
    /// What compiles the eBPF programs; `None`, and reported, where nothing can and nothing is
    /// required.
    fn ebpf(&self) -> Result<Option<Ebpf>> {
        match Ebpf::prepare(self.workspace) {
            Ok(ebpf) => Ok(Some(ebpf)),
            Err(error) if is_ci() || error.is::<Failed>() => Err(error),
            Err(error) => {
                announce(format_args!(
                    "skipping what needs the eBPF programs' compiler: {error:#}"
                ));
                Ok(None)
            }
        }
    }

    fn object(&self) -> Result<EbpfObject> {
        EbpfObject::provide(self.workspace)
    }

    /// The programs with this stage's tests.
    pub fn programs(&self) -> Result<Vec<TestProgram>> {
        let suite = match self.stage {
            "alone" => "integration",
            stage => stage,
        };
        test_deps::provide(Privilege::detect(), suite, is_ci())?;
        chart_tools::provide(self.workspace, suite, is_ci())?;
        fleet_engines::provide(self.workspace, suite, is_ci())?;
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
        let mut programs = test_runner::build(self.workspace, &object, select)?;
        programs.retain(|program| stage_of(&program.package, &program.target) == suite);
        Ok(programs)
    }

    /// How its test programs become root, where they need to.
    pub fn privilege(&self) -> Option<Privilege> {
        let needs_root = STAGES_WITH_ROOT.contains(&self.stage);
        needs_root.then(privilege_for_tests).flatten()
    }
}

/// rustfmt, and the lint of words.
pub fn fmt(context: &Context) -> Result<Counts> {
    let mut counts = checks::format(context.workspace)?;
    counts += words::check(context.workspace)?;
    Ok(counts)
}

/// Compiles all at once: the test programs, and meanwhile the program as users have it, whose
/// linking keeps only one processor busy.
pub fn build(context: &Context) -> Result<Counts> {
    let workspace = context.workspace;
    test_deps::provide_all(Privilege::detect(), is_ci())?;
    let object = context.object()?;
    thread::scope(|scope| {
        let release = scope.spawn(|| compile::build_with_benches(workspace, &object));
        let tests = run(
            test_runner::cargo(workspace, &object).args(["test", "--no-run", "--quiet"]),
            "compiling the tests",
        );
        release.join().expect("no panic inside").and(tests)
    })?;
    vm::provide(workspace, &object, is_ci())?;
    Ok(Counts::from_check(true))
}

/// Runs clippy on everything, the eBPF programs included.
pub fn lint(context: &Context) -> Result<Counts> {
    let ebpf = context.ebpf()?;
    checks::lint(context.workspace, ebpf.as_ref(), &context.object()?)
}

/// Compares the kept eBPF object with what its sources become.
pub fn ebpf(context: &Context) -> Result<Counts> {
    Ok(match ebpf::compare(context.workspace)? {
        Some(is_same) => Counts::from_check(is_same),
        None => Counts::skipped_check(),
    })
}

/// Compares the pictures of the README with what the program writes.
pub fn screens(context: &Context) -> Result<Counts> {
    test_deps::provide(Privilege::detect(), context.stage, is_ci())?;
    Ok(match screens::check(context.workspace)? {
        Some(is_good) => Counts::from_check(is_good),
        None => Counts::skipped_check(),
    })
}

/// Packs and compiles the crates that are published.
pub fn crates(context: &Context) -> Result<Counts> {
    checks::package(context.workspace)
}

/// Checks dependencies with cargo-deny: licences, sources, advisories.
pub fn deny(context: &Context) -> Result<Counts> {
    checks::deny(context.workspace)
}

/// rustdoc, and the examples in the documentation.
pub fn doc(context: &Context) -> Result<Counts> {
    let object = context.object()?;
    let mut counts = checks::document(context.workspace, &object)?;
    announce("cargo test --doc");
    let mut examples = test_runner::cargo(context.workspace, &object);
    let examples = test_runner::observe(examples.args(["test", "--doc"]))?;
    counts += examples.counts_with_code();
    Ok(counts)
}

/// The stage's programs, one after the other.
pub fn suite(context: &Context) -> Result<Counts> {
    let privilege = context.privilege();
    let mut counts = Counts::default();
    for program in context.programs()? {
        counts += program.run(privilege, context.args)?;
    }
    Ok(counts)
}

/// Modules of the integration tests that need the processors for themselves: timers have to
/// interrupt the program under test while it runs.
const MODULES_RUN_ALONE: &[&str] = &["interrupted::"];

/// The integration tests, side by side.
pub fn integration(context: &Context) -> Result<Counts> {
    /// They wait for TIME_WAIT to end, which takes a minute.
    const SLOW: &[&str] = &["time_wait::expiry::"];
    let mut tests = integration_tests(context, |name| !runs_alone(name))?;
    tests.sort_by_key(|test| !SLOW.iter().any(|slow| test.name.starts_with(slow)));
    // Most of their time they wait: for the program to attach, for a FIN to come late, for
    // TIME_WAIT to end.
    isolated::run(tests, context.privilege(), 4)
}

/// The integration tests that need the processors for themselves.
pub fn alone(context: &Context) -> Result<Counts> {
    let tests = integration_tests(context, runs_alone)?;
    isolated::run(tests, context.privilege(), 1)
}

fn runs_alone(name: &str) -> bool {
    let mut modules = MODULES_RUN_ALONE.iter();
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
pub fn vm_test(context: &Context) -> Result<Counts> {
    let (_, name) = context
        .stage
        .split_once('-')
        .context("the stage is named after a kernel")?;
    let object = context.object()?;
    vm::test(context.workspace, &object, name, context.args, is_ci())
}

/// On every kernel.
pub fn vm_full(context: &Context) -> Result<Counts> {
    let object = context.object()?;
    vm::test_everything(context.workspace, &object, context.args, is_ci())
}

/// The measurements that are compared with kept numbers.
pub fn bench(context: &Context) -> Result<Counts> {
    test_deps::provide(Privilege::detect(), context.stage, is_ci())?;
    let program = compile::build(context.workspace)?;
    let check = Check {
        workspace: context.workspace,
        program: &program,
        required: is_ci(),
    };
    Ok(Counts::from_check(check.compare()?))
}

/// Some closes of every kind, always the same.
pub fn parity(context: &Context) -> Result<Counts> {
    need_root()?;
    let good = crate::parity::is_good(context.workspace, 1_000, 0)?;
    Ok(Counts::from_check(good))
}

/// Many closes, without losses and with, and those of real programs.
pub fn parity_full(context: &Context) -> Result<Counts> {
    need_root()?;
    let mut counts = Counts::default();
    for lost in [0, 3] {
        counts += Counts::from_check(crate::parity::is_good(context.workspace, 20_000, lost)?);
    }
    let good = crate::parity::is_good_with_programs(context.workspace, 2_000)?;
    counts += Counts::from_check(good);
    Ok(counts)
}

/// Without losses and with.
pub fn soak(context: &Context) -> Result<Counts> {
    need_root()?;
    let mut counts = Counts::default();
    for losses in [false, true] {
        counts += Counts::from_check(crate::soak::is_good(context.workspace, 10, losses)?);
    }
    Ok(counts)
}

fn need_root() -> Result<()> {
    if !Privilege::detect().can_start_programs() {
        bail!("this stage needs root, and there is no sudo for it");
    }
    Ok(())
}
