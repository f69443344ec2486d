//! The image: read by skopeo, unpacked by umoci, and run by runc with the capabilities that
//! docs/packaging.md lists.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tcpclose_kit::TestResult;
use tcpclose_kit::mounts::enter_new_mounts;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::{output_of, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::has_programs;

use crate::agent;
use crate::built::{VERSION, debian_arch, package, program_in, tarball};

/// What the agent needs, and all that it gets.
const CAPABILITIES: [&str; 5] = [
    "CAP_BPF",
    "CAP_PERFMON",
    "CAP_SYS_PTRACE",
    "CAP_DAC_READ_SEARCH",
    "CAP_SYS_ADMIN",
];

fn image() -> Option<PathBuf> {
    let file = package(&format!("tcpclose-{VERSION}-image.tar"))?;
    has_programs(&["skopeo", "umoci", "runc"]).then_some(file)
}

fn skopeo(args: &[&str]) -> String {
    let mut skopeo = Command::new("skopeo");
    output_of(skopeo.arg("--insecure-policy").args(args))
}

/// The image of this host's architecture, unpacked as a bundle that runc takes.
fn bundle(image: &Path, scratch: &Scratch) -> PathBuf {
    let single = format!("oci:{}:single", scratch.path("single").display());
    let from = format!("oci-archive:{}:{VERSION}", image.display());
    skopeo(&["copy", "--quiet", &from, &single]);
    let bundle = scratch.path("bundle");
    let mut unpack = Command::new("umoci");
    unpack.args(["unpack", "--image"]);
    unpack.arg(format!("{}:single", scratch.path("single").display()));
    output_of(unpack.arg(&bundle));
    bundle
}

#[test]
fn its_labels_describe_it() {
    let Some(image) = image() else { return };
    let from = format!("oci-archive:{}:{VERSION}", image.display());
    let config: Value =
        serde_json::from_str(&skopeo(&["inspect", "--config", &from])).expect("JSON");
    assert_eq!(config["architecture"], debian_arch());
    assert_eq!(config["config"]["Entrypoint"], json!(["/usr/bin/tcpclose"]));
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], VERSION);
    let index: Value = serde_json::from_str(&skopeo(&["inspect", "--raw", &from])).expect("JSON");
    let platforms = index["manifests"].as_array().expect("an index");
    let own = json!({"architecture": debian_arch(), "os": "linux"});
    assert!(
        platforms.iter().any(|one| one["platform"] == own),
        "{index}"
    );
}

#[test]
fn it_becomes_an_archive_that_docker_loads() {
    let Some(image) = image() else { return };
    let scratch = Scratch::new();
    let archive = scratch.path("docker.tar");
    let from = format!("oci-archive:{}:{VERSION}", image.display());
    let to = format!("docker-archive:{}:tcpclose:{VERSION}", archive.display());
    skopeo(&["copy", "--quiet", &from, &to]);
    let mut manifest = Command::new("tar");
    manifest.arg("-xOf").arg(&archive).arg("manifest.json");
    let manifest: Value = serde_json::from_str(&output_of(&mut manifest)).expect("JSON");
    let name = format!("tcpclose:{VERSION}");
    assert!(
        manifest[0]["RepoTags"].to_string().contains(&name),
        "{manifest}"
    );
}

#[test]
fn it_has_the_program_roots_and_time_zones() {
    let (Some(image), Some(tarball)) = (image(), tarball()) else {
        return;
    };
    let scratch = Scratch::new();
    let root = bundle(&image, &scratch).join("rootfs");
    let program = fs::read(root.join("usr/bin/tcpclose")).expect("it has the program");
    assert!(program == program_in(&tarball, scratch.folder()));
    let authorities = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt"));
    let authorities = authorities.expect("it has them");
    let count = authorities.matches("-----BEGIN CERTIFICATE-----").count();
    assert!(count > 50, "{count} authorities");
    for zone in ["UTC", "Europe/Berlin", "America/New_York"] {
        let zone = root.join("usr/share/zoneinfo").join(zone);
        assert!(zone.exists(), "{}", zone.display());
    }
    for folder in ["bin", "lib", "lib64", "usr/lib"] {
        assert!(!root.join(folder).exists(), "{folder} is not needed");
    }
}

#[test]
fn the_agent_works_in_a_container_with_the_documented_rights_and_nothing_more() -> TestResult {
    let Some(image) = image() else {
        return Ok(());
    };
    let scratch = Scratch::new();
    in_own_network(|netns| {
        enter_new_mounts()?;
        let bundle = bundle(&image, &scratch);
        let file = bundle.join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        restrict(&mut config, netns);
        fs::write(&file, config.to_string())?;
        let name = format!("tcpclose-test-{}", std::process::id());
        let state = scratch.path("state");
        let runc = || {
            let mut runc = Command::new("runc");
            runc.arg("--root").arg(&state);
            runc
        };
        agent::is_at_work(runc().args(["run", "--bundle"]).arg(&bundle).arg(&name));
        run(runc().args(["delete", "--force", &name]));
        Ok(())
    })
}

/// Turns what umoci has made of the image's configuration into what a careful operator grants.
fn restrict(config: &mut Value, netns: &str) {
    config["root"]["readonly"] = json!(true);
    let process = &mut config["process"];
    process["terminal"] = json!(false);
    process["noNewPrivileges"] = json!(true);
    process["capabilities"] = json!({
        "bounding": CAPABILITIES,
        "effective": CAPABILITIES,
        "permitted": CAPABILITIES,
    });
    // The host's processes, whose sockets are shown; the test's network in place of the host's, for
    // the port.
    config["linux"]["namespaces"] = json!([
        {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
        {"type": "network", "path": netns},
    ]);
    let mounts = config["mounts"].as_array_mut().expect("umoci lists them");
    mounts.push(json!({
        "destination": "/run/tcpclose", "type": "tmpfs", "source": "tmpfs",
        "options": ["nosuid", "nodev", "noexec", "size=1m"],
    }));
}
