//! The program `tcpclose`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpclose::cli::main()
}
