//! Lists files.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Returns the plain files below a directory, sorted by path. Links are not followed, and
/// directories are entered by their names.
pub fn files_below(root: &Path, enters: impl Fn(&OsStr) -> bool) -> Result<Vec<PathBuf>> {
    let (mut files, mut directories) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        let cannot = || format!("cannot read {}", directory.display());
        for entry in fs::read_dir(&directory).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let kind = entry.file_type().with_context(cannot)?;
            if kind.is_file() {
                files.push(entry.path());
            } else if kind.is_dir() && enters(&entry.file_name()) {
                directories.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::symlink, process};

    use super::*;

    #[test]
    fn plain_files_are_listed_without_links_and_what_is_not_entered() {
        let root = env::temp_dir().join(format!("xtask-files-{}", process::id()));
        fs::create_dir_all(root.join("b/target")).unwrap();
        for file in ["c", "b/a", "b/target/left-out"] {
            fs::write(root.join(file), "").unwrap();
        }
        symlink("c", root.join("a-link")).unwrap();
        let found = files_below(&root, |name| name != "target");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found.unwrap(), [root.join("b/a"), root.join("c")]);
    }
}
