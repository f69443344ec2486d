//! The container image for all architectures of a run, in OCI's layout, as one archive. It needs no
//! container engine to make.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    contents::{self, Item, Layout},
    host,
    release::Release,
};
use crate::{arch::Arch, command::stdout_of, needs, workspace::Workspace};

/// Mozilla's roots, from Debian's package: those that this host's administrator added are
/// elsewhere.
const CA_CERTIFICATES_DIR: &str = "/usr/share/ca-certificates/mozilla";
const TIME_ZONES_DIR: &str = "/usr/share/zoneinfo";
/// Variants of the same zones, which nothing reads by default.
const NOT_NEEDED: [&str; 2] = ["posix", "right"];
/// Where the agent writes, for mounts: the rest may be read-only.
const MOUNT_POINTS: [&str; 3] = ["run/tcpclose", "tmp", "var/log/tcpclose"];

const INDEX_MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_MEDIA_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Writes it and returns its path.
pub fn write(
    workspace: &Workspace,
    release: &Release,
    programs: &[(Arch, Vec<Item>)],
    scratch: &Path,
) -> Result<PathBuf> {
    needs::need_files(
        &[CA_CERTIFICATES_DIR, TIME_ZONES_DIR],
        &["ca-certificates", "tzdata"],
    )?;
    let layout = scratch.join("layout");
    contents::new_folder(&layout)?;
    contents::put_folder(&layout, "blobs/sha256")?;
    let created = release.epoch.format("%FT%TZ")?;
    let mut labels = json!({
        "org.opencontainers.image.title": "tcpclose",
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.licenses": "(MIT OR Apache-2.0) AND LGPL-2.1-or-later",
    });
    if let Ok(revision) = host::git(workspace, &["rev-parse", "HEAD"]) {
        labels["org.opencontainers.image.revision"] = json!(revision);
    }
    let mut manifests = Vec::new();
    for (arch, items) in programs {
        let root = scratch.join(arch.name());
        fill(items, &root)?;
        let archive = scratch.join("layer.tar");
        host::tar(&root, &["."], &archive, release.epoch)?;
        let diff = host::sha256(&archive)?;
        let compressed = scratch.join("layer.tar.gz");
        host::gzip(&archive, &compressed)?;
        let layer = blob(&layout, &compressed, LAYER_MEDIA_TYPE)?;
        let config = json!({
            "created": created,
            "architecture": arch.debian(),
            "os": "linux",
            "config": {
                "User": "0:0",
                "Env": ["PATH=/usr/bin"],
                "Entrypoint": ["/usr/bin/tcpclose"],
                // Without a file: what a container writes to stdout is its log.
                "Cmd": ["agent"],
                "StopSignal": "SIGTERM",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
            "history": [{"created": created, "created_by": "cargo xtask package"}],
        });
        let config = document(&layout, &config, CONFIG_MEDIA_TYPE)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_MEDIA_TYPE,
            "config": config,
            "layers": [layer],
            "annotations": labels,
        });
        let mut manifest = document(&layout, &manifest, MANIFEST_MEDIA_TYPE)?;
        manifest["platform"] = json!({"architecture": arch.debian(), "os": "linux"});
        manifests.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX_MEDIA_TYPE,
        "manifests": manifests,
        "annotations": labels,
    });
    let mut index = document(&layout, &index, INDEX_MEDIA_TYPE)?;
    // A name of its own in the layout: tools look for it there, and pick this host's architecture
    // behind it.
    index["annotations"] = json!({"org.opencontainers.image.ref.name": release.version});
    let entry = json!({"schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": [index]});
    contents::put_text(&entry.to_string(), &layout, "index.json", 0o644)?;
    let version = json!({"imageLayoutVersion": "1.0.0"});
    contents::put_text(&version.to_string(), &layout, "oci-layout", 0o644)?;
    let file = release
        .folder
        .join(format!("tcpclose-{}-image.tar", release.version));
    let names = ["blobs", "index.json", "oci-layout"];
    host::tar(&layout, &names, &file, release.epoch)?;
    Ok(file)
}

/// Makes the root of the image.
fn fill(items: &[Item], root: &Path) -> Result<()> {
    contents::stage(items, Layout::Image, root)?;
    contents::put_text(&roots()?, root, "etc/ssl/certs/ca-certificates.crt", 0o644)?;
    for folder in MOUNT_POINTS {
        contents::put_folder(root, folder)?;
    }
    contents::put_folder(root, "usr/share")?;
    // Links stay links: half of the zones are others' names.
    let mut copy = Command::new("cp");
    copy.args(["-dR", "--no-preserve=all", TIME_ZONES_DIR])
        .arg(root.join("usr/share"));
    stdout_of(&mut copy).context("cannot copy the time zones")?;
    let zones = root.join("usr/share/zoneinfo");
    for folder in NOT_NEEDED.map(|name| zones.join(name)) {
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    // As it comes, the link leads to this host's own zone.
    let own = zones.join("localtime");
    if own.symlink_metadata().is_ok() {
        fs::remove_file(&own).with_context(|| format!("cannot remove {}", own.display()))?;
    }
    let mut modes = Command::new("chmod");
    stdout_of(modes.args(["-R", "u=rwX,go=rX"]).arg(&zones))?;
    Ok(())
}

/// All roots in one file, in the order of their names.
fn roots() -> Result<String> {
    let cannot_read = || format!("cannot read {CA_CERTIFICATES_DIR}");
    let mut files = Vec::new();
    for entry in fs::read_dir(CA_CERTIFICATES_DIR).with_context(cannot_read)? {
        files.push(entry.with_context(cannot_read)?.path());
    }
    files.sort();
    let mut text = String::new();
    for file in files {
        let root = fs::read_to_string(&file);
        text += root
            .with_context(|| format!("cannot read {}", file.display()))?
            .trim();
        text.push('\n');
    }
    Ok(text)
}

/// Adds a document to the layout and returns its descriptor.
fn document(layout: &Path, document: &Value, media_type: &str) -> Result<Value> {
    let file = layout.join("document");
    fs::write(&file, document.to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    blob(layout, &file, media_type)
}

/// Moves a file into the layout and returns its descriptor.
fn blob(layout: &Path, file: &Path, media_type: &str) -> Result<Value> {
    let sum = host::sha256(file)?;
    let size = fs::metadata(file)
        .with_context(|| format!("cannot read {}", file.display()))?
        .len();
    contents::put(file, layout, &format!("blobs/sha256/{sum}"), 0o644)?;
    fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{sum}"), "size": size}))
}
