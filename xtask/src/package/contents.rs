//! What every package has inside, and where each format puts it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::host::gzip;

/// What a file is for, which decides where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tcpclose itself.
    Program,
    /// The systemd unit.
    Unit,
    /// The agent's configuration, the administrator's once it is installed.
    Configuration,
    /// The file for logrotate, the administrator's as well.
    Logrotate,
    /// A man page.
    Man,
    /// A completion, in a folder named after its shell.
    Completion,
    /// A document.
    Document,
    /// What is copied and adapted: alert rules, a dashboard.
    Example,
    /// The text of a licence.
    Licence,
}

/// A file of every package.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it is for.
    pub kind: Kind,
    /// Its name, with a folder where it has one.
    pub name: String,
    /// Where it is now.
    pub from: PathBuf,
}

/// Where a format puts its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Debian's directories.
    Debian,
    /// Those of distributions with rpm.
    Rpm,
    /// One folder that works wherever it is unpacked.
    Tarball,
    /// No more than the program needs to run.
    Image,
}

/// Where the packages have the agent's configuration.
pub const CONFIGURATION: &str = "etc/tcpclose/agent.toml";
/// Where the packages have the file for logrotate.
pub const LOGROTATE: &str = "etc/logrotate.d/tcpclose-agent";

impl Layout {
    /// The path of an item; `None` where the format leaves it out.
    fn path(self, kind: Kind, name: &str) -> Option<String> {
        if self == Self::Tarball {
            return Some(match kind {
                Kind::Man => format!("man/man1/{name}"),
                Kind::Completion => format!("completions/{name}"),
                Kind::Document => format!("docs/{name}"),
                Kind::Program | Kind::Unit | Kind::Configuration | Kind::Logrotate => {
                    name.to_owned()
                }
                Kind::Example | Kind::Licence => name.to_owned(),
            });
        }
        let path = match kind {
            Kind::Program => format!("usr/bin/{name}"),
            Kind::Configuration => CONFIGURATION.to_owned(),
            Kind::Licence => match self {
                Self::Rpm => format!("usr/share/licenses/tcpclose/{name}"),
                _ => format!("usr/share/doc/tcpclose/{name}"),
            },
            _ if self == Self::Image => return None,
            Kind::Unit => format!("usr/lib/systemd/system/{name}"),
            Kind::Logrotate => LOGROTATE.to_owned(),
            Kind::Man => format!("usr/share/man/man1/{name}.gz"),
            Kind::Completion => {
                let (shell, file) = name.split_once('/')?;
                let folder = match (shell, self) {
                    ("bash", _) => "bash-completion/completions",
                    ("fish", _) => "fish/vendor_completions.d",
                    (_, Self::Debian) => "zsh/vendor-completions",
                    _ => "zsh/site-functions",
                };
                format!("usr/share/{folder}/{file}")
            }
            Kind::Document => format!("usr/share/doc/tcpclose/{name}"),
            Kind::Example => format!("usr/share/doc/tcpclose/examples/{name}"),
        };
        Some(path)
    }
}

/// Makes a new folder with the items in their places.
pub fn stage(items: &[Item], layout: Layout, folder: &Path) -> Result<()> {
    new_folder(folder)?;
    for item in items {
        let Some(path) = layout.path(item.kind, &item.name) else {
            continue;
        };
        let mode = match item.kind {
            Kind::Program => 0o755,
            _ => 0o644,
        };
        put(&item.from, folder, &path, mode)?;
    }
    Ok(())
}

/// Makes an empty folder in place of what was there.
pub fn new_folder(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    set_mode(folder, 0o755)
}

/// Puts a file below a root, compressed where the path says so. Modes do not depend on this user's
/// umask.
pub fn put(from: &Path, root: &Path, path: &str, mode: u32) -> Result<()> {
    let to = root.join(path);
    put_folder_of(root, path)?;
    if path.ends_with(".gz") {
        gzip(from, &to)?;
    } else {
        fs::copy(from, &to)
            .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    set_mode(&to, mode)
}

/// As [`put`] with a text.
pub fn put_text(text: &str, root: &Path, path: &str, mode: u32) -> Result<()> {
    let to = root.join(path);
    put_folder_of(root, path)?;
    fs::write(&to, text).with_context(|| format!("cannot write {}", to.display()))?;
    set_mode(&to, mode)
}

/// Makes a folder below a root.
pub fn put_folder(root: &Path, path: &str) -> Result<()> {
    put_folder_of(root, &format!("{path}/file"))
}

fn put_folder_of(root: &Path, path: &str) -> Result<()> {
    let mut folder = root.to_owned();
    let Some((folders, _)) = path.rsplit_once('/') else {
        return Ok(());
    };
    for part in folders.split('/') {
        folder.push(part);
        if !folder.exists() {
            fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            set_mode(&folder, 0o755)?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot change the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_finds_its_completion() {
        let path = |layout: Layout, name| layout.path(Kind::Completion, name).unwrap();
        assert_eq!(
            path(Layout::Debian, "zsh/_tcpclose"),
            "usr/share/zsh/vendor-completions/_tcpclose"
        );
        assert_eq!(
            path(Layout::Rpm, "zsh/_tcpclose"),
            "usr/share/zsh/site-functions/_tcpclose"
        );
        for layout in [Layout::Debian, Layout::Rpm] {
            assert_eq!(
                path(layout, "bash/tcpclose"),
                "usr/share/bash-completion/completions/tcpclose"
            );
        }
    }

    #[test]
    fn an_image_has_no_more_than_it_runs_and_its_licences() {
        let kinds = [
            (Kind::Program, true),
            (Kind::Configuration, true),
            (Kind::Licence, true),
            (Kind::Unit, false),
            (Kind::Man, false),
            (Kind::Document, false),
        ];
        for (kind, is_inside) in kinds {
            let path = Layout::Image.path(kind, "x");
            assert_eq!(path.is_some(), is_inside, "{kind:?}");
        }
    }
}
