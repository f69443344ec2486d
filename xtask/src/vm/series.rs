//! The kernels that the tests run on.

use anyhow::{Context as _, Result};

use crate::arch::Arch;

/// A kernel that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// What the user calls it.
    pub name: &'static str,
    /// The architecture of its machine.
    pub arch: Arch,
    /// The Debian that has it.
    pub distribution: &'static str,
    /// Debian's package that stands for the newest of its kind.
    pub package: &'static str,
    /// The shortest run that has it.
    pub run: Run,
}

/// In which runs a kernel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// In all, each kernel as a stage of its own.
    Usual,
    /// In `--all` only.
    Full,
}

const fn series(
    name: &'static str,
    arch: Arch,
    distribution: &'static str,
    package: &'static str,
    run: Run,
) -> Series {
    Series {
        name,
        arch,
        distribution,
        package,
        run,
    }
}

/// The series that can be tested.
#[rustfmt::skip]
pub const ALL_SERIES: &[Series] = &[
    series("5.10", Arch::X86_64, "bullseye", "linux-image-cloud-amd64", Run::Usual),
    series("6.1", Arch::X86_64, "bookworm", "linux-image-cloud-amd64", Run::Usual),
    series("6.12", Arch::X86_64, "trixie", "linux-image-cloud-amd64", Run::Usual),
    series("arm64", Arch::Aarch64, "trixie", "linux-image-cloud-arm64", Run::Usual),
    series("6.12-rt", Arch::X86_64, "trixie", "linux-image-rt-amd64", Run::Full),
    series("backports", Arch::X86_64, "trixie-backports", "linux-image-cloud-amd64", Run::Full),
    series("arm64-16k", Arch::Aarch64, "trixie", "linux-image-arm64-16k", Run::Full),
];

/// The series that the user has named, or all.
pub fn chosen(names: &[String]) -> Result<Vec<Series>> {
    if names.is_empty() {
        return Ok(ALL_SERIES.to_vec());
    }
    names
        .iter()
        .map(|name| {
            let mut series = ALL_SERIES.iter().copied();
            series.find(|series| series.name == name).with_context(|| {
                format!("no kernel {name} to test on; there are {}", names_of_all())
            })
        })
        .collect()
}

fn names_of_all() -> String {
    let names: Vec<_> = ALL_SERIES.iter().map(|series| series.name).collect();
    names.join(", ")
}

impl Series {
    /// The Debian whose other packages go with the kernel: backports have only what is newer.
    pub fn stable_distribution(&self) -> &'static str {
        let distribution = self.distribution;
        distribution
            .strip_suffix("-backports")
            .unwrap_or(distribution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let chosen = chosen(&names).unwrap();
        chosen.into_iter().map(|series| series.name).collect()
    }

    #[test]
    fn all_kernels_are_chosen_where_none_is_named() {
        assert_eq!(names(&[]).len(), ALL_SERIES.len());
        assert_eq!(names(&["6.12", "5.10"]), ["6.12", "5.10"]);
    }

    #[test]
    fn an_unknown_kernel_is_refused_and_the_known_ones_are_named() {
        let error = chosen(&["6.2".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("6.2") && error.contains("5.10, 6.1, 6.12, arm64"),
            "{error}"
        );
    }

    #[test]
    fn a_backport_has_its_other_packages_from_the_stable_distribution() {
        let chosen = chosen(&["backports".to_owned(), "6.1".to_owned()]).unwrap();
        let stable: Vec<_> = chosen.iter().map(Series::stable_distribution).collect();
        assert_eq!(stable, ["trixie", "bookworm"]);
    }
}
