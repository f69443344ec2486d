//! The arguments of `cargo xtask bench`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub struct Bench {
    /// Only these measurements: a kernel cost, b connection rate, c CPU and idleness, d losses, e
    /// core, f memory, g start and size, h needs at steady rates, i a storm of connections, j the
    /// commands that people watch
    #[arg(long, value_delimiter = ',', value_name = "LETTERS")]
    pub only: Vec<char>,
    /// Few and short rounds, to see that everything works; the numbers are rough
    #[arg(long)]
    pub short: bool,
    /// How often each is measured; 5 if not given
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Measure this build of tcpclose
    #[arg(long)]
    pub program: Option<PathBuf>,
    /// Only what does not depend on the machine's speed, compared with the kept numbers; exits with
    /// 1 if something is a fifth worse
    #[arg(long, conflicts_with_all = ["only", "short", "rounds"])]
    pub check: bool,
    /// Keep the numbers of this check, to compare with from now on
    #[arg(long, requires = "check")]
    pub keep: bool,
    /// Measure as root in a namespace of its own, and write the results to this directory
    #[arg(long, hide = true)]
    pub results_directory: Option<PathBuf>,
    /// Where the recorded churn goes, a short one
    #[arg(long, hide = true)]
    pub recording: Option<PathBuf>,
    /// Only hold connections open
    #[arg(long, hide = true)]
    pub hold: Option<String>,
    /// Only connect and reset, again and again
    #[arg(long, hide = true)]
    pub storm: Option<String>,
}

impl Bench {
    /// Returns whether this is a helper process of a measurement, which needs no checkout.
    pub fn is_helper_process(&self) -> bool {
        self.results_directory.is_some() || self.hold.is_some() || self.storm.is_some()
    }

    pub fn wants(&self, part: char) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    pub fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 2 } else { 5 })
    }
}
