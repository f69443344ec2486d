//! The root file system of a test machine.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{kernels::Kernel, newc::Archive, programs::Programs};

/// What the machine's kernel starts.
const INIT_SCRIPT: &str = include_str!("init.sh");

/// Directories to mount on or to write to, parents first.
const DIRECTORIES: &[&str] = &[
    "arguments",
    "bin",
    "dev",
    "etc",
    "modules",
    "proc",
    "run",
    "sys",
    "tests",
    "tmp",
    "var",
];

/// Writes it to `file`. `arguments` gives those of each test program.
pub fn write(
    kernel: &Kernel,
    programs: &Programs,
    arguments: impl Fn(&str) -> Vec<OsString>,
    file: &Path,
) -> Result<()> {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    // For the moment before /dev is mounted.
    archive.device("dev/console", 5, 1);
    archive.file("init", INIT_SCRIPT.as_bytes());
    archive.file("bin/busybox", &read(&kernel.busybox)?);
    archive.file("tcpclose", &read(&programs.tcpclose)?);
    for module in &kernel.modules {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{name}"), &read(module)?);
    }
    for (name, test) in &programs.tests {
        archive.file(&format!("tests/{name}"), test);
        archive.file(&format!("arguments/{name}"), &lines(&arguments(name))?);
    }
    for directory in directories_of(&programs.files) {
        archive.directory(directory);
    }
    for file in &programs.files {
        archive.file(below_root(file)?, &read(file)?);
    }
    fs::write(file, archive.finish()).with_context(|| format!("cannot write {}", file.display()))
}

/// All directories above `files`, parents first.
fn directories_of(files: &BTreeSet<PathBuf>) -> BTreeSet<&str> {
    let ancestors = files.iter().flat_map(|file| file.ancestors().skip(1));
    let directories = ancestors.filter_map(|directory| below_root(directory).ok());
    directories.filter(|path| !path.is_empty()).collect()
}

/// An absolute path as an archive has it.
fn below_root(path: &Path) -> Result<&str> {
    let below = path.strip_prefix("/").ok().and_then(Path::to_str);
    below.with_context(|| format!("{} cannot be put into an archive", path.display()))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// One argument a line: a shell reads them without quoting.
fn lines(args: &[OsString]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for arg in args {
        if arg.as_bytes().contains(&b'\n') {
            bail!("an argument with a line break cannot be handed to a test machine");
        }
        lines.extend_from_slice(arg.as_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_of_libraries_are_made_parents_first() {
        let files = BTreeSet::from(["/lib64/ld.so", "/lib/x/libc.so"].map(PathBuf::from));
        let directories = Vec::from_iter(directories_of(&files));
        assert_eq!(directories, ["lib", "lib/x", "lib64"]);
    }

    #[test]
    fn arguments_with_spaces_and_quotes_stay_whole() {
        let args = ["--exact", "it's one"].map(OsString::from);
        assert_eq!(lines(&args).unwrap(), b"--exact\nit's one\n");
        assert_eq!(lines(&[]).unwrap(), b"");
        lines(&["a\nb".into()]).unwrap_err();
    }
}
