//! Finds the mirror that this machine gets Debian's packages from.

use std::{env, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::command::stdout_of;

/// Names a Debian mirror's address on machines whose own packages are not Debian's.
const MIRROR_VARIABLE: &str = "TCPCLOSE_DEBIAN_MIRROR";

/// The addresses of Debian's archive, as apt's sources here have them. `scratch` is an empty
/// directory.
pub fn addresses(scratch: &Path) -> Result<Vec<String>> {
    if let Some(address) = env::var_os(MIRROR_VARIABLE).filter(|address| !address.is_empty()) {
        let address = address.into_string();
        return match address {
            Ok(address) => Ok(vec![address]),
            Err(address) => bail!("{MIRROR_VARIABLE} is no address: {}", address.display()),
        };
    }
    // apt reads its sources in every format that they may have, and says what it would fetch for
    // them.
    let files = stdout_of(
        Command::new("apt-get")
            .args(["update", "--print-uris"])
            .args(["-o", "Debug::NoLocking=true"])
            .arg("-o")
            .arg(format!("Dir::State::Lists={}", scratch.display()))
            .env("LC_ALL", "C"),
    )
    .context("cannot ask apt for its mirrors")?;
    let addresses = addresses_in(&files);
    if addresses.is_empty() {
        bail!(
            "apt's sources here name no mirror of Debian; set {MIRROR_VARIABLE} to one's address"
        );
    }
    Ok(addresses)
}

/// The archives whose main component is among `files`, without those of security fixes and updates:
/// a point release of a distribution has its kernel in the archive proper.
fn addresses_in(files: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for line in files.lines() {
        let Some((address, file)) = line
            .strip_prefix('\'')
            .and_then(|rest| rest.split_once("/dists/"))
        else {
            continue;
        };
        let is_wanted = file.split_once('/').is_some_and(|(release, file)| {
            !release.contains('-') && file.starts_with("main/binary-")
        });
        if is_wanted && !addresses.iter().any(|known| known == address) {
            addresses.push(address.to_owned());
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::addresses_in;

    #[test]
    fn the_archive_proper_is_found_once() {
        let files = "\
'http://mirror.test/debian/dists/bookworm/InRelease' mirror.test_debian_dists_bookworm_InRelease 0 \n\
'http://mirror.test/debian/dists/bookworm/main/binary-amd64/Packages.xz' mirror.test_Packages 0 \n\
'http://mirror.test/debian/dists/bookworm/main/binary-all/Packages.xz' mirror.test_Packages 0 \n\
'http://mirror.test/debian/dists/bookworm-updates/main/binary-amd64/Packages.xz' mirror.test_Packages 0 \n\
'http://mirror.test/debian-security/dists/bookworm-security/main/binary-amd64/Packages.xz' mirror.test_Packages 0 \n\
'http://other.test/tools/dists/bookworm/stable/binary-amd64/Packages.xz' other.test_Packages 0 \n";
        assert_eq!(addresses_in(files), ["http://mirror.test/debian"]);
    }

    #[test]
    fn addresses_come_from_sources_only() {
        assert!(addresses_in("").is_empty());
        assert!(addresses_in("Reading package lists...\n").is_empty());
    }
}
