//! The kernel tests on other kernels: each boots in a virtual machine that holds nothing but tcpclose and its tests.

mod initramfs;
mod kernels;
mod mirror;
mod newc;
mod private_apt;
mod programs;
mod qemu;
mod report;
mod results;

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};

use self::{
    kernels::{Kernel, Series},
    programs::Programs,
    qemu::{Machine, Qemu},
    report::Report,
    results::Results,
};
use crate::{command::announce, compile::Ebpf, test_runner::Counts, workspace::Workspace};

/// `cargo xtask vm-test`: on the kernels that `names` has, or all. `args` go to each test program.
pub fn vm_test(workspace: &Workspace, names: &[String], args: &[OsString]) -> Result<ExitCode> {
    let series = kernels::chosen(names)?;
    let lab = Lab::provide(workspace, &series)?;
    let object = Ebpf::prepare(workspace)?.compile(workspace)?;
    let counts = lab.run(workspace, &object, args)?;
    Ok(match counts.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Fetches all that machines need but the programs. It is an error only where they are `required`.
pub fn provide(workspace: &Workspace, required: bool) -> Result<()> {
    Lab::try_to_provide(workspace, kernels::ALL, required).map(drop)
}

/// As a stage of all tests, on one kernel. A machine that cannot be had is an error only where it is `required`.
pub fn test(
    workspace: &Workspace,
    object: &Path,
    version: &str,
    args: &[OsString],
    required: bool,
) -> Result<Counts> {
    let series = kernels::chosen(&[version.to_owned()])?;
    match Lab::try_to_provide(workspace, &series, required)? {
        Some(lab) => lab.run(workspace, object, args),
        None => Ok(Counts::of_skipped_check()),
    }
}

/// The kernels' versions.
pub fn versions() -> impl Iterator<Item = &'static str> {
    kernels::ALL.iter().map(|series| series.version)
}

/// What the other kernels are spared in a usual run of the tests, where they get the scenarios whose outcome a kernel
/// decides, in IPv4: emulation is slow. `cargo xtask vm-test` runs everything.
const SPARED: &[&str] = &[
    "::ipv6",
    "::v4_mapped",
    "attached_late::",
    "bursts::",
    "closed_window::",
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

/// The arguments that spare the other kernels what a usual run spares them.
pub fn spared() -> Vec<OsString> {
    let skips = SPARED.iter().flat_map(|spared| ["--skip", spared]);
    skips.map(OsString::from).collect()
}

/// All that machines need, but the programs.
struct Lab {
    qemu: Qemu,
    kernels: Vec<(Series, Kernel)>,
    directory: PathBuf,
}

impl Lab {
    fn provide(workspace: &Workspace, series: &[Series]) -> Result<Self> {
        if !cfg!(target_arch = "x86_64") {
            bail!("the test machines are x86_64, and this host's programs are not");
        }
        let directory = workspace.target.join("vm");
        let qemu = Qemu::find_or_fetch(&directory.join("qemu"))?;
        let kernels = series.iter().map(|&series| {
            let kernel = series.find_or_fetch(&directory.join("kernels"))?;
            Ok((series, kernel))
        });
        Ok(Self {
            kernels: kernels.collect::<Result<_>>()?,
            qemu,
            directory,
        })
    }

    /// `None`, and reported, where it cannot be had and is not `required`.
    fn try_to_provide(
        workspace: &Workspace,
        series: &[Series],
        required: bool,
    ) -> Result<Option<Self>> {
        match Self::provide(workspace, series) {
            Ok(lab) => Ok(Some(lab)),
            Err(error) if required => Err(error.context("the tests on other kernels cannot run")),
            Err(error) => {
                announce(format_args!("vm-test: skipping other kernels: {error:#}"));
                Ok(None)
            }
        }
    }

    /// Builds the programs and runs them on each kernel.
    fn run(&self, workspace: &Workspace, object: &Path, args: &[OsString]) -> Result<Counts> {
        let programs = programs::build(workspace, object)?;
        let mut reports = Vec::new();
        let mut counts = Counts::default();
        for (series, kernel) in &self.kernels {
            let (report, of_kernel) = self.run_one(*series, kernel, &programs, args)?;
            announce(format_args!("vm-test: {report}"));
            reports.push(report);
            counts += of_kernel;
        }
        if reports.len() > 1 && counts.failed > 0 {
            announce("vm-test: all kernels:");
            for report in reports {
                announce(format_args!("vm-test: {report}"));
            }
        }
        Ok(counts)
    }

    fn run_one(
        &self,
        series: Series,
        kernel: &Kernel,
        programs: &Programs,
        args: &[OsString],
    ) -> Result<(String, Counts)> {
        let directory = self.directory.join(series.version);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let initramfs = directory.join("initramfs");
        initramfs::write(kernel, programs, args, &initramfs)?;
        let machine = Machine {
            image: &kernel.image,
            initramfs: &initramfs,
            directory: &directory,
        };
        announce(format_args!(
            "vm-test: {}: running the kernel tests, {} (its log: {})",
            series.version,
            self.qemu.accelerator(),
            machine.results().display()
        ));
        let start = Instant::now();
        let ending = self.qemu.run(&machine)?;
        let time = start.elapsed();
        let written = fs::read(machine.results())
            .with_context(|| format!("cannot read {}", machine.results().display()))?;
        let results = Results::parse(&String::from_utf8_lossy(&written));
        let report = Report {
            version: series.version,
            ending: &ending,
            results: &results,
            time,
            directory: &directory,
        };
        let mut counts = results.counts();
        if !report.is_good() {
            eprint!("{}", report.details());
            // A machine may fail without a test that does.
            counts.failed = counts.failed.max(1);
        }
        Ok((report.to_string(), counts))
    }
}
