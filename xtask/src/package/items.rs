//! The files that go into packages, apart from the program.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    contents,
    contents::{Item, Kind},
    licences,
    release::Release,
};
use crate::{
    command::{announce, run},
    workspace::Workspace,
};

/// Documents and what operators copy, from the top of the checkout.
#[rustfmt::skip]
const FILES: &[(Kind, &str, &str)] = &[
    (Kind::Unit, "tcpclose-agent.service", "dist/tcpclose-agent.service"),
    (Kind::Logrotate, "tcpclose-agent.logrotate", "dist/tcpclose-agent.logrotate"),
    (Kind::Configuration, "agent.toml", "tracer/src/agent/config/default.toml"),
    (Kind::Document, "CHANGELOG.md", "CHANGELOG.md"),
    (Kind::Document, "SECURITY.md", "SECURITY.md"),
    (Kind::Example, "prometheus/rules.yml", "dist/prometheus/rules.yml"),
    (Kind::Example, "prometheus/rules_test.yml", "dist/prometheus/rules_test.yml"),
    (Kind::Example, "grafana/tcpclose.json", "dist/grafana/tcpclose.json"),
    (Kind::Example, "runit/run", "dist/runit/run"),
    (Kind::Example, "runit/finish", "dist/runit/finish"),
    (Kind::Example, "openrc/tcpclose-agent", "dist/openrc/tcpclose-agent"),
    (Kind::Licence, "LICENSE-APACHE", "LICENSE-APACHE"),
    (Kind::Licence, "LICENSE-MIT", "LICENSE-MIT"),
];

/// What is the same for all architectures.
pub struct Common(Vec<Item>);

impl Common {
    /// Finds or makes it, below a new folder.
    pub fn make(workspace: &Workspace, release: &Release, folder: &Path) -> Result<Self> {
        contents::new_folder(folder)?;
        let mut items: Vec<_> = FILES
            .iter()
            .map(|&(kind, name, from)| Item {
                kind,
                name: name.to_owned(),
                from: workspace.root.join(from),
            })
            .collect();
        for from in files_in(&workspace.root.join("docs"))? {
            items.push(item(Kind::Document, &workspace.root.join("docs"), from)?);
        }
        items.push(readme(workspace, folder)?);
        let licences = folder.join("THIRD-PARTY-LICENSES.txt");
        licences::write(workspace, &licences)?;
        items.push(item(Kind::Licence, folder, licences)?);
        items.extend(manual(workspace, release, &folder.join("manual"))?);
        Ok(Self(items))
    }

    /// All items, the program among them.
    pub fn with_program(&self, program: &Path) -> Vec<Item> {
        let mut items = self.0.clone();
        items.push(Item {
            kind: Kind::Program,
            name: "tcpclose".to_owned(),
            from: program.to_owned(),
        });
        items
    }
}

/// The man pages and completions, which a program of their own writes.
fn manual(workspace: &Workspace, release: &Release, folder: &Path) -> Result<Vec<Item>> {
    announce("package: writing man pages and completions");
    run(
        workspace
            .cargo()
            .args(["run", "--quiet", "--locked", "--bin", "tcpclose-manual"])
            .arg("--")
            .arg(folder)
            .arg(release.epoch.format("%F")?),
        "writing man pages and completions",
    )?;
    let mut items = Vec::new();
    for shell in ["bash", "fish", "zsh"] {
        for from in files_in(&folder.join(shell))? {
            items.push(item(Kind::Completion, folder, from)?);
        }
    }
    let pages = folder.join("man1");
    for from in files_in(&pages)? {
        items.push(item(Kind::Man, &pages, from)?);
    }
    Ok(items)
}

/// README.md beside the documents that it links to.
fn readme(workspace: &Workspace, folder: &Path) -> Result<Item> {
    let source = workspace.root.join("README.md");
    let text =
        fs::read_to_string(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let from = folder.join("README.md");
    fs::write(&from, text.replace("](docs/", "]("))
        .with_context(|| format!("cannot write {}", from.display()))?;
    item(Kind::Document, folder, from)
}

fn item(kind: Kind, folder: &Path, from: PathBuf) -> Result<Item> {
    let name = from.strip_prefix(folder)?;
    let name = name.to_str().context("our own files have plain names")?;
    Ok(Item {
        kind,
        name: name.to_owned(),
        from,
    })
}

/// The files of a folder, sorted.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
