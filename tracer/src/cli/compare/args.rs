//! The arguments of `tcpclose compare`.

use std::path::PathBuf;

use crate::cli::common::OutputArgs;
use crate::filter::args::{CloseFilterArgs, FilterArgs};
use crate::pair_key_source::PairKeySource;

/// What `tcpclose compare` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = "\
Finds the connections of which both endpoints were recorded, aligns the clocks of the two hosts from the connections \
themselves, and shows what only both endpoints together prove: resets that none sent, FINs that never arrived, connections \
that ended at one endpoint only, and translated addresses.

Exit codes: 0 nothing went wrong between the two, 1 something did, 2 nothing was seen to, and not everything could be \
compared, or cannot run or wrong usage

Examples:
  tcpclose record a.rec               on one host, while it happens
  tcpclose record b.rec               on the other one
  tcpclose compare a.rec b.rec        what went wrong between them
  tcpclose compare a.rec b.rec -v     with a drawing of each connection
  tcpclose compare a.rec b.rec --port 5432")]
pub(in crate::cli) struct CompareArgs {
    /// What `tcpclose record` has recorded on one host
    #[arg(value_name = "A")]
    pub(super) a: PathBuf,
    /// What it has recorded on the other one
    #[arg(value_name = "B")]
    pub(super) b: PathBuf,
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Draw the connections, up to 20 of each kind, as with a filter
    #[arg(short, long)]
    pub(super) verbose: bool,
    /// The key of the pair ids in JSON: 32 hexadecimal digits or a file with them; without this
    /// option a public one
    #[arg(long, value_name = "KEY")]
    pub(super) pair_key: Option<PairKeySource>,
    #[command(flatten)]
    pub(super) filters: FilterArgs,
    #[command(flatten)]
    pub(super) closes: CloseFilterArgs,
}
