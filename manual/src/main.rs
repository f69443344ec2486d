//! `tcpclose-manual FOLDER DATE`: writes tcpclose's man pages, which bear that date, and its shell
//! completions into a folder. It is a program of its own so that neither tcpclose nor xtask depends
//! on what makes them.

mod man;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap_complete::Shell;

/// The shells, and where each looks for a completion below its own folder.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash/tcpclose"),
    (Shell::Fish, "fish/tcpclose.fish"),
    (Shell::Zsh, "zsh/_tcpclose"),
];

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let (Some(folder), Some(date)) = (arguments.next(), arguments.next()) else {
        bail!("usage: tcpclose-manual FOLDER DATE");
    };
    let folder = PathBuf::from(folder);
    for (name, page) in man::pages(tcpclose::cli::command(), &date) {
        write(&folder.join("man1").join(name), &page)?;
    }
    for (shell, name) in COMPLETIONS {
        let mut script = Vec::new();
        clap_complete::generate(
            shell,
            &mut tcpclose::cli::command(),
            "tcpclose",
            &mut script,
        );
        write(&folder.join(name), &script)?;
    }
    Ok(())
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().expect("it was joined to a folder");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}
