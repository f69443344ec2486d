//! The scene: services that misbehave, in a network namespace of their own, recorded and scanned.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tcpclose_kit::scratch::Scratch;

use super::picture::{PICTURES, RECORDING};
use crate::{
    command::{announce, run},
    demo::in_own_network,
    privilege::Privilege,
};

const SERVICES: &str = include_str!("scene.py");
/// The name of its network namespace.
const NETNS: &str = "shop";
/// The time after which sockets are stuck, and a bit more.
const BEFORE_SCANS: Duration = Duration::from_secs(72);

/// Plays the scene as root, and keeps what has been seen of it in this folder.
pub fn record(program: &Path, kept: &Path) -> Result<()> {
    let privilege = Privilege::detect();
    if privilege == Privilege::None {
        bail!("the scene needs root for network namespaces, and there is no sudo here");
    }
    announce("the scene takes a minute and a half");
    let folder = Scratch::new();
    let own = std::env::current_exe().context("cannot find xtask itself")?;
    let args = [
        "screenshots".into(),
        "--play".into(),
        program.into(),
        folder.folder().into(),
    ];
    run(&mut in_own_network(privilege, own, &args)?, "the scene")?;
    fs::copy(folder.path(RECORDING), kept.join(RECORDING)).context("there is no recording")?;
    for picture in PICTURES {
        let from = picture.kept(folder.folder());
        if from.exists() {
            fs::copy(from, picture.kept(kept))?;
        }
    }
    Ok(())
}

/// Plays the scene in the namespaces of this process.
pub fn play(program: &Path, folder: &Path) -> Result<()> {
    name_namespace()?;
    let scratch = Scratch::new();
    let script = scratch.write("scene.py", SERVICES)?;
    let mut services = Command::new("/usr/bin/python3");
    services.arg(script).arg(scratch.folder());
    let mut services = services
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the services: they need python3")?;
    let result = show(&mut services, program, folder);
    // They end with their standard input.
    drop(services.stdin.take());
    services.wait()?;
    result
}

fn show(services: &mut Child, program: &Path, folder: &Path) -> Result<()> {
    let stdout = services.stdout.take().context("it has an output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(
        line.trim() == "ready",
        "the services do not start; their messages are above"
    );
    let recording = folder.join(RECORDING);
    let mut recorder = Command::new(program);
    recorder
        .arg("record")
        .arg(&recording)
        .args(["--netns", NETNS]);
    let mut recorder = recorder.args(["--duration", "80s"]).spawn()?;
    thread::sleep(BEFORE_SCANS);
    let scans = thread::scope(|scope| {
        let scans = PICTURES
            .iter()
            .map(|picture| scope.spawn(|| picture.keep(program, folder)));
        let scans: Vec<_> = scans.collect();
        scans
            .into_iter()
            .try_for_each(|scan| scan.join().expect("no panic inside"))
    });
    ensure!(
        recorder.wait()?.success(),
        "recording has failed; its messages are above"
    );
    scans?;
    // It can be read without root, too.
    fs::set_permissions(&recording, fs::Permissions::from_mode(0o644))?;
    Ok(())
}

/// Gives the network namespace the name by which `tcpclose --netns` finds it, for this process and
/// its children.
fn name_namespace() -> Result<()> {
    let script = "mount --make-rprivate / && mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns \
                  && touch /run/netns/$0 && mount --bind /proc/self/ns/net /run/netns/$0";
    run(
        Command::new("sh").args(["-c", script, NETNS]),
        "naming the network namespace",
    )
}
