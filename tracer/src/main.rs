//! The program `tcpclose`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tcpclose::cli::main()
}
