//! Where cargo keeps the unpacked sources of crates.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Returns the folders, one for each registry, which a mirror may take the place of.
pub fn unpacked() -> Result<Vec<PathBuf>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = home
        .context("neither CARGO_HOME nor HOME is set")?
        .join("registry/src");
    let mut registries: Vec<_> = match fs::read_dir(&sources) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?,
        Err(_) => Vec::new(),
    };
    registries.sort();
    Ok(registries)
}

/// Removes what cargo has unpacked of a crate from registries that are folders, such as the one
/// that `cargo package` makes of a workspace. As long as the version is the same, cargo takes it
/// for the crate of today.
///
/// # Errors
/// A folder cannot be read or removed.
pub fn forget_local(name: &str) -> Result<()> {
    // A registry's folder has the name of its host, which a folder has not, and a hash.
    let is_local = |registry: &PathBuf| {
        let name = registry.file_name();
        name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"-"))
    };
    for registry in unpacked()?.into_iter().filter(is_local) {
        for entry in fs::read_dir(registry)? {
            let entry = entry?;
            let unpacked = entry.file_name();
            let rest = unpacked.to_str().and_then(|text| text.strip_prefix(name));
            let version = rest.and_then(|rest| rest.strip_prefix('-'));
            if version.is_some_and(|version| version.starts_with(|first: char| first.is_numeric()))
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
    }
    Ok(())
}
