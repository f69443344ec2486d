//! apt for one of Debian's distributions, with sources and state of its own: nothing of the
//! machine's changes, and no root is needed. A foreign distribution among the machine's own sources
//! would replace its libraries.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{apt::DOWNLOAD_AS_CALLER, command::stdout_of, debian_mirror};

/// Where Debian keeps the keys of all its distributions. A machine's apt may trust its own
/// distribution's only.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// apt with everything of its own below one directory.
pub struct PrivateApt {
    directory: PathBuf,
    architecture: &'static str,
}

impl PrivateApt {
    /// Fetches the package lists of `distribution`.
    pub fn new(distribution: &str, architecture: &'static str, directory: PathBuf) -> Result<Self> {
        let apt = Self {
            directory,
            architecture,
        };
        for needed in ["lists/partial", "cache/archives/partial"] {
            let needed = apt.directory.join(needed);
            fs::create_dir_all(&needed)
                .with_context(|| format!("cannot make {}", needed.display()))?;
        }
        let addresses = debian_mirror::addresses(&apt.directory.join("lists"))?;
        let keyring = KEYRINGS.into_iter().find(|file| Path::new(file).exists());
        apt.write("status", "")?;
        apt.write("sources.list", &sources(&addresses, distribution, keyring))?;
        // One of several mirrors may lack the distribution: what is missing shows when it is asked
        // for.
        let updated = stdout_of(apt.command("apt-get").args(["-qq", "update"]));
        match (updated, addresses.len()) {
            (Err(error), 1) => {
                Err(error.context(format!("cannot fetch {distribution}'s package lists")))
            }
            _ => Ok(apt),
        }
    }

    /// The first package whose name begins with `prefix` that the current version of `package`
    /// depends on: for one that stands for the newest of a kind, its concrete name.
    pub fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let shown =
            stdout_of(
                self.command("apt-cache")
                    .args(["show", "--no-all-versions", package]),
            )?;
        dependency_in(&shown, prefix)
            .map(str::to_owned)
            .with_context(|| format!("{package} depends on no {prefix}…"))
    }

    /// Downloads `package`, checked against the archive's signature, and unpacks it into `into`.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let downloads = self.directory.join("downloads");
        fs::create_dir_all(&downloads)
            .with_context(|| format!("cannot make {}", downloads.display()))?;
        stdout_of(
            self.command("apt-get")
                .args(["-qq", "download", package])
                .current_dir(&downloads),
        )?;
        let file = downloaded(&downloads, package)?;
        stdout_of(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&file)
                .arg(into),
        )?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.directory.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let own = [
            ("Dir::Etc::SourceList", "sources.list"),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::Status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (option, name) in own {
            let mut value = OsString::from(format!("{option}="));
            value.push(self.directory.join(name));
            command.arg("-o").arg(value);
        }
        command
            .args(["-o", "Dir::Etc::SourceParts=-"])
            .args(["-o", "Acquire::Languages=none"])
            .args(DOWNLOAD_AS_CALLER)
            .arg("-o")
            .arg(format!("APT::Architecture={}", self.architecture))
            .arg("-o")
            .arg(format!("APT::Architectures={}", self.architecture))
            .env("LC_ALL", "C");
        command
    }
}

fn sources(addresses: &[String], distribution: &str, keyring: Option<&str>) -> String {
    let options = keyring.map_or_else(String::new, |file| format!("[signed-by={file}] "));
    addresses
        .iter()
        .map(|address| format!("deb {options}{address} {distribution} main\n"))
        .collect()
}

fn dependency_in<'a>(shown: &'a str, prefix: &str) -> Option<&'a str> {
    let dependencies = shown
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))?;
    let mut words = dependencies.split([',', ' ']);
    words.find(|word| word.starts_with(prefix))
}

/// The file that `apt-get download` has made: its name also has the version.
fn downloaded(directory: &Path, package: &str) -> Result<PathBuf> {
    let prefix = format!("{package}_");
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            return Ok(entry.path());
        }
    }
    bail!("apt has downloaded no {package}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metapackage_names_its_concrete_package() {
        let shown = "Package: linux-image-cloud-amd64\nVersion: 6.1.176-1\n\
                     Depends: linux-image-6.1.0-50-cloud-amd64 (= 6.1.176-1)\nDescription: Linux\n";
        assert_eq!(
            dependency_in(shown, "linux-image-"),
            Some("linux-image-6.1.0-50-cloud-amd64")
        );
        let split =
            "Depends: linux-base-cloud-amd64 (= 7.3.4-1), linux-image-7.3.4-amd64 (= 7.3.4-1)\n";
        assert_eq!(
            dependency_in(split, "linux-image-"),
            Some("linux-image-7.3.4-amd64")
        );
        assert_eq!(dependency_in(split, "linux-binary-"), None);
        assert_eq!(dependency_in("Package: alone\n", "linux-image-"), None);
    }

    #[test]
    fn every_mirror_is_a_source_of_the_one_distribution() {
        let addresses = ["http://one.test/debian", "http://two.test/debian"].map(str::to_owned);
        assert_eq!(
            sources(&addresses, "trixie", Some("/keys.gpg")),
            "deb [signed-by=/keys.gpg] http://one.test/debian trixie main\n\
             deb [signed-by=/keys.gpg] http://two.test/debian trixie main\n"
        );
        assert_eq!(
            sources(&addresses[..1], "trixie", None),
            "deb http://one.test/debian trixie main\n"
        );
    }
}
