//! `cargo xtask screenshots`: the pictures of the README, drawn from what the program really
//! writes on a terminal.
//!
//! Commands that can replay a recording show the kept one, so that anyone can draw their pictures
//! again, to the byte. What scans of a live host wrote is kept as it stood on the terminal.

mod browser;
mod capture;
mod picture;
mod scene;
mod svg;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::picture::{PICTURES, Picture, REPORT};
use crate::{
    command::{announce, find_program, run},
    ebpf::EbpfObject,
    test_runner::{cargo, is_ci},
    workspace::Workspace,
};

/// The most bytes of a picture: a README has to load over a slow line.
const MAX_SIZE: usize = 60_000;

/// Arguments of `cargo xtask screenshots`.
#[derive(Args)]
pub struct Screenshots {
    /// Draw nothing, and exit with 1 if a picture is not what the program writes now
    #[arg(long)]
    check: bool,
    /// Play the scene first, as root: record it anew, and scan it
    #[arg(long, conflicts_with = "check")]
    scene: bool,
    #[arg(long, hide = true, num_args = 2, value_names = ["PROGRAM", "FOLDER"])]
    play: Option<Vec<PathBuf>>,
}

impl Screenshots {
    /// Returns whether this is a helper process of another.
    pub const fn is_helper_process(&self) -> bool {
        self.play.is_some()
    }
}

/// Runs the helper process: plays the scene in the namespaces that it has been started in.
pub fn run_helper(screenshots: &Screenshots) -> Result<ExitCode> {
    let [program, folder] = screenshots.play.as_deref().unwrap_or_default() else {
        anyhow::bail!("this is not a helper process");
    };
    scene::play(program, folder).map(|()| ExitCode::SUCCESS)
}

/// Draws the pictures, or checks them.
pub fn screenshots(workspace: &Workspace, args: &Screenshots) -> Result<ExitCode> {
    let gallery = Gallery::new(workspace)?;
    if args.check {
        return Ok(match gallery.check()? {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        });
    }
    if args.scene {
        scene::record(&gallery.program, &gallery.kept)?;
    }
    for picture in PICTURES {
        let drawn = gallery.draw(picture)?;
        let path = gallery.path(picture);
        fs::write(&path, drawn).with_context(|| format!("cannot write {}", path.display()))?;
        announce(path.display());
    }
    gallery.take_report()?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the pictures; `None`, and reported, where that needs a program that is missing.
pub fn check(workspace: &Workspace) -> Result<Option<bool>> {
    if find_program("tmux").is_none() {
        ensure!(!is_ci(), "there is no tmux, the terminal of the pictures");
        announce("skipping the pictures: there is no tmux");
        return Ok(None);
    }
    Gallery::new(workspace)?.check().map(Some)
}

/// Where pictures and their sources are.
struct Gallery {
    program: PathBuf,
    /// The recording, and what scans have written.
    kept: PathBuf,
    pictures: PathBuf,
    readme: PathBuf,
}

impl Gallery {
    fn new(workspace: &Workspace) -> Result<Self> {
        let object = EbpfObject::provide(workspace)?;
        let mut build = cargo(workspace, &object);
        build.args(["build", "--quiet", "--package", "tcpclose"]);
        run(&mut build, "compiling tcpclose")?;
        Ok(Self {
            program: workspace.target.join("debug/tcpclose"),
            kept: workspace.root.join("xtask/src/screens/kept"),
            pictures: workspace.root.join("docs/screens"),
            readme: workspace.root.join("README.md"),
        })
    }

    fn path(&self, picture: &Picture) -> PathBuf {
        self.pictures.join(picture.name).with_extension("svg")
    }

    fn draw(&self, picture: &Picture) -> Result<String> {
        let text = picture.text(&self.program, &self.kept)?;
        let svg = svg::draw(&picture.prompt(), &text);
        ensure!(
            svg.len() <= MAX_SIZE,
            "{} has {} bytes, and {MAX_SIZE} are allowed",
            picture.name,
            svg.len()
        );
        Ok(svg)
    }

    /// Takes the picture of the report's page, and notes of which page it is.
    fn take_report(&self) -> Result<()> {
        let path = self.pictures.join(REPORT);
        let page = browser::page(&self.program, &self.kept)?;
        if browser::photograph(&page, &path)? {
            let size = fs::metadata(&path)?.len();
            ensure!(size <= MAX_SIZE as u64, "{REPORT} has {size} bytes");
            fs::write(self.page_digest(), browser::digest(&page))?;
            announce(path.display());
        }
        Ok(())
    }

    fn page_digest(&self) -> PathBuf {
        self.kept.join("report.sha256")
    }

    fn check(&self) -> Result<bool> {
        let readme = fs::read_to_string(&self.readme)?;
        let mut is_good = true;
        let mut complain = |path: &Path, what: &str| {
            announce(format_args!("{} {what}", path.display()));
            is_good = false;
        };
        for picture in PICTURES {
            let path = self.path(picture);
            if fs::read_to_string(&path).ok() != Some(self.draw(picture)?) {
                complain(&path, "is not what the program writes");
            }
            if !readme.contains(&format!("docs/screens/{}.svg", picture.name)) {
                complain(&path, "is not in README.md");
            }
        }
        let page = browser::page(&self.program, &self.kept)?;
        let digest = fs::read_to_string(self.page_digest()).ok();
        if digest.as_deref() != Some(&browser::digest(&page)) {
            complain(&self.pictures.join(REPORT), "shows an older page");
        }
        if !is_good {
            announce("`cargo xtask screenshots` draws them again; look at each difference");
        }
        Ok(is_good)
    }
}
