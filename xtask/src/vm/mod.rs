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
use crate::{
    command::{Failed, announce},
    compile::Ebpf,
    workspace::Workspace,
};

/// `cargo xtask vm-test`: on the kernels that `names` has, or all. `args` go to each test program.
pub fn vm_test(workspace: &Workspace, names: &[String], args: &[OsString]) -> Result<ExitCode> {
    let series = kernels::chosen(names)?;
    let lab = Lab::provide(workspace, &series)?;
    let good = Ebpf::prepare(workspace)?
        .compile(workspace)
        .and_then(|object| lab.run(workspace, &object, args));
    match good {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => Ok(ExitCode::from(error.downcast::<Failed>()?.code)),
    }
}

/// As part of all tests: returns whether all went well, or could not be tried and is not `required`.
pub fn test(
    workspace: &Workspace,
    object: &Path,
    args: &[OsString],
    required: bool,
) -> Result<bool> {
    match Lab::provide(workspace, kernels::ALL) {
        Ok(lab) => lab.run(workspace, object, args),
        Err(error) if required => Err(error.context("the tests on other kernels cannot run")),
        Err(error) => {
            announce(format_args!("vm-test: skipping other kernels: {error:#}"));
            Ok(true)
        }
    }
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

    /// Builds the programs and runs them on each kernel. Returns whether nothing failed.
    fn run(&self, workspace: &Workspace, object: &Path, args: &[OsString]) -> Result<bool> {
        let programs = programs::build(workspace, object)?;
        let mut reports = Vec::new();
        let mut good = true;
        for (series, kernel) in &self.kernels {
            let (report, is_good) = self.run_one(*series, kernel, &programs, args)?;
            announce(format_args!("vm-test: {report}"));
            reports.push(report);
            good &= is_good;
        }
        if reports.len() > 1 && !good {
            announce("vm-test: all kernels:");
            for report in reports {
                announce(format_args!("vm-test: {report}"));
            }
        }
        Ok(good)
    }

    fn run_one(
        &self,
        series: Series,
        kernel: &Kernel,
        programs: &Programs,
        args: &[OsString],
    ) -> Result<(String, bool)> {
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
        let good = report.is_good();
        if !good {
            eprint!("{}", report.details());
        }
        Ok((report.to_string(), good))
    }
}
