//! The Debian package, which dpkg-deb writes.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    contents::{self, CONFIGURATION, Item, LOGROTATE, Layout},
    release::Release,
};
use crate::{arch::Arch, command::stdout_of, files::files_below, needs, workspace::Workspace};

/// The number behind the program's version, for packages that change while the program does not.
const REVISION: &str = "1";

/// Scripts that dpkg runs, from dist/deb.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Writes it and returns its path.
pub fn write(
    workspace: &Workspace,
    release: &Release,
    arch: Arch,
    items: &[Item],
    scratch: &Path,
) -> Result<PathBuf> {
    needs::need(&["dpkg-deb"], &["dpkg"])?;
    let sources = workspace.root.join("dist/deb");
    let root = scratch.join("deb");
    contents::stage(items, Layout::Debian, &root)?;
    let version = format!("{}-{REVISION}", release.version);
    let changelog = scratch.join("changelog");
    fs::write(&changelog, changelog_text(release, &version)?)
        .with_context(|| format!("cannot write {}", changelog.display()))?;
    let documents = "usr/share/doc/tcpclose";
    for (from, path) in [
        (&changelog, format!("{documents}/changelog.Debian.gz")),
        (
            &workspace.root.join("CHANGELOG.md"),
            format!("{documents}/changelog.gz"),
        ),
        (&sources.join("copyright"), format!("{documents}/copyright")),
        (
            &sources.join("lintian-overrides"),
            "usr/share/lintian/overrides/tcpclose".to_owned(),
        ),
    ] {
        contents::put(from, &root, &path, 0o644)?;
    }
    let files = files_below(&root, |_| true)?;
    let mut kilobytes = 0;
    for file in &files {
        let metadata =
            fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?;
        kilobytes += metadata.len().div_ceil(1024);
    }
    let sums = sums(&root, &files)?;
    let control = control(&version, arch, kilobytes, built_using(arch).as_deref());
    contents::put_text(&control, &root, "DEBIAN/control", 0o644)?;
    contents::put_text(&sums, &root, "DEBIAN/md5sums", 0o644)?;
    let administrators = format!("/{CONFIGURATION}\n/{LOGROTATE}\n");
    contents::put_text(&administrators, &root, "DEBIAN/conffiles", 0o644)?;
    for script in SCRIPTS {
        let path = format!("DEBIAN/{script}");
        contents::put(&sources.join(script), &root, &path, 0o755)?;
    }
    let file = release
        .folder
        .join(format!("tcpclose_{version}_{}.deb", arch.debian()));
    let mut build = Command::new("dpkg-deb");
    build
        // Every dpkg unpacks xz; newer ones would write zstd in some distributions.
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(&root)
        .arg(&file)
        // The number of threads changes the bytes. An option for it is younger than the variable.
        .env("DPKG_DEB_THREADS_MAX", "1")
        .env("SOURCE_DATE_EPOCH", release.epoch.0.to_string());
    stdout_of(&mut build).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Who maintains the package: by the variables that Debian's own tools read.
fn maintainer() -> String {
    let variable = |name| {
        env::var(name)
            .ok()
            .filter(|value: &String| !value.is_empty())
    };
    let name = variable("DEBFULLNAME").unwrap_or_else(|| "The tcpclose authors".to_owned());
    let address =
        variable("DEBEMAIL").unwrap_or_else(|| "tcpclose@users.noreply.invalid".to_owned());
    format!("{name} <{address}>")
}

fn control(version: &str, arch: Arch, kilobytes: u64, built_using: Option<&str>) -> String {
    let built_using =
        built_using.map_or_else(String::new, |source| format!("Built-Using: {source}\n"));
    format!(
        "Package: tcpclose\n\
         Version: {version}\n\
         Architecture: {arch}\n\
         Maintainer: {maintainer}\n\
         Installed-Size: {kilobytes}\n\
         Suggests: logrotate, prometheus\n\
         {built_using}\
         Section: net\n\
         Priority: optional\n\
         Description: show how TCP connections close, and which never do\n \
         Reads the kernel's own TCP state transitions with eBPF and reconstructs\n \
         from them, for every connection, what a packet capture of its close\n \
         would have shown: who closed first, in how many segments, how long each\n \
         state lasted, who reset whom and why. Finds sockets that are stuck in\n \
         CLOSE_WAIT, and names the processes that hold them.\n \
         .\n \
         The service tcpclose-agent writes logs and metrics; it is installed, but\n \
         neither enabled nor started.\n",
        arch = arch.debian(),
        maintainer = maintainer(),
    )
}

/// The source of the C library that is inside, as Debian's policy wants it named; `None` where dpkg
/// knows of none.
fn built_using(arch: Arch) -> Option<String> {
    let package = match arch.is_native() {
        true => "libc6-dev".to_owned(),
        false => format!("libc6-dev-{}-cross", arch.debian()),
    };
    let mut query = Command::new("dpkg-query");
    query.args([
        "--show",
        "--showformat=${source:Package} (= ${source:Version})",
        &package,
    ]);
    stdout_of(&mut query).ok().filter(|text| !text.is_empty())
}

fn changelog_text(release: &Release, version: &str) -> Result<String> {
    let date = release.epoch.format("%a, %d %b %Y %H:%M:%S +0000")?;
    Ok(format!(
        "tcpclose ({version}) unstable; urgency=medium\n\n  \
         * Release {}. /usr/share/doc/tcpclose/changelog.gz lists the changes.\n\n \
         -- {}  {date}\n",
        release.version,
        maintainer()
    ))
}

/// The sums that `dpkg --verify` checks, one for each file.
fn sums(root: &Path, files: &[PathBuf]) -> Result<String> {
    let mut command = Command::new("md5sum");
    for file in files {
        command.arg(file.strip_prefix(root)?);
    }
    stdout_of(command.current_dir(root))
}
