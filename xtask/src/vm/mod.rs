//! The kernel tests on other kernels: each boots in a virtual machine that holds nothing but
//! tcpclose and its tests.

mod initramfs;
mod kernels;
mod newc;
mod platform;
mod private_apt;
mod programs;
mod qemu;
mod report;
mod results;
mod selection;
mod series;

use std::{
    collections::BTreeMap, ffi::OsString, fs, path::PathBuf, process::ExitCode, time::Instant,
};

use anyhow::{Context as _, Result};

use self::{
    kernels::Kernel,
    programs::Programs,
    qemu::{Machine, Qemu},
    report::Report,
    results::Results,
    selection::Selection,
    series::{ALL_SERIES, Run, Series},
};
use crate::{
    arch::Arch, command::announce, ebpf::EbpfObject, static_target, test_runner::Counts,
    workspace::Workspace,
};

/// `cargo xtask vm-test`: on the kernels that `names` has, or all. `args` go to each test program.
pub fn vm_test(workspace: &Workspace, names: &[String], args: &[OsString]) -> Result<ExitCode> {
    let series = series::chosen(names)?;
    let lab = Lab::provide(workspace, &series)?;
    let object = EbpfObject::provide(workspace)?;
    let run = Run::Full;
    let counts = lab.run(workspace, &object, &Selection { run, args })?;
    Ok(match counts.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Fetches all that the machines of a usual run need, and compiles what no other stage does: the
/// programs for other architectures. It is an error only where they are `required`.
pub fn provide(workspace: &Workspace, object: &EbpfObject, required: bool) -> Result<()> {
    for series in of_usual_runs() {
        let lab = Lab::try_to_provide(workspace, &[series], required)?;
        if lab.is_some() && !series.arch.is_native() {
            programs::build(workspace, object, series.arch, &Selection::USUAL)?;
        }
    }
    Ok(())
}

/// As a stage of all tests, on one kernel. A machine that cannot be had is an error only where it
/// is `required`.
pub fn test(
    workspace: &Workspace,
    object: &EbpfObject,
    name: &str,
    args: &[OsString],
    required: bool,
) -> Result<Counts> {
    let run = Run::Usual;
    let mut counts = Counts::default();
    for series in series::chosen(&[name.to_owned()])? {
        counts += test_on(
            workspace,
            object,
            series,
            &Selection { run, args },
            required,
        )?;
    }
    Ok(counts)
}

/// As a stage: everything, on every kernel. One that cannot be had keeps none of the others from
/// running.
pub fn test_everything(
    workspace: &Workspace,
    object: &EbpfObject,
    args: &[OsString],
    required: bool,
) -> Result<Counts> {
    let run = Run::Full;
    let mut counts = Counts::default();
    for series in ALL_SERIES {
        counts += test_on(
            workspace,
            object,
            *series,
            &Selection { run, args },
            required,
        )?;
    }
    Ok(counts)
}

fn test_on(
    workspace: &Workspace,
    object: &EbpfObject,
    series: Series,
    selection: &Selection,
    required: bool,
) -> Result<Counts> {
    match Lab::try_to_provide(workspace, &[series], required)? {
        Some(lab) => lab.run(workspace, object, selection),
        None => Ok(Counts::skipped_check()),
    }
}

/// The kernels that have stages of their own.
#[cfg(test)]
pub fn names_of_usual_runs() -> impl Iterator<Item = &'static str> {
    of_usual_runs().map(|series| series.name)
}

fn of_usual_runs() -> impl Iterator<Item = Series> {
    let series = ALL_SERIES.iter().copied();
    series.filter(|series| series.run == Run::Usual)
}

/// All that machines need, but the programs.
struct Lab {
    qemu: BTreeMap<Arch, Qemu>,
    kernels: Vec<(Series, Kernel)>,
    directory: PathBuf,
}

impl Lab {
    fn provide(workspace: &Workspace, series: &[Series]) -> Result<Self> {
        let directory = workspace.target.join("vm");
        let mut lab = Self {
            qemu: BTreeMap::new(),
            kernels: Vec::new(),
            directory,
        };
        for series in series {
            let arch = series.arch;
            if !lab.qemu.contains_key(&arch) {
                if !arch.is_native() {
                    static_target::provide(workspace, arch)?;
                }
                let qemu = Qemu::find_or_fetch(arch, &lab.directory.join("qemu"))?;
                lab.qemu.insert(arch, qemu);
            }
            let kernel = kernels::find_or_fetch(series, &lab.directory.join("kernels"))?;
            lab.kernels.push((*series, kernel));
        }
        Ok(lab)
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
    fn run(
        &self,
        workspace: &Workspace,
        object: &EbpfObject,
        selection: &Selection,
    ) -> Result<Counts> {
        let mut reports = Vec::new();
        let mut counts = Counts::default();
        for (&arch, qemu) in &self.qemu {
            let programs = programs::build(workspace, object, arch, selection)?;
            let kernels = self
                .kernels
                .iter()
                .filter(|(series, _)| series.arch == arch);
            for (series, kernel) in kernels {
                let (report, of_kernel) =
                    self.run_one(series, kernel, qemu, &programs, selection)?;
                announce(format_args!("vm-test: {report}"));
                reports.push(report);
                counts += of_kernel;
            }
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
        series: &Series,
        kernel: &Kernel,
        qemu: &Qemu,
        programs: &Programs,
        selection: &Selection,
    ) -> Result<(String, Counts)> {
        let directory = self.directory.join(series.name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let initramfs = directory.join("initramfs");
        let arguments = |target: &str| selection.arguments(series, target);
        initramfs::write(kernel, programs, arguments, &initramfs)?;
        let machine = Machine {
            image: &kernel.image,
            initramfs: &initramfs,
            directory: &directory,
        };
        announce(format_args!(
            "vm-test: {}: running the kernel tests, {} (its log: {})",
            series.name,
            qemu.accelerator(),
            machine.results().display()
        ));
        let start = Instant::now();
        let ending = qemu.run(&machine)?;
        let time = start.elapsed();
        let written = fs::read(machine.results())
            .with_context(|| format!("cannot read {}", machine.results().display()))?;
        let results = Results::parse(&String::from_utf8_lossy(&written));
        let report = Report {
            name: series.name,
            ending: &ending,
            results: &results,
            time,
            directory: &directory,
        };
        let mut counts = results.counts();
        eprint!("{}", report.details());
        if !report.is_good() {
            // A machine may fail without a test that does.
            counts.failed = counts.failed.max(1);
        }
        Ok((report.to_string(), counts))
    }
}
